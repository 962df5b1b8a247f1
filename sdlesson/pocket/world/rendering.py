"""From a `Scene` to its picture: place, subjects, style, in that order."""

from __future__ import annotations

import random
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from sdlesson.pocket.world.places import paint_place
from sdlesson.pocket.world.scenes import CASUALLY_HATTED, COLOURS, SIZE_PX, Scene
from sdlesson.pocket.world.sprites import CELL_PX, sprites
from sdlesson.pocket.world.styles import apply_style

HUES: dict[str, float] = {"red": 0.0, "yellow": 0.135, "green": 0.34, "blue": 0.60, "purple": 0.77}
"""Hue of each colour of the world, as a fraction of the circle."""

PAINTED_HUES: dict[str, tuple[float, float]] = {
    "flower": (0.83, 1.0), "car": (0.93, 0.06), "balloon": (0.9, 0.1), "house": (0.0, 0.13),
    "umbrella": (0.55, 0.8), "apple": (0.93, 0.08),
}  # fmt: skip
"""Which hues of a coloured sprite are its paint; the range may pass through red."""

SEATS: dict[str, tuple[float, float]] = {
    "horse": (0.50, 0.40), "dragon": (0.50, 0.50), "elephant": (0.48, 0.22), "turtle": (0.58, 0.44),
    "dinosaur": (0.45, 0.60), "camel": (0.58, 0.30), "pig": (0.55, 0.36),
    "motorcycle": (0.52, 0.60),
}  # fmt: skip
"""Where a rider's lower edge rests on a mount, as fractions of its cell."""

HEADS: dict[str, tuple[float, float, float]] = {
    "cat": (0.26, 0.14, 0.42), "dog": (0.43, 0.08, 0.48), "panda": (0.50, 0.22, 0.62),
    "fox": (0.50, 0.27, 0.58), "monkey": (0.30, 0.14, 0.50), "pig": (0.24, 0.30, 0.42),
    "penguin": (0.36, 0.09, 0.44), "frog": (0.50, 0.32, 0.60), "teddy bear": (0.50, 0.10, 0.48),
    "robot": (0.50, 0.27, 0.60), "elephant": (0.30, 0.14, 0.44), "ghost": (0.50, 0.12, 0.52),
    "cowboy": (0.50, 0.34, 0.82),
}  # fmt: skip
"""Where a hat sits: its lower edge's centre, and its width, as fractions of the wearer's cell."""

FLOATING_PLACES = ("space",)

CELL_SHIFT_PX = 8
"""Figures move by this much or not at all: what one latent stands for."""
SINGLE_PX, RIDE_PX, SNIFFING_PX, SNIFFED_PX = 88, 112, 64, 44
"""Width of a single thing, of a ride's canvas, of an animal that sniffs and of its flower."""
ROW_PX = {2: 60, 3: 42}
"""Width of each of two, and of each of three."""

Placed = tuple[Image.Image, float, float]
"""A sprite, the x of its foot's centre and the y of its ground, in pixels."""


def render(scene: Scene) -> Image.Image:
    """Draw a scene as an RGB picture of `SIZE_PX`; the same scene gives the same pixels."""
    rng = random.Random(scene.seed)
    image = paint_place(scene.place, rng)
    for sprite, x, ground in _layout(scene, rng):
        if scene.place not in FLOATING_PLACES:
            _shadow(image, x, ground, sprite.width)
        image.paste(sprite, (round(x - sprite.width / 2), round(ground - sprite.height)), sprite)
    return apply_style(scene.style, image, rng)


def figures(scene: Scene) -> list[list[Image.Image]]:
    """For each thing in a scene, the ways it can look there: RGBA, in the size it is drawn in.

    A ride is one thing, rider and mount together. Where the caption leaves open a colour or a hat,
    each of them is among the ways.
    """
    looks = [
        [_figure(name, colour, hat) for colour in colours for hat in hats]
        for name, colours, hats in zip(
            scene.subjects, _open_colours(scene), _open_hats(scene), strict=True
        )
    ]
    if scene.kind == "riding":
        riders, mounts = looks
        mount_name = scene.subjects[1]
        return [[_scaled(_ride(r, m, mount_name), RIDE_PX) for r in riders for m in mounts]]
    if scene.kind == "sniffing":
        sizes = [SNIFFING_PX, SNIFFED_PX]
    elif scene.kind == "beside":
        sizes = [ROW_PX[2], ROW_PX[2]]
    else:
        sizes = [ROW_PX.get(scene.count, SINGLE_PX)]
    return [[_scaled(f, size) for f in ways] for ways, size in zip(looks, sizes, strict=True)]


def _open_colours(scene: Scene) -> list[tuple[str | None, ...]]:
    return [
        (colour,) if colour is None or scene.colour_named else COLOURS for colour in scene.colours
    ]


def _open_hats(scene: Scene) -> list[tuple[bool, ...]]:
    return [
        (False, True) if name in CASUALLY_HATTED and not hat else (hat,)
        for name, hat in zip(scene.subjects, scene.hats, strict=True)
    ]


