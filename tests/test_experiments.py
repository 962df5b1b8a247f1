import io
import itertools
import math
import warnings
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig
from PIL import Image

import sdlesson
from fixtures_pipeline import flag_everything
from sdlesson.diffusion import fresh_scheduler
from sdlesson.drawing import Drawing, draw
from sdlesson.experiments import Sweep, sweep
from sdlesson.experiments.batched_drawing import PictureSettings, suitable_batch_size
from sdlesson.experiments.picture_cache import fingerprint
from sdlesson.images import read_settings, same_picture


def unet_rows(pipe: StableDiffusionPipeline) -> list[int]:
    """How many latents the U-Net is shown at each call from now on."""
    seen: list[int] = []
    pipe.unet.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    return seen


def stop_after(pipe: StableDiffusionPipeline, calls: int) -> Callable[[], None]:
    """Press the stop button at a later call of the U-Net; returns what takes the finger off it."""
    left = [calls]

    def press(module: torch.nn.Module, inputs: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt

    return pipe.unet.register_forward_pre_hook(press).remove


def drawn_alone(pipe: StableDiffusionPipeline, drawing: Drawing) -> Image.Image:
    """The picture that `draw` gives with the settings of one of a sweep."""
    parts = pipe.components | {"scheduler": fresh_scheduler(pipe, drawing.scheduler)}
    other = StableDiffusionPipeline(**parts)
    other.set_progress_bar_config(disable=True)
    width, height = drawing.image.size
    return draw(
        drawing.prompt,
        pipe=other,
        negative_prompt=drawing.negative_prompt,
        seed=drawing.seed,
        num_inference_steps=drawing.num_inference_steps,
        guidance_scale=drawing.guidance_scale,
        height=height,
        width=width,
    ).image


def colours(*names: str) -> Sweep:
    """A sweep of flat pictures, two seeds to each guidance scale."""
    drawings = [
        Drawing(
            image=Image.new("RGB", (40, 30), name),
            prompt="a cat",
            negative_prompt="",
            seed=index % 2,
            num_inference_steps=25,
            guidance_scale=1.0 + index // 2,
            scheduler="DDIMScheduler",
            model="pocket",
            flagged=name == "black",
        )
        for index, name in enumerate(names)
    ]
    return Sweep(drawings, [float(index) for index in range(len(names))])


def places(grid: Image.Image, *names: str) -> list[tuple[int, int]]:
    """Where the middle of each flat colour lies in a grid."""
    pixels = np.asarray(grid)
    masks = [(pixels == Image.new("RGB", (1, 1), name).getpixel((0, 0))).all(-1) for name in names]
    return [tuple(int(axis.mean()) for axis in reversed(mask.nonzero())) for mask in masks]


# What is drawn.


def test_every_combination_is_drawn_and_the_seed_changes_fastest(
    tiny: StableDiffusionPipeline,
) -> None:
    drawn = sweep(tiny, ["a", "b"], guidance_scale=[1, 7.5], seed=range(2), num_inference_steps=1)
    found = [(row["prompt"], row["guidance_scale"], row["seed"]) for row in drawn.rows]
    assert found == list(product("ab", [1.0, 7.5], [0, 1]))
    assert [drawing.prompt for drawing in drawn] == [row["prompt"] for row in drawn.rows]
    assert {row["scheduler"] for row in drawn.rows} == {"DDIMScheduler"}
    assert {(row["height"], row["width"]) for row in drawn.rows} == {(32, 32)}


@pytest.mark.parametrize(
    "scheduler",
    [
        "DDIMScheduler",
        "PNDMScheduler",
        "EulerDiscreteScheduler",
        "DPMSolverMultistepScheduler",
        "EulerAncestralDiscreteScheduler",
        "HeunDiscreteScheduler",
    ],
)
def test_each_picture_is_the_one_that_draw_gives(
    tiny: StableDiffusionPipeline, scheduler: str
) -> None:
    drawn = sweep(
        tiny,
        ["a cat", "a dog"],
        negative_prompt=["", "hat"],
        guidance_scale=[0.5, 1.0, 3.0],
        num_inference_steps=[2, 5],
        scheduler=scheduler,
        seed=[5, 6],
        height=40,
        batch_size=3,
    )
    assert len(drawn) == 48
    assert all(drawing.image.size == (32, 40) for drawing in drawn)
    for drawing in drawn[::5]:
        assert same_picture(drawing.image, drawn_alone(tiny, drawing))


def test_the_pocket_models_pictures_are_the_ones_that_draw_gives(
    pocket: StableDiffusionPipeline,
) -> None:
    prompts = ["a cat on the beach", "un robot en la nieve"]
    drawn = sweep(pocket, prompts, guidance_scale=[1.0, 7.5], num_inference_steps=6)
    for drawing in drawn:
        assert same_picture(drawing.image, drawn_alone(pocket, drawing))
        assert drawing.model == "pocket"


@pytest.mark.gpu
def test_in_half_precision_on_a_gpu_the_pictures_are_the_ones_that_draw_gives() -> None:
    pipe = sdlesson.load_pipeline("pocket", device="cuda")
    for drawing in sweep(pipe, "a cat on the beach", guidance_scale=[1.0, 5.0], seed=range(3)):
        assert same_picture(drawing.image, drawn_alone(pipe, drawing))


def test_the_pipe_and_the_global_noise_are_left_as_they_were(
    tiny: StableDiffusionPipeline,
) -> None:
    before, noise = tiny.scheduler, torch.get_rng_state()
    sweep(tiny, "a", scheduler=[None, "EulerAncestralDiscreteScheduler"], num_inference_steps=2)
    assert tiny.scheduler is before
    assert before.num_inference_steps is None
    assert torch.equal(torch.get_rng_state(), noise)


def test_a_value_from_numpy_is_taken_as_a_plain_one(tiny: StableDiffusionPipeline) -> None:
    drawn = sweep(
        tiny, "a", guidance_scale=np.linspace(1, 3, 2), seed=np.arange(2), num_inference_steps=1
    )
    assert [type(drawn.rows[0][name]) for name in ("guidance_scale", "seed")] == [float, int]


# Batches.


def test_pictures_share_batches_and_without_guidance_have_no_second_half(
    tiny: StableDiffusionPipeline,
) -> None:
    seen = unet_rows(tiny)
    sweep(tiny, ["a", "b"], guidance_scale=[1, 2, 3], num_inference_steps=1, batch_size=3)
    assert seen == [2, 6, 2]


def test_only_one_number_of_steps_and_one_scheduler_share_a_batch(
    tiny: StableDiffusionPipeline,
) -> None:
    seen = unet_rows(tiny)
    schedulers = ["DDIMScheduler", "EulerDiscreteScheduler"]
    sweep(tiny, "a", num_inference_steps=[1, 2], scheduler=schedulers, seed=range(2))
    assert seen == [4] * 6


def test_each_text_is_encoded_once(tiny: StableDiffusionPipeline) -> None:
    texts: list[int] = []
    tiny.text_encoder.register_forward_pre_hook(lambda module, inputs: texts.append(len(inputs[0])))
    sweep(tiny, ["a", "b"], negative_prompt=["", "c"], seed=range(3), num_inference_steps=1)
    assert texts == [1] * 4


def test_a_batch_is_as_large_as_suits_device_and_picture(tiny: StableDiffusionPipeline) -> None:
    def size(side: int) -> int:
        return suitable_batch_size(
            tiny, PictureSettings("a", "", "DDIMScheduler", 1, 7.5, side, side, 0)
        )

    assert [size(side) for side in (64, 128, 256, 512)] == [32, 8, 2, 1]


def test_a_batch_that_does_not_fit_the_gpu_is_halved_and_the_rest_drawn(
    tiny: StableDiffusionPipeline,
) -> None:
    right = sweep(tiny, "a", seed=range(7), num_inference_steps=2)
    fit: list[int] = []

    def run_out(module: torch.nn.Module, inputs: Any) -> None:
        if len(inputs[0]) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        fit.append(len(inputs[0]))

    tiny.unet.register_forward_pre_hook(run_out)
    drawn = sweep(tiny, "a", seed=range(7), num_inference_steps=2, batch_size=7)
    assert fit == [2] * 14  # seven pictures did not fit, and three of them did not
    assert all(same_picture(a, b) for a, b in zip(drawn.images, right.images, strict=True))


def test_one_picture_that_does_not_fit_is_an_error(tiny: StableDiffusionPipeline) -> None:
    def run_out(module: torch.nn.Module, inputs: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    tiny.unet.register_forward_pre_hook(run_out)
    with pytest.raises(torch.OutOfMemoryError):
        sweep(tiny, "a", seed=range(4), num_inference_steps=1)


# What is refused, and what is said.


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"prompt": []}, r"prompt=\[\] is empty"),
        ({"prompt": ["a", " "]}, "prompt=' ' must be a text"),
        ({"negative_prompt": ["", None]}, "negative_prompt=None must be a text"),
        ({"seed": [0, 1, 0]}, "seed has 0 more than once"),
        ({"seed": [1, -1]}, "seed=-1 must be a whole number"),
        ({"num_inference_steps": [25, 0]}, "num_inference_steps=0 must be .* try 25"),
        ({"guidance_scale": [1, math.nan]}, "guidance_scale=nan must be a number"),
        ({"guidance_scale": [1, 1.0]}, "guidance_scale has 1.0 more than once"),
        ({"scheduler": "DDIM"}, "scheduler='DDIM' must be one of DDIMScheduler"),
        ({"scheduler": [None, "DDIMScheduler"]}, "'DDIMScheduler' more than once"),
        ({"height": [32, 30]}, "height=30 must be a multiple of 8; try 32"),
        ({"width": 0}, "width=0 must be a multiple of 8"),
        ({"batch_size": 0}, "batch_size=0 must be"),
        ({"folder": 5}, "folder=5 must be the path of a folder"),
        ({"folder": ""}, "folder='' must be the path of a folder"),
        ({"folder": b"x"}, "folder=b'x' must be the path of a folder"),
        ({"folder": "a\0b"}, "cannot be made: embedded null byte"),
        ({"prompt": b"ab"}, "prompt=b'ab' must be a text"),
        ({"seed": b"ab"}, "seed=b'ab' must be a whole number"),
        ({"seed": np.array(5)}, r"seed=array\(5\) must be a whole number"),
        ({"seed": itertools.count()}, "seed has more than 10,000 values"),
        ({"scheduler": [["DDIMScheduler"]]}, "must be the name of a class"),
        ({"report": None}, "report=None must be a function"),
        ({"pipe": "pocket"}, r"pipe='pocket' must be a loaded .*load_pipeline\('pocket'\)"),
        ({"pipe": None}, "pipe=None must be a loaded pipeline"),
    ],
)
def test_a_bad_value_is_one_sentence_before_anything_is_drawn(
    tiny: StableDiffusionPipeline, tmp_path: Path, settings: dict[str, Any], sentence: str
) -> None:
    seen = unet_rows(tiny)
    with pytest.raises(ValueError, match=sentence) as caught:
        sweep(**{"pipe": tiny, "prompt": "a", "folder": tmp_path / "new", **settings})
    assert "\n" not in str(caught.value)
    assert seen == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_is_refused_before_anything_is_drawn(
    tiny: StableDiffusionPipeline, tmp_path: Path
) -> None:
    seen = unet_rows(tiny)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"file' cannot be made: .*; choose another"):
        sweep(tiny, "a", folder=tmp_path / "file")
    assert seen == []


