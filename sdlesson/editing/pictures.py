"""What comes in, a picture of any mode and size and a mask for it, and what goes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral

import torch
import torch.nn.functional as F
from diffusers import StableDiffusionPipeline
from PIL import Image
from torch import Generator, Tensor

from sdlesson.copies import check_loaded
from sdlesson.diffusion import check_generator, decode
from sdlesson.editing.blending import blend
from sdlesson.images import check_picture, to_pixels
from sdlesson.photos import flatten
from sdlesson.safety import flag_note, flags
from sdlesson.settings import (
    SIZE_FACTOR,
    check_function,
    check_guidance,
    check_steps,
    check_whole,
    pair_prompts,
)

MAX_ENLARGED = 4
"""A side may be so many times the model's own; further out it draws the same things again."""
REPAINTED_FROM = 128
"""The level of grey from which a mask says: paint here."""

MAX_MASK_SIDE = 10_000
"""More than any camera's picture has."""
MAX_RESAMPLE = 20
"""How often a step may be taken: twice as often as in the paper."""

Report = Callable[[str], object]
OnStep = Callable[[int, int], object]
"""Is told how many steps are done, and of how many; may raise, to stop."""


@dataclass(frozen=True)
class EditSettings:
    """What is asked of an edit beside its pictures, all of it checked when it is made.

    Raises:
        ValueError: A setting is outside its range.
    """

    prompt: str | Sequence[str]
    negative_prompt: str | Sequence[str]
    guidance_scale: float
    num_inference_steps: int
    generator: Generator | list[Generator] | None
    resample: int = 1
    report: Report = print
    on_step: OnStep | None = None

    def __post_init__(self) -> None:
        prompts, _ = pair_prompts(self.prompt, self.negative_prompt)
        check_guidance(self.guidance_scale)
        check_steps(self.num_inference_steps)
        check_generator(self.generator, len(prompts))
        check_whole(1, MAX_RESAMPLE, 4, resample=self.resample)
        check_function(report=self.report)
        if self.on_step is not None:
            check_function(on_step=self.on_step)


def picture_to_edit(image: Image.Image) -> Image.Image:
    """Return a picture as RGB, turned as its camera says, on white where it is see-through.

    Raises:
        ValueError: It is no picture, is too small, or its numbers are no colours.
    """
    check_picture(image)
    if min(image.size) < SIZE_FACTOR:
        raise ValueError(
            f"image is {_size(image.size)}; each side needs at least {SIZE_FACTOR} pixels, which "
            "is one latent"
        )
    if image.mode in ("F", "LAB", "La"):
        raise ValueError(
            f"image has mode {image.mode}, in which there is no one way to RGB; "
            "convert it to RGB first"
        )
    return flatten(image, "image")


def own_size(pipe: StableDiffusionPipeline) -> int:
    """The side in pixels of the pictures that a model was trained on."""
    return check_loaded(pipe).unet.config.sample_size * pipe.vae_scale_factor


def shrink_to_fit(pipe: StableDiffusionPipeline, image: Image.Image) -> Image.Image:
    """Return a picture with as many pixels as the model's own, if it has more than it can edit."""
    check_picture(image)
    own, (width, height) = own_size(pipe), image.size
    if max(width, height) <= MAX_ENLARGED * own:
        return image
    scale = min(own / (width * height) ** 0.5, MAX_ENLARGED * own / max(width, height))
    new_width, new_height = (max(SIZE_FACTOR, int(side * scale)) for side in image.size)
    return image.resize((new_width, new_height), Image.Resampling.LANCZOS)


def check_room(pipe: StableDiffusionPipeline, size: tuple[int, int]) -> None:
    """Refuse the size of a picture that is much larger than those the model was trained on.

    Raises:
        ValueError: A side is more than `MAX_ENLARGED` times the model's own.
    """
    own = own_size(pipe)
    if max(size) > MAX_ENLARGED * own:
        raise ValueError(
            f"image is {_size(size)}, and this model, which draws {own} x {own}, edits sides of "
            f"at most {MAX_ENLARGED * own}; shrink it first: image.thumbnail(({own}, {own}))"
        )


