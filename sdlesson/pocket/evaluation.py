"""`make pocket-eval`: the table that every set of weights is judged by.

First comes likeness, which no network computes; then what the probe reads, which can be fooled: the
weights before these had 98.6% of subjects right by it, and horses with two heads. Prompts come from
the grammar, for scenes that training never used; pictures are drawn with DDIM. Beside each figure
stand two ceilings: the same figure on real renders of the same scenes, and on those renders through
the VAE and back. Writes `evaluation.json`, with a row for each subject and held-out composition,
and then the model card from it.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from sdlesson import hub, metrics
from sdlesson.images import to_images, to_pixels
from sdlesson.pipelines import load_pipeline
from sdlesson.pocket.arithmetic import macs_ratio
from sdlesson.pocket.autoencoder import psnr
from sdlesson.pocket.failures import by_composition, by_subject
from sdlesson.pocket.grammar import caption
from sdlesson.pocket.judging import (
    Judged,
    Verdict,
    both_right,
    composition_right,
    place_right,
    style_right,
    subject_right,
)
from sdlesson.pocket.recognition import (
    Recognised,
    clear_by_subject,
    recognise,
    ride_scenes,
    single_scenes,
)
from sdlesson.pocket.rendering import render
from sdlesson.pocket.world import CASUALLY_HATTED, SUBJECTS, Scene, sample_scene
from sdlesson.probe import Probe, Reading

EVALUATION_FILE = Path(__file__).parent / "evaluation.json"
PREVIOUS_FILE = Path(__file__).parent / "evaluation-before.json"
"""The table of the weights before these, on the world as it was drawn then."""
STEPS = 25
GUIDANCE_SCALE = 5.0
"""Chosen once, on seeds that the table does not use."""
BATCH = 32


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
class Sample:
    """What the table is counted on: three kinds of scenes, and single subjects in Spanish too."""

    singles: Judged
    pairs: Judged
    held_out: Judged
    spanish: Sequence[Reading]


@dataclass(frozen=True)
class Sight:
    """What the rows on recognising are counted on."""

    singles: Recognised
    rides: Recognised
    held_out_rides: Recognised


def see_sample(pipe: StableDiffusionPipeline, n: int) -> Sight:
    """Draw at least `n` single subjects, as many of each, `n` rides and `n` held-out rides."""

    def draw(scenes: Sequence[Scene]) -> list[Image.Image]:
        prompts, seeds = [caption(s) for s in scenes], [s.seed for s in scenes]
        return draw_scenes(pipe, prompts, seeds, progress="looking")

    def restore(scenes: Sequence[Scene]) -> list[Image.Image]:
        return [to_images(restored(pipe, render(scene)))[0] for scene in scenes]

    each = -(-n // len(SUBJECTS))
    return Sight(
        recognise(single_scenes("clear single", each), draw, restore),
        recognise(ride_scenes("clear ride", n), draw, restore),
        recognise(ride_scenes("clear held out", n, held_out=True), draw, restore),
    )


def evaluate_sight(probe: Probe, sight: Sight) -> dict[str, Figure]:
    """Measure the rows that no network can flatter, and two that a glance would notice.

    Returns:
        Rows: single_clear, ride_clear, held_out_ride_clear; commitment and fine_detail, as shares
        of what real renders have; hats_unasked, on those whose hats captions never leave out.
    """
    hatless = sight.singles.where(lambda s: s.subjects[0] not in CASUALLY_HATTED)
    return {
        "single_clear": _clear(sight.singles),
        "ride_clear": _clear(sight.rides),
        "held_out_ride_clear": _clear(sight.held_out_rides),
        "commitment": _against_real(
            {
                name: [found.commitment for found in row]
                for name, row in sight.singles.likenesses.items()
            }
        ),
        "hats_unasked": _hats(probe, hatless),
        "fine_detail": _against_real(
            {
                name: [metrics.fine_detail(image) for image in row]
                for name, row in sight.singles.pictures.items()
            }
        ),
    }


def draw_sample(pipe: StableDiffusionPipeline, probe: Probe, n: int) -> Sample:
    """Draw and read `n` scenes of each kind: 4 n pictures."""
    singles = list(evaluation_scenes("single", n, lambda s: s.kind == "single"))
    pairs = list(evaluation_scenes("pair", n, lambda s: s.kind in ("beside", "riding")))
    held_out = list(evaluation_scenes("held out", n, lambda s: True, held_out=True))
    return Sample(
        singles=judge(pipe, probe, singles),
        pairs=judge(pipe, probe, pairs),
        held_out=judge(pipe, probe, held_out),
        spanish=read_drawn(pipe, probe, singles, "es"),
    )


def judge(pipe: StableDiffusionPipeline, probe: Probe, scenes: Sequence[Scene]) -> Judged:
    """Draw the scenes' English captions, render the scenes, and read both, and the VAE's copies."""
    renders = [render(scene) for scene in scenes]
    return Judged(
        scenes,
        drawn=read_drawn(pipe, probe, scenes, "en"),
        restored=probe.read([to_images(restored(pipe, image))[0] for image in renders]),
        real=probe.read(renders),
    )


def evaluate(pipe: StableDiffusionPipeline, sample: Sample) -> dict[str, Figure]:
    """Measure every row of the table.

    Returns:
        Rows by the names of design and tests: subject, place, style, pair, held_out, spanish_gap,
        vae_psnr, pipeline_mb, scorer_mb, macs_ratio.
    """
    singles, pairs = sample.singles, sample.pairs
    plain = [replace(scene, style="plain") for scene in singles.scenes]
    return {
        "subject": _share(subject_right, singles),
        "place": _share(place_right, singles + pairs),
        "style": _share(style_right, singles + pairs),
        "pair": _share(both_right, pairs),
        "held_out": _share(composition_right, sample.held_out),
        "spanish_gap": _gap(singles, sample.spanish),
        "vae_psnr": _vae_psnr(pipe, [render(scene) for scene in plain]),
        "pipeline_mb": Figure(round(_megabytes(hub.POCKET_FOLDER), 2)),
        "scorer_mb": Figure(round(_megabytes(hub.SCORER_FOLDER), 2)),
        "macs_ratio": Figure(round(macs_ratio(), 1)),
    }


def evaluation_scenes(
    name: str, count: int, wanted: Callable[[Scene], bool], *, held_out: bool = False
) -> Iterator[Scene]:
    """Scenes from a stream of chance that training never draws from."""
    rng = random.Random(f"evaluation/{name}")
    while count > 0:
        scene = sample_scene(rng, held_out=held_out)
        if wanted(scene):
            count -= 1
            yield scene


def draw_scenes(
    pipe: StableDiffusionPipeline,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    negative_prompt: str = "",
    guidance_scale: float = GUIDANCE_SCALE,
    num_inference_steps: int = STEPS,
    progress: str = "",
) -> list[Image.Image]:
    """Draw one picture a prompt, in batches, each from its own seed."""
    images: list[Image.Image] = []
    starts = range(0, len(prompts), BATCH)
    for start in tqdm(starts, progress, disable=not progress, mininterval=5):
        part = slice(start, start + BATCH)
        batch = list(prompts[part])
        images += pipe(
            batch,
            negative_prompt=[negative_prompt] * len(batch),
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds[part]],
        ).images
    return images


def judged_pipeline(device: str) -> StableDiffusionPipeline:
    """The pocket model in fp32, without the checker that would blacken the broccoli."""
    pipe = load_pipeline("pocket", device=device, dtype=torch.float32)
    pipe.safety_checker = None
    pipe.set_progress_bar_config(disable=True)
    return pipe


def read_drawn(
    pipe: StableDiffusionPipeline, probe: Probe, scenes: Sequence[Scene], language: str
) -> list[Reading]:
    """Draw each scene's caption and read the pictures; both languages start from the same noise."""
    prompts = [caption(scene, language) for scene in scenes]
    seeds = [scene.seed for scene in scenes]
    return probe.read(draw_scenes(pipe, prompts, seeds, progress=f"drawing ({language})"))