def test_words_that_the_model_does_not_know_are_named_once(
    pocket: StableDiffusionPipeline,
) -> None:
    notes: list[str] = []
    prompts = ["a quokka", "a cat"]
    sweep(pocket, prompts, seed=range(2), num_inference_steps=1, report=notes.append)
    assert ['"quokka"' in note for note in notes] == [True]


def test_flagged_pictures_are_recorded_and_said(tiny: StableDiffusionPipeline) -> None:
    flag_everything(tiny)
    notes: list[str] = []
    drawn = sweep(tiny, "a", seed=range(3), num_inference_steps=1, report=notes.append)
    assert all(row["flagged"] for row in drawn.rows)
    assert drawn.images[2].getextrema() == ((0, 0),) * 3
    assert notes[0].startswith("The safety checker flagged 3 of 3 pictures")


@pytest.mark.parametrize(
    ("language", "done", "left"),
    [("en", "2 of 2 pictures", "00:00 left"), ("es", "2 de 2 imágenes", "quedan 00:00")],
)
def test_progress_counts_pictures_and_the_time_left_in_the_language_set(
    tiny: StableDiffusionPipeline,
    capfd: pytest.CaptureFixture[str],
    language: str,
    done: str,
    left: str,
) -> None:
    sdlesson.set_language(language)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # PNDM takes one step more, and tqdm warns beyond the end
        sweep(tiny, "a", seed=range(2), num_inference_steps=3, scheduler="PNDMScheduler")
    last = capfd.readouterr().err.rsplit("\r", 1)[-1]
    assert done in last
    assert left in last
    assert "100%" in last


