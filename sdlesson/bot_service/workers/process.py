"""A worker from its start to its end: it loads the pipeline once and draws what Celery brings."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from celery.signals import setup_logging, worker_ready
from prometheus_client import CollectorRegistry
from prometheus_client.process_collector import ProcessCollector
from redis.exceptions import RedisError

from sdlesson.bot_service.health import answering
from sdlesson.bot_service.metrics import GpuMemory, MeasuredGenerator
from sdlesson.bot_service.models.cards import cards_of, pack_cards
from sdlesson.bot_service.workers.drawing import draw_batch
from sdlesson.bot_service.workers.memory import SmallerBatches
from sdlesson.bot_service.workers.protocol import (
    TASK,
    Client,
    Timing,
    connect,
    make_celery,
    models_key,
    queue_name,
    worker_key,
)

if TYPE_CHECKING:
    from sdlesson.bot.generator import ImageGenerator

# One process draws one batch at a time: CUDA cannot be used in a forked child, and a second batch
# would share the same GPU. Said twice, since Celery fetches as many messages as it counts cores.
ARGUMENTS = (
    *("--quiet", "worker", "--pool=solo", "--concurrency=1"),
    *("--without-gossip", "--without-mingle", "--loglevel=WARNING"),
)

log = logging.getLogger(__name__)


class Announcement:
    """A thread that says, once a beat, that a worker is there; Redis forgets one that is not.

    Args:
        redis: Where to say so.
        generator: What the worker draws with.
        queue: Where it listens.
        name: The worker's.
        timing: How patient both sides are.
    """

    def __init__(
        self, redis: Client, generator: ImageGenerator, queue: str, name: str, timing: Timing
    ) -> None:
        self._redis, self._queue, self._timing = redis, queue, timing
        self._key = worker_key(queue, name)
        self._cards = pack_cards(cards_of(generator).values())
        self._is_over = threading.Event()
        self._is_heard = False
        self._thread = threading.Thread(target=self._go_on, name="announcement", daemon=True)

    def start(self, **_: Any) -> None:
        """Begin; Celery calls this once the worker listens."""
        self._thread.start()

    def ready(self) -> str:
        """Say why nobody would send this worker anything; "" where they would."""
        return "" if self._is_heard else "Redis has not heard of this worker"

    def stop(self) -> None:
        """Say no more, and that the worker is gone."""
        self._is_over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _go_on(self) -> None:
        while True:
            try:
                self._redis.set(models_key(self._queue), self._cards)
                self._redis.set(self._key, self._cards, px=round(1000 * self._timing.lost_s))
                self._is_heard = True
            except RedisError as error:
                if self._is_heard:  # once an outage
                    log.warning("nobody hears of this worker (%s)", type(error).__name__)
                self._is_heard = False
            if self._is_over.wait(self._timing.beat_s):
                break
        try:
            self._redis.delete(self._key)
        except RedisError:
            log.info("Redis will find out by itself that this worker is gone")


def run_worker(
    generator: ImageGenerator,
    url: str,
    *,
    queue: str = "pocket",
    timing: Timing | None = None,
    address: tuple[str, int] | None = None,
) -> None:
    """Draw what comes until the process is told to end, and end the batch under way before.

    Args:
        generator: What draws; loaded already.
        url: Of Redis.
        queue: Where to listen.
        timing: How patient both sides are; the same as the bot's.
        address: Where to answer for metrics and health; by default nowhere.
    """
    timing = timing or Timing()
    registry = CollectorRegistry()
    registry.register(GpuMemory())
    ProcessCollector(registry=registry)
    drawing = MeasuredGenerator(SmallerBatches(generator), registry)
    # Of this start of this process: one that is restarted is another worker.
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
    redis, app = connect(url), make_celery(url, timing)

    @app.task(name=TASK)
    def draw(batch_id: str, attempt: int) -> None:
        draw_batch(redis, drawing, batch_id, attempt, name, timing)

    announcement = Announcement(redis, generator, queue, name, timing)
    worker_ready.connect(announcement.start, weak=False)
    setup_logging.connect(_keep_logging)  # that anybody listens keeps Celery from changing it
    with ExitStack() as stack:
        stack.callback(announcement.stop)
        stack.callback(worker_ready.disconnect, announcement.start)
        if address is not None:
            stack.enter_context(answering(*address, registry, lambda: "", announcement.ready))
        app.worker_main([*ARGUMENTS, f"--queues={queue_name(queue)}", f"--hostname={name}"])


def _keep_logging(**_: Any) -> None:
    """Leave the log as it was set up."""
