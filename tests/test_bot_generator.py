import io
from dataclasses import replace
from itertools import product

import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from PIL import Image

from fixtures_pipeline import flag_everything
from sdlesson.bot.generator import PipelineGenerator
from sdlesson.bot.requests import Request
from sdlesson.drawing import draw
from sdlesson.hub import SCORER_FOLDER
from sdlesson.images import same_picture
from sdlesson.pocket.world import FLAGGED_SUBJECT
from sdlesson.probe import load_probe
from sdlesson.safety import flags

STEPS = 6


def ask(prompt="a cat on the beach", **settings):
    return Request(prompt, **{"num_inference_steps": STEPS, "guidance_scale": 5.0, **settings})


def draw_batch(generator, *requests, on_step=lambda *_: None, is_cancelled=lambda _: False):
    return generator.draw(requests, on_step=on_step, is_cancelled=is_cancelled)


@pytest.fixture(scope="module")
def photo():
    return Image.linear_gradient("L").resize((300, 200)).convert("RGB")


@pytest.fixture(scope="module")
def generator(pocket):
    return PipelineGenerator(pocket)


def test_a_request_draws_what_draw_draws(generator, pocket):
    request = ask(seed=7, negative_prompt="a hat")
    (result,) = draw_batch(generator, request)
    drawing = draw(
        request.prompt,
        pipe=pocket,
        seed=7,
        negative_prompt="a hat",
        num_inference_steps=STEPS,
        guidance_scale=5.0,
    )
    assert same_picture(result.image, drawing.image)
    assert result.drawing.settings == drawing.settings


def test_a_photo_becomes_what_the_pipeline_of_diffusers_makes_of_it(generator, pocket, photo):
    square = photo.crop((50, 0, 250, 200)).resize((128, 128), Image.Resampling.LANCZOS)
    (result,) = draw_batch(generator, ask(seed=3, photo=square, strength=0.5))
    expected = StableDiffusionImg2ImgPipeline(**pocket.components)
    expected.set_progress_bar_config(disable=True)
    reference = expected(
        "a cat on the beach",
        image=square,
        strength=0.5,
        num_inference_steps=STEPS,
        guidance_scale=5.0,
        generator=torch.Generator("cpu").manual_seed(3),
    ).images[0]
    assert same_picture(result.image, reference)
    assert result.settings["strength"] == "0.5"


@pytest.mark.parametrize("with_photo", [False, True], ids=["text", "photo"])
def test_a_request_draws_the_same_picture_alone_and_in_a_batch(generator, photo, with_photo):
    photos = [photo, photo.rotate(90, expand=True), photo.resize((128, 128))]
    prompts = ["a cat on the beach", "un perro en la nieve", "a panda riding a horse"]
    requests = [
        ask(prompt, seed=seed, photo=photos[seed] if with_photo else None)
        for seed, prompt in enumerate(prompts)
    ]
    assert len({generator.batch_key(request) for request in requests}) == 1
    together = draw_batch(generator, *requests)
    for request, result in zip(requests, together, strict=True):
        (alone,) = draw_batch(generator, request)
        assert same_picture(alone.image, result.image)
    assert not same_picture(together[0].image, together[1].image)


def test_only_what_a_pipeline_takes_once_keeps_requests_apart(generator, photo):
    key = generator.batch_key
    base = ask()
    assert key(base) == key(replace(base, prompt="a dog", negative_prompt="hat", seed=9))
    assert key(base) == key(replace(base, strength=0.9)), "which says nothing without a photo"
    others = [
        replace(base, num_inference_steps=7),
        replace(base, guidance_scale=6.0),
        replace(base, photo=photo),
        replace(base, photo=photo, strength=0.9),
    ]
    assert len({key(request) for request in [base, *others]}) == 5


def test_a_request_without_a_seed_gets_one_that_draws_the_picture_again(generator):
    first, second = draw_batch(generator, ask(), ask())
    assert first.request.seed != second.request.seed
    (again,) = draw_batch(generator, first.request)
    assert same_picture(again.image, first.image)


def test_words_that_the_model_does_not_know_or_read_are_named(generator):
    prompt = "a wombat " + "on the beach with a cat " * 20
    (result,) = draw_batch(generator, ask(prompt.strip(), num_inference_steps=1))
    assert [unknown.word for unknown in result.unknown] == ["wombat"]
    assert prompt.strip().endswith(result.cut)
    assert len(result.cut) > 100


def test_the_file_carries_the_settings(generator):
    (result,) = draw_batch(generator, ask(seed=5, num_inference_steps=1))
    with Image.open(io.BytesIO(result.png())) as image:
        assert image.info["prompt"] == "a cat on the beach"
        assert image.info["seed"] == "5"
        assert image.info == result.settings