def test_progress_is_silent_where_tqdm_is(
    tiny: StableDiffusionPipeline,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TQDM_DISABLE", "1")
    sweep(tiny, "a", num_inference_steps=1)
    assert capfd.readouterr() == ("", "")


# Stopped, and gone on.


@pytest.mark.parametrize("keeps_files", [True, False], ids=["folder", "memory"])
def test_a_stopped_sweep_goes_on_where_it_was(
    tiny: StableDiffusionPipeline, tmp_path: Path, keeps_files: bool
) -> None:
    settings: dict[str, Any] = {"seed": range(6), "num_inference_steps": 2, "batch_size": 2}
    whole = sweep(tiny, "a", **settings)
    settings["folder"] = tmp_path / "sweep" if keeps_files else None
    notes: list[str] = []
    release = stop_after(tiny, calls=5)
    with pytest.raises(KeyboardInterrupt):
        sweep(tiny, "a", **settings, report=notes.append)
    release()
    assert notes == ["Stopped after 4 of 6 pictures; run this again and it goes on from there."]
    seen = unet_rows(tiny)
    drawn = sweep(tiny, "a", **settings)
    assert seen == [4, 4]
    assert all(same_picture(a, b) for a, b in zip(drawn.images, whole.images, strict=True))
    assert [drawing.settings for drawing in drawn] == [drawing.settings for drawing in whole]


def test_a_sweep_with_other_values_takes_over_what_was_drawn(
    tiny: StableDiffusionPipeline,
) -> None:
    release = stop_after(tiny, calls=2)
    with pytest.raises(KeyboardInterrupt):
        sweep(tiny, "a", seed=range(4), num_inference_steps=1, batch_size=1, report=_silent)
    release()
    seen = unet_rows(tiny)
    sweep(tiny, "a", seed=[1, 7], num_inference_steps=1, batch_size=1)
    assert len(seen) == 1


def test_a_stopped_sweep_outlives_every_other_sweep_on_the_pipe(
    tiny: StableDiffusionPipeline, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"num_inference_steps": 1, "batch_size": 1}
    release = stop_after(tiny, calls=3)
    with pytest.raises(KeyboardInterrupt):
        sweep(tiny, "a", seed=range(5), **settings, report=_silent)
    release()
    sweep(tiny, "another", **settings)
    sweep(tiny, "a", seed=[0, 1], **settings)  # a part of it, which is complete
    sweep(tiny, "a", seed=range(5), **settings, folder=tmp_path)
    seen = unet_rows(tiny)
    sweep(tiny, "a", seed=range(5), **settings)
    assert len(seen) == 2
    sweep(tiny, "a", seed=range(5), **settings)  # complete now, and so not kept
    assert len(seen) == 2 + 5


def test_two_stopped_sweeps_both_go_on(tiny: StableDiffusionPipeline) -> None:
    settings: dict[str, Any] = {"num_inference_steps": 1, "batch_size": 1, "report": _silent}
    for prompt in ("a", "b"):
        release = stop_after(tiny, calls=2)
        with pytest.raises(KeyboardInterrupt):
            sweep(tiny, prompt, seed=range(3), **settings)
        release()
    seen = unet_rows(tiny)
    for prompt in ("b", "a"):
        sweep(tiny, prompt, seed=range(3), **settings)
    assert len(seen) == 2


def test_without_a_folder_a_complete_sweep_is_not_kept(tiny: StableDiffusionPipeline) -> None:
    seen = unet_rows(tiny)
    for _ in range(2):
        sweep(tiny, "a", num_inference_steps=1)
    assert len(seen) == 2


def test_with_a_folder_the_model_loaded_anew_draws_nothing_again(
    tiny: StableDiffusionPipeline, tiny_folder: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"seed": [3, 4], "num_inference_steps": 2, "folder": tmp_path}
    first = sweep(tiny, "un año: ¿sí/no?", guidance_scale=[1, 3], **settings)
    anew = sdlesson.load_pipeline(tiny_folder, device="cpu")
    seen = unet_rows(anew)
    again = sweep(anew, "un año: ¿sí/no?", guidance_scale=[1, 3], **settings)
    assert seen == []
    assert again.rows == first.rows
    assert all(np.array_equal(a, b) for a, b in zip(again.images, first.images, strict=True))
    assert len(list(tmp_path.glob("un-año-sí-no-seed-3-*.png"))) == 2
    assert read_settings(next(tmp_path.iterdir()))["prompt"] == "un año: ¿sí/no?"


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "b"},
        {"negative_prompt": "hat"},
        {"seed": 1},
        {"num_inference_steps": 2},
        {"guidance_scale": 7.4},
        {"scheduler": "EulerDiscreteScheduler"},
        {"height": 40},
    ],
)
def test_a_picture_of_another_setting_is_not_taken_for_the_one_asked(
    tiny: StableDiffusionPipeline, tmp_path: Path, change: dict[str, Any]
) -> None:
    settings: dict[str, Any] = {"prompt": "a", "num_inference_steps": 1, "folder": tmp_path}
    sweep(tiny, **settings)
    seen = unet_rows(tiny)
    sweep(tiny, **(settings | change))
    assert seen != []
    assert len(list(tmp_path.iterdir())) == 2


