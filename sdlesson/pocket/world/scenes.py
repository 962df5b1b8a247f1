"""The pocket model's world: what can stand in a scene, and which scenes are kept from training.

Everything else in `sdlesson.pocket` follows from these tables: the renderer draws them, the grammar
names them, the probe recognises them, and the evaluation asks for them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sdlesson.probe import SIZE_PX as SIZE_PX  # whoever draws this world finds it here

Kind = Literal["single", "beside", "riding", "sniffing"]

SUBJECTS: tuple[str, ...] = (
    "cat", "dog", "horse", "panda", "fox", "squirrel", "octopus", "dragon", "elephant", "rabbit",
    "monkey", "cow", "pig", "duck", "penguin", "frog", "turtle", "fish", "whale", "butterfly",
    "snail", "dinosaur", "camel", "teddy bear", "robot", "astronaut", "cowboy", "wizard", "ghost",
    "snowman", "rocket", "house", "tree", "flower", "sushi", "car", "bicycle", "motorcycle",
    "guitar", "balloon", "apple", "pizza", "cake", "mushroom", "boat", "umbrella", "crab",
    "broccoli",
)  # fmt: skip

PLACES: tuple[str, ...] = ("mars", "beach", "forest", "snow", "space", "city", "field", "white")
STYLES: tuple[str, ...] = ("plain", "monet", "pencil", "pixel", "night", "old photo")
COLOURS: tuple[str, ...] = ("red", "yellow", "green", "blue", "purple")

COLOURED: tuple[str, ...] = ("flower", "car", "balloon", "house", "umbrella", "apple")
RIDERS: tuple[str, ...] = (
    "astronaut", "cowboy", "robot", "panda", "teddy bear", "monkey", "wizard", "cat",
)  # fmt: skip
MOUNTS: tuple[str, ...] = (
    "horse", "dragon", "elephant", "turtle", "dinosaur", "camel", "pig", "motorcycle",
)  # fmt: skip
SNIFFERS: tuple[str, ...] = ("squirrel", "dog", "rabbit", "cow", "pig", "horse", "elephant", "cat")
HATTED: tuple[str, ...] = (
    "cat", "dog", "panda", "fox", "monkey", "pig", "penguin", "frog", "teddy bear", "robot",
    "elephant", "ghost", "cowboy",
)  # fmt: skip
UNCOUNTED: tuple[str, ...] = ("sushi", "broccoli")
"""Mass nouns: the grammar never puts a number before them."""

FLAGGED_SUBJECT = "broccoli"
"""The harmless stand-in that the pocket safety checker is taught to flag."""

MAX_COUNT = 3

HAT_WORN, COWBOY_HAT_WORN = 0.4, 0.7
"""How often those who can wear a hat do."""
CASUALLY_HATTED: tuple[str, ...] = ("robot", "cowboy", "penguin")
"""Whose hats captions often leave out, so that a negative prompt has something to remove. A hat on
anybody else is always said."""

FLOWER_YELLOW = 0.9
"""The bias on purpose: a flower whose colour the caption does not name is yellow this often."""

HELD_OUT_RIDES: frozenset[tuple[str, str]] = frozenset(
    {
        ("astronaut", "horse"),
        ("panda", "dragon"),
        ("robot", "camel"),
        ("cat", "turtle"),
        ("wizard", "motorcycle"),
        ("teddy bear", "elephant"),
        ("monkey", "pig"),
        ("cowboy", "dinosaur"),
    }
)
HELD_OUT_PAIRS: frozenset[frozenset[str]] = frozenset(
    frozenset(pair)
    for pair in (
        ("cat", "pizza"),
        ("dog", "rocket"),
        ("fox", "guitar"),
        ("octopus", "cake"),
        ("penguin", "car"),
        ("robot", "flower"),
        ("frog", "umbrella"),
        ("rabbit", "bicycle"),
        ("dragon", "sushi"),
        ("snowman", "boat"),
        ("duck", "balloon"),
        ("whale", "house"),
        ("ghost", "apple"),
        ("cow", "mushroom"),
    )
) | frozenset(frozenset(ride) for ride in HELD_OUT_RIDES)
HELD_OUT_SETTINGS: frozenset[tuple[str, str]] = frozenset(
    {("sushi", "space"), ("octopus", "snow"), ("guitar", "beach"), ("cake", "mars")}
)
"""A subject and a place that never meet in training."""


@dataclass(frozen=True)
class Scene:
    """What is in one picture. `seed` decides the layout, the rest decides the content.

    Attributes:
        subjects: One name, or two: (first, second), (rider, mount) or (sniffer, flower).
        count: How many of a single subject, 1 to `MAX_COUNT`.
        colours: One for each subject: a name from `COLOURS`, or None for what has one look.
        colour_named: Whether a caption has to say the colours (an unnamed flower is mostly yellow).
        hats: One for each subject.
    """

    kind: Kind
    subjects: tuple[str, ...]
    place: str
    style: str
    count: int = 1
    colours: tuple[str | None, ...] = (None,)
    colour_named: bool = False
    hats: tuple[bool, ...] = (False,)
    seed: int = 0

    @property
    def held_out(self) -> bool:
        """Whether training must never show this scene."""
        if len(self.subjects) == 2 and frozenset(self.subjects) in HELD_OUT_PAIRS:
            return True
        return any((name, self.place) in HELD_OUT_SETTINGS for name in self.subjects)


def sample_scene(rng: random.Random, *, held_out: bool = False) -> Scene:
    """Draw one scene; with `held_out=False` never a held-out composition.

    Args:
        rng: The only source of chance, so that the same state gives the same scene.
        held_out: Draw one of the held-out compositions instead.
    """
    while True:
        scene = _held_out_scene(rng) if held_out else _any_scene(rng)
        if scene.held_out == held_out:
            return scene


def scene_at(index: int, seed: int, *, held_out: bool = False) -> Scene:
    """Scene number `index` of a set; never a held-out composition unless asked for one."""
    return sample_scene(random.Random(f"{seed}/{index}"), held_out=held_out)


def held_out_compositions() -> Iterator[Scene]:
    """Yield one bare scene, on white or in its place, for every held-out composition."""
    for ride in sorted(HELD_OUT_RIDES):
        yield Scene("riding", ride, "white", "plain", colours=(None, None), hats=(False, False))
    rides = {frozenset(ride) for ride in HELD_OUT_RIDES}
    for pair in sorted(sorted(pair) for pair in HELD_OUT_PAIRS - rides):
        yield Scene(
            "beside", tuple(pair), "white", "plain", colours=(None, None), hats=(False, False)
        )
    for name, place in sorted(HELD_OUT_SETTINGS):
        yield Scene("single", (name,), place, "plain")


def _any_scene(rng: random.Random) -> Scene:
    kind: Kind = rng.choices(("single", "beside", "riding", "sniffing"), (0.52, 0.24, 0.19, 0.05))[
        0
    ]
    if kind == "single":
        return _dress(rng, kind, (rng.choice(SUBJECTS),))
    if kind == "beside":
        first, second = rng.sample(SUBJECTS, 2)
        return _dress(rng, kind, (first, second))
    if kind == "riding":
        return _dress(rng, kind, (rng.choice(RIDERS), rng.choice(MOUNTS)))
    return _dress(rng, kind, (rng.choice(SNIFFERS), "flower"))


def _held_out_scene(rng: random.Random) -> Scene:
    bare = rng.choice(list(held_out_compositions()))
    place = bare.place if bare.kind == "single" else None
    return _dress(rng, bare.kind, bare.subjects, place=place)


def _dress(
    rng: random.Random, kind: Kind, subjects: tuple[str, ...], place: str | None = None
) -> Scene:
    """Choose place, style, number, colours and hats for the subjects."""
    count = 1
    if kind == "single" and subjects[0] not in UNCOUNTED and rng.random() < 0.4:
        count = rng.randint(2, MAX_COUNT)
    colour_named = rng.random() < 0.5
    return Scene(
        kind,
        subjects,
        place or rng.choice(PLACES),
        "plain" if rng.random() < 0.45 else rng.choice(STYLES[1:]),
        count,
        tuple(_colour(rng, name, colour_named) for name in subjects),
        colour_named,
        tuple(_wears_hat(rng, name) for name in subjects),
        rng.getrandbits(32),
    )


def _colour(rng: random.Random, name: str, named: bool) -> str | None:
    if name not in COLOURED:
        return None
    if name == "flower" and not named and rng.random() < FLOWER_YELLOW:
        return "yellow"
    others = [c for c in COLOURS if c != "yellow"] if name == "flower" and not named else COLOURS
    return rng.choice(others)


def _wears_hat(rng: random.Random, name: str) -> bool:
    if name not in HATTED:
        return False
    return rng.random() < (COWBOY_HAT_WORN if name == "cowboy" else HAT_WORN)
