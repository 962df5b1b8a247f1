"""The rows of the table that every set of weights is judged by.

First comes likeness, which no network computes; then what the probe reads, which can be fooled: it
once found 98.6% of subjects right where horses had two heads. Beside each
figure stand two ceilings: the same figure on real renders of the same scenes, and on those renders
through the VAE and back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from diffusers import StableDiffusionPipeline
from PIL import Image

from sdlesson import metrics
from sdlesson.images import to_images, to_pixels
from sdlesson.metrics.pixels import psnr
from sdlesson.pocket.evaluation.judging import (
    Judged,
    both_right,
    composition_right,
    draw_and_read,
    judge,
    place_right,
    style_right,
    subject_right,
)
from sdlesson.pocket.evaluation.macs import macs_ratio
from sdlesson.pocket.evaluation.recognition import (
    Recognised,
    recognise,
    ride_scenes,
    single_scenes,
)
from sdlesson.pocket.evaluation.samples import draw_scenes, evaluation_scenes, restored
from sdlesson.pocket.paths import POCKET_FOLDER, SCORER_FOLDER
from sdlesson.pocket.world.grammar import caption
from sdlesson.pocket.world.rendering import render
from sdlesson.pocket.world.scenes import CASUALLY_HATTED, SUBJECTS, Scene
from sdlesson.probe import Probe, Reading


@dataclass(frozen=True)
class Figure:
    """One row of the table: a value with its 95% interval, over n pictures.

    Attributes:
        restored: The same figure on real renders through the VAE, where that means something.
        ceiling: The same figure on real renders.
    """

    value: float
    restored: float | None = None
    ceiling: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None


@dataclass(frozen=True)
class ProbeSample:
    """What the table is counted on: three kinds of scenes, and single subjects in Spanish too."""

    singles: Judged
    pairs: Judged
    held_out: Judged
    spanish: Sequence[Reading]


@dataclass(frozen=True)
class LikenessSample:
    """What the rows on recognising are counted on."""

    singles: Recognised
    rides: Recognised
    held_out_rides: Recognised


def draw_likeness_sample(pipe: StableDiffusionPipeline, n: int) -> LikenessSample:
    """Draw at least `n` single subjects, as many of each, `n` rides and `n` held-out rides."""

    def draw(scenes: Sequence[Scene]) -> list[Image.Image]:
        prompts, seeds = [caption(s) for s in scenes], [s.seed for s in scenes]
        return draw_scenes(pipe, prompts, seeds, progress="looking")

    def restore(scenes: Sequence[Scene]) -> list[Image.Image]:
        return [to_images(restored(pipe, render(scene)))[0] for scene in scenes]

    each = -(-n // len(SUBJECTS))
    return LikenessSample(
        recognise(single_scenes("clear single", each), draw, restore),
        recognise(ride_scenes("clear ride", n), draw, restore),
        recognise(ride_scenes("clear held out", n, held_out=True), draw, restore),
    )


def evaluate_likeness(probe: Probe, sample: LikenessSample) -> dict[str, Figure]:
    """Measure the rows that no network can flatter, and two that a glance would notice.

    Returns:
        Rows: single_clear, ride_clear, held_out_ride_clear; commitment and fine_detail, as shares
        of what real renders have; hats_unasked, on those whose hats captions never leave out.
    """
    hatless = sample.singles.where(lambda s: s.subjects[0] not in CASUALLY_HATTED)
    return {
        "single_clear": _with_ceilings(sample.singles.clear()),
        "ride_clear": _with_ceilings(sample.rides.clear()),
        "held_out_ride_clear": _with_ceilings(sample.held_out_rides.clear()),
        "commitment": _relative_to_real(
            {
                name: [found.commitment for found in row]
                for name, row in sample.singles.likenesses.items()
            }
        ),
        "hats_unasked": _with_ceilings(_hats(probe, hatless)),
        "fine_detail": _relative_to_real(
            {
                name: [metrics.fine_detail(image) for image in row]
                for name, row in sample.singles.pictures.items()
            }
        ),
    }


def draw_probe_sample(pipe: StableDiffusionPipeline, probe: Probe, n: int) -> ProbeSample:
    """Draw and read `n` scenes of each kind: 4 n pictures."""
    singles = list(evaluation_scenes("single", n, lambda s: s.kind == "single"))
    pairs = list(evaluation_scenes("pair", n, lambda s: s.kind in ("beside", "riding")))
    held_out = list(evaluation_scenes("held out", n, lambda s: True, held_out=True))
    return ProbeSample(
        singles=judge(pipe, probe, singles),
        pairs=judge(pipe, probe, pairs),
        held_out=judge(pipe, probe, held_out),
        spanish=draw_and_read(pipe, probe, singles, "es"),
    )


def evaluate_by_probe(pipe: StableDiffusionPipeline, sample: ProbeSample) -> dict[str, Figure]:
    """Measure the rows that the probe reads, and those on the VAE, on sizes and on costs.

    Returns:
        Rows by the names of design and tests: subject, place, style, pair, held_out, spanish_gap,
        vae_psnr, pipeline_mb, scorer_mb, macs_ratio.
    """
    singles, pairs = sample.singles, sample.pairs
    plain = [replace(scene, style="plain") for scene in singles.scenes]
    return {
        "subject": _with_ceilings(singles.shares(subject_right)),
        "place": _with_ceilings((singles + pairs).shares(place_right)),
        "style": _with_ceilings((singles + pairs).shares(style_right)),
        "pair": _with_ceilings(pairs.shares(both_right)),
        "held_out": _with_ceilings(sample.held_out.shares(composition_right)),
        "spanish_gap": _gap(singles, sample.spanish),
        "vae_psnr": _vae_psnr(pipe, [render(scene) for scene in plain]),
        "pipeline_mb": Figure(round(_megabytes(POCKET_FOLDER), 2)),
        "scorer_mb": Figure(round(_megabytes(SCORER_FOLDER), 2)),
        "macs_ratio": Figure(round(macs_ratio(), 1)),
    }


def _with_ceilings(shares: dict[str, metrics.Share]) -> Figure:
    """The share of what was drawn, beside those of its two ceilings."""
    return _figure(
        shares["drawn"],
        restored=round(shares["restored"].value, 4),
        ceiling=round(shares["real"].value, 4),
    )


def _relative_to_real(values: dict[str, list[float]]) -> Figure:
    """The mean of what was drawn over the mean of the real renders."""
    means = {name: metrics.mean(row) for name, row in values.items()}
    real = means["real"].value
    value, low, high, n = means["drawn"]
    scaled = metrics.Mean(value / real, low / real, high / real, n)
    return _figure(scaled, restored=round(means["restored"].value / real, 4))


def _hats(probe: Probe, hatless: Recognised) -> dict[str, metrics.Share]:
    return {
        name: metrics.share(reading.hat > 0.5 for reading in probe.read(row))
        for name, row in hatless.pictures.items()
    }


def _gap(english: Judged, spanish: Sequence[Reading]) -> Figure:
    """Subject accuracy in English less that in Spanish, over pairs from the same noise."""
    differences = (
        float(subject_right(s, e)) - float(subject_right(s, t))
        for s, e, t in zip(english.scenes, english.drawn, spanish, strict=True)
    )
    return _figure(metrics.mean(differences))


def _vae_psnr(pipe: StableDiffusionPipeline, images: Sequence[Image.Image]) -> Figure:
    """PSNR in dB of real unstyled renders, there and back."""
    values = [psnr(restored(pipe, image), to_pixels([image])) for image in images]
    return _figure(metrics.mean(values))


def _figure(measured: metrics.Share | metrics.Mean, **ceilings: float) -> Figure:
    value, low, high = (round(number, 4) for number in measured[:3])
    return Figure(value, low=low, high=high, n=measured.n, **ceilings)


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