def test_weights_that_have_learned_draw_again_and_the_old_pictures_stay(
    tiny: StableDiffusionPipeline, tmp_path: Path
) -> None:
    before = sweep(tiny, "a", num_inference_steps=1, folder=tmp_path)
    with torch.no_grad():
        tiny.vae.decoder.conv_out.bias += 0.5
    after = sweep(tiny, "a", num_inference_steps=1, folder=tmp_path)
    assert not same_picture(before.images[0], after.images[0])
    assert len(list(tmp_path.iterdir())) == 2


def test_another_configuration_of_the_scheduler_draws_again(
    tiny: StableDiffusionPipeline, tmp_path: Path
) -> None:
    sweep(tiny, "a", num_inference_steps=2, folder=tmp_path)
    tiny.scheduler = type(tiny.scheduler).from_config(
        tiny.scheduler.config, timestep_spacing="trailing"
    )
    seen = unet_rows(tiny)
    sweep(tiny, "a", num_inference_steps=2, folder=tmp_path)
    assert seen != []


def test_a_damaged_file_is_drawn_again(tiny: StableDiffusionPipeline, tmp_path: Path) -> None:
    (right,) = sweep(tiny, "a", num_inference_steps=1, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:-30], b"", b"no picture"):
        path.write_bytes(damaged)
        (again,) = sweep(tiny, "a", num_inference_steps=1, folder=tmp_path)
        assert np.array_equal(again.image, right.image)
        assert np.array_equal(Image.open(path), right.image)


