import math
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from fixtures_pipeline import flag_everything, make_tiny_pipeline
from PIL import Image

import sdlesson
from sdlesson import hub, pipelines
from sdlesson.hub import ModelError
from sdlesson.images import picture_difference, read_settings, same_picture
from sdlesson.pipelines import draw, load_pipeline

ASTRONAUT = "an astronaut riding a horse on Mars"


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    make_tiny_pipeline(tmp_path_factory.mktemp("letters")).save_pretrained(folder)
    return folder


@pytest.fixture
def tiny(tiny_folder: Path) -> StableDiffusionPipeline:
    """A pipeline that a test may spoil."""
    pipe = load_pipeline(tiny_folder, device="cpu")
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def pocket() -> StableDiffusionPipeline:
    return load_pipeline("pocket", device="cpu")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that were looked for; none of them is found."""
    names: list[str] = []

    def find_nothing(model: str, *, half: bool) -> tuple[Path, str]:
        names.append(model)
        raise ModelError("nothing here")

    monkeypatch.setattr(hub, "find_model", find_nothing)
    return names


def test_the_pocket_model_is_a_plain_pipeline_in_float32(pocket: StableDiffusionPipeline) -> None:
    assert type(pocket) is StableDiffusionPipeline
    parts = (pocket.unet, pocket.vae, pocket.text_encoder, pocket.safety_checker)
    assert {part.dtype for part in parts} == {torch.float32}
    assert {part.device.type for part in parts} == {"cpu"}


def test_loading_warns_of_nothing(tiny_folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_pipeline(tiny_folder, device="cpu", dtype=torch.float32)


@pytest.mark.parametrize(("device", "model"), [("cuda", "sd15"), ("mps", "pocket")])
def test_the_default_model_follows_the_machine(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, device: str, model: str
) -> None:
    monkeypatch.setattr(pipelines, "best_device", lambda: device)
    with pytest.raises(ModelError):
        load_pipeline()
    assert asked == [model]


def test_on_a_cpu_the_default_is_the_pocket_model(asked: list[str]) -> None:
    with pytest.raises(ModelError):
        load_pipeline(device="cpu")
    assert asked == ["pocket"]


def test_the_environment_chooses_the_default_and_the_argument_beats_it(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDLESSON_MODEL", "ana/from-environment")
    for model in (None, "ana/argument"):
        with pytest.raises(ModelError):
            load_pipeline(model)
    assert asked == ["ana/from-environment", "ana/argument"]


def test_sd15_without_a_gpu_is_refused_before_any_download(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines, "best_device", lambda: "cpu")
    with pytest.raises(ModelError, match=r"sd15 needs a GPU.*'pocket'.*Runtime"):
        load_pipeline("sd15")
    assert asked == []


def test_sd15_on_a_cpu_by_name_is_allowed_and_says_how_slow_it_is(
    asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError, match="nothing here"):
        load_pipeline("sd15", device="cpu")
    assert "minutes" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", torch.device("cuda")])
def test_cuda_without_a_gpu_is_one_sentence(device: str | torch.device) -> None:
    with pytest.raises(ValueError, match=r"device='cuda.*not on this machine, which has cpu"):
        load_pipeline("pocket", device=device)


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(ValueError, match="device='gpu' is not on this machine"):
        load_pipeline("pocket", device="gpu")


@pytest.mark.parametrize("dtype", ["float16", "fp16", torch.int8, torch.float64])
def test_a_dtype_that_would_be_ignored_is_refused(dtype: object) -> None:
    with pytest.raises(ValueError, match=r"must be one of torch\.float32"):
        load_pipeline("pocket", device="cpu", dtype=dtype)  # type: ignore[arg-type]


def test_half_precision_on_a_cpu_is_refused() -> None:
    with pytest.raises(ValueError, match=r"torch\.float16 needs device='cuda'"):
        load_pipeline("pocket", device="cpu", dtype=torch.float16)


def test_draw_is_exactly_the_pipeline_called_directly(tiny: StableDiffusionPipeline) -> None:
    settings = {"negative_prompt": "hat", "num_inference_steps": 3, "guidance_scale": 3.0}
    size = {"height": 40, "width": 24}
    generator = torch.Generator("cpu").manual_seed(5)
    theirs = tiny("a cat", generator=generator, **settings, **size).images[0]
    ours = draw("a cat", pipe=tiny, seed=5, report=_silent, **settings, **size).image
    assert ours.size == (24, 40)
    assert np.array_equal(ours, theirs)


def test_the_same_seed_draws_the_same_picture_and_another_does_not(
    pocket: StableDiffusionPipeline,
) -> None:
    first, again, other = (
        draw("a cat on the beach", pipe=pocket, seed=seed, num_inference_steps=4).image
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not same_picture(first, other)
    assert first.size == (128, 128)


def test_without_a_seed_one_is_chosen_that_draws_the_picture_again(
    tiny: StableDiffusionPipeline,
) -> None:
    first, second = (draw("a cat", pipe=tiny, num_inference_steps=2) for _ in range(2))
    again = draw("a cat", pipe=tiny, num_inference_steps=2, seed=first.seed)
    assert first.seed != second.seed
    assert np.array_equal(first.image, again.image)


def test_a_saved_picture_says_how_to_draw_it_again(
    pocket: StableDiffusionPipeline, tmp_path: Path
) -> None:
    drawing = draw(ASTRONAUT, pipe=pocket, negative_prompt="hat", num_inference_steps=3, seed=9)
    drawing.save(tmp_path / "mars.png")
    found = read_settings(tmp_path / "mars.png")
    assert found["model"] == "pocket"
    again = draw(
        found["prompt"],
        pipe=pocket,
        negative_prompt=found["negative_prompt"],
        seed=int(found["seed"]),
        num_inference_steps=int(found["num_inference_steps"]),
        guidance_scale=float(found["guidance_scale"]),
        height=int(found["height"]),
        width=int(found["width"]),
    )
    assert np.array_equal(again.image, Image.open(tmp_path / "mars.png"))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"prompt": ""}, r"prompt='' must be a text"),
        ({"prompt": " \n"}, "must be a text"),
        ({"prompt": None}, "prompt=None must be a text"),
        ({"num_inference_steps": 0}, "num_inference_steps=0 must be .* 1 to 1000; try 25"),
        ({"num_inference_steps": -1}, "num_inference_steps=-1 must be"),
        ({"num_inference_steps": 1001}, "from 1 to 1000"),
        ({"num_inference_steps": 2.5}, "a whole number"),
        ({"num_inference_steps": True}, "a whole number"),
        ({"guidance_scale": math.nan}, "guidance_scale=nan must be a number"),
        ({"guidance_scale": math.inf}, "guidance_scale=inf must be"),
        ({"guidance_scale": -1.0}, "guidance_scale=-1.0 must be"),
        ({"height": 100}, "height=100 must be a multiple of 8; try 96"),
        ({"width": 1}, "width=1 must be a multiple of 8; try 8"),
        ({"width": 0}, "width=0 must be a multiple of 8; try 8"),
        ({"height": -8}, "height=-8 must be a multiple of 8; try 8"),
        ({"seed": -1}, "seed=-1 must be a whole number from 0"),
        ({"seed": 2**64}, "must be a whole number from 0"),
    ],
)
def test_a_setting_out_of_range_is_one_sentence_before_anything_is_loaded(
    asked: list[str], settings: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        draw(**{"prompt": "a cat", "pipe": "pocket", **settings})
    assert "\n" not in str(caught.value)
    assert asked == []


def test_the_largest_seed_draws(tiny: StableDiffusionPipeline) -> None:
    assert draw("a", pipe=tiny, seed=pipelines.MAX_SEED, num_inference_steps=1).image


def test_draw_loads_the_model_it_is_given_by_name(tiny_folder: Path) -> None:
    drawing = draw("a cat", pipe=os.fspath(tiny_folder), num_inference_steps=1)
    assert drawing.model == os.fspath(tiny_folder)


def test_words_the_pocket_model_does_not_know_are_named_with_suggestions(
    pocket: StableDiffusionPipeline,
) -> None:
    notes: list[str] = []
    draw("a quokka and an astronat", pipe=pocket, num_inference_steps=1, report=notes.append)
    assert len(notes) == 1
    assert '"quokka"' in notes[0]
    assert '"astronat" (try "astronaut"' in notes[0]


def test_other_models_are_not_held_to_the_pocket_models_words(
    tiny: StableDiffusionPipeline,
) -> None:
    notes: list[str] = []
    draw("a quokka", pipe=tiny, num_inference_steps=1, report=notes.append)
    assert notes == []


def test_notes_speak_the_language_set(pocket: StableDiffusionPipeline) -> None:
    sdlesson.set_language("es")
    notes: list[str] = []
    draw("un gatto en la playa", pipe=pocket, num_inference_steps=1, report=notes.append)
    assert "nunca ha visto" in notes[0]
    assert 'prueba "gato"' in notes[0]


def test_words_past_the_pocket_models_window_are_named(pocket: StableDiffusionPipeline) -> None:
    notes: list[str] = []
    prompt = "a cat " * 20 + "and a dog"
    draw(prompt, pipe=pocket, num_inference_steps=1, report=notes.append)
    assert "32 tokens" in notes[0]
    assert notes[0].endswith("and a dog")


def test_words_cut_from_the_negative_prompt_are_named_too(tiny: StableDiffusionPipeline) -> None:
    notes: list[str] = []
    long = "abcdefghijklmn opq"
    draw("a", negative_prompt=long, pipe=tiny, num_inference_steps=1, report=notes.append)
    assert [note.rsplit(" ", 1)[-1] for note in notes] == ["opq"]


def test_a_flagged_picture_is_said_to_be_flagged(tiny: StableDiffusionPipeline) -> None:
    notes: list[str] = []
    flag_everything(tiny)
    drawing = draw("a cat", pipe=tiny, num_inference_steps=1, report=notes.append)
    assert drawing.flagged
    assert drawing.image.getextrema() == ((0, 0),) * 3
    assert "safety checker" in notes[0]


def test_a_pipeline_without_a_safety_checker_draws(tiny: StableDiffusionPipeline) -> None:
    tiny.safety_checker = None
    assert not draw("a cat", pipe=tiny, num_inference_steps=1).flagged


def test_latents_that_are_no_number_do_not_become_a_black_picture(
    tiny: StableDiffusionPipeline,
) -> None:
    torch.nn.init.constant_(tiny.unet.conv_out.bias, math.nan)
    with pytest.raises(ModelError, match=r"NaN: lower guidance_scale"):
        draw("a cat", pipe=tiny, num_inference_steps=1)


def test_a_vae_that_overflows_in_half_precision_decodes_in_full_precision(
    tiny: StableDiffusionPipeline,
) -> None:
    tiny.to(torch.bfloat16)  # stands for float16, which a CPU barely runs
    right = draw("a cat", pipe=tiny, num_inference_steps=2, seed=0).image
    tiny.vae.decoder.conv_in.register_forward_hook(_overflow_in_half_precision)
    rescued = draw("a cat", pipe=tiny, num_inference_steps=2, seed=0).image
    assert picture_difference(right, rescued).mean_error < 4 / 255
    assert tiny.vae.dtype == torch.bfloat16


def test_loading_and_drawing_show_a_progress_bar(
    tiny_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    draw("a cat", pipe=os.fspath(tiny_folder), num_inference_steps=2)
    assert "2/2" in capfd.readouterr().err


def _overflow_in_half_precision(
    module: torch.nn.Module, inputs: object, output: torch.Tensor
) -> torch.Tensor:
    return output if output.dtype == torch.float32 else output * math.inf


def _silent(note: str) -> None:
    """Say nothing."""
