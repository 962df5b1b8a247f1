"""The eight places: each function paints a 128 x 128 background with chance from `rng`.

Nothing in them is smaller than a latent can keep, which stands for 8 x 8 pixels: chance of a pixel
or two, such as a star's or a lit window's, is what no VAE of this size can tell.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from sdlesson.pocket.world.scenes import SIZE_PX
from sdlesson.pocket.world.sprites import sprites

Colour = tuple[int, int, int]
SOFTNESS_PX = 0.7
"""The background is a little out of focus, and its edges are smooth."""


def paint_place(name: str, rng: random.Random) -> Image.Image:
    """Paint one of `world.PLACES` as an RGB picture."""
    return _PAINTERS[name](rng).filter(ImageFilter.GaussianBlur(SOFTNESS_PX))


def _mars(rng: random.Random) -> Image.Image:
    image = _gradient((222, 160, 118), (240, 205, 165))
    draw = ImageDraw.Draw(image)
    horizon = rng.randint(66, 78)
    _hills(draw, rng, horizon - 8, (176, 92, 60), 14)
    _hills(draw, rng, horizon, (193, 84, 44), 4)
    for _ in range(rng.randint(4, 7)):
        x, y = rng.randint(-5, SIZE_PX), rng.randint(horizon + 8, SIZE_PX - 4)
        w = (y - horizon) // 2 + rng.randint(3, 8)
        draw.ellipse((x, y, x + w, y + w // 3), fill=(150, 60, 32))
        draw.arc((x, y, x + w, y + w // 3), 20, 160, fill=(224, 128, 84), width=2)
    return image


def _beach(rng: random.Random) -> Image.Image:
    image = _gradient((96, 178, 240), (205, 235, 250))
    draw = ImageDraw.Draw(image)
    sun_x = rng.randint(10, 110)
    draw.ellipse((sun_x - 9, 10, sun_x + 9, 28), fill=(255, 236, 130))
    sea, sand = rng.randint(56, 62), rng.randint(78, 84)
    draw.rectangle((0, sea, SIZE_PX, SIZE_PX), fill=(32, 122, 190))
    for y in range(sea + 4, sand - 2, 7):
        x = rng.randint(0, 40)
        draw.line((x, y, x + rng.randint(30, 70), y), fill=(120, 190, 230), width=2)
    draw.ellipse((-40, sand - 4, SIZE_PX + 40, SIZE_PX * 2), fill=(250, 250, 245))
    draw.ellipse((-40, sand, SIZE_PX + 40, SIZE_PX * 2), fill=(238, 212, 152))
    if rng.random() < 0.6:
        _stand(
            image, "palm", rng.choice((rng.randint(4, 22), rng.randint(106, 124))), sand + 10, 62
        )
    return image


def _forest(rng: random.Random) -> Image.Image:
    image = _gradient((120, 170, 120), (196, 222, 170))
    draw = ImageDraw.Draw(image)
    ground = rng.randint(76, 84)
    for x in range(-4, SIZE_PX + 8, 11):
        _stand(image, "pine", x + rng.randint(-3, 3), ground - 2, rng.randint(40, 58), shade=0.75)
    draw.rectangle((0, ground - 4, SIZE_PX, SIZE_PX), fill=(74, 112, 54))
    for _ in range(9):
        x, y = rng.randint(0, SIZE_PX), rng.randint(ground + 4, SIZE_PX)
        draw.ellipse((x - 7, y - 2, x + 7, y + 2), fill=(92, 134, 62))
    for x in (rng.randint(-4, 12), rng.randint(116, 132)):
        _stand(image, "pine", x, ground + rng.randint(8, 16), rng.randint(78, 92))
    return image


def _snow(rng: random.Random) -> Image.Image:
    image = _gradient((150, 190, 226), (224, 236, 246))
    draw = ImageDraw.Draw(image)
    horizon = rng.randint(68, 78)
    peak = rng.randint(20, 100)
    draw.polygon([(peak - 46, horizon), (peak, 24), (peak + 46, horizon)], fill=(128, 150, 182))
    draw.polygon([(peak - 16, 45), (peak, 24), (peak + 16, 45), (peak, 40)], fill=(248, 250, 255))
    _hills(draw, rng, horizon, (236, 243, 251), 6)
    for x in (rng.randint(4, 24), rng.randint(104, 124)):
        _stand(image, "pine", x, horizon + 8, rng.randint(28, 40), shade=0.85)
    for _ in range(16):
        x, y = rng.randint(0, SIZE_PX), rng.randint(0, SIZE_PX)
        draw.ellipse((x - 1, y - 1, x + 2, y + 2), fill=(255, 255, 255))
    return image


def _space(rng: random.Random) -> Image.Image:
    image = _gradient((10, 8, 34), (34, 18, 66))
    draw = ImageDraw.Draw(image)
    for _ in range(16):
        x, y = rng.randint(0, SIZE_PX), rng.randint(0, SIZE_PX)
        draw.ellipse((x - 1, y - 1, x + 1, y + 1), fill=(255, 250, 220))
    x, y, r = rng.choice((14, 112)), rng.randint(12, 34), rng.randint(9, 16)
    colour = rng.choice(((226, 150, 90), (120, 170, 230), (196, 120, 200), (150, 200, 140)))
    draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    if rng.random() < 0.6:
        draw.arc(
            (x - 2 * r, y - r // 2, x + 2 * r, y + r // 2), -20, 200, fill=(235, 220, 190), width=2
        )
    return image


def _city(rng: random.Random) -> Image.Image:
    image = _gradient((164, 196, 222), (226, 230, 232))
    draw = ImageDraw.Draw(image)
    ground, x = 90, rng.choice((-8, 0))
    while x < SIZE_PX:
        w, top = rng.choice((16, 24, 32)), rng.randint(18, 58)
        base = rng.choice(((120, 128, 146), (150, 116, 104), (98, 118, 140), (164, 156, 142)))
        draw.rectangle((x, top, x + w - 2, ground), fill=base)
        window = (250, 226, 140) if rng.random() < 0.4 else (70, 84, 104)
        for wx in range(x + 2, x + w - 4, 8):
            for wy in range(-(-(top + 2) // 8) * 8 + 2, ground - 6, 8):
                draw.rectangle((wx, wy, wx + 3, wy + 3), fill=window)
        x += w
    draw.rectangle((0, ground, SIZE_PX, ground + 7), fill=(176, 176, 176))
    draw.rectangle((0, ground + 8, SIZE_PX, SIZE_PX), fill=(86, 88, 94))
    for lane_x in range(rng.randint(-16, 0), SIZE_PX, 26):
        draw.rectangle((lane_x, 114, lane_x + 13, 116), fill=(240, 236, 214))
    return image


def _field(rng: random.Random) -> Image.Image:
    image = _gradient((92, 170, 238), (206, 232, 250))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.randint(2, 3)):
        x, y = rng.randint(0, 110), rng.randint(8, 34)
        for dx, dy, r in ((0, 2, 6), (8, 0, 8), (17, 3, 6)):
            draw.ellipse((x + dx - r, y + dy - r, x + dx + r, y + dy + r), fill=(255, 255, 255))
    horizon = rng.randint(68, 78)
    _hills(draw, rng, horizon - 8, (128, 184, 92), 9)
    _hills(draw, rng, horizon, (112, 190, 72), 5)
    colour = rng.choice(((255, 255, 255), (255, 226, 110), (244, 150, 180)))
    for _ in range(10):
        x, y = rng.randint(0, SIZE_PX), rng.randint(horizon + 8, SIZE_PX)
        draw.ellipse((x - 2, y - 1, x + 2, y + 2), fill=colour)
    return image


def _white(rng: random.Random) -> Image.Image:
    return Image.new("RGB", (SIZE_PX, SIZE_PX), (250, 250, 250))


_PAINTERS: dict[str, Callable[[random.Random], Image.Image]] = {
    "mars": _mars, "beach": _beach, "forest": _forest, "snow": _snow,
    "space": _space, "city": _city, "field": _field, "white": _white,
}  # fmt: skip


def _gradient(top: Colour, bottom: Colour) -> Image.Image:
    """A sky: `top` at the upper edge, `bottom` three quarters down."""
    t = np.clip(np.linspace(0, 4 / 3, SIZE_PX), 0, 1)[:, None, None]
    rows = (1 - t) * np.array(top) + t * np.array(bottom)
    return Image.fromarray(np.broadcast_to(rows, (SIZE_PX, SIZE_PX, 3)).astype(np.uint8))


def _hills(
    draw: ImageDraw.ImageDraw, rng: random.Random, horizon: int, colour: Colour, height: int
) -> None:
    """A ridge of two waves above a filled ground."""
    x = np.arange(0, SIZE_PX + 4, 4)
    waves = np.sin(x / rng.uniform(14, 26) + rng.uniform(0, 6)) + 0.5 * np.sin(
        x / rng.uniform(6, 12) + rng.uniform(0, 6)
    )
    ridge = [(int(a), float(b)) for a, b in zip(x, horizon - height * waves / 2, strict=True)]
    draw.polygon([*ridge, (SIZE_PX + 4, SIZE_PX), (0, SIZE_PX)], fill=colour)


def _stand(
    image: Image.Image, name: str, x: int, ground: int, size: int, shade: float = 1.0
) -> None:
    """Paste a sprite with its foot at (x, ground)."""
    sprite = sprites()[name].resize((size, size), Image.Resampling.BILINEAR)
    if shade != 1.0:
        *bands, alpha = sprite.split()
        darkened = [band.point(lambda v: int(v * shade)) for band in bands]
        sprite = Image.merge("RGBA", (*darkened, alpha))
    image.paste(sprite, (x - size // 2, ground - size), sprite)
