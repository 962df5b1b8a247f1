"""The five styles: each turns a finished 128 x 128 scene into a picture in that manner."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

from sdlesson.pocket.world.scenes import SIZE_PX

DAB_PX = 8
"""Between two dabs of a row: one to each of a VAE's latents."""


def apply_style(name: str, image: Image.Image, rng: random.Random) -> Image.Image:
    """Return `image` in one of `world.STYLES`; "plain" leaves it as it is."""
    return image if name == "plain" else _STYLES[name](image, rng)


def _monet(image: Image.Image, rng: random.Random) -> Image.Image:
    """Rows of broad dabs in the colours of a blurred scene, lying along its shapes."""
    canvas = image.filter(ImageFilter.GaussianBlur(1.6))
    colours = np.asarray(canvas).astype(int)
    dy, dx = np.gradient(np.asarray(canvas.convert("L")).astype(float))
    draw = ImageDraw.Draw(canvas)
    for row, y in enumerate(range(2, SIZE_PX, DAB_PX // 2)):
        for column, x in enumerate(range(row % 2 * DAB_PX // 2, SIZE_PX, DAB_PX)):
            steep = abs(dx[y, x]) + abs(dy[y, x]) > 3
            angle = np.arctan2(dx[y, x], -dy[y, x]) if steep else 0.35 * (-1) ** column
            half = 3.5 * np.array((np.cos(angle), np.sin(angle)))
            light = (-16, 0, 16)[(row + column) % 3]
            r, g, b = (int(v) for v in np.clip(colours[y, x] + light, 0, 255))
            draw.line((x - half[0], y - half[1], x + half[0], y + half[1]), fill=(r, g, b), width=3)
    return canvas.filter(ImageFilter.GaussianBlur(0.5))


def _pencil(image: Image.Image, rng: random.Random) -> Image.Image:
    """Dodge the grey picture by its blurred negative: lines stay, areas turn to paper."""
    grey = np.asarray(image.convert("L"), dtype=float)
    blurred = np.asarray(image.convert("L").filter(ImageFilter.GaussianBlur(3)), dtype=float)
    dodged = np.minimum(grey / np.maximum(blurred, 1), 1)  # 1 on an even area, less on a dark line
    tone = 255 * (0.72 * dodged**2.5 + 0.28 * grey / 255)
    return ImageOps.colorize(Image.fromarray(tone.astype(np.uint8)), (44, 42, 48), (250, 246, 236))


def _pixel(image: Image.Image, rng: random.Random) -> Image.Image:
    """A 32 x 32 picture of few colours, shown as squares of 4 pixels."""
    small = image.resize((32, 32), Image.Resampling.BOX)
    few = small.point(lambda value: round(value / 36.4) * 255 // 7)
    return few.resize(image.size, Image.Resampling.NEAREST)


def _night(image: Image.Image, rng: random.Random) -> Image.Image:
    """Dim and blue, with a moon in a corner and stars above."""
    dim = ImageChops.multiply(image, Image.new("RGB", image.size, (104, 122, 190)))
    draw = ImageDraw.Draw(dim)
    for _ in range(6):
        x, y = rng.randint(0, SIZE_PX), rng.randint(0, 36)
        draw.ellipse((x - 1, y - 1, x + 1, y + 1), fill=(200, 206, 240))
    x, y = rng.choice((20, 106)), rng.randint(14, 20)
    draw.ellipse((x - 9, y - 9, x + 9, y + 9), fill=(250, 244, 206))
    draw.ellipse((x - 4, y - 12, x + 12, y + 4), fill=dim.getpixel((x, 2)))
    return dim


def _old_photo(image: Image.Image, rng: random.Random) -> Image.Image:
    """Sepia, soft, on a white mount."""
    grey = image.filter(ImageFilter.GaussianBlur(0.6)).convert("L")
    sepia = ImageOps.colorize(grey, (52, 34, 18), (246, 226, 188), mid=(160, 120, 80))
    return ImageOps.expand(sepia.crop((6, 6, SIZE_PX - 6, SIZE_PX - 6)), 6, (252, 248, 240))


_STYLES: dict[str, Callable[[Image.Image, random.Random], Image.Image]] = {
    "monet": _monet, "pencil": _pencil, "pixel": _pixel, "night": _night, "old photo": _old_photo,
}  # fmt: skip
