"""What a sweep saves, over one call of the pipeline for each setting.

Both draw the same pictures with the same loaded pipeline, in turns, and who goes first changes
with each round, so that a machine that warms up or slows down favours neither. Each picture of
the one is compared with the other's. Aim: at least 1.5 times as fast.

    python benchmarks/sweep.py --rounds 5
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from sdlesson.experiments import sweep
from sdlesson.images import same_picture
from sdlesson.pipelines import load_pipeline
from sdlesson.runtime import device_name, installed_version

RESULT = Path(__file__).parent / "results" / "sweep.json"
PROMPT = "an astronaut riding a horse on Mars"
SCALES = (2.0, 4.0, 6.0, 8.0)
SEEDS = (0, 1, 2, 3)
STEPS = 25
MIN_RATIO = 1.5


def main() -> int:
    """Measure, print a table, write the result, and fail when the aim is missed."""
    parser = argparse.ArgumentParser(description="What a sweep saves over one call a setting.")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    rounds = parser.parse_args().rounds
    os.environ["TQDM_DISABLE"] = "1"
    pipe = load_pipeline("pocket")

    def in_a_sweep() -> list[Image.Image]:
        drawn = sweep(pipe, PROMPT, guidance_scale=SCALES, seed=SEEDS, num_inference_steps=STEPS)
        return drawn.images

    def one_call_a_setting() -> list[Image.Image]:
        return [
            pipe(
                PROMPT,
                guidance_scale=scale,
                num_inference_steps=STEPS,
                generator=torch.Generator("cpu").manual_seed(seed),
            ).images[0]
            for scale in SCALES
            for seed in SEEDS
        ]

    result = _compare(in_a_sweep, one_call_a_setting, rounds) | {
        "n": rounds,
        "pictures": len(SCALES) * len(SEEDS),
        "steps": STEPS,
        "threads": torch.get_num_threads(),
        "device": device_name(pipe.device.type),
        "date": date.today().isoformat(),
        "torch": installed_version("torch"),
        "diffusers": installed_version("diffusers"),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    _print_table(result)
    return 0 if result["median_ratio"] >= MIN_RATIO else 1


def _compare(
    in_a_sweep: Callable[[], list[Image.Image]],
    one_call_a_setting: Callable[[], list[Image.Image]],
    rounds: int,
) -> dict[str, Any]:
    _check_same(in_a_sweep(), one_call_a_setting())  # which warms both up
    sweep_s: list[float] = []
    calls_s: list[float] = []
    for index in range(rounds):
        turns = [(in_a_sweep, sweep_s), (one_call_a_setting, calls_s)]
        pictures = []
        for function, times in turns if index % 2 else reversed(turns):
            start = time.perf_counter()
            pictures.append(function())
            times.append(time.perf_counter() - start)
        _check_same(*pictures)
    ratios = [calls / swept for swept, calls in zip(sweep_s, calls_s, strict=True)]
    return {
        "sweep_median_s": round(statistics.median(sweep_s), 3),
        "calls_median_s": round(statistics.median(calls_s), 3),
        "median_ratio": round(statistics.median(ratios), 3),
        "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
    }


def _check_same(ours: list[Image.Image], theirs: list[Image.Image]) -> None:
    if not all(same_picture(a, b) for a, b in zip(ours, theirs, strict=True)):
        raise SystemExit("the two ways draw different pictures, so their times say nothing")


def _print_table(result: dict[str, Any]) -> None:
    low, high = result["ratio_range"]
    print(f"| {str(result['pictures']) + ' pictures':<26} | {'median':>10} |")
    print(f"|{'-' * 28}|{'-' * 11}:|")
    print(f"| {'one call for each':<26} | {result['calls_median_s']:>8} s |")
    print(f"| {'in a sweep':<26} | {result['sweep_median_s']:>8} s |")
    print(f"| {'times as fast, in a round':<26} | {result['median_ratio']:>10} |")
    print(
        f"n = {result['n']} alternating rounds, between {low} and {high}; aim: at least "
        f"{MIN_RATIO}; {result['device']}, {result['threads']} threads, {result['date']}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
