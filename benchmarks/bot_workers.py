"""What a second worker gains, what the queue itself costs, and where more workers stop to help.

Three measurements, with a real Redis and real worker processes on this machine:

- *pocket*: the same pictures by one worker and by two, in turns; ratios within one round.
- *queue*: empty batches through Celery and Redis, and handed to the generator directly: the
  difference is what the queue itself costs a batch.
- *simulated*: up to 1,000 workers, by a simulation made of the measured parts: so many seconds a
  batch in a worker, and in the bot, which starts batches one after another, so many.

    python benchmarks/bot_workers.py --rounds 5
"""

from __future__ import annotations

import argparse
import heapq
import multiprocessing
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

os.environ["OMP_NUM_THREADS"] = "1"

from PIL import Image

from sdlesson import metrics
from sdlesson.bot.generator import PipelineGenerator, Result
from sdlesson.bot.requests import Defaults, Request
from sdlesson.bot_service.workers import CeleryGenerator, run_worker
from sdlesson.drawing import Drawing
from sdlesson.pipelines import load_pipeline
from sdlesson.runtime import device_name

FORK = multiprocessing.get_context("fork")
BATCHES = 6  # a round, of one picture each
EMPTY = 100
SIMULATED = (1, 2, 10, 100, 300, 1000)
SIMULATED_BATCHES = 20_000
MIN_RATIO = 1.5  # of two workers on two free cores
HEADINGS = {
    "what": ("what", "qué"),
    "workers": ("workers", "workers"),
    "value": ("value", "valor"),
}


class Nothing:
    """Draws one grey picture, at once: what is left is what the queue costs."""

    model, size, defaults = "nothing", 128, Defaults(num_inference_steps=1)
    has_control = False

    def batch_key(self, request: Request) -> None:
        """All fit together."""

    def draw(self, requests, *, on_step, is_cancelled):
        """Draw nothing."""
        on_step(1, 1, {})
        return [self._result(request) for request in requests]

    def _result(self, request: Request) -> Result:
        image = Image.effect_noise((self.size, self.size), 40).convert("RGB")
        drawing = Drawing(image, request.prompt, "", request.seed, 1, 1.0, "none", "nothing", False)
        return Result(drawing, request)


def main() -> int:
    """Measure, write the table, print it, and fail when the aim is missed."""
    parser = argparse.ArgumentParser(description="What more workers gain the bot.")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    rounds = parser.parse_args().rounds
    if shutil.which("redis-server") is None:
        print("This needs redis-server (Debian: apt install redis-server).", file=sys.stderr)
        return 1
    pipe = load_pipeline("pocket")
    with redis_server() as url:
        queue_s, bot_s = measure_queue(url)
        seconds = measure_pocket(url, PipelineGenerator(pipe), rounds)
    ratios = [one / two for one, two in zip(seconds[1], seconds[2], strict=True)]
    batch_s = statistics.median(seconds[1]) / BATCHES
    rows = [
        *(
            {"what": "pictures a second", "workers": count, "value": metrics.mean(rates(taken))}
            for count, taken in seconds.items()
        ),
        {"what": "two against one, times", "workers": 2, "value": metrics.mean(ratios)},
        {"what": "queue, ms a batch", "workers": 1, "value": metrics.mean(queue_s)},
        {"what": "of it the bot's CPU, ms", "workers": 1, "value": metrics.mean(bot_s)},
    ]
    bot_batch_s = statistics.median(bot_s) / 1000
    for workers in SIMULATED:
        rate = simulate(workers, batch_s, statistics.median(queue_s) / 1000, bot_batch_s)
        rows.append({"what": "simulated, pictures a second", "workers": workers, "value": rate})
    device = f"{device_name(pipe.device.type)}, load {os.getloadavg()[0]:.0f} at the end"
    metrics.write_table("bot_workers", rows, rounds, headings=HEADINGS, device=device)
    for row in rows:
        print("  ".join(f"{name}: {value}" for name, value in row.items()))
    return 0 if statistics.median(ratios) >= MIN_RATIO else 1


