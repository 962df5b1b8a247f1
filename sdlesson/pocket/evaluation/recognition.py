"""Would a student recognise it? Likeness of what was drawn to the figures its captions asked for.

Beside each figure stands its ceiling: the same on real renders of the same scenes, and on those
renders through the VAE and back. Scenes are unstyled, without hats, of one figure each: a single
thing, or a ride, rider and mount together.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from PIL import Image

from sdlesson import metrics
from sdlesson.metrics import Likeness, Share, likeness
from sdlesson.pocket.world.rendering import figures, render
from sdlesson.pocket.world.scenes import SUBJECTS, Scene, sample_scene

Redraw = Callable[[Sequence[Scene]], list[Image.Image]]


@dataclass(frozen=True)
class Recognised:
    """Scenes, three pictures of each (see `Judged`), and how well each shows its figure."""

    scenes: Sequence[Scene]
    pictures: dict[str, list[Image.Image]]
    likenesses: dict[str, list[Likeness]]

    def clear(self) -> dict[str, Share]:
        """In how many pictures the figure is there for anyone to see."""
        return {
            name: metrics.share(found.clear for found in row)
            for name, row in self.likenesses.items()
        }

    def where(self, wanted: Callable[[Scene], bool]) -> Recognised:
        """The part of it whose scenes are wanted."""
        kept = [i for i, scene in enumerate(self.scenes) if wanted(scene)]
        return Recognised(
            [self.scenes[i] for i in kept],
            {name: [row[i] for i in kept] for name, row in self.pictures.items()},
            {name: [row[i] for i in kept] for name, row in self.likenesses.items()},
        )


def recognise(scenes: Sequence[Scene], draw: Redraw, restore: Redraw) -> Recognised:
    """Draw the scenes, copy their renders through the VAE, and look for each figure in all."""
    pictures = {
        "drawn": draw(scenes),
        "restored": restore(scenes),
        "real": [render(scene) for scene in scenes],
    }
    looked_for = [figures(scene)[0] for scene in scenes]
    likenesses = {
        name: [likeness(image, ways) for image, ways in zip(row, looked_for, strict=True)]
        for name, row in pictures.items()
    }
    return Recognised(scenes, pictures, likenesses)


def single_scenes(name: str, each: int) -> list[Scene]:
    """`each` scenes of every subject, one thing in each; training never draws from their stream."""
    rng, left = random.Random(f"evaluation/{name}"), Counter(dict.fromkeys(SUBJECTS, each))
    scenes = []
    while left.total():
        scene = sample_scene(rng)
        if of_one_thing(scene) and left[scene.subjects[0]]:
            left[scene.subjects[0]] -= 1
            scenes.append(bare(scene))
    return scenes


def ride_scenes(name: str, count: int, *, held_out: bool = False) -> list[Scene]:
    """Rides, or only those that training never showed."""
    rng = random.Random(f"evaluation/{name}")
    scenes: list[Scene] = []
    while len(scenes) < count:
        scene = sample_scene(rng, held_out=held_out)
        if scene.kind == "riding":
            scenes.append(bare(scene))
    return scenes


def of_one_thing(scene: Scene) -> bool:
    """Whether the scene shows a single thing, once."""
    return scene.kind == "single" and scene.count == 1


def all_clear(scene: Scene, image: Image.Image) -> bool:
    """Whether each figure that an unstyled scene asks for is there for anyone to see."""
    return all(likeness(image, ways).clear for ways in figures(scene))


def bare(scene: Scene) -> Scene:
    """The same scene unstyled and without hats."""
    return replace(scene, style="plain", hats=tuple(False for _ in scene.hats))


def clear_by_subject(singles: Recognised) -> dict[str, dict[str, object]]:
    """One row a subject, the least clear first."""
    rows: dict[str, dict[str, object]] = {}
    for name in SUBJECTS:
        part = singles.where(lambda scene, name=name: scene.subjects == (name,))  # type: ignore[misc]
        shares = part.clear()
        rows[name] = {
            "drawn": [round(number, 4) for number in shares["drawn"][:3]],
            "restored": round(shares["restored"].value, 4),
            "real": round(shares["real"].value, 4),
            "n": len(part.scenes),
        }
    return dict(sorted(rows.items(), key=lambda row: row[1]["drawn"][0]))  # type: ignore[index]
