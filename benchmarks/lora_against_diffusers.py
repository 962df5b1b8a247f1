"""Our trainer against diffusers' own train_dreambooth_lora.py: speed, memory, and the result.

Both teach the pocket model the course's subject: the same four photos, prompt, rank, batch, rate
and steps, in fp32. Each training runs in a fresh process on one thread, the two in turns. The
script runs as released, with its default flags; it is fetched from GitHub at the version that is
installed, or given, and never committed. It wants torchvision for a few transforms of photos;
where that is not installed, `training/stand_in` stands in for it. On a CPU, a second is one of the
processor's time for the process, so what else runs does not count.

Aims, for DreamBooth with pictures of the class: at least 2 times the steps a second, at most 0.7 of
the memory, and as much of the way learned from the untrained model to the photos.

    python benchmarks/lora_against_diffusers.py --rounds 3 --script train_dreambooth_lora.py
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from sdlesson.hub import POCKET_FOLDER
from sdlesson.metrics import image_similarity
from sdlesson.pipelines import load_pipeline
from sdlesson.pocket.world.subject import SUBJECT_CLASS, SUBJECT_WORD, subject_photos
from sdlesson.runtime import best_device, device_name, installed_version

ROOT = Path(__file__).parent.parent
RESULT = Path(__file__).parent / "results" / "lora_against_diffusers.json"
WORKER = Path(__file__).parent / "training" / "worker.py"
SCRIPT_URL = (
    "https://raw.githubusercontent.com/huggingface/diffusers/v{version}"
    "/examples/dreambooth/train_dreambooth_lora.py"
)
PROMPT, CLASS_PROMPT = f"a {SUBJECT_WORD} {SUBJECT_CLASS}", f"a {SUBJECT_CLASS}"
WEIGHTS = "pytorch_lora_weights.safetensors"
RANK, BATCH, RATE, WARMUP, CLASS_IMAGES = 4, 4, 1e-3, 20, 32
WARM_STEPS = 5  # the first steps load what is loaded once
SEED, SEEDS = 0, range(16)  # of the training, and of the pictures drawn after it
GUIDANCE_SCALE, DRAWING_STEPS = 5.0, 25
MIN_SPEED, MAX_MEMORY, MIN_LEARNED_DIFFERENCE = 2.0, 0.7, -0.05
MIB = 2**20


@dataclass(frozen=True)
class Way:
    """One way to train: whose trainer, and what keeps the class as it was."""

    name: str
    prior: str
    is_ours: bool


SCRIPT, OURS = Way("script", "none", False), Way("ours", "none", True)
SCRIPT_PRIOR = Way("script, class images", "class_images", False)
OURS_PRIOR = Way("ours, class images", "class_images", True)
OWN_PRIOR = Way("ours, own prediction", "own_prediction", True)
PAIRS = ((OURS, SCRIPT), (OURS_PRIOR, SCRIPT_PRIOR), (OWN_PRIOR, SCRIPT_PRIOR))
WAYS = (SCRIPT, OURS, SCRIPT_PRIOR, OURS_PRIOR, OWN_PRIOR)


def main() -> int:
    """Measure, print a table, write the result, and fail when an aim is missed."""
    parser = argparse.ArgumentParser(description="Our LoRA trainer against diffusers' script.")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--steps", type=int, default=200, metavar="N")
    parser.add_argument("--script", type=Path, help="the script, instead of fetching it")
    arguments = parser.parse_args()
    script = arguments.script or _fetch_script()
    with tempfile.TemporaryDirectory() as place:
        bench = Bench(Path(place), script.resolve(), arguments.steps)
        for index in range(arguments.rounds):
            for way in WAYS if index % 2 else reversed(WAYS):
                bench.run(way)
    result = bench.result() | {
        "n": arguments.rounds,
        "steps": arguments.steps,
        "rank": RANK,
        "batch": BATCH,
        "threads": 1,
        "device": device_name(best_device()),
        "date": date.today().isoformat(),
        "torch": installed_version("torch"),
        "diffusers": installed_version("diffusers"),
        "script_sha256": hashlib.sha256(script.read_bytes()).hexdigest(),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    _print_table(result)
    return 0 if _reaches_aims(result[OURS_PRIOR.name]) else 1


class Bench:
    """The photos, the pictures of the class, and what each training took."""

    def __init__(self, place: Path, script: Path, steps: int) -> None:
        self._place, self._script, self._steps = place, script, steps
        self._found: dict[str, list[dict[str, float]]] = {way.name: [] for way in WAYS}
        self._photos = subject_photos(4)
        self._untrained, self._among_photos = self._similarity(None), _likeness(self._photos)
        (place / "photos").mkdir()
        for index, photo in enumerate(self._photos):
            photo.save(place / "photos" / f"{index}.png")
        self._draw_class_images()

    def run(self, way: Way) -> None:
        """Train once, and see what was learned."""
        folder = self._place / "run"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        report = self._train(way, folder, self._steps)
        moments = report["moments_s"][WARM_STEPS:]
        found = {
            "steps_per_s": (len(moments) - 1) / (moments[-1] - moments[0]),
            "memory_mb": report["memory_bytes"] / MIB,
            "learned": self._learned(folder / WEIGHTS),
        }
        self._found[way.name].append(found)
        print(way.name, json.dumps(found), flush=True)

    def result(self) -> dict[str, Any]:
        """The medians of each way, and for ours the ratios to the script in the same round."""
        summary: dict[str, Any] = {name: _summary(found) for name, found in self._found.items()}
        for ours, theirs in PAIRS:
            rounds = list(zip(self._found[ours.name], self._found[theirs.name], strict=True))
            row = summary[ours.name]
            speeds = [our["steps_per_s"] / their["steps_per_s"] for our, their in rounds]
            row["speed_ratio"], row["speed_range"] = _middle(speeds)
            sizes = [our["memory_mb"] / their["memory_mb"] for our, their in rounds]
            row["memory_ratio"], row["memory_range"] = _middle(sizes)
            learned = [our["learned"] - their["learned"] for our, their in rounds]
            row["learned_difference"], row["learned_range"] = _middle(learned)
        return summary

    def _train(self, way: Way, folder: Path, steps: int) -> dict[str, Any]:
        report = folder / "report.json"
        list_arguments = self._ours if way.is_ours else self._theirs
        done = subprocess.run(
            [sys.executable, WORKER, "--report", report, *list_arguments(way, folder, steps)],
            env=os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"{way.name} failed:\n{done.stderr[-2000:]}")
        return json.loads(report.read_text(encoding="utf-8"))

    def _ours(self, way: Way, folder: Path, steps: int) -> list[str]:
        if way.prior == "class_images" and self._class_images.exists():
            shutil.copytree(self._class_images, folder / self._class_images.name)
        settings = {
            "word": SUBJECT_WORD,
            "class_noun": SUBJECT_CLASS,
            "rank": RANK,
            "convolutions": False,  # the script trains the attention alone
            "steps": steps,
            "batch_size": BATCH,
            "learning_rate": RATE,
            "warmup": WARMUP,
            "prior": way.prior,
            "class_images": CLASS_IMAGES,
            "checkpoint_every": steps,
            "seed": SEED,
        }
        photos = str(self._place / "photos")
        return ["--settings", json.dumps(settings), "--photos", photos, "--folder", str(folder)]

    def _theirs(self, way: Way, folder: Path, steps: int) -> list[str]:
        flags = {
            "pretrained_model_name_or_path": POCKET_FOLDER,
            "instance_data_dir": self._place / "photos",
            "instance_prompt": PROMPT,
            "output_dir": folder,
            "resolution": self._photos[0].width,
            "rank": RANK,
            "train_batch_size": BATCH,
            "learning_rate": RATE,
            "lr_scheduler": "constant_with_warmup",
            "lr_warmup_steps": WARMUP,
            "max_train_steps": steps,
            "seed": SEED,
        }
        if way.prior == "class_images":
            flags |= {
                "class_data_dir": self._class_images,
                "class_prompt": CLASS_PROMPT,
                "num_class_images": CLASS_IMAGES,
            }
        switches = ["--with_prior_preservation"] if way.prior == "class_images" else []
        return ["--script", str(self._script), *switches, *(f"--{k}={v}" for k, v in flags.items())]

    def _draw_class_images(self) -> None:
        """Draw the pictures of the class once, for both trainers and every round."""
        self._class_images = self._place / "class_images"
        folder = self._place / "drawing"
        folder.mkdir()
        self._train(OURS_PRIOR, folder, steps=1)
        (folder / "class_images").rename(self._class_images)

    def _learned(self, weights: Path) -> float:
        """The share of the way from the untrained model's likeness to the photos' own."""
        way = self._among_photos - self._untrained
        return (self._similarity(weights) - self._untrained) / way

    def _similarity(self, weights: Path | None) -> float:
        """How like the photos are pictures of the prompt, by the pocket model's CLIP."""
        pipe = load_pipeline("pocket", device="cpu")
        pipe.set_progress_bar_config(disable=True)
        if weights is not None:
            pipe.load_lora_weights(weights.parent, weight_name=weights.name)
        images: list[Image.Image] = []
        for seed in SEEDS:
            images += pipe(
                PROMPT,
                guidance_scale=GUIDANCE_SCALE,
                num_inference_steps=DRAWING_STEPS,
                generator=torch.Generator("cpu").manual_seed(seed),
            ).images
        return statistics.fmean(image_similarity(images, self._photos))


