"""Pictures beside each other, and pictures after each other."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from sdlesson.images import image_grid, list_pictures
from sdlesson.settings import check_whole

STRIP_WIDTH_PX = 1056
ANIMATION_WIDTH_PX = STRIP_WIDTH_PX // 2
MAX_TIMES = 3  # the pocket model's 128 pixels on a screen of today
FONT_PX = 16
WEBP_QUALITY = 50
MAX_WEBP_PX = 16_383  # a side, by the format
MAX_COLUMNS = 100  # each is ten pixels wide then
MAX_MILLISECONDS = 60_000


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
    columns = check_whole(1, MAX_COLUMNS, 4, columns=columns)
    pictures = list_pictures(images)
    fitted = _fitted(pictures, min(columns, len(pictures)))
    return image_grid(fitted, columns, labels=labels, font_px=FONT_PX)


def strip(images: Sequence[Image.Image], labels: Sequence[str] = ()) -> Image.Image:
    """Put images of one size in one row over their labels, as large as a page lets them be.

    Raises:
        ValueError: There are no images, sizes differ, or labels do not match images in number.
    """
    pictures = list_pictures(images)
    return grid(pictures, max(1, len(pictures)), labels)


def enlarged(image: Image.Image) -> Image.Image:
    """Show one image at up to three times its pixels.

    Raises:
        ValueError: It is no picture, or has no pixel.
    """
    return _fitted(list_pictures([image]), 2)[0]


def animation(
    images: Sequence[Image.Image], *, milliseconds: int = 120, hold_milliseconds: int = 1200
) -> Animation:
    """Show images of one size one after the other, again and again.

    Args:
        images: In order.
        milliseconds: How long each is shown.
        hold_milliseconds: How long the last is shown.

    Raises:
        ValueError: There are no images, their sizes differ, or a time is outside its range.
    """
    check_whole(1, MAX_MILLISECONDS, 120, milliseconds=milliseconds)
    check_whole(1, MAX_MILLISECONDS, 1200, hold_milliseconds=hold_milliseconds)
    pictures = list_pictures(images)
    sizes = sorted({picture.size for picture in pictures})
    if len(sizes) != 1:
        raise ValueError(f"images must be of one size, got {sizes}; resize them first")
    first, *rest = (_shrunk(picture) for picture in pictures)
    durations = [milliseconds] * len(rest) + [hold_milliseconds]
    file = io.BytesIO()
    settings = {"quality": WEBP_QUALITY, "duration": durations, "loop": 0}
    first.save(file, "WEBP", save_all=True, append_images=rest, **settings)
    return Animation(file.getvalue(), first.size, len(pictures))


def _fitted(images: Sequence[Image.Image], columns: int) -> list[Image.Image]:
    """Make images as wide as so many beside each other can be on a page, within reason."""
    room = STRIP_WIDTH_PX // max(columns, 1)
    return [_of_width(image, room) for image in images]


def _shrunk(image: Image.Image) -> Image.Image:
    copy = image.copy()
    copy.thumbnail((ANIMATION_WIDTH_PX, MAX_WEBP_PX))
    return copy


def _of_width(image: Image.Image, room: int) -> Image.Image:
    width = min(MAX_TIMES * image.width, room)
    height = max(1, round(image.height * width / image.width))
    return image.resize((width, height), Image.Resampling.BICUBIC)
