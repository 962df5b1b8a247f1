"""What guidance, steps and schedulers do to the pocket model's pictures, in large samples.

Five tables that lesson 03 shows, each written as soon as it is done:

- renders: real renders of the scenes asked for, which the other tables are read against;
- guidance: guidance_scale from 1 to 15, at 25 DDIM steps;
- steps: 1 to 100 DDIM steps, at the guidance of the model card;
- schedulers: six of them, at equal numbers of U-Net evaluations, and PNDM at 50 as well, which is
  what Stable Diffusion 1.5 comes with;
- overshoot: how far from the path of many steps five steps end, without guidance and with it, and
  how often they are right: what becomes of schedulers that carry on from earlier steps.

A row draws n scenes of one thing, unstyled, whose likeness can be measured, and n of two subjects,
all of them scenes that training never used, with the same captions and the same noise in every row;
the guidance table draws n more, in fours of one prompt. So rows are compared scene by scene: what
changes against one row, chosen beforehand (the card's guidance, the most steps, DDIM), has an
interval of its own, far narrower than those of two rows side by side. That is n x 505 guided steps
for guidance, n x 452 for steps and n x 580 for schedulers, and n x 113 for overshoot: on one core
about 120 minutes in all at n = 250, and 9 at n = 16.

    python benchmarks/guidance_and_steps.py --n 250
    python benchmarks/guidance_and_steps.py --n 16 --only steps
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from diffusers import SchedulerMixin, StableDiffusionPipeline
from PIL import Image
from torch import Tensor

from sdlesson import metrics
from sdlesson.diffusion import decode, fresh_scheduler
from sdlesson.pocket.evaluation import judging, samples
from sdlesson.pocket.evaluation.recognition import all_clear, bare, of_one_thing
from sdlesson.pocket.world import Scene, caption, render
from sdlesson.runtime import best_device, device_name

GUIDANCE_SCALES = (1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0)
STEPS = (1, 2, 3, 5, 8, 12, 20, 25, 50, 100)
SCHEDULERS = (
    "DDIMScheduler",
    "PNDMScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "UniPCMultistepScheduler",
)
EVALUATIONS = (5, 10, 25)
LATE = ("PNDMScheduler", 50)
"""The scheduler that needs more evaluations than the others, and how many SD 1.5 gives it."""
OVERSHOOT_SCALES = (1.0, 5.0)
OVERSHOOTERS: dict[str, dict[str, int]] = {
    "DDIMScheduler": {},
    "DPMSolverMultistepScheduler, solver_order=1": {"solver_order": 1},
    "DPMSolverMultistepScheduler": {},
    "UniPCMultistepScheduler": {},
    "PNDMScheduler": {},
}
"""DDIM and DPM++ of first order look at no earlier step; the others carry on from some."""
MANY_STEPS = 50
PICTURES_A_PROMPT = 4
REFERENCE_SIZE = 2_000
ROUNDS, TIMED_PICTURES = 8, 8
"""For the cost of a step: how many times, and with how many pictures, each number is timed."""
PARTS = 10
"""Of the pictures, one of them left out at a time."""
HEADINGS = {
    "guidance_scale": ("guidance", "guía"),
    "num_inference_steps": ("steps", "pasos"),
    "scheduler": ("scheduler", "planificador"),
    "evaluations": ("U-Net evaluations", "evaluaciones de la U-Net"),
    "clear": ("clear to an eye", "clara a la vista"),
    "subject": ("subject right", "sujeto correcto"),
    "pair": ("both of two right", "los dos correctos"),
    "pair_change": ("both right, change", "los dos correctos, cambio"),
    "place": ("place right", "lugar correcto"),
    "style": ("style right", "estilo correcto"),
    "clip_score": ("CLIP score", "puntuación CLIP"),
    "frechet": ("Fréchet distance", "distancia de Fréchet"),
    "saturation": ("saturation", "saturación"),
    "clipped": ("clipped pixels", "píxeles quemados"),
    "diversity": ("diversity", "diversidad"),
    "diversity_change": ("diversity, change", "diversidad, cambio"),
    "miss": ("distance from the path of 50 steps", "distancia al camino de 50 pasos"),
    "miss_change": ("distance, change", "distancia, cambio"),
    "cost": ("cost, of one step", "coste, en veces un paso"),
}

Row = dict[str, Any]


@dataclass(frozen=True)
class Sample:
    """The scenes that every row draws, and those of which several pictures are drawn."""

    singles: list[Scene]
    pairs: list[Scene]
    repeated: list[Scene]

    @property
    def scenes(self) -> list[Scene]:
        """All that a row is judged by."""
        return self.singles + self.pairs

    @cached_property
    def reference_features(self) -> Tensor:
        """Real renders as CLIP sees them, (REFERENCE_SIZE, D): as many single as not."""
        half = REFERENCE_SIZE // 2
        scenes = _scenes("reference singles", half, "single")
        scenes += _scenes("reference pairs", half, "beside", "riding")
        return metrics.clip_scorer().embed_images([render(scene) for scene in scenes])


def main() -> None:
    """Measure the tables asked for and write each one as it is done."""
    tables: dict[str, Callable[[Sample, StableDiffusionPipeline], list[Row]]] = {
        "renders": lambda sample, pipe: measure_renders(sample),
        "guidance": measure_guidance,
        "steps": measure_steps,
        "schedulers": measure_schedulers,
        "overshoot": measure_overshoot,
    }
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=250, help="pictures of each kind in a row")
    parser.add_argument("--only", choices=tables, nargs="+", default=list(tables))
    parser.add_argument("--device", default=best_device())
    options = parser.parse_args()
    pipe, sample = samples.judged_pipeline(options.device), take_sample(options.n)
    for name in options.only:
        started = time.perf_counter()
        rows = tables[name](sample, pipe)
        used = {key: HEADINGS[key] for key in rows[0]}
        device = device_name(options.device)
        metrics.write_table(name, rows, len(sample.scenes), headings=used, device=device)
        print(f"{name}: {len(rows)} rows in {(time.perf_counter() - started) / 60:.1f} minutes")


def take_sample(n: int) -> Sample:
    """Choose `n` scenes of one thing, `n` of two, and `n` in groups that differ in layout."""
    prompts = _scenes("guidance repeated", max(2, n // PICTURES_A_PROMPT), "single", "riding")
    return Sample(
        singles=list(map(bare, samples.evaluation_scenes("guidance singles", n, of_one_thing))),
        pairs=_scenes("guidance pairs", n, "beside", "riding"),
        repeated=[replace(s, seed=s.seed + i) for s in prompts for i in range(PICTURES_A_PROMPT)],
    )


def measure_renders(sample: Sample) -> list[Row]:
    """Judge real renders: the best that a model of this world could do, and what tools see in it.

    Its Fréchet distance is between two sets of real renders, so it is what the number of pictures
    alone makes of it.
    """
    row, _ = judge(sample, [render(scene) for scene in sample.scenes])
    varied = diversities([render(scene) for scene in sample.repeated])
    return [{**row, "diversity": metrics.mean(varied)}]


def measure_guidance(sample: Sample, pipe: StableDiffusionPipeline) -> list[Row]:
    """One row for each guidance scale, at the steps of the model card; changes are against its."""
    rows, right, varied = [], {}, {}
    for scale in GUIDANCE_SCALES:
        row, right[scale] = judge(sample, draw(pipe, sample.scenes, guidance_scale=scale))
        varied[scale] = diversities(draw(pipe, sample.repeated, guidance_scale=scale))
        rows.append({"guidance_scale": scale, **row, "diversity": metrics.mean(varied[scale])})
        print(rows[-1], flush=True)
    card = samples.GUIDANCE_SCALE
    for row in rows:
        scale = row["guidance_scale"]
        row["pair_change"] = metrics.share_change(right[scale], right[card])
        row["diversity_change"] = metrics.mean_change(varied[scale], varied[card])
    return rows


def measure_steps(sample: Sample, pipe: StableDiffusionPipeline) -> list[Row]:
    """One row for each number of steps, with what a picture costs: one of one step costs 1.

    Changes are against the most steps.
    """
    costs = measure_costs(sample.singles, pipe)
    rows: list[Row] = []
    right = []
    for steps in STEPS:
        row, verdicts = judge(sample, draw(pipe, sample.scenes, num_inference_steps=steps))
        rows.append({"num_inference_steps": steps, **row, "cost": costs[steps]})
        right.append(verdicts)
        print(rows[-1], flush=True)
    for row, verdicts in zip(rows, right, strict=True):
        row["pair_change"] = metrics.share_change(verdicts, right[-1])
    return rows


def measure_costs(
    scenes: Sequence[Scene], pipe: StableDiffusionPipeline
) -> dict[int, metrics.Mean]:
    """The time of a picture for each number of steps, over that of one step in the same round.

    In a round every number takes its turn, so that a busy machine slows all of them alike.
    """
    batch = scenes[:TIMED_PICTURES]
    draw(pipe, batch, num_inference_steps=1)  # the first call does more than draw
    ratios: dict[int, list[float]] = {steps: [] for steps in STEPS}
    for _ in range(ROUNDS):
        seconds = {}
        for steps in STEPS:
            started = time.perf_counter()
            draw(pipe, batch, num_inference_steps=steps)
            seconds[steps] = time.perf_counter() - started
        for steps in STEPS:
            ratios[steps].append(seconds[steps] / seconds[1])
    return {steps: metrics.mean(found) for steps, found in ratios.items()}


def measure_schedulers(sample: Sample, pipe: StableDiffusionPipeline) -> list[Row]:
    """One row for each scheduler and number of times that it asks the U-Net.

    Changes are against DDIM, which comes first, with as many; PNDM's last row has none.
    """
    rows, right, own = [], {}, pipe.scheduler
    asked = [(name, number) for name in SCHEDULERS for number in EVALUATIONS]
    for name, evaluations in [*asked, LATE]:
        pipe.scheduler = own
        pipe.scheduler = fresh_scheduler(pipe, name)
        steps = steps_for(pipe.scheduler, evaluations)
        images = draw(pipe, sample.scenes, num_inference_steps=steps)
        row, right[name, evaluations] = judge(sample, images)
        beside = right.get((SCHEDULERS[0], evaluations))
        change = metrics.share_change(right[name, evaluations], beside) if beside else ""
        settings = {"scheduler": name, "evaluations": evaluations}
        rows.append({**settings, **row, "pair_change": change})
        print(rows[-1], flush=True)
    pipe.scheduler = own
    return rows


def measure_overshoot(sample: Sample, pipe: StableDiffusionPipeline) -> list[Row]:
    """One row for each scheduler at five evaluations, without guidance and with it.

    The distance is the root of the mean squared difference of latents, from those that DDIM reaches
    in many steps from the same noise; its change is against DDIM's own five.
    """
    rows, own = [], pipe.scheduler
    for scale in OVERSHOOT_SCALES:
        goal = _latents(pipe, sample.pairs, scale, MANY_STEPS)
        beside: list[float] = []
        for name, options in OVERSHOOTERS.items():
            scheduler = fresh_scheduler(pipe, name.partition(",")[0])
            pipe.scheduler = type(scheduler).from_config(scheduler.config, **options)
            reached = _latents(pipe, sample.pairs, scale, steps_for(pipe.scheduler, EVALUATIONS[0]))
            pipe.scheduler = own
            misses = ((reached - goal) ** 2).mean((1, 2, 3)).sqrt().tolist()
            beside = beside or misses
            readings = metrics.pocket_probe().read(decode(pipe, reached))
            rows.append(
                {
                    "scheduler": name,
                    "guidance_scale": scale,
                    "miss": metrics.mean(misses),
                    "miss_change": metrics.mean_change(misses, beside),
                    "pair": judging.share_right(judging.both_right, sample.pairs, readings),
                }
            )
            print(rows[-1], flush=True)
    return rows


def steps_for(scheduler: SchedulerMixin, evaluations: int) -> int:
    """How many steps to ask for, since PNDM asks the U-Net once more than it is told to."""
    scheduler.set_timesteps(evaluations)
    return 2 * evaluations - len(scheduler.timesteps)


def draw(
    pipe: StableDiffusionPipeline,
    scenes: Sequence[Scene],
    *,
    guidance_scale: float = samples.GUIDANCE_SCALE,
    num_inference_steps: int = samples.STEPS,
) -> list[Image.Image]:
    """Draw each scene's English caption from the scene's seed."""
    return samples.draw_scenes(
        pipe,
        [caption(scene) for scene in scenes],
        [scene.seed for scene in scenes],
        guidance_scale=guidance_scale,
        num_inference_steps=num_inference_steps,
    )


def _latents(
    pipe: StableDiffusionPipeline, scenes: Sequence[Scene], guidance_scale: float, steps: int
) -> Tensor:
    """Where each scene ends, before it is decoded: (B, 4, H/8, W/8)."""
    ends = []
    for start in range(0, len(scenes), samples.BATCH):
        batch = scenes[start : start + samples.BATCH]
        ends += pipe(
            [caption(scene) for scene in batch],
            num_inference_steps=steps,
            guidance_scale=guidance_scale,
            generator=[torch.Generator("cpu").manual_seed(scene.seed) for scene in batch],
            output_type="latent",
        ).images
    return torch.stack(ends)


def judge(sample: Sample, images: Sequence[Image.Image]) -> tuple[Row, list[bool]]:
    """What likeness, the probe, CLIP and the pixels say of one picture of each scene.

    Returns:
        The figures, and for each scene of two subjects whether both are right.
    """
    readings = metrics.pocket_probe().read(images)
    features = metrics.clip_scorer().embed_images(images)
    pixels = [metrics.pixel_statistics(image) for image in images]
    scenes, singles, pairs = sample.scenes, sample.singles, sample.pairs
    of_pairs = zip(pairs, readings[len(singles) :], strict=True)
    both_right = [judging.both_right(scene, reading) for scene, reading in of_pairs]
    drawn_singles = zip(singles, images, strict=False)
    row: Row = {
        "clear": metrics.share(all_clear(scene, image) for scene, image in drawn_singles),
        "subject": judging.share_right(judging.subject_right, singles, readings[: len(singles)]),
        "pair": metrics.share(both_right),
        "place": judging.share_right(judging.place_right, scenes, readings),
        "style": judging.share_right(judging.style_right, pairs, readings[len(singles) :]),
        "clip_score": metrics.mean(metrics.clip_score(images, [caption(s) for s in scenes])),
        "frechet": frechet_distance(features, sample.reference_features),
        "saturation": metrics.mean(p.saturation for p in pixels),
        "clipped": metrics.mean(p.clipped for p in pixels),
    }
    return row, both_right


def diversities(images: Sequence[Image.Image]) -> list[float]:
    """Compare the pictures of each prompt with each other: one number a prompt."""
    starts = range(0, len(images), PICTURES_A_PROMPT)
    groups = [images[start : start + PICTURES_A_PROMPT] for start in starts]
    return [metrics.diversity(group) for group in groups]


def frechet_distance(features: Tensor, reference_features: Tensor) -> metrics.Mean:
    """The Fréchet distance with its 95% interval, by leaving out a tenth of the pictures at a time.

    Source: Tukey 1958, the jackknife, doi:10.1214/aoms/1177706647.
    """
    value = metrics.frechet_distance(features, reference_features)
    part = torch.arange(len(features)) % PARTS
    without = [
        metrics.frechet_distance(features[part != i], reference_features) for i in range(PARTS)
    ]
    spread = metrics.mean(without)
    half = (PARTS - 1) * (spread.high - spread.value)  # nine tenths in common vary too little
    return metrics.Mean(value, value - half, value + half, len(features))


def _scenes(name: str, count: int, *kinds: str) -> list[Scene]:
    return list(samples.evaluation_scenes(name, count, lambda scene: scene.kind in kinds))


if __name__ == "__main__":
    main()