def test_the_fingerprint_knows_each_weight_and_the_strength_of_a_lora(
    tiny: StableDiffusionPipeline, tiny_folder: Path
) -> None:
    found = [fingerprint(tiny)]
    assert fingerprint(sdlesson.load_pipeline(tiny_folder, device="cpu")) == found[0]
    tiny.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q"], init_lora_weights=False), "ink")
    found.append(fingerprint(tiny))
    tiny.set_adapters("ink", 0.5)
    found.append(fingerprint(tiny))
    tiny.disable_lora()
    found.append(fingerprint(tiny))
    tiny.to(torch.bfloat16)
    found.append(fingerprint(tiny))
    tiny.safety_checker = None
    found.append(fingerprint(tiny))
    assert len(set(found)) == len(found)


# The table and the grid.


def test_a_sweep_is_a_sequence_with_its_pictures_and_its_time() -> None:
    drawn = colours("red", "green", "blue", "black")
    assert len(drawn) == 4
    assert drawn[-1].flagged
    assert [picture.getpixel((0, 0)) for picture in drawn[:2].images] == [(255, 0, 0), (0, 128, 0)]
    assert drawn.seconds == 1.5
    assert drawn[2:].seconds == 2.5
    assert repr(drawn) == "<Sweep of 4 pictures over guidance_scale, seed>"