@torch.no_grad()
def restored(pipe: StableDiffusionPipeline, image: Image.Image) -> Tensor:
    """A picture through the VAE and back, as pixels (1, 3, H, W)."""
    pixels = to_pixels([image]).to(pipe.device)
    return pipe.vae.decode(pipe.vae.encode(pixels).latent_dist.mean).sample.cpu()


def _share(verdict: Verdict, judged: Judged) -> Figure:
    shares = judged.shares(verdict)
    return _figure(
        shares["drawn"],
        restored=round(shares["restored"].value, 4),
        ceiling=round(shares["real"].value, 4),
    )


def _clear(recognised: Recognised) -> Figure:
    shares = recognised.clear()
    return _figure(
        shares["drawn"],
        restored=round(shares["restored"].value, 4),
        ceiling=round(shares["real"].value, 4),
    )


def _against_real(values: dict[str, list[float]]) -> Figure:
    """The mean of what was drawn over the mean of the real renders."""
    means = {name: metrics.mean(row) for name, row in values.items()}
    real = means["real"].value
    value, low, high, n = means["drawn"]
    scaled = metrics.Mean(value / real, low / real, high / real, n)
    return _figure(scaled, restored=round(means["restored"].value / real, 4))


def _hats(probe: Probe, hatless: Recognised) -> Figure:
    shares = {
        name: metrics.share(reading.hat > 0.5 for reading in probe.read(row))
        for name, row in hatless.pictures.items()
    }
    return _figure(
        shares["drawn"],
        restored=round(shares["restored"].value, 4),
        ceiling=round(shares["real"].value, 4),
    )


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


def main(arguments: list[str] | None = None) -> None:
    """Measure, write `evaluation.json`, and write the model card."""
    from sdlesson.pocket.card import write_card
    from sdlesson.runtime import best_device, device_name

    parser = argparse.ArgumentParser(prog="python -m sdlesson.pocket.evaluation")
    parser.add_argument("--n", type=int, default=1_000, help="pictures a row")
    parser.add_argument("--n-clear", type=int, default=500, help="pictures a row of likeness")
    parser.add_argument("--device", default=best_device())
    parser.add_argument("--card-only", action="store_true", help="keep the figures there are")
    options = parser.parse_args(arguments)
    pipe = judged_pipeline(options.device)
    if not options.card_only:
        started = datetime.now(UTC)
        probe = metrics.pocket_probe()
        sight = see_sample(pipe, options.n_clear)
        sample = draw_sample(pipe, probe, options.n)
        rows = {
            name: {k: v for k, v in vars(figure).items() if v is not None}
            for name, figure in (evaluate_sight(probe, sight) | evaluate(pipe, sample)).items()
        }
        parts = {
            "clear_subjects": clear_by_subject(sight.singles),
            "subjects": by_subject(sample.singles, subject_right),
            "compositions": by_composition(sample.held_out, composition_right),
        }
        settings = {
            "scheduler": type(pipe.scheduler).__name__.removesuffix("Scheduler"),
            "steps": STEPS, "guidance_scale": GUIDANCE_SCALE,
            "device": device_name(options.device), "date": started.date().isoformat(),
            "minutes": round((datetime.now(UTC) - started).total_seconds() / 60, 1),
        }  # fmt: skip
        EVALUATION_FILE.write_text(
            json.dumps({**rows, **parts, "settings": settings}, indent=1) + "\n"
        )
    write_card(pipe)


if __name__ == "__main__":
    main()