def open_mask(mask: Image.Image, image: Image.Image) -> Image.Image:
    """Return a mask as black, which stays, and white, which is painted anew.

    Any mode will do; from middle grey up is white, and what is see-through is black.

    Raises:
        ValueError: It is no picture, or not of the picture's size.
    """
    if not isinstance(mask, Image.Image):
        kind = type(mask).__name__
        raise ValueError(f"mask is of type {kind}, must be a PIL image; try box_mask(size, box)")
    grey = flatten(mask, "mask", ground="black").convert("L")
    levels = grey.point(lambda level: 255 * (level >= REPAINTED_FROM))
    if levels.size != image.size:
        raise ValueError(
            f"mask is {_size(levels.size)} and the picture {_size(image.size)}; draw the mask on "
            f"this picture, or resize it: mask.resize({image.size})"
        )
    return levels


def box_mask(size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    """Make a mask of a picture's size that is white in a box: (left, top, right, bottom).

    Raises:
        ValueError: The box has no pixel inside the picture, or one of both is no such numbers.
    """
    for name, numbers, count in (("size", size, 2), ("box", box, 4)):
        is_list = isinstance(numbers, list | tuple) and len(numbers) == count
        if not is_list or not all(isinstance(number, Integral) for number in numbers):
            raise ValueError(f"{name}={numbers!r} must be {count} whole numbers of pixels")
    if max(size) > MAX_MASK_SIDE:
        raise ValueError(f"size={size} must be {MAX_MASK_SIDE} pixels a side at most")
    left, top, right, bottom = map(int, box)
    inside = (max(0, left), max(0, top), min(size[0], right), min(size[1], bottom))
    if inside[0] >= inside[2] or inside[1] >= inside[3]:
        raise ValueError(
            f"box={box} has no pixel in a picture of {size[0]} x {size[1]}; it is "
            "(left, top, right, bottom), counted from the upper left corner"
        )
    mask = Image.new("L", size)
    mask.paste(255, inside)
    return mask


def padded_pixels(images: list[Image.Image]) -> Tensor:
    """Stack pictures of one size into pixels, sides repeated outwards until latents fit them."""
    pixels = to_pixels(images)  # (B, 3, H, W)
    height, width = pixels.shape[-2:]
    right, below = -width % SIZE_FACTOR, -height % SIZE_FACTOR
    return F.pad(pixels, (0, right, 0, below), mode="replicate")


def latent_mask(mask: Image.Image, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Shrink a mask to latents, (1, 1, H/8, W/8): one is painted anew if any of its pixels is.

    diffusers looks at one pixel of each 8 x 8 instead, and so loses a stroke of a thin brush.
    """
    levels = to_pixels([mask])[:, :1] / 2 + 0.5  # (1, 1, H, W) in [0, 1]
    height, width = levels.shape[-2:]
    levels = F.pad(levels, (0, -width % SIZE_FACTOR, 0, -height % SIZE_FACTOR))
    return F.max_pool2d(levels, SIZE_FACTOR).round().to(device, dtype)


def decode_edit(
    pipe: StableDiffusionPipeline,
    latents: Tensor,
    size: tuple[int, int],
    report: Report,
    *,
    keep: tuple[Image.Image, Image.Image] | None = None,
) -> Image.Image:
    """Turn latents into a picture, as large as the one that came, and checked for safety.

    Args:
        latents: Of one picture, (1, 4, H/8, W/8).
        size: Of the picture that came.
        report: Is told if the picture was flagged.
        keep: The picture that came and its mask: outside of the mask its pixels stay, and what is
            new is drawn to them at the border.
    """
    image = decode(pipe, latents)[0].crop((0, 0, *size))
    if keep:
        original, mask = keep
        image = blend(image, original, mask)
    if pipe.safety_checker is not None and flags(pipe, [image])[0].flagged:
        report(flag_note())
        return Image.new("RGB", size)
    return image


def _size(size: tuple[int, int]) -> str:
    return "{} x {}".format(*size)
