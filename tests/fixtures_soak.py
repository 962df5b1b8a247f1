"""The bot's service as an operator runs it, in a process of its own, watched from outside."""

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from prometheus_client.parser import text_string_to_metric_families

from fixtures_servers import free_port
from fixtures_talk import wait_until
from sdlesson.bot_api import BotApiServer, Person
from sdlesson.runtime import device_name, installed_version

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
START_S = 300.0  # imports and a model to load, on cores that others use
LOOK_S = 0.25  # how often the service looks how late its event loop is
OPEN = ("accepted", "running", "sending")

# The whole service, on a clock that goes `speed` times as fast: what it counts in hours and days
# (limits, quotas, what is old enough to be deleted) passes in minutes. Only the wall clock is
# changed: Telegram's rates and timeouts are real.
RUN = """
import runpy, sys, time
speed, real, began = float(sys.argv.pop(1)), time.time, time.time()
if speed != 1:
    time.time = lambda: began + speed * (real() - began)
    from sdlesson.bot_service.service import run
    run.PURGE_EVERY_S /= speed
runpy.run_module("sdlesson.bot_service", run_name="__main__")
"""
# An event loop that has nothing to do: how late this machine makes anybody's.
IDLE_LOOP = """
import asyncio, time
async def main():
    while True:
        due_s = time.monotonic() + 0.25
        await asyncio.sleep(0.25)
        print(time.monotonic() - due_s, flush=True)
asyncio.run(main())
"""


@dataclass
class Watched:
    """A service in a process of its own, and what it has used of the machine, moment by moment."""

    server: BotApiServer
    process: psutil.Process
    folder: Path
    port: int
    samples: list[dict[str, float]] = field(default_factory=list)

    def metrics(self) -> dict[tuple[str, ...], float]:
        """What the service tells Prometheus."""
        url = f"http://127.0.0.1:{self.port}/metrics"
        with urllib.request.urlopen(url, timeout=30) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        found = (sample for family in families for sample in family.samples)
        return {(one.name, *one.labels.values()): one.value for one in found}

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Look into the service's database."""
        connection = sqlite3.connect(self.folder / "bot.db", timeout=30)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def is_at_rest(self) -> bool:
        """Whether every update is handled and every job has ended and its user knows."""
        ends = f"SELECT count(*) FROM jobs WHERE state IN {OPEN} OR told = 0"
        inbox = "SELECT count(*) FROM inbox WHERE body IS NOT NULL"
        return not (
            self.server.run(lambda telegram: telegram.updates.pending)
            or self.rows(inbox)[0][0]
            or self.rows(ends)[0][0]
        )

    def look(self) -> dict[str, float]:
        """Measure what the process uses now."""
        used = {
            "at_s": time.monotonic(),
            "rss_mb": self.process.memory_info().rss / 2**20,
            "handles": self.process.num_fds(),
            "threads": self.process.num_threads(),
            "database_mb": sum(path.stat().st_size for path in self.folder.glob("bot.db*")) / 2**20,
        }
        self.samples.append(used)
        return used

    def column(self, name: str) -> np.ndarray:
        """One figure of all samples."""
        return np.array([sample[name] for sample in self.samples])


@contextmanager
def watched_service(
    folder: Path, *, speed: float = 1.0, every_s: float = 2.0, **settings: Any
) -> Iterator[Watched]:
    """Run `python -m sdlesson.bot_service` on the pocket model, and sample what it uses.

    Args:
        folder: Where its database and its log go.
        speed: How many times as fast its clock goes.
        every_s: How often to sample.
        settings: As in its configuration.
    """
    port = free_port()
    with BotApiServer() as server, (folder / "log.txt").open("w") as log:
        given = {
            "token": server.token,
            "api_url": server.base_url,
            "database_url": f"sqlite:///{folder}/bot.db",
            "metrics_port": port,
            "log_level": "WARNING",
            **settings,
        }
        variables = {f"SDLESSON_BOT_{name.upper()}": str(value) for name, value in given.items()}
        environment = os.environ | variables | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", RUN, str(speed)]
        process = subprocess.Popen(command, stderr=log, env=environment, cwd=folder)
        watched = Watched(server, psutil.Process(process.pid), folder, port)
        over = threading.Event()
        thread = threading.Thread(target=lambda: _sample(watched, over, every_s))
        try:
            wait_until(lambda: process.poll() is not None or _is_ready(port), START_S)
            assert process.poll() is None, (folder / "log.txt").read_text()
            thread.start()
            yield watched
            assert process.poll() is None, "the service has died"
        finally:
            over.set()
            process.terminate()
            assert process.wait(60) == 0, (folder / "log.txt").read_text()[-2000:]
            if thread.ident:
                thread.join()


