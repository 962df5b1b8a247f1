"""Where pictures go wrong: each subject and each held-out composition by itself, and what fails.

Each scene is read three times. Where the probe misses the render itself, the probe is to blame;
where it misses the render only after the VAE, the VAE's blur; where only the drawing is wrong, the
text encoder and the U-Net.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from sdlesson.pocket.evaluation.judging import Judged, Verdict
from sdlesson.pocket.world.grammar import caption
from sdlesson.pocket.world.scenes import SUBJECTS, Scene, held_out_compositions

Row = dict[str, Any]
MOST_TAKEN_FOR = 3


def by_subject(singles: Judged, verdict: Verdict) -> dict[str, Row]:
    """One row a subject, the worst drawn first, with what it was taken for most often."""
    parts = {name: _showing(singles, name) for name in SUBJECTS}
    return _worst_first(
        {
            name: _row(part, verdict) | {"taken_for": _taken_for(part, verdict)}
            for name, part in parts.items()
            if part.scenes
        }
    )


def by_composition(held_out: Judged, verdict: Verdict) -> dict[str, Row]:
    """One row a held-out composition, under its English caption, the worst drawn first."""
    parts = {caption(bare): _of_composition(held_out, bare) for bare in held_out_compositions()}
    return _worst_first({name: _row(part, verdict) for name, part in parts.items() if part.scenes})


def _showing(judged: Judged, subject: str) -> Judged:
    return judged.where(lambda scene: scene.subjects == (subject,))


def _of_composition(judged: Judged, bare: Scene) -> Judged:
    """The scenes of one composition, however they are dressed."""
    return judged.where(
        lambda scene: (
            (scene.kind, scene.subjects) == (bare.kind, bare.subjects)
            and (bare.kind != "single" or scene.place == bare.place)
        )
    )


def _row(part: Judged, verdict: Verdict) -> Row:
    shares = part.shares(verdict)
    drawn = shares["drawn"]
    return {
        "n": drawn.n,
        "drawn": [round(number, 4) for number in drawn[:3]],
        "restored": round(shares["restored"].value, 4),
        "real": round(shares["real"].value, 4),
    }


def _taken_for(part: Judged, verdict: Verdict) -> dict[str, int]:
    wrong = (
        next(iter(reading.subjects))
        for scene, reading in zip(part.scenes, part.drawn, strict=True)
        if not verdict(scene, reading)
    )
    return dict(Counter(wrong).most_common(MOST_TAKEN_FOR))


def _worst_first(rows: dict[str, Row]) -> dict[str, Row]:
    return dict(sorted(rows.items(), key=lambda item: item[1]["drawn"][0]))
