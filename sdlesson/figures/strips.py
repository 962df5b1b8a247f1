"""Pictures beside each other, and pictures after each other."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from sdlesson.images import image_grid

STRIP_WIDTH_PX = 1056
ANIMATION_WIDTH_PX = STRIP_WIDTH_PX // 2
MAX_TIMES = 3  # the pocket model's 128 pixels on a screen of today
FONT_PX = 16
WEBP_QUALITY = 50


@dataclass(frozen=True, repr=False)
class Animation:
    """Pictures that follow each other for ever, as an animated WebP; a notebook plays it.

    Attributes:
        data: The file. As a GIF it would be twice as long, in fewer colours.
        size: Width and height in pixels.
        frames: How many pictures.
    """

    data: bytes
    size: tuple[int, int]
    frames: int

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the animated WebP, which browsers and slides play."""
        Path(path).write_bytes(self.data)

    def __repr__(self) -> str:
        return f"Animation({self.frames} frames, {len(self.data) / 1024:.0f} KB)"

    def _repr_html_(self) -> str:
        source = f"data:image/webp;base64,{base64.b64encode(self.data).decode()}"
        times = max(
            1, min(MAX_TIMES, ANIMATION_WIDTH_PX // self.size[0])
        )  # drawn small, shown large
        width, height = (times * side for side in self.size)
        return f'<img src="{source}" width="{width}" height="{height}" alt="{self!r}">'


def grid(images: Sequence[Image.Image], columns: int, labels: Sequence[str] = ()) -> Image.Image:
    """Put images of one size in rows, each over its label, as large as a page lets them be.

    Small ones are shown at up to three times their pixels, which a projector needs; large ones are
    shrunk.

    Raises:
        ValueError: There are no images, sizes differ, or labels do not match images in number.
    """
    fitted = _fitted(images, min(columns, len(images)))
    return image_grid(fitted, columns, labels=labels, font_px=FONT_PX)


def strip(images: Sequence[Image.Image], labels: Sequence[str] = ()) -> Image.Image:
    """Put images of one size in one row over their labels, as large as a page lets them be.

    Raises:
        ValueError: There are no images, sizes differ, or labels do not match images in number.
    """
    return grid(images, len(images), labels)


def enlarged(image: Image.Image) -> Image.Image:
    """Show one image at up to three times its pixels."""
    return _fitted([image], 2)[0]


def animation(
    images: Sequence[Image.Image], *, milliseconds: int = 120, hold_milliseconds: int = 1200
) -> Animation:
    """Show images of one size one after the other, again and again.

    Args:
        images: In order.
        milliseconds: How long each is shown.
        hold_milliseconds: How long the last is shown.

    Raises:
        ValueError: There are no images, or their sizes differ.
    """
    sizes = sorted({image.size for image in images})
    if len(sizes) != 1:
        raise ValueError(f"images must be of one size, got {sizes}; resize them first")
    first, *rest = (_shrunk(image) for image in images)
    durations = [milliseconds] * len(rest) + [hold_milliseconds]
    file = io.BytesIO()
    settings = {"quality": WEBP_QUALITY, "duration": durations, "loop": 0}
    first.save(file, "WEBP", save_all=True, append_images=rest, **settings)
    return Animation(file.getvalue(), first.size, len(images))


def _fitted(images: Sequence[Image.Image], columns: int) -> list[Image.Image]:
    """Make images as wide as so many beside each other can be on a page, within reason."""
    room = STRIP_WIDTH_PX // max(columns, 1)
    return [_of_width(image.convert("RGB"), room) for image in images]


def _shrunk(image: Image.Image) -> Image.Image:
    copy = image.convert("RGB")
    copy.thumbnail((ANIMATION_WIDTH_PX, copy.height))
    return copy


def _of_width(image: Image.Image, room: int) -> Image.Image:
    width = min(MAX_TIMES * image.width, room)
    height = round(image.height * width / image.width)
    return image.resize((width, height), Image.Resampling.BICUBIC)
