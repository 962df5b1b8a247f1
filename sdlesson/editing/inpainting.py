"""Inpainting with an ordinary model, and outpainting, which is inpainting beyond an edge."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

from diffusers import StableDiffusionPipeline
from PIL import Image
from torch import Generator

from sdlesson.copies import check_loaded
from sdlesson.editing.pictures import (
    Report,
    Wish,
    decode_edit,
    open_mask,
    own_size,
    picture_to_edit,
)
from sdlesson.editing.redrawing import redraw_as
from sdlesson.settings import (
    DEFAULT_STEPS,
    MAX_SIDE,
    SIZE_FACTOR,
    check_function,
    check_strength,
    check_whole,
)


def inpaint(
    pipe: StableDiffusionPipeline,
    image: Image.Image,
    mask: Image.Image,
    prompt: str,
    *,
    strength: float = 1.0,
    negative_prompt: str = "",
    guidance_scale: float = 7.5,
    num_inference_steps: int = DEFAULT_STEPS,
    generator: Generator | None = None,
    resample: int = 1,
    report: Report = print,
) -> Image.Image:
    """Paint the white part of a mask anew; every pixel outside of it comes back as it was.

    An empty mask changes nothing; a full one draws a new picture.

    Args:
        pipe: Any pipeline of Stable Diffusion's first generation.
        image: Of any mode and of any size up to four times the model's own a side.
        mask: Of the same size; from middle grey up it says: paint here.
        prompt: What the whole picture shows in the end, not the new part alone.
        strength: 1 forgets what the mask hides; less keeps something of its shapes and colours.
        negative_prompt: What to keep out.
        guidance_scale: How closely to follow the prompt; 1.0 is no guidance.
        num_inference_steps: Of the whole schedule; the strength says how many of them are taken.
        generator: By default a new one on the CPU, which makes the same noise at each call.
        resample: How often each step is taken; more blends better, takes longer, and needs DDIM.
        report: Is told if the safety checker flags the picture, which is then black.

    Raises:
        ValueError: The picture or its mask cannot be used, or a setting is outside its range.
    """
    check_loaded(pipe)
    wish = Wish(
        prompt, negative_prompt, guidance_scale, num_inference_steps, generator, resample, report
    )
    return _paint(wish, pipe, image, mask, check_strength(strength))


def outpaint(
    pipe: StableDiffusionPipeline,
    image: Image.Image,
    prompt: str,
    *,
    left: int = 0,
    top: int = 0,
    right: int = 0,
    bottom: int = 0,
    negative_prompt: str = "",
    guidance_scale: float = 1.5,
    num_inference_steps: int = DEFAULT_STEPS,
    generator: Generator | None = None,
    resample: int = 2,
    report: Report = print,
    on_step: Callable[[int, int], object] | None = None,
) -> Image.Image:
    """Paint on beyond the edges of a picture, by so many pixels; the picture itself stays.

    The model sees half a picture of its own size and paints the other half, as often as it takes.
    With `resample=2` each step is taken twice, so that the new half fits the old one; with a
    scheduler other than DDIM say `resample=1`.

    Let the prompt name the place alone, and keep guidance low: a thing that it names is drawn once
    more, in the middle of what the model sees, and so cut in two by the edge of the old picture.

    Args:
        pipe: Any pipeline of Stable Diffusion's first generation.
        image: Of any mode.
        prompt: What lies beyond; "" leaves it to the picture.
        left, top, right, bottom: By how many pixels each edge grows.
        negative_prompt: What to keep out.
        guidance_scale: How closely to follow the prompt; 1.0 is no guidance.
        num_inference_steps: For each part that is painted.
        generator: By default a new one on the CPU, which makes the same noise at each call.
        resample: How often each step is taken.
        report: Is told if the safety checker flags a part, which is then black.
        on_step: Is told after each step how many are done, and of how many; may raise, to stop.

    Raises:
        ValueError: The picture cannot be used, no edge is to grow, or a setting is off its range.
    """
    grow = _check_growth({"left": left, "top": top, "right": right, "bottom": bottom})
    picture, stride = picture_to_edit(image), own_size(pipe) // 2
    generator = Generator("cpu") if generator is None else generator  # goes on from part to part
    wish = Wish(
        prompt, negative_prompt, guidance_scale, num_inference_steps, generator, resample, report
    )
    parts = [
        (edge, min(stride, pixels - done))
        for edge, pixels in grow.items()
        for done in range(0, pixels, stride)
    ]
    if on_step is not None:
        steps = len(parts) * num_inference_steps * resample
        count = itertools.count(1)
        check_function(on_step=on_step)
        wish = replace(wish, on_step=lambda: on_step(min(steps, next(count)), steps))
    for edge, pixels in parts:
        picture = _paint_beyond(wish, pipe, picture, edge, pixels)
    return picture


def _paint(
    wish: Wish,
    pipe: StableDiffusionPipeline,
    image: Image.Image,
    mask: Image.Image,
    strength: float = 1.0,
) -> Image.Image:
    picture = picture_to_edit(image)
    hole = open_mask(mask, picture)
    if strength == 0 or not hole.getbbox():
        return picture
    for step in redraw_as(wish, pipe, [picture], mask=hole, strength=strength):
        latents = step.latents
        if wish.on_step is not None:
            wish.on_step()
    return decode_edit(pipe, latents, picture.size, wish.report, keep=(picture, hole))


def _paint_beyond(
    wish: Wish, pipe: StableDiffusionPipeline, picture: Image.Image, edge: str, by: int
) -> Image.Image:
    """Let one edge grow by a part of the model's own size."""
    if turns := _TURNS[edge]:  # so that there is one case: to the right
        picture = picture.transpose(turns[0])
    width, height = picture.size
    canvas = Image.new("RGB", (width + by, height))
    canvas.paste(picture)
    last_column = picture.crop((width - 1, 0, width, height))
    canvas.paste(last_column.resize((by, height)), (width, 0))  # a quiet ground for the VAE
    seen = min(width, max(SIZE_FACTOR, own_size(pipe) - by))
    window = canvas.crop((width - seen, 0, width + by, height))
    mask = Image.new("L", window.size)
    mask.paste(255, (seen, 0, *window.size))
    upright, upright_mask = window, mask
    if turns:  # the model has never seen the world lie on its side
        upright, upright_mask = window.transpose(turns[1]), mask.transpose(turns[1])
    painted = _paint(wish, pipe, upright, upright_mask)
    if turns:
        painted = painted.transpose(turns[0])
    canvas.paste(painted, (width - seen, 0))
    return canvas.transpose(turns[1]) if turns else canvas


_FLIP, _QUARTER = Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.TRANSPOSE
_TURNS: dict[str, tuple[Image.Transpose, Image.Transpose] | None] = {
    "right": None,
    "left": (_FLIP, _FLIP),
    "bottom": (_QUARTER, _QUARTER),
    "top": (Image.Transpose.ROTATE_270, Image.Transpose.ROTATE_90),
}
"""How to turn each edge to the right, and back."""


def _check_growth(grow: dict[str, int]) -> dict[str, int]:
    checked = {edge: check_whole(0, MAX_SIDE, 64, **{edge: grow[edge]}) for edge in grow}
    if not any(checked.values()):
        raise ValueError("no edge is to grow: say left=, top=, right= or bottom=, such as right=64")
    return checked
