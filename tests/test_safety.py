"""The flags are the checker's own verdict, with its reason, on pictures that stay as they are."""

import random

import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from fixtures_pipeline import flag_everything
from sdlesson.diffusion import decode
from sdlesson.images import to_pixels
from sdlesson.language import set_language
from sdlesson.pocket.world import FLAGGED_SUBJECT, Scene, render, sample_scene
from sdlesson.safety import CAUTION, Flag, flags

NEVER = 2.0


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Scenes of all kinds, and some with what the checker looks for."""
    rng = random.Random("safety")
    wanted = [Scene("single", (FLAGGED_SUBJECT,), "beach", "plain", seed=i) for i in range(8)]
    return [render(scene) for scene in wanted + [sample_scene(rng) for _ in range(72)]]


def own_verdict(pipe: StableDiffusionPipeline, images: list[Image.Image]) -> list[bool]:
    """What the pipeline itself would black out."""
    pixels = to_pixels(images)
    _blackened, verdict = pipe.run_safety_checker(pixels, pipe.device, pipe.safety_checker.dtype)
    return verdict


def test_flags_are_the_checkers_own_verdict(pocket, pictures):
    verdict = own_verdict(pocket, pictures)
    assert [flag.flagged for flag in flags(pocket, pictures)] == verdict
    assert {*verdict} == {True, False}


def test_flags_are_the_checkers_own_verdict_in_half_precision(tiny, pictures):
    tiny.safety_checker.to(torch.bfloat16)  # which also runs without a GPU
    cosines = [flag.cosine for flag in flags(tiny, pictures)]
    concepts = {flag.concept for flag in flags(tiny, pictures)}
    middle = sorted(cosines)[len(cosines) // 2]
    torch.nn.init.constant_(tiny.safety_checker.concept_embeds_weights, middle)
    verdict = own_verdict(tiny, pictures)
    assert [flag.flagged for flag in flags(tiny, pictures)] == verdict
    assert {*verdict} == {True, False}
    assert concepts <= set(range(17))


@pytest.mark.gpu
def test_flags_are_the_checkers_own_verdict_on_a_gpu(pictures):
    from sdlesson.pipelines import load_pipeline

    pipe = load_pipeline("pocket", device="cuda")
    assert pipe.safety_checker.dtype == torch.float16
    assert [flag.flagged for flag in flags(pipe, pictures)] == own_verdict(pipe, pictures)


def test_the_stand_in_concept_is_the_one_that_decides(pocket, pictures):
    found = flags(pocket, pictures)
    assert {flag.concept for flag in found if flag.flagged} == {0}
    assert {flag.threshold for flag in found} == {found[0].threshold}
    assert min(flag.cosine for flag in found) < found[0].threshold < 1


def test_a_special_care_concept_lowers_the_threshold_for_its_picture(tiny, pictures):
    one = pictures[:1]
    cosine = flags(tiny, one)[0].cosine
    torch.nn.init.constant_(tiny.safety_checker.concept_embeds_weights, cosine + CAUTION / 2)
    assert not flags(tiny, one)[0].flagged
    assert own_verdict(tiny, one) == [False]
    torch.nn.init.constant_(tiny.safety_checker.special_care_embeds_weights, -NEVER)
    assert flags(tiny, one)[0].threshold == pytest.approx(cosine - CAUTION / 2, abs=1e-6)
    assert flags(tiny, one)[0].flagged
    assert own_verdict(tiny, one) == [True]


def test_a_picture_on_the_threshold_passes_as_the_checker_rounds():
    assert not Flag(0, cosine=0.5004, threshold=0.5).flagged
    assert Flag(0, cosine=0.5006, threshold=0.5).flagged


def test_what_is_flagged_keeps_its_pixels(tiny):
    flag_everything(tiny)
    image = decode(tiny, torch.zeros(1, 4, 4, 4))[0]
    before = image.tobytes()
    assert flags(tiny, [image])[0].flagged
    assert image.tobytes() == before
    assert flags(tiny, []) == []


def test_more_pictures_than_a_batch_come_back_in_order(pocket, pictures):
    found = flags(pocket, pictures)
    torch.testing.assert_close(
        torch.tensor([flag.cosine for flag in found[-8:]]),
        torch.tensor([flag.cosine for flag in flags(pocket, pictures[-8:])]),
    )


def test_a_pipeline_without_a_checker_is_refused(tiny, pictures):
    tiny.safety_checker = None
    with pytest.raises(ValueError, match="has no safety checker"):
        flags(tiny, pictures[:1])


def test_a_flag_reads_as_a_sentence_in_the_language_set():
    assert str(Flag(0, 0.31, 0.2)) == "flagged: 0.310 > 0.200"
    set_language("es")
    assert str(Flag(0, 0.31, 0.2)) == "marcada: 0.310 > 0.200"
    assert str(Flag(0, 0.1, 0.2)) == "pasa: 0.100 ≤ 0.200"
