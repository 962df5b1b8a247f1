"""What one picture through sdlesson costs, over diffusers called directly.

Both draw the same picture with the same loaded pipeline, in turns, and who goes first changes with
each pair, so that a machine that warms up or slows down favours neither. Aim: at most 3% more.

    python benchmarks/overhead.py --pairs 30
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from sdlesson.drawing import Drawing, draw
from sdlesson.images import same_picture
from sdlesson.pipelines import load_pipeline
from sdlesson.runtime import device_name, installed_version

RESULT = Path(__file__).parent / "results" / "overhead.json"
PROMPT = "an astronaut riding a horse on Mars"
STEPS = 25
WARM_UPS = 2
MAX_RATIO = 1.03


def main() -> int:
    """Measure, print a table, write the result, and fail when the aim is missed."""
    parser = argparse.ArgumentParser(description="What sdlesson costs over plain diffusers.")
    parser.add_argument("--pairs", type=int, default=30, metavar="N")
    pairs = parser.parse_args().pairs
    pipe = load_pipeline("pocket")
    pipe.set_progress_bar_config(disable=True)

    def through_sdlesson(seed: int) -> Drawing:
        return draw(PROMPT, pipe=pipe, seed=seed, num_inference_steps=STEPS)

    def directly(seed: int) -> Image.Image:
        generator = torch.Generator("cpu").manual_seed(seed)
        return pipe(PROMPT, generator=generator, num_inference_steps=STEPS).images[0]

    if not same_picture(through_sdlesson(0).image, directly(0)):
        raise SystemExit("the two ways draw different pictures, so their times say nothing")
    result = _compare(through_sdlesson, directly, pairs)
    result |= {
        "n": pairs,
        "steps": STEPS,
        "device": device_name(pipe.device.type),
        "date": date.today().isoformat(),
        "torch": installed_version("torch"),
        "diffusers": installed_version("diffusers"),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    _print_table(result)
    return 0 if result["median_ratio"] <= MAX_RATIO else 1


def _compare(
    ours: Callable[[int], object], theirs: Callable[[int], object], pairs: int
) -> dict[str, Any]:
    for seed in range(WARM_UPS):
        _seconds(ours, seed)
        _seconds(theirs, seed)
    ours_s: list[float] = []
    theirs_s: list[float] = []
    for seed in range(pairs):
        turns = [(ours, ours_s), (theirs, theirs_s)]
        for function, times in turns if seed % 2 else reversed(turns):
            times.append(_seconds(function, seed))
    ratios = [our / their for our, their in zip(ours_s, theirs_s, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    return {
        "sdlesson_median_s": round(statistics.median(ours_s), 4),
        "diffusers_median_s": round(statistics.median(theirs_s), 4),
        "median_ratio": round(statistics.median(ratios), 4),
        "ratio_quartiles": [round(low, 4), round(high, 4)],
    }


def _seconds(function: Callable[[int], object], seed: int) -> float:
    """Time one picture; it ends as a PIL image, so the device has finished."""
    start = time.perf_counter()
    function(seed)
    return time.perf_counter() - start


def _print_table(result: dict[str, Any]) -> None:
    low, high = result["ratio_quartiles"]
    print(f"| {'one picture':<26} | {'median':>10} |")
    print(f"|{'-' * 28}|{'-' * 11}:|")
    print(f"| {'diffusers called directly':<26} | {result['diffusers_median_s']:>8} s |")
    print(f"| {'through sdlesson':<26} | {result['sdlesson_median_s']:>8} s |")
    print(f"| {'ratio within a pair':<26} | {result['median_ratio']:>10} |")
    print(
        f"n = {result['n']} alternating pairs, half of the ratios between {low} and {high}; "
        f"aim: at most {MAX_RATIO}; {result['device']}, {result['date']}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
