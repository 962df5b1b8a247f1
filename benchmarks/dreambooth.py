"""What the pocket model learns from photos of Plimo, and what it costs: lessons 06 and 07.

Two tables, each written as soon as it is done:

- dreambooth: LoRA and full DreamBooth, with each prior and without, beside the untrained model;
- dreambooth_steps: full DreamBooth without a prior, and a LoRA with its own prediction as prior,
  while they train: the curves of overfitting.

Drift is what the training did to the bare class, "a robot": how much of `class_right` it lost, over
pictures from the same noise before and after. The other columns:

- fidelity: the CLIP similarity of Plimo, drawn in all eight places, to references in those places
  that no training saw; `closed`: how far that went from the untrained model's robots to the
  similarity of the references among themselves (what the VAE leaves of these is a row of its own);
- diversity: how much pictures of Plimo in one place differ;
- place, style: how often the probe reads what the prompt of a picture of Plimo asked for;
- class_right, class_similarity, class_diversity: of pictures of the bare class, how often the probe
  reads a robot, how like Plimo they are, and how much those in one place differ;
- parameters: what was trained, as a share of the U-Net; core_seconds: of processor time for one
  training, the pictures of the class included where the prior draws them.

A row of the first table is judged on n pictures of each kind, from three trainings that differ in
their seed alone; pictures share a training, so the truth can lie a little further from a figure
than its interval says. A row of the second is judged on n / 2, from one training. At n = 96 both
take about 45 minutes on one core. What is judged is kept, so that a stopped run goes on.

    python benchmarks/dreambooth.py --n 96
    python benchmarks/dreambooth.py --n 48 --only dreambooth
"""

import argparse
import json
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from sdlesson.finetuning.adapters import trainable_parameters
from sdlesson.finetuning.dreambooth import train
from sdlesson.finetuning.training_settings import TrainingSettings
from sdlesson.images import to_images, to_pixels
from sdlesson.metrics import (
    Mean,
    diversity,
    image_similarity,
    mean,
    pocket_probe,
    share,
    write_table,
)
from sdlesson.metrics.tables import weights_digest
from sdlesson.pocket.evaluation.judging import Verdict, place_right, style_right, subject_right
from sdlesson.pocket.evaluation.samples import draw_scenes, judged_pipeline
from sdlesson.pocket.world import PLACES, STYLES, Scene, caption
from sdlesson.pocket.world.subject import (
    SUBJECT_CLASS,
    SUBJECT_WORD,
    subject_photo,
    subject_photos,
    subject_prompts,
)
from sdlesson.probe import Reading

SEEDS = (0, 1, 2)
STEPS = 200
CURVE_STEPS = (25, 50, 100, 200, 400)
REFERENCES = 64
REFERENCE_SEED, PHOTO_SEED = 1_000, 2_000
NOISE_STRIDE = 1_000_000
CLASS_NAME = f"a {SUBJECT_CLASS}"
SUBJECT_NAME = f"a {SUBJECT_WORD} {SUBJECT_CLASS}"
FOLDER = Path("checkpoints") / "dreambooth"

HEADINGS = {
    "model": ("model", "modelo"),
    "spanish": ("in Spanish", "en español"),
    "steps": ("steps", "pasos"),
    "fidelity": ("fidelity", "fidelidad"),
    "closed": ("of the gap closed", "de la distancia recorrida"),
    "diversity": ("diversity", "diversidad"),
    "place": ("place right", "lugar correcto"),
    "style": ("style right", "estilo correcto"),
    "class_right": ("bare class right", "clase sola correcta"),
    "drift": ("drift", "deriva"),
    "class_similarity": ("bare class like Plimo", "clase sola parecida a Plimo"),
    "class_diversity": ("bare class diversity", "diversidad de la clase sola"),
    "parameters": ("trained share", "parte entrenada"),
    "core_seconds": ("core seconds", "segundos de núcleo"),
}

Row = dict[str, Any]
Raw = dict[str, list[float]]
"""What was counted, picture by picture, before any mean: a row pools that of its trainings."""


@dataclass(frozen=True)
class Method:
    """One row of the first table.

    Attributes:
        rank: Of the LoRA; None is full DreamBooth.
    """

    name: str
    spanish: str
    rank: int | None
    prior: str

    def settings(self, seed: int, steps: int = STEPS) -> TrainingSettings:
        """The package's own, but for what the row says."""
        return TrainingSettings(
            SUBJECT_WORD, SUBJECT_CLASS, rank=self.rank, prior=self.prior, steps=steps, seed=seed
        )


