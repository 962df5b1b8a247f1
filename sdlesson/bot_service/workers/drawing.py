"""A worker's side of a batch: claim it, draw it, say how far it is, and stop when told to."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from PIL import Image
from redis.exceptions import RedisError
from structlog.contextvars import bound_contextvars

from sdlesson.bot_service.workers.protocol import (
    AWAY,
    KEEP_S,
    Client,
    Json,
    Orders,
    Timing,
    batch_key,
    pack_image,
    pack_result,
    unpack_requests,
)

if TYPE_CHECKING:
    from sdlesson.bot.generator import ImageGenerator

    Answer = TypeVar("Answer")

GIVE_UP_S = 900.0  # how long a result waits for Redis to come back
RETRY_S = 0.5
MAX_NEWS = 1000  # of a batch; who reads them is never so far behind

log = logging.getLogger(__name__)


def draw_batch(
    redis: Client, generator: ImageGenerator, batch_id: str, attempt: int, name: str, timing: Timing
) -> bool:
    """Draw one attempt at a batch; False if it is not, or no longer, this worker's to draw.

    Args:
        redis: Where the batch is.
        generator: What draws.
        batch_id: Which batch.
        attempt: Which attempt of the bot's at it.
        name: The worker's.
        timing: How patient both sides are.
    """
    work = _Work(redis, batch_id, attempt, timing)
    asked = retry(lambda: work.claim(name))
    if asked is None:
        log.info("batch %s: attempt %s is not to be drawn", batch_id, attempt)
        return False
    requests, context = unpack_requests(asked)
    with bound_contextvars(**context), work:
        log.info("batch %s of %s: attempt %s begins", batch_id, len(requests), attempt)
        try:
            results = generator.draw(requests, on_step=work.on_step, is_cancelled=work.is_cancelled)
        except (Exception, SystemExit) as error:  # the latter of a library, which ends no worker
            log.error("batch %s failed", batch_id, exc_info=error)
            news: Json = {"kind": "failed", "error": type(error).__name__}
        else:
            if work.is_over:
                log.info("batch %s: attempt %s is no longer wanted", batch_id, attempt)
                return False
            news = {"kind": "done", "results": [pack_result(result) for result in results]}
        retry(lambda: work.tell(news))
    log.info("batch %s: attempt %s is %s", batch_id, attempt, news["kind"])
    return True


def retry(action: Callable[[], Answer]) -> Answer:
    """Do something with Redis, again and again until Redis is there.

    Raises:
        RedisError: It was away for too long, or answers that this cannot be done.
    """
    deadline = time.monotonic() + GIVE_UP_S
    while True:
        try:
            return action()
        except AWAY:
            if time.monotonic() > deadline:
                raise
        time.sleep(RETRY_S)


class _Work:
    """One attempt at a batch; in its `with` block a thread keeps up its pulse.

    Attributes:
        orders: The latest that were read.
    """

    def __init__(self, redis: Client, batch_id: str, attempt: int, timing: Timing) -> None:
        self._redis, self._batch_id, self._attempt = redis, batch_id, attempt
        self._timing = timing
        self.orders = Orders(attempt)
        self._orders_s = time.monotonic()
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="pulse", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._has_ended.set()
        self._thread.join()

    def claim(self, name: str) -> bytes | None:
        """Take the attempt and return what to draw; None if it is taken or not wanted."""
        packed, asked = self._redis.mget(self._key("orders"), self._key("requests"))
        if not packed or not asked or Orders.unpack(packed).attempt != self._attempt:
            return None
        pipeline = self._redis.pipeline()  # both at once: claimed without a pulse is lost
        pipeline.set(self._key(f"claim:{self._attempt}"), name, nx=True, ex=KEEP_S)
        pipeline.set(self._key("pulse"), self._attempt, px=self._pulse_ms)
        is_mine, _ = pipeline.execute()
        return asked if is_mine else None

    @property
    def is_over(self) -> bool:
        """Whether nobody wants this attempt any more: there is another, or no bot."""
        silent_s = time.monotonic() - self._orders_s
        return self.orders.attempt != self._attempt or silent_s > self._timing.lease_s

    def is_cancelled(self, number: int) -> bool:
        """Whether a picture is to be drawn no further."""
        return self.is_over or number in self.orders.cancelled

    def on_step(self, step: int, steps: int, previews: dict[int, Image.Image]) -> None:
        """Say how far the batch is, and hear what the bot wants."""
        shown = {number: pack_image(picture) for number, picture in previews.items()}
        with suppress(*AWAY):  # a step that nobody hears of does no harm
            self.tell({"kind": "step", "step": step, "steps": steps, "previews": shown})
        self._hear()

    def tell(self, news: Json) -> None:
        """Put news where the bot reads them."""
        key = self._key("news")
        pipeline = self._redis.pipeline()
        packed = json.dumps(news | {"attempt": self._attempt})
        pipeline.xadd(key, {"json": packed}, maxlen=MAX_NEWS, approximate=True)
        pipeline.expire(key, KEEP_S)
        pipeline.execute()

    def _beat_on(self) -> None:
        """Show that somebody draws this batch, until it has ended."""
        is_heard = True
        while not self._has_ended.wait(self._timing.beat_s):
            try:
                self._redis.set(self._key("pulse"), self._attempt, px=self._pulse_ms)
                is_heard = True
            except RedisError as error:
                if is_heard:  # once an outage
                    log.warning("batch %s: no pulse (%s)", self._batch_id, type(error).__name__)
                is_heard = False
            self._hear()

    def _hear(self) -> None:
        """Read the bot's orders; without Redis they stay as they were, for however long."""
        try:
            packed = self._redis.get(self._key("orders"))
        except AWAY:
            self._orders_s = time.monotonic()
            return
        if packed:
            self.orders, self._orders_s = Orders.unpack(packed), time.monotonic()

    def _key(self, part: str) -> str:
        return batch_key(self._batch_id, part)

    @property
    def _pulse_ms(self) -> int:
        return round(1000 * self._timing.lost_s)