def test_where_keeps_the_pictures_with_a_value_or_one_of_several() -> None:
    drawn = colours("red", "green", "blue", "black")
    assert [row["guidance_scale"] for row in drawn.where(seed=1).rows] == [1.0, 2.0]
    assert len(drawn.where(seed=[0, 1], guidance_scale=2)) == 2
    assert drawn.where(guidance_scale=2).seconds == 2.5
    assert len(drawn.where(flagged=True)) == 1


def test_where_refuses_what_is_not_there_and_says_what_is() -> None:
    drawn = colours("red", "green", "blue", "black")
    with pytest.raises(ValueError, match=r"no picture has seed=2; here seed is 0, 1"):
        drawn.where(seed=2)
    with pytest.raises(ValueError, match="there is no setting 'guidance'; there is prompt, "):
        drawn.where(guidance=2.0)


def test_a_slice_without_pictures_is_an_empty_sweep_that_says_so() -> None:
    nothing = colours("red", "blue")[5:]
    assert (len(nothing), nothing.rows, nothing._repr_png_()) == (0, [], None)
    with pytest.raises(ValueError, match="no picture here"):
        nothing.grid()


def test_a_grid_puts_rows_down_and_columns_across() -> None:
    names = ("red", "green", "blue", "black")
    grid = colours(*names).grid(rows="guidance_scale", columns="seed")
    red, green, blue = places(grid, *names[:3])
    assert red[0] == blue[0] < green[0]
    assert red[1] == green[1] < blue[1]
    turned = places(colours(*names).grid(rows="seed", columns="guidance_scale"), *names[:3])
    assert turned[0][1] == turned[2][1] < turned[1][1]


def test_left_to_itself_a_grid_has_the_fastest_setting_across_and_the_rest_down() -> None:
    drawn = colours("red", "green", "blue", "yellow")
    explicit = drawn.grid(rows="guidance_scale", columns="seed")
    for grid in (drawn.grid(), drawn.grid(rows="guidance_scale"), drawn.grid(columns="seed")):
        assert np.array_equal(grid, explicit)
    one_row = places(drawn.grid(rows=[]), "red", "green", "blue", "yellow")
    assert [x for x, _ in one_row] == sorted({x for x, _ in one_row})
    assert len({y for _, y in one_row}) == 1


def test_labels_name_what_changes_and_its_values() -> None:
    drawn = colours("red", "green", "blue", "yellow")
    other = Sweep(list(drawn[:2]) + list(drawn.where(guidance_scale=2)), [1.0] * 4)
    assert np.array_equal(other.grid(), drawn.grid())
    less = drawn.where(guidance_scale=1).grid()
    assert less.size[0] < drawn.grid().size[0]  # no label, no room for it
    assert np.asarray(drawn.grid())[:30].min() < 128


def test_pictures_that_would_hide_each_other_are_refused() -> None:
    drawn = colours("red", "green", "blue", "yellow")
    with pytest.raises(ValueError, match=r"seed changes too: .* \.where\(seed=\.\.\.\)"):
        drawn.grid(rows="guidance_scale", columns="prompt")
    with pytest.raises(ValueError, match="there is no setting 'guidance'"):
        drawn.grid(rows="guidance")


def test_large_pictures_are_shown_smaller_and_sizes_may_differ(
    tiny: StableDiffusionPipeline,
) -> None:
    drawn = sweep(tiny, "a", num_inference_steps=1, height=[16, 32], width=512)
    assert drawn.grid(rows="height").width < 400
    assert [image.size for image in drawn.images] == [(512, 16), (512, 32)]


def test_a_notebook_shows_the_grid(tiny: StableDiffusionPipeline) -> None:
    drawn = sweep(tiny, "a", num_inference_steps=1)
    shown = Image.open(io.BytesIO(drawn._repr_png_()))
    assert np.array_equal(shown, drawn.grid())


def _silent(note: str) -> None:
    """Say nothing."""