METHODS = (
    Method("LoRA, no prior", "LoRA, sin prior", 4, "none"),
    Method("LoRA, own prediction", "LoRA, predicción propia", 4, "own_prediction"),
    Method("LoRA, class images", "LoRA, imágenes de la clase", 4, "class_images"),
    Method("full, no prior", "completo, sin prior", None, "none"),
    Method("full, class images", "completo, imágenes de la clase", None, "class_images"),
)
CURVES = (METHODS[3], METHODS[1])


def main() -> None:
    """Measure the tables asked for and write each one as it is done."""
    tables: dict[str, Callable[[int, Path], list[Row]]] = {
        "dreambooth": measure_methods,
        "dreambooth_steps": measure_steps,
    }
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=96, help="pictures of each kind in a row")
    parser.add_argument("--only", choices=tables, nargs="+", default=list(tables))
    parser.add_argument("--folder", type=Path, default=FOLDER, help="what is done is kept here")
    options = parser.parse_args()
    smallest = 2 * len(SEEDS) * len(PLACES)
    if options.n < 1 or options.n % smallest:
        parser.error(f"--n {options.n} must be a multiple of {smallest}: two a place and training")
    torch.set_num_threads(1)  # a second one would make core seconds of waiting
    for name in options.only:
        started = time.perf_counter()
        rows = tables[name](options.n, options.folder / f"{weights_digest()} {name} {options.n}")
        headings = {column: HEADINGS[column] for column in rows[0]}
        write_table(name, rows, options.n, headings=headings, device="CPU")
        print(f"{name}: {len(rows)} rows in {(time.perf_counter() - started) / 60:.1f} minutes")


def measure_methods(n: int, folder: Path) -> list[Row]:
    """What there is to reach, the untrained model, and one row for each method."""
    each, rows = n // len(SEEDS), measure_references(n)
    before = _pool(_untrained(CLASS_NAME, seed, each, folder) for seed in SEEDS)
    named = _pool(_untrained(SUBJECT_NAME, seed, each, folder) for seed in SEEDS)
    judged = [
        (f"untrained: {CLASS_NAME}", f"sin entrenar: {CLASS_NAME}", before),
        (f"untrained: {SUBJECT_NAME}", f"sin entrenar: {SUBJECT_NAME}", named),
    ]
    for method in METHODS:
        trained = [_trained(method.settings(seed), each, folder, fresh=True) for seed in SEEDS]
        judged.append((method.name, method.spanish, _pool(trained)))
    for name, spanish, raw in judged:
        figures = _figures(raw, before, rows[0]["fidelity"].value)
        rows.append({"model": name, "spanish": spanish, **figures})
    return [{column: row.get(column, "") for column in rows[-1]} for row in rows]


def measure_steps(n: int, folder: Path) -> list[Row]:
    """One row for each method and number of steps; a training goes on from row to row."""
    seed, each, goal = SEEDS[0], n // 2, measure_references(n)[0]["fidelity"].value
    before = _untrained(CLASS_NAME, seed, each, folder)
    named = _untrained(SUBJECT_NAME, seed, each, folder)
    rows = []
    for method in CURVES:
        what = {"model": method.name, "spanish": method.spanish}
        rows.append({**what, "steps": 0, **_figures(named, before, goal)})
        for steps in CURVE_STEPS:
            raw = _trained(method.settings(seed, steps), each, folder, fresh=False)
            rows.append({**what, "steps": steps, **_figures(raw, before, goal)})
    columns = [column for column in rows[0] if column in rows[-1]]
    return [{column: row[column] for column in columns} for row in rows]


def measure_references(n: int) -> list[Row]:
    """How like the references other photos of Plimo are, as drawn and after the VAE."""
    photos = _photos(PHOTO_SEED, n)
    vae = judged_pipeline("cpu").vae
    with torch.no_grad():
        blurred = [
            to_images(vae.decode(vae.encode(to_pixels([photo])).latent_dist.mean).sample)[0]
            for photo in photos
        ]
    return [
        {
            "model": name,
            "spanish": spanish,
            "fidelity": mean(image_similarity(images, references())),
        }
        for name, spanish, images in (
            ("references among themselves", "referencias entre sí", photos),
            ("the same through the VAE", "las mismas a través del VAE", blurred),
        )
    ]