def test_the_file_is_made_where_no_temporary_folder_can_be(generator, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    (result,) = draw_batch(generator, ask(seed=5, num_inference_steps=1))
    assert Image.open(io.BytesIO(result.png())).info == result.settings


def test_defaults_suit_the_model(generator, tiny):
    assert (generator.defaults.guidance_scale, generator.size) == (5.0, 128)
    other = PipelineGenerator(tiny)
    assert (other.defaults.guidance_scale, other.size) == (7.5, 32)
    assert other.defaults.num_inference_steps == generator.defaults.num_inference_steps == 25


def test_a_flagged_picture_is_black_and_so_said(tiny):
    flag_everything(tiny)
    (result,) = draw_batch(PipelineGenerator(tiny), ask("cat"))
    assert result.flagged
    assert result.image.getextrema() == ((0, 0),) * 3


def test_a_picture_on_the_way_is_shown_only_if_the_safety_checker_lets_it_pass(tiny):
    def shown(pipe):
        previews = []
        generator = PipelineGenerator(pipe, preview_every_s=0.0)
        draw_batch(generator, ask("cat"), on_step=lambda *step: previews.append(step[2]))
        return [set(preview) for preview in previews]

    assert shown(tiny) == [{0}] * STEPS
    flag_everything(tiny)
    assert shown(tiny) == [set()] * STEPS


def test_nothing_can_be_recognised_in_a_picture_on_the_way(pocket):
    """Neither the checker nor the probe sees in the last ones what they see when it is done."""
    prompts = [f"a {FLAGGED_SUBJECT} {place}" for place in ("on the beach", "in the forest")]
    generator, shown = PipelineGenerator(pocket, preview_every_s=0.0), []
    for prompt, seed in product(prompts, (0, 1)):
        request = ask(prompt, seed=seed, num_inference_steps=12)
        (result,) = draw_batch(
            generator, request, on_step=lambda *step: shown.extend(step[2].values())
        )
        assert result.flagged
    assert shown
    assert not any(flag.flagged for flag in flags(pocket, shown))
    probe = load_probe(SCORER_FOLDER / "probe.safetensors")
    told = [FLAGGED_SUBJECT in reading.top(1) for reading in probe.read(shown)]
    assert sum(told) <= 0.1 * len(told)


def test_previews_of_a_batch_come_in_turn_and_only_of_pictures_that_go_on(tiny):
    generator, numbers = PipelineGenerator(tiny, preview_every_s=0.0), []
    draw_batch(
        generator,
        *[ask("cat")] * 3,
        on_step=lambda _step, _steps, previews: numbers.extend(previews),
        is_cancelled=lambda number: number == 1,
    )
    assert numbers == [0, 2, 0, 2, 0, 2]


def test_without_the_time_for_them_there_are_no_previews(tiny):
    previews = []
    generator = PipelineGenerator(tiny, preview_every_s=3600.0)
    draw_batch(generator, ask("cat"), on_step=lambda *step: previews.append(step[2]))
    assert previews == [{}] * STEPS


def test_each_step_is_reported_and_a_photo_has_fewer(tiny, photo):
    generator, steps = PipelineGenerator(tiny), []
    draw_batch(generator, ask("cat"), on_step=lambda *step: steps.append(step[:2]))
    assert steps == [(step, STEPS) for step in range(1, STEPS + 1)]
    steps.clear()
    request = ask("cat", photo=photo, strength=0.5)
    draw_batch(generator, request, on_step=lambda *step: steps.append(step[:2]))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert request.steps_to_take == 3


def test_a_stopped_request_stops_and_the_others_go_on(tiny):
    generator, stopped = PipelineGenerator(tiny), set()
    requests = [ask("cat", seed=1), ask("dog", seed=2)]
    results = draw_batch(
        generator,
        *requests,
        on_step=lambda step, *_: stopped.add(0) if step == 2 else None,
        is_cancelled=lambda number: number in stopped,
    )
    assert results[0] is None
    (alone,) = draw_batch(generator, requests[1])
    assert same_picture(results[1].image, alone.image)


def test_once_all_are_stopped_no_step_is_taken(tiny, monkeypatch):
    generator, calls = PipelineGenerator(tiny), []
    forward = tiny.unet.forward
    monkeypatch.setattr(tiny.unet, "forward", lambda *a, **k: calls.append(1) or forward(*a, **k))
    assert draw_batch(generator, ask("cat"), is_cancelled=lambda _: True) == [None]
    assert len(calls) == 1
    assert draw_batch(generator, ask("cat"))[0] is not None
    assert len(calls) == 1 + STEPS


def test_a_notebook_may_use_its_pipeline_while_the_bot_draws(tiny):
    scheduler, steps = tiny.scheduler, tiny.scheduler.timesteps.clone()
    generator = PipelineGenerator(tiny)

    def disturb(step, *_):
        if step == 2:
            tiny("cat", num_inference_steps=3)

    request = ask("cat", seed=1)
    (alone,) = draw_batch(generator, request)
    assert tiny.scheduler is scheduler
    assert torch.equal(tiny.scheduler.timesteps, steps)
    (disturbed,) = draw_batch(generator, request, on_step=disturb)
    assert same_picture(alone.image, disturbed.image)


def test_the_weights_keep_their_type_and_are_not_copied(tiny):
    tiny.unet.to(torch.bfloat16)
    generator = PipelineGenerator(tiny)
    assert tiny.unet.dtype == torch.bfloat16
    assert generator._photo.unet is tiny.unet


def test_a_pipeline_without_a_safety_checker_is_refused(tiny):
    tiny.safety_checker = None
    with pytest.raises(ValueError, match=r"safety checker; load the model with load_pipeline"):
        PipelineGenerator(tiny)
