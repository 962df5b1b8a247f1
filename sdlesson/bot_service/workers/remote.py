"""The bot's side of a batch: ask for it, hear how far it is, and ask again should it be lost."""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from celery.exceptions import OperationalError
from structlog.contextvars import get_contextvars

from sdlesson.bot.generator import NEW_SEEDS, IsCancelled, OnStep, PipelineGenerator, Result
from sdlesson.bot.requests import Request
from sdlesson.bot_service.models.cards import ModelCard, unpack_cards
from sdlesson.bot_service.models.catalogue import read_catalogue
from sdlesson.bot_service.workers.protocol import (
    AWAY,
    KEEP_S,
    TASK,
    Json,
    Orders,
    Timing,
    batch_key,
    connect,
    make_celery,
    models_key,
    pack_requests,
    queue_name,
    unpack_image,
    unpack_result,
    worker_key,
)

if TYPE_CHECKING:
    from sdlesson.bot_service.configuration import Configuration

MAX_DEATHS = 3  # of workers over one batch; one that kills three would kill the fourth
FIRST_WORKER_S = 120.0  # how long to wait for the first worker ever, which tells of its model
RETRY_S = 0.5
LOOK_S = 0.2  # between two looks for news and for cancelled pictures
OUTAGE = (*AWAY, OperationalError)  # the latter is Celery's name for it

log = logging.getLogger(__name__)


class NoWorkersError(RuntimeError):
    """No worker has ever said which model it has."""


class DrawingError(RuntimeError):
    """The workers could not draw a batch; its message says what kind of error they met."""


class CeleryGenerator:
    """Draws in other processes, which Celery and Redis find; several batches at once if asked to.

    Args:
        url: Of Redis.
        queue: Where its workers listen; by custom the name of their model.
        timing: How patient both sides are.
        wait_s: How long to wait for a worker, should none have been there before.
        offered: The models that users may choose, which workers should have.

    Attributes:
        cards: What is known of each model.
        lost: How often a batch was asked for again, since its worker had gone.

    Raises:
        NoWorkersError: No worker has told of its model in time.
    """

    def __init__(
        self,
        url: str,
        *,
        queue: str = "pocket",
        timing: Timing | None = None,
        wait_s: float = FIRST_WORKER_S,
        offered: Sequence[str] = (),
    ) -> None:
        self._redis, self._queue, self._timing = connect(url), queue, timing or Timing()
        self._offered = offered
        self._celery = make_celery(url, self._timing)
        self.cards = self._first_cards(wait_s)
        usual = next(iter(self.cards.values()))
        self.model, self.defaults = usual.model, usual.defaults
        self.size = max(card.size for card in self.cards.values())
        self.has_control = any(card.has_control for card in self.cards.values())
        self.lost = 0

    def batch_key(self, request: Request) -> Hashable:
        """Requests with equal keys may be drawn in one batch."""
        return (request.model, request.lora, PipelineGenerator.batch_key(request))

    def draw(
        self, requests: Sequence[Request], *, on_step: OnStep, is_cancelled: IsCancelled
    ) -> list[Result | None]:
        """Have a batch drawn, however long that takes; may be called by several threads at once.

        Raises:
            DrawingError: The workers could not draw it.
        """
        batch = _Batch(self, requests, is_cancelled)
        try:
            return batch.see_through(on_step)
        finally:
            batch.clear_up()

    def batches_at_once(self) -> int:
        """How many batches are worth asking for: one for each worker that is there.

        Raises:
            ConnectionError: Of redis, as are its kin in `AWAY`: nobody knows just now.
        """
        if packed := self._redis.get(models_key(self._queue)):
            self.cards = unpack_cards(packed)  # workers may have been started with newer weights
        return max(1, self.workers_alive())

    def workers_alive(self) -> int:
        """Count the workers that have shown a sign of life lately."""
        return sum(1 for _ in self._redis.scan_iter(worker_key(self._queue, "*"), count=1000))

    def ready(self) -> str:
        """Say why nothing can be drawn just now; "" where something can."""
        try:
            if self.workers_alive():
                missing = [name for name in self._offered if name not in self.cards]
                return f"the workers lack the model {missing[0]!r}" if missing else ""
        except AWAY as error:
            return f"Redis cannot be reached ({type(error).__name__})"
        return f"no worker listens to the queue {self._queue!r}"

    def _first_cards(self, wait_s: float) -> Mapping[str, ModelCard]:
        deadline = time.monotonic() + wait_s
        while True:
            with suppress(*AWAY):
                if packed := self._redis.get(models_key(self._queue)):
                    return unpack_cards(packed)
            if time.monotonic() > deadline:
                raise NoWorkersError(
                    f"no worker has listened to the queue {self._queue!r} within {wait_s:.0f} s: "
                    "start one with `python -m sdlesson.bot_service.workers`, and give it the "
                    "same redis_url"
                )
            time.sleep(LOOK_S)