def judge(pipe: StableDiffusionPipeline, name: str, seed: int, n: int) -> Raw:
    """Draw `n` pictures of what is named, `n` more in a style, and `n` of the bare class."""
    plain = [_scene(i, "plain") for i in range(n)]
    scenes = plain + [_scene(i, STYLES[1 + i % len(STYLES[1:])]) for i in range(n)]
    noise = [seed * NOISE_STRIDE + i for i in range(n)]
    prompts = [caption(scene).replace(CLASS_NAME, name) for scene in scenes]
    images = draw_scenes(pipe, prompts, noise * 2)
    bare = draw_scenes(pipe, [caption(scene) for scene in plain], noise)
    read, read_bare = pocket_probe().read(images), pocket_probe().read(bare)
    return {
        "fidelity": image_similarity(images[:n], references()),
        "diversity": _diversity(images[:n]),
        "place": _flags(place_right, scenes, read),
        "style": _flags(style_right, scenes[n:], read[n:]),
        "class_right": _flags(subject_right, plain, read_bare),
        "class_similarity": image_similarity(bare, references()),
        "class_diversity": _diversity(bare),
    }


@cache
def references() -> list[Image.Image]:
    """Photos of Plimo in all places, none of which a training or another measurement sees."""
    return _photos(REFERENCE_SEED, REFERENCES)


def _photos(first_seed: int, n: int) -> list[Image.Image]:
    return [subject_photo(PLACES[i % len(PLACES)], seed=first_seed + i) for i in range(n)]


def _scene(index: int, style: str) -> Scene:
    return Scene("single", (SUBJECT_CLASS,), PLACES[index % len(PLACES)], style)


def _flags(verdict: Verdict, scenes: Sequence[Scene], read: Sequence[Reading]) -> list[float]:
    return [float(verdict(*pair)) for pair in zip(scenes, read, strict=True)]


def _diversity(images: Sequence[Image.Image]) -> list[float]:
    """Of the pictures in each place, which take turns."""
    return [diversity(images[place :: len(PLACES)]) for place in range(len(PLACES))]


def _untrained(name: str, seed: int, n: int, folder: Path) -> Raw:
    path = folder / f"{name}, noise {seed}.json"
    return _kept(path, lambda: judge(judged_pipeline("cpu"), name, seed, n))


def _trained(settings: TrainingSettings, n: int, folder: Path, *, fresh: bool) -> Raw:
    """Train, or go on with a training of fewer steps unless all is to be `fresh`, and judge."""
    steps = settings.steps if fresh else 1
    place = folder / sha256(repr(replace(settings, steps=steps)).encode()).hexdigest()[:12]

    def work() -> Raw:
        if fresh:
            shutil.rmtree(place, ignore_errors=True)  # what is left of a part has cost a part
        pipe = judged_pipeline("cpu")
        size, started = pipe.unet.num_parameters(), time.process_time()
        train(pipe, subject_photos(), settings, place, prompts=subject_prompts())
        seconds = time.process_time() - started
        trained = sum(parameter.numel() for parameter in trainable_parameters(pipe).values())
        judged = judge(pipe, SUBJECT_NAME, settings.seed, n)
        return {**judged, "parameters": [trained / size], "core_seconds": [seconds]}

    return _kept(folder / f"{place.name} {settings.prior} {settings.steps}.json", work)


def _kept(path: Path, work: Callable[[], Raw]) -> Raw:
    """What was counted before, or what `work` counts now."""
    if not path.is_file():
        raw = work()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(raw), encoding="utf-8")
        print(
            path.stem, {name: round(fmean(values), 3) for name, values in raw.items()}, flush=True
        )
    content: Raw = json.loads(path.read_text(encoding="utf-8"))
    return content


def _pool(raws: Iterable[Raw]) -> Raw:
    pooled: Raw = {}
    for raw in raws:
        for name, values in raw.items():
            pooled.setdefault(name, []).extend(values)
    return pooled


def _figures(raw: Raw, before: Raw, goal: float) -> Row:
    """The figures of a row; `before` is the untrained model's class, from the same noise."""
    start, fidelity = mean(before["fidelity"]).value, mean(raw["fidelity"])
    closed = [(value - start) / (goal - start) for value in fidelity[:3]]
    lost = [b - a for b, a in zip(before["class_right"], raw["class_right"], strict=True)]
    row: Row = {
        "fidelity": fidelity,
        "closed": Mean(*closed, n=fidelity.n),
        "diversity": mean(raw["diversity"]),
        "place": share(map(bool, raw["place"])),
        "style": share(map(bool, raw["style"])),
        "class_right": share(map(bool, raw["class_right"])),
        "drift": mean(lost),
        "class_similarity": mean(raw["class_similarity"]),
        "class_diversity": mean(raw["class_diversity"]),
    }
    if len(raw.get("core_seconds", [])) > 1:
        row["parameters"] = fmean(raw["parameters"])
        row["core_seconds"] = mean(raw["core_seconds"])
    return row


if __name__ == "__main__":
    main()
