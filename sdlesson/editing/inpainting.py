"""Inpainting with an ordinary model, and outpainting, which is inpainting beyond an edge."""

from __future__ import annotations

import itertools
from dataclasses import replace

from diffusers import StableDiffusionPipeline
from PIL import Image
from torch import Generator

from sdlesson.copies import check_loaded
from sdlesson.editing.pictures import (
    MAX_ENLARGED,
    EditSettings,
    OnStep,
    Report,
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
    settings = EditSettings(
        prompt, negative_prompt, guidance_scale, num_inference_steps, generator, resample, report
    )
    picture = picture_to_edit(image)
    hole = open_mask(mask, picture)
    if check_strength(strength) == 0 or not hole.getbbox():
        return picture
    return _paint(settings, pipe, [picture], hole, strength)[0]


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
    on_step: OnStep | None = None,
) -> Image.Image:
    """Paint on beyond the edges of a picture, by so many pixels; the picture itself stays.

    The model sees three quarters of a picture of its own size and paints the last quarter, as often
    as it takes: in half a picture, it would put a thing into the middle, where the old edge is.
    With `resample=2` each step is taken twice, so that the new part fits the old one; with a
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
    settings = EditSettings(
        prompt,
        negative_prompt,
        guidance_scale,
        num_inference_steps,
        Generator("cpu") if generator is None else generator,  # goes on from part to part
        resample,
        report,
        on_step,
    )
    return outpaint_as(settings, pipe, [picture_to_edit(image)], grow)[0]


def outpaint_as(
    settings: EditSettings,
    pipe: StableDiffusionPipeline,
    images: list[Image.Image],
    grow: dict[str, int],
) -> list[Image.Image]:
    """Do what `outpaint` does to several RGB pictures of one size, as settings say.

    Raises:
        ValueError: A setting is off its range, or the model is another kind.
    """
    stride = own_size(pipe) // 4
    parts = [
        (edge, min(stride, pixels - done))
        for edge, pixels in grow.items()
        for done in range(0, pixels, stride)
    ]
    _check_room_on_the_way(pipe, images[0].size, parts)
    if tell := settings.on_step:
        steps, count = (
            len(parts) * settings.num_inference_steps * settings.resample,
            itertools.count(1),
        )
        settings = replace(settings, on_step=lambda *_: tell(min(steps, next(count)), steps))
    for edge, by in parts:
        images = _paint_beyond(settings, pipe, images, edge, by)
    return images


def _paint(
    settings: EditSettings,
    pipe: StableDiffusionPipeline,
    pictures: list[Image.Image],
    hole: Image.Image,
    strength: float = 1.0,
) -> list[Image.Image]:
    """Paint the same hole of each RGB picture."""
    steps = settings.num_inference_steps * settings.resample
    for index, step in enumerate(redraw_as(settings, pipe, pictures, mask=hole, strength=strength)):
        latents = step.latents
        if settings.on_step is not None:
            settings.on_step(index + 1, steps)
    return [
        decode_edit(pipe, one[None], picture.size, settings.report, keep=(picture, hole))
        for one, picture in zip(latents, pictures, strict=True)
    ]


def _paint_beyond(
    settings: EditSettings,
    pipe: StableDiffusionPipeline,
    pictures: list[Image.Image],
    edge: str,
    by: int,
) -> list[Image.Image]:
    """Let one edge of each picture grow by a part of the model's own size."""
    to_right, back = _TURNS[edge]  # so that there is one case: to the right
    canvases = [_with_room(_turned(picture, to_right), by) for picture in pictures]
    width, height = canvases[0].size
    begin = max(0, width - max(SIZE_FACTOR + by, own_size(pipe)))
    hole = Image.new("L", (width - begin, height))
    hole.paste(255, (width - begin - by, 0, *hole.size))
    # The model has never seen the world lie on its side, so what it sees is turned back.
    windows = [_turned(one.crop((begin, 0, width, height)), back) for one in canvases]
    for canvas, painted in zip(
        canvases, _paint(settings, pipe, windows, _turned(hole, back)), strict=True
    ):
        canvas.paste(_turned(painted, to_right), (begin, 0))
    return [_turned(canvas, back) for canvas in canvases]


def _with_room(picture: Image.Image, by: int) -> Image.Image:
    """Make a picture wider at its right, where its last column is repeated."""
    width, height = picture.size
    canvas = Image.new("RGB", (width + by, height))
    canvas.paste(picture)
    last_column = picture.crop((width - 1, 0, width, height))
    canvas.paste(last_column.resize((by, height)), (width, 0))  # a quiet ground for the VAE
    return canvas


def _turned(picture: Image.Image, turn: Image.Transpose | None) -> Image.Image:
    return picture if turn is None else picture.transpose(turn)


_FLIP, _QUARTER = Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.TRANSPOSE
_TURNS: dict[str, tuple[Image.Transpose | None, Image.Transpose | None]] = {
    "right": (None, None),
    "left": (_FLIP, _FLIP),
    "bottom": (_QUARTER, _QUARTER),
    "top": (Image.Transpose.ROTATE_270, Image.Transpose.ROTATE_90),
}
"""How to turn each edge to the right, and back."""


def _check_room_on_the_way(
    pipe: StableDiffusionPipeline, size: tuple[int, int], parts: list[tuple[str, int]]
) -> None:
    """Refuse before the first part what would be too large for the model at a later one.

    Of the side that grows it sees a window of its own size, but all of the one across.
    """
    width, height = size
    most = MAX_ENLARGED * own_size(pipe)
    for edge, by in parts:
        is_wider = edge in ("left", "right")
        if (height if is_wider else width) > most:
            raise ValueError(
                f"to grow at its {edge}, the picture may be {most} pixels "
                f"{'high' if is_wider else 'wide'} at most, and is {width} x {height} by then; "
                "let it grow less, or shrink it first"
            )
        width, height = width + by * is_wider, height + by * (not is_wider)


def _check_growth(grow: dict[str, int]) -> dict[str, int]:
    checked = {edge: check_whole(0, MAX_SIDE, 64, **{edge: grow[edge]}) for edge in grow}
    if not any(checked.values()):
        raise ValueError("no edge is to grow: say left=, top=, right= or bottom=, such as right=64")
    return checked
