"""When a picture is right: what its scene asked for against what the probe reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from diffusers import StableDiffusionPipeline

from sdlesson.images import to_images
from sdlesson.metrics import Share, share
from sdlesson.pocket.evaluation.samples import draw_scenes, restored
from sdlesson.pocket.world.grammar import caption
from sdlesson.pocket.world.rendering import render
from sdlesson.pocket.world.scenes import Scene
from sdlesson.probe import Probe, Reading

Verdict = Callable[[Scene, Reading], bool]


def subject_right(scene: Scene, reading: Reading) -> bool:
    """Whether the most probable subject is the one asked for."""
    return reading.top(1) == frozenset(scene.subjects)


def both_right(scene: Scene, reading: Reading) -> bool:
    """Whether the two most probable subjects are the two asked for."""
    return reading.top(2) == frozenset(scene.subjects)


def composition_right(scene: Scene, reading: Reading) -> bool:
    """For a held-out composition: both subjects, or the subject and its place."""
    if len(scene.subjects) == 2:
        return both_right(scene, reading)
    return subject_right(scene, reading) and reading.place == scene.place


def place_right(scene: Scene, reading: Reading) -> bool:
    """Whether the place is the one asked for."""
    return reading.place == scene.place


def style_right(scene: Scene, reading: Reading) -> bool:
    """Whether the style is the one asked for."""
    return reading.style == scene.style


@dataclass(frozen=True)
class Judged:
    """Scenes, and what the probe reads in three pictures of each.

    Attributes:
        drawn: What the model drew from the caption.
        restored: The real render, through the VAE and back.
        real: The render itself.
    """

    scenes: Sequence[Scene]
    drawn: Sequence[Reading]
    restored: Sequence[Reading]
    real: Sequence[Reading]

    def shares(self, verdict: Verdict) -> dict[str, Share]:
        """How often each kind of picture shows what its scene asked for."""
        return {
            name: share_right(verdict, self.scenes, getattr(self, name))
            for name in ("drawn", "restored", "real")
        }

    def where(self, wanted: Callable[[Scene], bool]) -> Judged:
        """The part of it whose scenes are wanted."""
        kept = [i for i, scene in enumerate(self.scenes) if wanted(scene)]
        return Judged(
            [self.scenes[i] for i in kept],
            [self.drawn[i] for i in kept],
            [self.restored[i] for i in kept],
            [self.real[i] for i in kept],
        )

    def __add__(self, other: Judged) -> Judged:
        return Judged(
            [*self.scenes, *other.scenes],
            [*self.drawn, *other.drawn],
            [*self.restored, *other.restored],
            [*self.real, *other.real],
        )


def share_right(verdict: Verdict, scenes: Sequence[Scene], readings: Sequence[Reading]) -> Share:
    """How often a reading is what its scene asked for."""
    return share(verdict(s, r) for s, r in zip(scenes, readings, strict=True))


def judge(pipe: StableDiffusionPipeline, probe: Probe, scenes: Sequence[Scene]) -> Judged:
    """Draw the scenes' English captions, render the scenes, and read both, and the VAE's copies."""
    renders = [render(scene) for scene in scenes]
    return Judged(
        scenes,
        drawn=draw_and_read(pipe, probe, scenes, "en"),
        restored=probe.read([to_images(restored(pipe, image))[0] for image in renders]),
        real=probe.read(renders),
    )


def draw_and_read(
    pipe: StableDiffusionPipeline, probe: Probe, scenes: Sequence[Scene], language: str
) -> list[Reading]:
    """Draw each scene's caption and read the pictures; both languages start from the same noise."""
    prompts = [caption(scene, language) for scene in scenes]
    seeds = [scene.seed for scene in scenes]
    return probe.read(draw_scenes(pipe, prompts, seeds, progress=f"drawing ({language})"))