def rates(seconds: list[float]) -> list[float]:
    """Pictures a second, round by round."""
    return [BATCHES / taken for taken in seconds]


def measure_queue(url: str) -> tuple[list[float], list[float]]:
    """What the queue costs a batch, and what of it is the bot's own CPU time; both in ms."""
    with workers(url, Nothing(), 1, "nothing"):
        remote, took_ms, cpu_ms = CeleryGenerator(url, queue="nothing"), [], []
        for seed in range(EMPTY):
            start, cpu = time.perf_counter(), time.thread_time()
            draw(remote, Request("nothing", seed=seed, num_inference_steps=1))
            cpu_ms.append(1000 * (time.thread_time() - cpu))
            took_ms.append(1000 * (time.perf_counter() - start))
    start = time.perf_counter()
    for seed in range(EMPTY):
        draw(Nothing(), Request("nothing", seed=seed, num_inference_steps=1))
    direct_ms = 1000 * (time.perf_counter() - start) / EMPTY
    warm = EMPTY // 10  # connections are made with the first
    return [taken - direct_ms for taken in took_ms[warm:]], cpu_ms[warm:]


def measure_pocket(url: str, generator: PipelineGenerator, rounds: int) -> dict[int, list[float]]:
    """Seconds for the same pictures by one worker and by two, round by round."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    with workers(url, generator, 1, "one"), workers(url, generator, 2, "two"):
        remotes = {1: CeleryGenerator(url, queue="one"), 2: CeleryGenerator(url, queue="two")}
        for count, remote in remotes.items():
            draw_all(remote, count, seed=0)  # the first pictures take longer
        for number in range(rounds):
            for count in (1, 2) if number % 2 else (2, 1):
                start = time.perf_counter()
                draw_all(remotes[count], count, seed=BATCHES * (number + 1))
                seconds[count].append(time.perf_counter() - start)
    return seconds


def draw_all(remote: CeleryGenerator, at_once: int, seed: int) -> None:
    """Have some batches drawn, as many at once as there are workers."""
    request = Request("a cat on the beach", **vars(remote.defaults))
    with ThreadPoolExecutor(at_once) as executor:
        list(
            executor.map(
                lambda number: draw(remote, replace(request, seed=seed + number)), range(BATCHES)
            )
        )


def draw(generator, request: Request) -> None:
    """Have one picture drawn."""
    (result,) = generator.draw([request], on_step=lambda *_: None, is_cancelled=lambda _: False)
    assert result is not None


def simulate(workers: int, batch_s: float, queue_s: float, bot_s: float) -> float:
    """Pictures a second while more wait than can be drawn, by an event queue of a few lines.

    A batch takes the bot `bot_s`, one after another, since Python runs one thread at a time; then a
    worker has it for `batch_s` and what is left of the way through the queue.
    """
    free_s = [0.0] * workers  # when each worker is free
    bot_free_s = 0.0
    for _ in range(SIMULATED_BATCHES):
        soonest_s = heapq.heappop(free_s)
        bot_free_s = max(bot_free_s, soonest_s) + bot_s
        heapq.heappush(free_s, bot_free_s + max(0.0, queue_s - bot_s) + batch_s)
    return round(SIMULATED_BATCHES / max(free_s), 2)


@contextmanager
def redis_server() -> Iterator[str]:
    """Run Redis on a free port; yields its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen(
        ["redis-server", *options], stdout=subprocess.DEVNULL, cwd=tempfile.gettempdir()
    )
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


@contextmanager
def workers(url: str, generator, count: int, queue: str) -> Iterator[None]:
    """Run workers in processes of their own, with a generator that is loaded already."""
    processes = [
        FORK.Process(target=run_worker, args=(generator, url), kwargs={"queue": queue})
        for _ in range(count)
    ]
    for process in processes:
        process.start()
    try:
        remote = CeleryGenerator(url, queue=queue)
        while remote.workers_alive() < count:
            time.sleep(0.1)
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


if __name__ == "__main__":
    raise SystemExit(main())