def _likeness(photos: list[Image.Image]) -> float:
    """How like the others each photo is."""
    return statistics.fmean(
        image_similarity([photo], [other for other in photos if other is not photo])[0]
        for photo in photos
    )


def _fetch_script() -> Path:
    version = installed_version("diffusers")
    path = ROOT / "build" / f"train_dreambooth_lora-{version}.py"  # git ignores this folder
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        try:
            with urllib.request.urlopen(SCRIPT_URL.format(version=version), timeout=60) as reply:
                path.write_bytes(reply.read())
        except OSError as error:
            raise SystemExit(
                f"diffusers' script cannot be fetched ({error}); give a copy with --script"
            ) from error
    return path


def _summary(found: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(one[name] for one in found), 3) for name in found[0]}


def _middle(values: list[float]) -> tuple[float, list[float]]:
    """The median, and the least and the most."""
    return round(statistics.median(values), 3), [round(min(values), 3), round(max(values), 3)]


def _reaches_aims(row: dict[str, Any]) -> bool:
    return (
        row["speed_ratio"] >= MIN_SPEED
        and row["memory_ratio"] <= MAX_MEMORY
        and row["learned_difference"] >= MIN_LEARNED_DIFFERENCE
    )


def _print_table(result: dict[str, Any]) -> None:
    print("| way                    | steps/s | memory | learned |   speed | memory | learned |")
    print("|------------------------|--------:|-------:|--------:|--------:|-------:|--------:|")
    for way in WAYS:
        row = result[way.name]
        line = (
            f"| {way.name:<22} | {row['steps_per_s']:>7.2f} | {row['memory_mb']:>3.0f} MB "
            f"| {row['learned']:>7.0%} "
        )
        if way.is_ours:
            line += (
                f"| {row['speed_ratio']:>5.2f} x | {row['memory_ratio']:>4.2f} x "
                f"| {row['learned_difference']:>+7.0%} |"
            )
        print(line if way.is_ours else f"{line}|         |        |         |")
    print(
        f"n = {result['n']} rounds in turns, medians; memory above the loaded libraries; on the "
        f"right against the script in the same round; aims with class images: {MIN_SPEED} x, "
        f"{MAX_MEMORY} x, {MIN_LEARNED_DIFFERENCE:+.0%}; {result['device']}, one thread, "
        f"{result['date']}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
