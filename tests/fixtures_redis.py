"""A real Redis of a test's own, and real workers in processes of their own."""

import json
import multiprocessing
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from fixtures_bot import Painter
from fixtures_servers import free_port
from fixtures_talk import wait_until
from sdlesson.bot_service.log import write_log
from sdlesson.bot_service.workers import run_worker
from sdlesson.bot_service.workers.protocol import Timing, batch_key

FORK = multiprocessing.get_context("fork")
QUICK = Timing(beat_s=0.2, lost_s=2.0, lease_s=5.0, redeliver_s=5.0)
STEP_S = 0.1
START_S = 60  # machines are busy
PAINTED = "painted"  # the list in Redis where the test's workers write down what they begin to draw


class RedisServer:
    """Redis on a free port of this machine and without a disk, to be killed and started again."""

    def __init__(self, program: str) -> None:
        self._program = program
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = Redis.from_url(self.url)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, empty."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self._process = subprocess.Popen(
            [self._program, *options], stdout=subprocess.DEVNULL, cwd=tempfile.gettempdir()
        )
        wait_until(self._answers, START_S)

    def kill(self) -> None:
        """Take it away, with all that it held."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def painted(self) -> list[list[str]]:
        """The prompts of each batch that any worker began, in order."""
        return [json.loads(one) for one in self.client.lrange(PAINTED, 0, -1)]

    def worker_of(self, batch_id: str, attempt: int = 1) -> int:
        """The process that has an attempt at a batch."""
        key = batch_key(batch_id, f"claim:{attempt}")
        wait_until(lambda: self.client.exists(key), START_S)
        return int(self.client.get(key).decode().split("-")[-2])

    def _answers(self) -> bool:
        with suppress(RedisError):
            return bool(self.client.ping())
        return False


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """Run Redis; a test without it is skipped and says so, but in CI it fails."""
    program = shutil.which("redis-server")
    if program is None:
        missing = "redis-server is not installed (Debian: apt install redis-server)"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{missing}, and CI may not skip what needs it")
        pytest.skip(missing)
    server = RedisServer(program)
    server.start()
    try:
        yield server
    finally:
        server.kill()


class NotedPainter(Painter):
    """Writes down in Redis what it begins to draw."""

    def __init__(self, redis: Redis, step_s: float) -> None:
        super().__init__(step_s)
        self._redis = redis

    def draw(self, requests, *, on_step, is_cancelled):
        with suppress(RedisError):
            self._redis.rpush(PAINTED, json.dumps([request.prompt for request in requests]))
        return super().draw(requests, on_step=on_step, is_cancelled=is_cancelled)


@contextmanager
def workers(
    redis: RedisServer, count: int, folder: Path, queue: str = "painter", port: int = 0
) -> Iterator[list[Path]]:
    """Run workers that paint; each logs into a file, which is what this yields.

    With a port, a single one answers there for its health and metrics.
    """
    logs = [folder / f"{queue}-{number}.log" for number in range(count)]
    # Forked, which spares each of them to import torch: that takes longer than all these tests.
    processes = [FORK.Process(target=_work, args=(redis.url, queue, port, log)) for log in logs]
    for process in processes:
        process.start()
    try:
        there = f"sdlesson:worker:{queue}:*"
        wait_until(lambda: len(redis.client.keys(there)) == count, START_S)
        yield logs
    finally:
        for process in processes:
            process.kill()  # which ends a frozen one too
            process.join()


def _work(url: str, queue: str, port: int, log: Path) -> None:
    address = ("127.0.0.1", port) if port else None
    with log.open("w", buffering=1) as stream:
        write_log(stream=stream)
        painter = NotedPainter(Redis.from_url(url), STEP_S)
        run_worker(painter, url, queue=queue, timing=QUICK, address=address)
