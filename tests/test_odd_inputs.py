"""Odd inputs at the course's doors: each is refused in one sentence, before any work is done."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import save_file
from torch import Generator

from sdlesson import decode, denoise, doctor, draw, image_grid, metrics
from sdlesson.attention import word_maps
from sdlesson.diffusion import draw_noise, fresh_scheduler
from sdlesson.downloads import ModelError
from sdlesson.drawing import Drawing
from sdlesson.editing import (
    box_mask,
    draw_along,
    image_to_image,
    inpaint,
    interpolate,
    load_controlnet,
    outline,
    outpaint,
    redraw,
    shrink_to_fit,
    slerp,
    upscale,
)
from sdlesson.experiments import sweep
from sdlesson.images import check_output, read_settings, save_png, to_images
from sdlesson.photos import open_photo, read_photo
from sdlesson.pocket.training.export import save_in_half_precision
from sdlesson.probe import load_probe
from sdlesson.prompting import fuller_prompt
from sdlesson.prompts import cut_words, guess_language, unknown_words

HALF_A_LETTER = "a \ud800 cat"
NAN = float("nan")


class Desk(NamedTuple):
    """What a case works on: a tiny pipeline, a picture of its size, a folder of its own."""

    pipe: StableDiffusionPipeline
    picture: Image.Image
    folder: Path

    @property
    def mask(self) -> Image.Image:
        return Image.new("L", self.picture.size, 255)


@pytest.fixture
def desk(unspoilt: StableDiffusionPipeline, tmp_path: Path) -> Desk:
    levels = np.linspace(0, 255, 32 * 32 * 3).reshape(32, 32, 3)
    return Desk(unspoilt, Image.fromarray(levels.astype(np.uint8)), tmp_path)


def plain(*size: int) -> Image.Image:
    return Image.new("RGB", size)


def latents(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.zeros(shape, dtype=dtype)


WHOLE = "must be a whole number from"
FUNCTION = "must be a function"
GENERATOR = r"must be a torch\.Generator, or a list with one for each"
NO_PIXEL = "has no pixel"

Case = tuple[Callable[[Desk], Any], str]

DRAWING: dict[str, Case] = {
    "a prompt with half a letter": (lambda d: draw(HALF_A_LETTER, pipe=d.pipe), "is no letter"),
    "a prompt without end": (lambda d: draw("cat " * 9999, pipe=d.pipe), "characters, and may"),
    "nobody to report to": (lambda d: draw("a", pipe=d.pipe, report=None), FUNCTION),
    "a number to report to": (lambda d: draw("a", pipe=d.pipe, report=5), FUNCTION),
    "a list of no generator": (lambda d: denoise(d.pipe, "a", generator=[None]), GENERATOR),
    "one generator of two": (
        lambda d: denoise(d.pipe, ["a", "b"], generator=[Generator(), None]),
        GENERATOR,
    ),
    "no list at all": (
        lambda d: denoise(d.pipe, ["a", "b"], generator=[]),
        "0 generators for 2 prompts",
    ),
    "a number for a U-Net": (lambda d: denoise(d.pipe, "a", unet=5), f"unet=5 {FUNCTION}"),
    "a U-Net that answers wrongly": (
        lambda d: list(denoise(d.pipe, "a", num_inference_steps=2, unet=lambda *_, **__: 5)),
        "answers with a int, must be something with the noise",
    ),
    "a million prompts": (lambda d: denoise(d.pipe, ["a"] * 10**6), "too many at once"),
    "noise for a word": (lambda d: draw_noise(d.pipe, "x", Generator()), f"count='x' {WHOLE}"),
    "noise for too many": (lambda d: draw_noise(d.pipe, 10**9, Generator()), WHOLE),
    "noise of no side": (lambda d: draw_noise(d.pipe, 1, Generator(), height=7), "height=7 must"),
    "a scheduler's number": (lambda d: fresh_scheduler(d.pipe, 5), "must be the name of a class"),
    "five channels": (lambda d: decode(d.pipe, latents(1, 5, 4, 4)), r"must be \(B, 4, H/8, W/8\)"),
    "no channel": (lambda d: decode(d.pipe, latents(1, 0, 4, 4)), r"must be \(B, 4, H/8, W/8\)"),
    "no height": (lambda d: decode(d.pipe, latents(1, 4, 0, 4)), "with sides up to 256"),
    "latents of a house": (
        lambda d: decode(d.pipe, latents(1, 4, 1, 1).expand(1, 4, 5000, 5000)),
        "with sides up to 256",
    ),
    "no latents": (lambda d: decode(d.pipe, latents(0, 4, 4, 4)), "0 latents of torch.float32"),
    "complex latents": (
        lambda d: decode(d.pipe, latents(1, 4, 4, 4, dtype=torch.complex64)),
        "must be one or more of torch's floats",
    ),
    "latents of numpy": (lambda d: decode(d.pipe, np.zeros((1, 4, 4, 4))), "torch's floats"),
    "complex pixels": (
        lambda d: to_images(latents(1, 3, 4, 4, dtype=torch.complex64)),
        r"must be floats in \[-1, 1\]",
    ),
    "pixels without height": (lambda d: to_images(latents(1, 3, 0, 4)), "must be"),
    "a name for attention": (lambda d: word_maps("pocket", "a cat"), "must be a loaded pipeline"),
    "attention's seed": (lambda d: word_maps(d.pipe, "a", seed="x"), f"seed='x' {WHOLE}"),
    "attention to no word": (lambda d: word_maps(d.pipe, ""), "that says what to draw"),
    "millions of pictures": (
        lambda d: sweep(d.pipe, "a", seed=range(5000), guidance_scale=range(5000)),
        "make 25,000,000 pictures, and may make 10,000",
    ),
    "a batch of all": (lambda d: sweep(d.pipe, "a", batch_size=10**9), WHOLE),
}

EDITING: dict[str, Case] = {
    "a generator's seed": (
        lambda d: image_to_image(d.pipe, d.picture, "a", generator=5),
        f"generator=5 {GENERATOR}",
    ),
    "nobody to report to": (
        lambda d: image_to_image(d.pipe, d.picture, "a", report=None),
        FUNCTION,
    ),
    "wrong steps, though none is taken": (
        lambda d: image_to_image(d.pipe, d.picture, "a", strength=0, num_inference_steps="x"),
        WHOLE,
    ),
    "a wrong prompt, though nothing is painted": (
        lambda d: inpaint(d.pipe, d.picture, Image.new("L", (32, 32)), 5),
        "must be a text or a list of texts",
    ),
    "inpainting's generator": (
        lambda d: inpaint(d.pipe, d.picture, d.mask, "a", generator=5),
        GENERATOR,
    ),
    "a billion times each step": (
        lambda d: inpaint(d.pipe, d.picture, d.mask, "a", resample=10**9),
        f"resample=1000000000 {WHOLE} 1 to 20",
    ),
    "each step True times": (
        lambda d: inpaint(d.pipe, d.picture, d.mask, "a", resample=True),
        WHOLE,
    ),
    "a mask that was closed": (
        lambda d: inpaint(d.pipe, d.picture, closed(d.folder), "a"),
        "mask is closed or damaged",
    ),
    "a picture as wide as a street": (
        lambda d: outpaint(d.pipe, d.picture, "a", right=10**9),
        f"right=1000000000 {WHOLE} 0 to 2048",
    ),
    "outpainting's generator": (
        lambda d: outpaint(d.pipe, d.picture, "a", right=8, generator=5),
        GENERATOR,
    ),
    "a poster, enlarged by nothing": (
        lambda d: upscale(d.pipe, plain(6000, 6000), "a", factor=4, strength=0),
        "edits sides of at most 128",
    ),
    "a name to upscale with": (
        lambda d: upscale("pocket", d.picture, "a", strength=0),
        "must be a loaded pipeline",
    ),
    "shrinking a number": (lambda d: shrink_to_fit(d.pipe, 5), "must be a PIL image"),
    "redrawing nothing": (lambda d: redraw(d.pipe, [], "a"), "must be a list of PIL images"),
    "redrawing one": (lambda d: redraw(d.pipe, d.picture, "a"), r"try \[image\]"),
    "redrawing's U-Net": (lambda d: redraw(d.pipe, [d.picture], "a", unet=5), FUNCTION),
    "two letters for two prompts": (
        lambda d: interpolate(d.pipe, "ab", (1, 2)),
        "prompts='ab' must be a list of two",
    ),
    "two bytes for two seeds": (
        lambda d: interpolate(d.pipe, ("a", "b"), b"ab"),
        "seeds=b'ab' must be a list of two",
    ),
    "three prompts": (lambda d: interpolate(d.pipe, ("a", "b", "c"), (1, 2)), "list of two"),
    "one prompt": (lambda d: interpolate(d.pipe, ("a",), (1, 2)), "must be a list of two"),
    "a film of years": (
        lambda d: interpolate(d.pipe, ("a", "b"), (1, 2), frames=10**9),
        f"frames=1000000000 {WHOLE} 2 to 300",
    ),
    "half a frame": (lambda d: interpolate(d.pipe, ("a", "b"), (1, 2), frames=2.5), WHOLE),
    "noises of two shapes": (lambda d: slerp(latents(3), latents(4), 0.5), "of one shape"),
    "an edge of text": (lambda d: outline(d.picture, edge="x"), "edge='x' must be a number"),
    "an edge of NaN": (lambda d: outline(d.picture, edge=NAN), "edge=nan must be a number"),
    "an outline of nothing": (lambda d: outline(plain(0, 0)), NO_PIXEL),
    "a size of letters": (lambda d: box_mask("ab", (0, 0, 1, 1)), "size='ab' must be 2 whole"),
    "a box of NaN": (lambda d: box_mask((8, 8), (NAN, 0, 4, 4)), "must be 4 whole numbers"),
    "no box": (lambda d: box_mask((8, 8), None), "box=None must be 4 whole numbers"),
    "a mask of a square kilometre": (
        lambda d: box_mask((10**6, 10**6), (0, 0, 1, 1)),
        "10000 pixels a side at most",
    ),
    "no ControlNet": (
        lambda d: draw_along(d.pipe, d.picture, "a", controlnet=None),
        "controlnet=None must be loaded",
    ),
    "a ControlNet's number": (lambda d: load_controlnet(d.pipe, 5), "must be the path of a folder"),
    "a ControlNet that is nowhere": (
        lambda d: load_controlnet(d.pipe, d.folder / "none"),
        "there is no folder",
    ),
}

WORDS: dict[str, Case] = {
    "half a letter to know": (lambda d: unknown_words(HALF_A_LETTER), "is no letter"),
    "half a letter to cut": (
        lambda d: cut_words(d.pipe.tokenizer, HALF_A_LETTER),
        "is no letter",
    ),
    "a number to cut": (lambda d: cut_words(d.pipe.tokenizer, 5), "prompt=5 must be a text"),
    "a name for a tokenizer": (
        lambda d: cut_words("pocket", "a cat"),
        "must be a loaded tokenizer",
    ),
    "no words taught": (lambda d: unknown_words("a cat", taught=None), "must be a list of words"),
    "bytes taught": (lambda d: unknown_words("a cat", taught=b"zwx"), "must be a list of words"),
    "numbers taught": (lambda d: unknown_words("a cat", taught=[5]), "must be a list of words"),
    "nobody's language": (lambda d: guess_language(None), "prompt=None must be a text"),
    "an idea's tokenizer": (
        lambda d: fuller_prompt("a cat", tokenizer=5),
        "must be a loaded tokenizer",
    ),
}

MEASURING: dict[str, Case] = {
    "letters for numbers": (lambda d: metrics.mean("123"), "values='123' must be a list"),
    "bytes for numbers": (lambda d: metrics.mean(b"abc"), "values=b'abc' must be a list"),
    "texts for numbers": (lambda d: metrics.mean(["1", "2"]), "must each be a finite number"),
    "nothing for a number": (lambda d: metrics.mean([None, 1]), "must each be a finite number"),
    "a number for numbers": (lambda d: metrics.mean(5), "values=5 must be a list"),
    "a number beyond floats": (lambda d: metrics.mean([10**400, 1]), "a finite number"),
    "letters for flags": (
        lambda d: metrics.share_change("10", "01"),
        "flags='10' must be a list of True and False",
    ),
    "bytes for flags": (lambda d: metrics.share(b"\x01\x00"), "must be a list"),
    "texts for flags": (
        lambda d: metrics.share_change(["True", "False"], ["False", "False"]),
        "must each be True or False",
    ),
    "shares for flags": (
        lambda d: metrics.share_change([0.5, 0.2], [False, True]),
        "must each be True or False",
    ),
    "rows for flags": (lambda d: metrics.share(np.eye(2)), "must each be True or False"),
    "texts that change": (
        lambda d: metrics.mean_change(["1", "2"], ["3", "4"]),
        "must each be a finite number",
    ),
    "half a success": (lambda d: metrics.wilson_interval(1.5, 3), "successes=1.5 must be"),
    "statistics of nothing": (lambda d: metrics.pixel_statistics(plain(0, 0)), NO_PIXEL),
    "a seam in nothing": (lambda d: metrics.seam_ratio(plain(0, 0), column=1), NO_PIXEL),
    "a seam in a path": (
        lambda d: metrics.seam_ratio("cat.png", column=1),
        "must be a PIL image",
    ),
    "a seam with nothing beside it": (
        lambda d: metrics.seam_ratio(plain(2, 2), column=1),
        "to compare with; it needs 3",
    ),
    "half a seam": (lambda d: metrics.seam_ratio(d.picture, column=1.5), f"column=1.5 {WHOLE}"),
    "a seam beyond the edge": (lambda d: metrics.seam_ratio(d.picture, row=32), "from 1 to 31"),
    "a grid of nothing": (lambda d: image_grid([plain(0, 0)], 1), NO_PIXEL),
    "a grid of True": (lambda d: image_grid([d.picture], True), "in True"),
    "a grid's labels": (lambda d: image_grid([d.picture], 1, labels=5), "labels=5 must be a list"),
    "no labels": (lambda d: image_grid([d.picture], 1, labels=None), "must be a list of texts"),
    "a font without height": (
        lambda d: image_grid([d.picture], 1, labels=["a"], font_px=0),
        "font_px=0 must be",
    ),
    "a font like a house": (
        lambda d: image_grid([d.picture], 1, labels=["a"], font_px=10**6),
        "font_px=1000000 must be",
    ),
    "a score of bytes": (lambda d: metrics.clip_score([d.picture], b"a"), "a list of texts"),
    "a score of a number": (lambda d: metrics.clip_score([d.picture], 5), "a list of texts"),
    "a score of nothing": (lambda d: metrics.clip_score([plain(0, 0)], "a cat"), NO_PIXEL),
    "no pictures to embed": (
        lambda d: metrics.clip_scorer().embed_images([]),
        "give at least one",
    ),
    "a folder that is no CLIP": (lambda d: metrics.clip_scorer(str(d.folder)), "holds no CLIP"),
    "lists for tensors": (
        lambda d: metrics.frechet_distance([[1.0]], [[1.0]]),
        "must be tensors of real numbers",
    ),
    "a seed for a generator": (
        lambda d: metrics.unbiased_frechet_distance(
            torch.rand(9, 2), torch.rand(9, 2), generator=5
        ),
        "generator=5 must be a torch.Generator",
    ),
    "a table's path": (lambda d: metrics.measured("../evaluation"), "there is no table"),
    "a table's number": (lambda d: metrics.measured(5), "there is no table 5"),
    "a list for a table": (
        lambda d: metrics.measured("x", folder=written(d.folder, "x.json", "[]").parent),
        "holds a list where a JSON object belongs",
    ),
    "half a table": (
        lambda d: metrics.measured("x", folder=written(d.folder, "x.json", "{}").parent),
        "is no table: it lacks date",
    ),
    "a batch of none": (lambda d: metrics.pocket_probe().read([d.picture], batch=0), WHOLE),
    "a text for a probe": (
        lambda d: load_probe(written(d.folder, "x.safetensors", "x")),
        "holds no probe",
    ),
    "another's weights for a probe": (
        lambda d: load_probe(weights(d.folder / "x.safetensors")),
        "holds no probe",
    ),
}

FILES: dict[str, Case] = {
    "a name without a name": (lambda d: check_output(d.folder / ".png"), "no name before .png"),
    "nothing to save": (lambda d: save_png(plain(0, 0), d.folder / "a.png", {}), NO_PIXEL),
    "a number to load": (lambda d: Drawing.load(0), "path=0 must be the path of a PNG"),
    "a folder to load": (lambda d: Drawing.load(d.folder), "Is a directory"),
    "a null byte to load": (lambda d: Drawing.load("a\0.png"), "no file can have this name"),
    "a photo of no size": (lambda d: open_photo(d.picture, size=0, name="x"), "size=0 must be"),
    "a device": (lambda d: read_settings(os.devnull), "pipe or a device|no picture"),
}


def closed(folder: Path) -> Image.Image:
    Image.new("L", (32, 32)).save(folder / "mask.png")
    with Image.open(folder / "mask.png") as mask:
        return mask


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def weights(path: Path) -> Path:
    save_file({"a": torch.zeros(1)}, path)
    return path


def named(cases: dict[str, Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("call", "sentence"), cases.values(), ids=cases)


def check(desk: Desk, call: Callable[[Desk], Any], sentence: str) -> None:
    with pytest.raises((ValueError, ModelError), match=sentence) as caught:
        call(desk)
    assert "\n" not in str(caught.value)


@named(DRAWING)
def test_drawing_refuses_it(desk: Desk, call: Callable, sentence: str) -> None:
    check(desk, call, sentence)


@named(EDITING)
def test_editing_refuses_it(desk: Desk, call: Callable, sentence: str) -> None:
    check(desk, call, sentence)


@named(WORDS)
def test_who_reads_words_refuses_it(desk: Desk, call: Callable, sentence: str) -> None:
    check(desk, call, sentence)


@named(MEASURING)
def test_measuring_refuses_it(desk: Desk, call: Callable, sentence: str) -> None:
    check(desk, call, sentence)


@named(FILES)
def test_who_reads_files_refuses_it(desk: Desk, call: Callable, sentence: str) -> None:
    check(desk, call, sentence)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such files here")
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "read",
    [
        Drawing.load,
        read_settings,
        lambda path: read_photo(path, name="the photo"),
        lambda path: save_png(plain(8, 8), path, {}),
    ],
)
def test_a_pipe_is_not_waited_for(read: Callable[[Path], Any], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ValueError, match="it is a pipe or a device"):
        read(tmp_path / "pipe.png")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("seed", "x", "seed='x' must be a whole number"),
        ("seed", "-1", "seed=-1 must be a whole number"),
        ("seed", "9" * 30, "seed=9+ must be a whole number"),
        ("num_inference_steps", "1e5", "num_inference_steps='1e5' must be"),
        ("num_inference_steps", "0", "num_inference_steps=0 must be"),
        ("guidance_scale", "nan", "guidance_scale=nan must be"),
        ("guidance_scale", "", "guidance_scale='' must be"),
        ("flagged", "yes", "flagged='yes', must be True or False"),
    ],
)
def test_a_setting_that_was_changed_in_a_picture_is_named(
    name: str, value: str, sentence: str, tmp_path: Path
) -> None:
    drawing = Drawing(plain(8, 8), "a cat", "", 5, 25, 7, "DDIMScheduler", "pocket", False)
    save_png(drawing.image, tmp_path / "a.png", drawing.settings)
    assert Drawing.load(tmp_path / "a.png").guidance_scale == 7
    save_png(drawing.image, tmp_path / "a.png", drawing.settings | {name: value})
    with pytest.raises(ValueError, match=sentence):
        Drawing.load(tmp_path / "a.png")


def test_numbers_of_numpy_and_torch_are_measured_as_ever() -> None:
    assert metrics.mean(torch.ones(4)).value == metrics.mean(np.ones(4)).value == 1
    assert metrics.share(np.array([True, False])).value == 0.5
    assert metrics.share_change(np.array([True, False]), [1, 1]).value == -0.5


def test_doctor_names_the_variable_of_a_cache_that_cannot_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    too_long = "/" + "a" * 5000
    monkeypatch.setenv("HF_HOME", too_long)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", f"{too_long}/hub")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", f"{too_long}/token")
    (line,) = doctor.check_disk()
    assert not line.good
    assert "HF_HOME" in line.text
    assert "HF_HOME" in line.remedy
    assert [line.good for line in doctor.check_token()] == [True]


def test_packaging_the_pocket_model_deletes_nothing_else(
    fresh: Callable[[], StableDiffusionPipeline], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    (folder / "thesis").mkdir(parents=True)
    (folder / "thesis" / "chapter.txt").write_text("mine")
    (folder / "model_index.json").write_text("{}")
    with pytest.raises(ValueError, match="was not packaged there"):
        save_in_half_precision(fresh(), folder)
    assert (folder / "thesis" / "chapter.txt").read_text() == "mine"
    for _ in range(2):  # what it packaged itself, it replaces
        save_in_half_precision(fresh(), tmp_path / "new")
    assert json.loads((tmp_path / "new" / "text_encoder" / "config.json").read_text())["dtype"]
