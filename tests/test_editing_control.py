"""Control: by hand what diffusers does, an outline that is one, a training that goes on."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline, StableDiffusionPipeline
from diffusers.models import modeling_utils
from PIL import Image, ImageChops, ImageDraw
from torch import Generator

from sdlesson import hub
from sdlesson.diffusion import denoise
from sdlesson.downloads import ModelError
from sdlesson.editing import Controlled, draw_along, load_controlnet, outline, outline_kept
from sdlesson.images import to_pixels
from sdlesson.pocket.evaluation.recognition import single_scenes
from sdlesson.pocket.training import controlnet as training
from sdlesson.pocket.training.loop import OutOfTimeError
from sdlesson.pocket.world import caption, render

PROMPT = "a dog in the snow"
MAX_BYTES = 8 * 10**6


@pytest.fixture(scope="module")
def lines() -> Image.Image:
    picture = Image.new("RGB", (128, 128), "white")
    ImageDraw.Draw(picture).ellipse((30, 40, 90, 110), fill="navy")
    return outline(picture)


@pytest.fixture
def controlnet(pocket: StableDiffusionPipeline) -> ControlNetModel:
    torch.manual_seed(0)
    return training.new_controlnet(pocket.unet).eval()


def latents(pipe: StableDiffusionPipeline, **settings: object) -> torch.Tensor:
    generator = Generator("cpu").manual_seed(1)
    *_, last = denoise(pipe, PROMPT, num_inference_steps=3, generator=generator, **settings)
    return last.latents


def train_a_little(model: ControlNetModel) -> None:
    """Move every weight that is zero."""
    torch.manual_seed(2)
    with torch.no_grad():
        for weight in model.parameters():
            if not weight.any():
                weight.normal_(std=0.05)


def test_an_untrained_controlnet_changes_nothing(
    pocket: StableDiffusionPipeline, controlnet: ControlNetModel, lines: Image.Image
) -> None:
    unet = Controlled(pocket.unet, controlnet, to_pixels([lines]) / 2 + 0.5)
    assert torch.equal(latents(pocket, unet=unet), latents(pocket))


@pytest.mark.parametrize("guidance_scale", [1.0, 5.0])
def test_control_by_hand_is_diffusers(
    pocket: StableDiffusionPipeline,
    controlnet: ControlNetModel,
    lines: Image.Image,
    guidance_scale: float,
) -> None:
    train_a_little(controlnet)
    theirs = StableDiffusionControlNetPipeline(**pocket.components, controlnet=controlnet)
    theirs.set_progress_bar_config(disable=True)
    expected = theirs(
        PROMPT,
        image=lines,
        num_inference_steps=3,
        guidance_scale=guidance_scale,
        controlnet_conditioning_scale=0.7,
        generator=Generator("cpu").manual_seed(1),
        output_type="latent",
    ).images
    unet = Controlled(pocket.unet, controlnet, to_pixels([lines]) / 2 + 0.5, 0.7)
    ours = latents(pocket, unet=unet, guidance_scale=guidance_scale)
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=0)
    assert (ours - latents(pocket, guidance_scale=guidance_scale)).abs().max() > 0.1


def test_the_outline_of_a_shape_lies_where_its_edge_is(lines: Image.Image) -> None:
    assert lines.mode == "RGB"
    white = np.asarray(lines)[..., 0] > 0
    assert set(np.unique(lines)) == {0, 255}
    rows, columns = np.nonzero(white)
    distance = np.hypot((columns - 60) / 30.5, (rows - 75) / 35.5)  # 1 on the ellipse
    assert np.abs(distance - 1).max() < 0.08
    assert 150 < white.sum() < 500  # a line around, and not an area


def test_a_plain_picture_has_no_outline() -> None:
    assert not np.asarray(outline(Image.new("RGBA", (33, 20), "teal"))).any()


def test_a_picture_keeps_the_outline_that_was_taken_of_it_and_no_other() -> None:
    picture = Image.new("RGB", (128, 128), "white")
    ImageDraw.Draw(picture).ellipse((30, 40, 90, 110), fill="navy")
    lines = outline(picture)
    assert outline_kept(lines, picture) == 1
    assert outline_kept(lines, ImageChops.offset(picture, 1, 1)) > 0.95
    assert outline_kept(lines, ImageChops.offset(picture, 20, 0)) < 0.3
    for given, other in ((lines, picture.resize((64, 64))), (Image.new("L", (128, 128)), picture)):
        with pytest.raises(ValueError, match="take one size, and an outline with a line"):
            outline_kept(given, other)


@pytest.mark.parametrize("scale", ["1", None, [1.0], True, -1, 2.1, math.nan, math.inf])
def test_a_scale_off_its_range_is_one_sentence(pocket, controlnet, lines, scale) -> None:
    with pytest.raises(ValueError, match="must be a number from 0 to 2"):
        draw_along(pocket, lines, PROMPT, controlnet=controlnet, scale=scale)


def test_a_controlnet_that_does_not_belong_to_the_unet_is_refused(
    pocket: StableDiffusionPipeline, tiny: StableDiffusionPipeline, lines: Image.Image
) -> None:
    other = ControlNetModel.from_unet(pocket.unet)
    with pytest.raises(ValueError, match="another U-Net: its block_out_channels"):
        draw_along(tiny, lines, PROMPT, controlnet=other)
    half = ControlNetModel.from_unet(tiny.unet).half()
    with pytest.raises(ValueError, match=r"in torch.float16 on cpu and the U-Net in torch.float32"):
        draw_along(tiny, lines, PROMPT, controlnet=half)


def test_a_drawing_is_as_large_as_its_outline(
    pocket: StableDiffusionPipeline, controlnet: ControlNetModel, lines: Image.Image
) -> None:
    part = lines.crop((0, 0, 90, 128))
    drawn = draw_along(pocket, part, PROMPT, controlnet=controlnet, num_inference_steps=1)
    assert drawn.size == (90, 128)


def test_a_missing_controlnet_is_one_sentence(
    pocket: StableDiffusionPipeline,
    tiny: StableDiffusionPipeline,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub, "CONTROL_FOLDER", tmp_path / "none")
    command = r"python -m sdlesson\.pocket\.training\.controlnet"
    with pytest.raises(ModelError, match=f"train it: {command}"):
        load_controlnet(pocket)
    with pytest.raises(ModelError, match="holds no ControlNet that loads"):
        load_controlnet(tiny, tmp_path)


def test_training_stops_goes_on_and_ends_in_a_small_folder_that_loads(
    pocket: StableDiffusionPipeline,
    lines: Image.Image,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = replace(training.RECIPE, steps=2, batch=4, warmup=1, deadline=0.0)
    with pytest.raises(OutOfTimeError):
        training.train_controlnet(pocket, tmp_path, recipe, scenes=6)
    stored = tmp_path / "control-scenes-0-6.pt"
    written = stored.stat().st_mtime_ns
    recipe = replace(recipe, deadline=float("inf"))
    trained = training.train_controlnet(pocket, tmp_path, recipe, scenes=6)
    assert stored.stat().st_mtime_ns == written  # what was rendered once is not rendered again
    folder = tmp_path / "control"
    training.save_controlnet(trained, folder)
    assert sum(path.stat().st_size for path in folder.rglob("*")) <= MAX_BYTES
    monkeypatch.setattr(hub, "CONTROL_FOLDER", folder)
    loaded = load_controlnet(pocket)
    assert loaded.dtype == pocket.unet.dtype
    unet = Controlled(pocket.unet, loaded, to_pixels([lines]) / 2 + 0.5)
    assert not torch.equal(latents(pocket, unet=unet), latents(pocket))
    assert all(weight.grad is None for weight in pocket.unet.parameters())


def test_the_outline_of_a_training_scene_comes_back_from_its_bits(lines: Image.Image) -> None:
    bits = np.packbits(np.asarray(lines)[None, ..., 0] > 0, axis=-1)
    assert torch.equal(training.to_lines(bits), to_pixels([lines]) / 2 + 0.5)


def test_loading_a_controlnet_puts_no_warning_before_a_student(
    pocket: StableDiffusionPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[str] = []
    monkeypatch.setattr(
        modeling_utils.logger, "warning", lambda text, *_, **__: warned.append(text)
    )
    assert load_controlnet(pocket).dtype == pocket.unet.dtype
    load_controlnet(pocket).to(dtype=torch.float16)  # the control: this one is warned of
    assert len(warned) == 1, warned


def test_the_pocket_models_own_controlnet_is_small_and_keeps_to_outlines(
    pocket: StableDiffusionPipeline,
) -> None:
    assert sum(path.stat().st_size for path in hub.CONTROL_FOLDER.iterdir()) <= MAX_BYTES
    controlnet, kept = load_controlnet(pocket), []
    for seed, scene in enumerate(single_scenes("test control", 1)[:6]):
        lines = outline(render(scene))
        settings = {"controlnet": controlnet, "num_inference_steps": 10}
        drawn = [
            draw_along(
                pocket, lines, caption(scene), scale=scale,
                generator=Generator("cpu").manual_seed(seed), **settings,
            )
            for scale in (0.0, 1.0)
        ]  # fmt: skip
        kept.append([outline_kept(lines, picture) for picture in drawn])
    without, along = np.mean(kept, axis=0)
    assert along >= without + 0.2


def test_numbers_of_numpy_are_numbers(
    pocket: StableDiffusionPipeline, controlnet: ControlNetModel, lines: Image.Image
) -> None:
    assert outline(lines, edge=np.float64(0.1)) == outline(lines, edge=0.1)
    options = {"controlnet": controlnet, "num_inference_steps": 1}
    assert draw_along(pocket, lines, PROMPT, scale=np.float32(1), **options) == draw_along(
        pocket, lines, PROMPT, scale=1.0, **options
    )


def test_several_prompts_for_an_outline_are_refused(
    pocket: StableDiffusionPipeline, controlnet: ControlNetModel, lines: Image.Image
) -> None:
    with pytest.raises(ValueError, match="2 prompts for 1 outline"):
        draw_along(pocket, lines, [PROMPT, "a cat"], controlnet=controlnet, num_inference_steps=1)


def test_an_outline_that_lies_on_its_side_is_compared_upright(lines: Image.Image) -> None:
    half = lines.crop((0, 0, 128, 64))
    exif = half.getexif()
    exif[0x0112] = 6  # a quarter turn
    half.info["exif"] = exif.tobytes()
    assert outline_kept(half, half) > 0.5


def test_no_folder_is_not_the_current_one(pocket: StableDiffusionPipeline) -> None:
    with pytest.raises(ModelError, match="folder='' must be the path of a folder"):
        load_controlnet(pocket, "")
