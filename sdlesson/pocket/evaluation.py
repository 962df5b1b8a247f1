"""`make pocket-eval`: the table that every set of weights is judged by.

Prompts come from the grammar, for scenes that training never used; pictures are drawn with DDIM;
the probe reads them. Its accuracy on real renders of the same scenes stands beside each figure as
ceiling. Writes `evaluation.json`, and then the model card from it.
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
from sdlesson.images import to_pixels
from sdlesson.pipelines import load_pipeline
from sdlesson.pocket.arithmetic import macs_ratio
from sdlesson.pocket.autoencoder import psnr
from sdlesson.pocket.grammar import caption
from sdlesson.pocket.rendering import render
from sdlesson.pocket.world import Scene, sample_scene
from sdlesson.probe import Probe, Reading

EVALUATION_FILE = Path(__file__).parent / "evaluation.json"
STEPS = 25
GUIDANCE_SCALE = 5.0
"""Chosen once, on seeds that the table does not use."""
BATCH = 32

Verdict = Callable[[Scene, Reading], bool]


@dataclass(frozen=True)
class Figure:
    """One row of the table: a value with its 95% interval, over n pictures.

    Attributes:
        ceiling: The same figure on real renders, where that means something.
    """

    value: float
    ceiling: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None


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


def evaluate(pipe: StableDiffusionPipeline, probe: Probe, n: int) -> dict[str, Figure]:
    """Measure every row with `n` pictures each.

    Returns:
        Rows by the names of design and tests: subject, place, style, pair, held_out, spanish_gap,
        vae_psnr, pipeline_mb, scorer_mb, macs_ratio.
    """
    singles = list(evaluation_scenes("single", n, lambda s: s.kind == "single"))
    pairs = list(evaluation_scenes("pair", n, lambda s: s.kind in ("beside", "riding")))
    held_out = list(evaluation_scenes("held out", n, lambda s: True, held_out=True))
    of_singles = read_drawn(pipe, probe, singles, "en")
    of_spanish = read_drawn(pipe, probe, singles, "es")
    real_singles = read_rendered(probe, singles)
    mixed = singles + pairs
    of_pairs, real_pairs = read_drawn(pipe, probe, pairs, "en"), read_rendered(probe, pairs)
    of_mixed, real_mixed = of_singles + of_pairs, real_singles + real_pairs
    return {
        "subject": _share(subject_right, singles, of_singles, real_singles),
        "place": _share(place_right, mixed, of_mixed, real_mixed),
        "style": _share(style_right, mixed, of_mixed, real_mixed),
        "pair": _share(both_right, pairs, of_pairs, real_pairs),
        "held_out": _share(
            composition_right,
            held_out,
            read_drawn(pipe, probe, held_out, "en"),
            read_rendered(probe, held_out),
        ),
        "spanish_gap": _gap(singles, of_singles, of_spanish),
        "vae_psnr": _vae_psnr(pipe, [replace(s, style="plain") for s in singles[:256]]),
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


def read_rendered(probe: Probe, scenes: Sequence[Scene]) -> list[Reading]:
    """Read real renders of the scenes: what the probe can tell at best."""
    return probe.read([render(scene) for scene in scenes])


def share_right(
    verdict: Verdict, scenes: Sequence[Scene], readings: Sequence[Reading]
) -> metrics.Share:
    """How often a reading is what its scene asked for."""
    return metrics.share(verdict(s, r) for s, r in zip(scenes, readings, strict=True))


def _share(
    verdict: Verdict, scenes: Sequence[Scene], drawn: list[Reading], real: list[Reading]
) -> Figure:
    of_drawn, of_real = (share_right(verdict, scenes, readings) for readings in (drawn, real))
    return _figure(of_drawn, ceiling=round(of_real.value, 4))


def _gap(scenes: Sequence[Scene], english: list[Reading], spanish: list[Reading]) -> Figure:
    """Subject accuracy in English less that in Spanish, over pairs from the same noise."""
    differences = (
        float(subject_right(s, e)) - float(subject_right(s, t))
        for s, e, t in zip(scenes, english, spanish, strict=True)
    )
    return _figure(metrics.mean(differences))


@torch.no_grad()
def _vae_psnr(pipe: StableDiffusionPipeline, scenes: Sequence[Scene]) -> Figure:
    """PSNR in dB of real unstyled renders, there and back."""
    values = []
    for scene in scenes:
        pixels = to_pixels([render(scene)]).to(pipe.device)
        restored: Tensor = pipe.vae.decode(pipe.vae.encode(pixels).latent_dist.mean).sample
        values.append(psnr(restored, pixels))
    return _figure(metrics.mean(values))


def _figure(measured: metrics.Share | metrics.Mean, ceiling: float | None = None) -> Figure:
    value, low, high = (round(number, 4) for number in measured[:3])
    return Figure(value, ceiling, low, high, measured.n)


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def main(arguments: list[str] | None = None) -> None:
    """Measure, write `evaluation.json`, and write the model card."""
    from sdlesson.pocket.card import write_card
    from sdlesson.runtime import best_device

    parser = argparse.ArgumentParser(prog="python -m sdlesson.pocket.evaluation")
    parser.add_argument("--n", type=int, default=1_000, help="pictures a row")
    parser.add_argument("--device", default=best_device())
    parser.add_argument("--card-only", action="store_true", help="keep the figures there are")
    options = parser.parse_args(arguments)
    pipe = judged_pipeline(options.device)
    if not options.card_only:
        started = datetime.now(UTC)
        table = evaluate(pipe, metrics.pocket_probe(), options.n)
        rows = {
            name: {k: v for k, v in vars(figure).items() if v is not None}
            for name, figure in table.items()
        }
        settings = {
            "scheduler": type(pipe.scheduler).__name__.removesuffix("Scheduler"),
            "steps": STEPS, "guidance_scale": GUIDANCE_SCALE,
            "device": options.device, "date": started.date().isoformat(),
            "minutes": round((datetime.now(UTC) - started).total_seconds() / 60, 1),
        }  # fmt: skip
        EVALUATION_FILE.write_text(json.dumps({**rows, "settings": settings}, indent=2) + "\n")
    write_card(pipe)


if __name__ == "__main__":
    main()
