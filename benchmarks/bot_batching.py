"""What the bot gains by drawing waiting jobs in one batch, over one job at a time.

The same eight jobs of eight users go through the bot's own worker with each size of batch, in
turns, and who goes first changes with each round. Each picture is compared with the one drawn
alone. Aim: at least 1.5 times the pictures a second, and the same pictures.

    python benchmarks/bot_batching.py --rounds 8
"""

import argparse
import asyncio
import math
import os
import statistics
import time

from PIL import Image

from sdlesson import metrics
from sdlesson.bot.generator import PipelineGenerator
from sdlesson.bot.requests import Request
from sdlesson.bot.worker import Worker
from sdlesson.images import same_picture
from sdlesson.pipelines import load_pipeline
from sdlesson.runtime import device_name

SIZES = (1, 2, 4)
MIN_RATIO = 1.5
PROMPTS = (
    "a cat on the beach",
    "un perro en la nieve",
    "an astronaut riding a horse on Mars",
    "a panda in the forest",
    "a robot beside a pizza",
    "una casa en la playa",
    "a red car",
    "two foxes in the snow",
)
HEADINGS = {
    "batch": ("batch", "lote"),
    "pictures_a_second": ("pictures a second", "imágenes por segundo"),
    "times": ("times as fast", "veces más rápido"),
    "same": ("same picture as alone", "misma imagen que sola"),
}


def main() -> int:
    """Measure, write the table, print it, and fail when the aim is missed."""
    parser = argparse.ArgumentParser(description="What batches gain the bot.")
    parser.add_argument("--rounds", type=int, default=8, metavar="N")
    rounds = parser.parse_args().rounds
    os.environ["TQDM_DISABLE"] = "1"
    pipe = load_pipeline("pocket")
    # Pictures on the way are of no use here, and would come only to the batches that take long.
    generator = PipelineGenerator(pipe, preview_every_s=math.inf)
    seconds: dict[int, list[float]] = {size: [] for size in SIZES}
    same: dict[int, list[bool]] = {size: [] for size in SIZES}
    _draw(generator, 1, seed=0)  # the first pictures take longer
    for index in range(rounds):
        pictures = {}
        turn = index % len(SIZES)
        for size in SIZES[turn:] + SIZES[:turn]:
            taken_s, pictures[size] = _draw(generator, size, seed=len(PROMPTS) * index)
            seconds[size].append(taken_s)
        for size in SIZES:
            same[size] += map(same_picture, pictures[size], pictures[1])
    rows = [_row(size, seconds, same[size]) for size in SIZES]
    device = device_name(pipe.device.type)
    metrics.write_table(
        "bot_batching", rows, rounds * len(PROMPTS), headings=HEADINGS, device=device
    )
    for row in rows:
        print("  ".join(f"{name}: {value}" for name, value in row.items()))
    median_ratio = statistics.median(_ratios(seconds, SIZES[-1]))
    print(f"median of {rounds} rounds: {median_ratio:.2f} times, aim: {MIN_RATIO}; {device}")
    return 0 if median_ratio >= MIN_RATIO and all(map(all, same.values())) else 1


def _draw(generator: PipelineGenerator, size: int, *, seed: int) -> tuple[float, list[Image.Image]]:
    """Put a job for each prompt through the worker; how long all of them took, and the pictures."""

    async def draw() -> tuple[float, list[Image.Image]]:
        worker = Worker(generator, max_batch=size)
        settings = vars(generator.defaults)
        start = time.perf_counter()
        jobs = [
            worker.submit(number, Request(prompt, seed=seed + number, **settings))
            for number, prompt in enumerate(PROMPTS)
        ]
        worker.start()
        results = [(await job.wait_until_ended()).result for job in jobs]
        taken_s = time.perf_counter() - start
        await worker.stop()
        return taken_s, [result.image for result in results if result is not None]

    return asyncio.run(draw())


def _row(size: int, seconds: dict[int, list[float]], same: list[bool]) -> dict[str, object]:
    return {
        "batch": size,
        "pictures_a_second": metrics.mean([len(PROMPTS) / taken for taken in seconds[size]]),
        "times": metrics.mean(_ratios(seconds, size)),
        "same": metrics.share(same),
    }


def _ratios(seconds: dict[int, list[float]], size: int) -> list[float]:
    """How many times as fast as one at a time, round by round."""
    return [alone / taken for alone, taken in zip(seconds[1], seconds[size], strict=True)]


if __name__ == "__main__":
    raise SystemExit(main())
