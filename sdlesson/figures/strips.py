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
        """Write the file."""
        Path(path).write_bytes(self.data)

    def __repr__(self) -> str:
        return f"Animation({self.frames} frames, {len(self.data) / 1024:.0f} KB)"

    def _repr_html_(self) -> str:
        source = f"data:image/webp;base64,{base64.b64encode(self.data).decode()}"
        return f'<img src="{source}" width="{self.size[0]}" height="{self.size[1]}" alt="{self!r}">'


def strip(images: Sequence[Image.Image], labels: Sequence[str] = ()) -> Image.Image:
    """Put images of one size in one row over their labels, shrunk where it would be too wide.

    Raises:
        ValueError: There are no images, sizes differ, or labels do not match images in number.
    """
    return image_grid(_shrunk(images, len(images)), len(images), labels=labels)


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
    first, *rest = _shrunk(images, 2)
    durations = [milliseconds] * len(rest) + [hold_milliseconds]
    file = io.BytesIO()
    settings = {"quality": WEBP_QUALITY, "duration": durations, "loop": 0}
    first.save(file, "WEBP", save_all=True, append_images=rest, **settings)
    return Animation(file.getvalue(), first.size, len(images))


def _shrunk(images: Sequence[Image.Image], columns: int) -> list[Image.Image]:
    """Make images narrow enough for so many to stand side by side on a page."""
    copies = [image.convert("RGB") for image in images]
    for copy in copies:
        copy.thumbnail((STRIP_WIDTH_PX // columns, copy.height))  # never enlarges
    return copies