def _layout(scene: Scene, rng: random.Random) -> list[Placed]:
    """Each sprite with the x of its foot's centre and the y of its ground, back to front.

    Everything looks the way its artwork looks, in one size for its kind of scene, and moves by
    whole latents: what no caption says is small, so that a model can settle on it.
    """
    ground = _ground(scene, rng)
    figures = [
        _figure(*parts) for parts in zip(scene.subjects, scene.colours, scene.hats, strict=True)
    ]
    if scene.kind == "riding":
        rider, mount = figures
        ride = _scaled(_ride(rider, mount, scene.subjects[1]), RIDE_PX)
        return [(ride, SIZE_PX / 2 + rng.choice((-CELL_SHIFT_PX, 0, CELL_SHIFT_PX)), ground)]
    if scene.kind == "sniffing":
        return _sniffing(figures[0], figures[1], ground, rng)
    if scene.kind == "beside":
        return _row([_scaled(f, ROW_PX[2]) for f in rng.sample(figures, 2)], ground)
    if scene.count > 1:
        return _row([_scaled(figures[0], ROW_PX[scene.count])] * scene.count, ground)
    x = SIZE_PX / 2 + rng.choice((-CELL_SHIFT_PX, 0, CELL_SHIFT_PX))
    return [(_scaled(figures[0], SINGLE_PX), x, ground)]


def _ground(scene: Scene, rng: random.Random) -> int:
    """One of two heights; who wears a hat stands on the lower one, or the hat would not fit."""
    lower = 112 if scene.place in FLOATING_PLACES else 120
    ground = lower - rng.choice((0, CELL_SHIFT_PX))
    return 120 if any(scene.hats) else ground


def _sniffing(
    animal: Image.Image, flower: Image.Image, ground: float, rng: random.Random
) -> list[Placed]:
    """A flower under the nose of an animal, which looks left."""
    middle = 80 + rng.choice((-CELL_SHIFT_PX, 0))
    return [
        (_scaled(flower, SNIFFED_PX), middle - 42, ground),
        (_scaled(animal, SNIFFING_PX), middle, ground),
    ]


def _row(figures: list[Image.Image], ground: float) -> list[Placed]:
    """Two or three things side by side; the second of three stands a little further back."""
    step = SIZE_PX / len(figures)
    back = (0, CELL_SHIFT_PX, 0)
    return [
        (figure, step * (i + 0.5), ground - (back[i] if len(figures) == 3 else 0))
        for i, figure in enumerate(figures)
    ]


@cache
def _figure(name: str, colour: str | None, hat: bool) -> Image.Image:
    """A subject in its colour, hat on, with room above its cell for the hat."""
    sprite = sprites()[name]
    if colour is not None:
        sprite = _recolour(sprite, PAINTED_HUES[name], HUES[colour])
    if not hat:
        return sprite
    x, y, width = HEADS[name]
    headroom = CELL_PX // 3
    tall = Image.new("RGBA", (CELL_PX, CELL_PX + headroom))
    tall.paste(sprite, (0, headroom))
    size = round(width * CELL_PX)
    hat_sprite = sprites()["cowboy hat" if name == "cowboy" else "top hat"].resize((size, size))
    left = min(max(round(x * CELL_PX - size / 2), 0), CELL_PX - size)
    tall.alpha_composite(hat_sprite, (left, max(0, round(headroom + y * CELL_PX - size))))
    return tall


def _ride(rider: Image.Image, mount: Image.Image, mount_name: str) -> Image.Image:
    """A rider behind the back of a mount, on a square canvas of 1.5 cells."""
    side = CELL_PX * 3 // 2
    canvas = Image.new("RGBA", (side, side))
    left, top = (side - CELL_PX) // 2, side - CELL_PX
    x, y = SEATS[mount_name]
    small = rider.resize(
        (round(rider.width * 0.62), round(rider.height * 0.62)), Image.Resampling.BILINEAR
    )
    canvas.alpha_composite(mount, (left, side - mount.height))
    seat_x, seat_y = left + x * CELL_PX, top + y * CELL_PX
    canvas.alpha_composite(
        small, (round(seat_x - small.width / 2), max(0, round(seat_y - small.height + 8)))
    )
    return canvas


def _recolour(sprite: Image.Image, painted: tuple[float, float], hue: float) -> Image.Image:
    """Turn the hues in the range `painted` to `hue`, keeping light and shade."""
    *rgb, alpha = sprite.split()
    h, s, v = (np.asarray(band) for band in Image.merge("RGB", rgb).convert("HSV").split())
    low, high = (round(edge * 255) for edge in painted)
    inside = (h >= low) & (h <= high) if low <= high else (h >= low) | (h <= high)
    inside &= s > 60
    new_h = np.where(inside, round(hue * 255), h).astype(np.uint8)
    new_s = np.where(inside, np.clip(s, 170, 215), s).astype(np.uint8)
    new_v = np.where(inside, np.clip(v, 140, 235), v).astype(np.uint8)
    bands = [Image.fromarray(band) for band in (new_h, new_s, new_v)]
    return Image.merge("RGBA", (*Image.merge("HSV", bands).convert("RGB").split(), alpha))


def _scaled(figure: Image.Image, size: int) -> Image.Image:
    """Resize so that a cell's width becomes `size` pixels."""
    height = round(size * figure.height / figure.width)
    return figure.resize((size, height), Image.Resampling.BILINEAR, reducing_gap=2.0)


def _shadow(image: Image.Image, x: float, ground: float, width: int) -> None:
    """A soft dark ellipse where something stands."""
    mask = Image.new("L", image.size)
    box = (x - width * 0.36, ground - 4, x + width * 0.36, ground + 3)
    ImageDraw.Draw(mask).ellipse(box, fill=60)
    image.paste((40, 40, 50), (0, 0), mask)