class _Batch:
    """One batch on its way, through as many attempts as it takes."""

    def __init__(
        self, generator: CeleryGenerator, asked: Sequence[Request], is_cancelled: IsCancelled
    ):
        self._generator, self._redis = generator, generator._redis
        self._timing, self._list = generator._timing, queue_name(generator._queue)
        self._is_cancelled = is_cancelled
        # Chosen here, or another attempt would draw another picture.
        self.requests = [
            request if request.seed is not None else replace(request, seed=_new_seed())
            for request in asked
        ]
        self.id, self.attempt, self.deaths = secrets.token_hex(8), 0, 0
        self._read_to = "0"  # of the stream of news
        self._ordered: tuple[Orders, float] | None = None
        self._well_since_s = 0.0  # since when Redis is there and this attempt is asked for

    def see_through(self, on_step: OnStep) -> list[Result | None]:
        """Stay with the batch until it has ended."""
        is_asked, is_away = False, False
        while not all(map(self._is_cancelled, range(len(self.requests)))):
            try:
                if not is_asked:
                    self._ask()
                    is_asked = True
                self._order()
                for news in self._hear():
                    if (results := self._take(news, on_step)) is not None:
                        return results
                is_asked, is_away = not self._is_lost(), False
            except OUTAGE as error:
                if not is_away:  # once an outage
                    log.warning("batch %s waits for Redis (%s)", self.id, type(error).__name__)
                is_away = True
                self._well_since_s = time.monotonic()
                time.sleep(RETRY_S)
        return [None] * len(self.requests)

    def clear_up(self) -> None:
        """Take back what is left of the batch, and have whoever draws it stop.

        Where Redis is away, all of it expires there by itself.
        """
        with suppress(*OUTAGE):
            self._redis.set(self._key("orders"), Orders(0).pack(), px=self._lease_ms)
            self._redis.delete(self._key("requests"), self._key("news"), self._key("pulse"))

    def _ask(self) -> None:
        """Begin the next attempt: what is to be done first, and the message last."""
        self.attempt += 1
        self._ordered = None
        self._order()
        packed = pack_requests(self.requests, get_contextvars())
        self._redis.set(self._key("requests"), packed, ex=KEEP_S)
        self._well_since_s = time.monotonic()
        self._generator._celery.send_task(
            TASK, (self.id, self.attempt), queue=self._list, retry=False, ignore_result=True
        )

    def _order(self) -> None:
        """Say what is wanted, when that has changed and once a beat."""
        cancelled = frozenset(filter(self._is_cancelled, range(len(self.requests))))
        orders, now = Orders(self.attempt, cancelled), time.monotonic()
        if self._ordered and self._ordered[0] == orders:
            if now - self._ordered[1] < self._timing.beat_s:
                return
            self._redis.expire(self._key("requests"), KEEP_S)
        self._redis.set(self._key("orders"), orders.pack(), px=self._lease_ms)
        self._ordered = orders, now

    def _hear(self) -> Iterator[Json]:
        """Wait a moment for news, and yield them."""
        read = self._redis.xread({self._key("news"): self._read_to}, block=round(1000 * LOOK_S))
        for _, entries in read or ():
            for entry, fields in entries:
                self._read_to = entry  # news are read once, but stay: an answer may be lost
                yield json.loads(fields[b"json"])

    def _take(self, news: Json, on_step: OnStep) -> list[Result | None] | None:
        """Hand on how far the batch is, and return its pictures once they are there.

        Raises:
            DrawingError: There will be none.
        """
        if news["kind"] == "done":
            pairs = zip(news["results"], self.requests, strict=True)
            return [unpack_result(packed, request) for packed, request in pairs]
        if news["attempt"] != self.attempt:
            return None
        if news["kind"] == "failed":
            raise DrawingError(f"a worker met a {news['error']}, of which its log tells more")
        previews = {int(number): unpack_image(one) for number, one in news["previews"].items()}
        on_step(news["step"], news["steps"], previews)
        return None

    def _is_lost(self) -> bool:
        """Whether nobody has this attempt any more: its worker is gone, or its message.

        Raises:
            DrawingError: Too many workers have gone over it.
        """
        if time.monotonic() - self._well_since_s < self._timing.lost_s:
            return False
        pipeline = self._redis.pipeline()
        for part in ("pulse", f"claim:{self.attempt}", "requests"):
            pipeline.exists(self._key(part))
        pipeline.llen(self._list)
        has_pulse, is_claimed, is_there, waiting = pipeline.execute()
        # Without a claim it waits behind others, as long as any wait and Redis was not emptied. A
        # message that was fetched and not claimed by a worker that died then, Celery brings back.
        if has_pulse or (not is_claimed and waiting and is_there):
            return False
        self._generator.lost += 1
        self.deaths += bool(is_claimed)
        log.warning("batch %s: attempt %s is lost", self.id, self.attempt)
        if self.deaths == MAX_DEATHS:
            raise DrawingError(f"{MAX_DEATHS} workers have gone while they drew it")
        return True

    def _key(self, part: str) -> str:
        return batch_key(self.id, part)

    @property
    def _lease_ms(self) -> int:
        return round(1000 * self._timing.lease_s)


def make_generator(configuration: Configuration) -> CeleryGenerator:
    """Make what draws as the configuration says."""
    url = configuration.redis_url.get_secret_value()
    offered = list(read_catalogue(configuration).sources)
    return CeleryGenerator(url, queue=configuration.models[0], offered=offered)


def _new_seed() -> int:
    return secrets.randbelow(NEW_SEEDS)