@contextmanager
def idle_loop() -> Iterator[list[float]]:
    """Measure beside the service how late an event loop is that has nothing to do, in seconds."""
    command, lags_s = [sys.executable, "-c", IDLE_LOOP], []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        lines = process.stdout
        thread = threading.Thread(target=lambda: lags_s.extend(map(float, lines)))
        thread.start()
        try:
            yield lags_s
        finally:
            process.kill()
            thread.join()


def crowd(server: BotApiServer, count: int) -> list[Person]:
    """Let people in who have agreed to what the bot keeps."""
    people = [server.user(f"user {number}") for number in range(count)]
    for person in people:
        person.says("/start")
    for person in people:
        person.presses(person.waits_for(lambda _: True, timeout_s=120), data="agree:")
    for person in people:
        person.waits_for("/help", timeout_s=120)
    return people


def share_later_than(metrics: dict, before: dict, limit_s: float) -> float:
    """The share of looks at the event loop at which it was later than this; a bucket's edge."""

    def looks(edge: str) -> float:
        key = ("sdlesson_loop_lag_seconds_bucket", edge)
        return metrics[key] - before.get(key, 0.0)

    return 1 - looks(str(limit_s)) / looks("+Inf")


def lag_quantile_s(metrics: dict, before: dict, quantile: float) -> float:
    """How late the event loop was at a quantile, evenly between the edges of its bucket."""
    name = "sdlesson_loop_lag_seconds_bucket"
    edges = sorted(float(key[1].replace("+Inf", "inf")) for key in metrics if key[0] == name)
    shares = [1 - share_later_than(metrics, before, edge) for edge in edges[:-1]]
    return float(np.interp(quantile, [0.0, *shares], [0.0, *edges[:-1]]))


def growth_mb(watched: Watched) -> float:
    """How much more memory the last quarter of the samples has than the second one, on average."""
    rss = watched.column("rss_mb")
    quarter = len(rss) // 4
    return float(rss[-quarter:].mean() - rss[quarter : 2 * quarter].mean())


def slope_mb_an_hour(watched: Watched) -> float:
    """The slope of memory over the second half, by least squares."""
    half = len(watched.samples) // 2
    at_s, rss = watched.column("at_s")[half:], watched.column("rss_mb")[half:]
    return float(np.polyfit((at_s - at_s[0]) / 3600, rss, 1)[0])


def write_result(name: str, result: dict[str, Any], is_whole: bool) -> None:
    """Print what was measured, and commit it where nothing was made smaller for a try."""
    machine = f"{device_name('cpu')}, {os.cpu_count()} cores, load {os.getloadavg()[2]:.1f}"
    result = result | {
        "device": machine,
        "date": datetime.now(UTC).date().isoformat(),
        "torch": installed_version("torch"),
        "python_telegram_bot": installed_version("python-telegram-bot"),
    }
    text = json.dumps(result, indent=2) + "\n"
    print(text)
    if is_whole:
        (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")


def until(is_so: Callable[[], object], timeout_s: float, every_s: float = 1.0) -> None:
    """Wait without looking so often that it would be a load of its own."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(every_s)


def _is_ready(port: int) -> bool:
    try:
        url = f"http://127.0.0.1:{port}/health/ready"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def _sample(watched: Watched, over: threading.Event, every_s: float) -> None:
    while not over.wait(every_s):
        try:
            watched.look()
        except (psutil.NoSuchProcess, FileNotFoundError):  # it is over, or a file went meanwhile
            continue
