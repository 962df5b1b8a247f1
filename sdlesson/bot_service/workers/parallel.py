"""A worker of the bot's that has several batches drawn at once, one for each machine that is there.

The queue stays in the bot: turns are fair, a waiting picture is cancelled at once, and pictures
that fit together form a batch, however many machines there are. Redis holds only what is drawn.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from sdlesson.bot.queue import FairQueue, Job, JobState
from sdlesson.bot.worker import MAX_BATCH, Worker
from sdlesson.bot_service.log import request_context

if TYPE_CHECKING:
    from sdlesson.bot.generator import ImageGenerator

MOST_AT_ONCE = 256  # threads, each of which only waits for news of its batch
COUNT_EVERY_S = 1.0

log = logging.getLogger(__name__)


class ParallelWorker(Worker):
    """Draws up to so many batches at once; with one, it does what `Worker` does.

    Args:
        generator: What draws, from several threads at once where more than one batch is.
        queue: Where jobs wait.
        max_batch: How many pictures a batch has at most.
        batches_at_once: How many batches to draw at once; asked again and again, in a thread.
    """

    def __init__(
        self,
        generator: ImageGenerator,
        queue: FairQueue | None = None,
        *,
        max_batch: int = MAX_BATCH,
        batches_at_once: Callable[[], int] = lambda: 1,
    ) -> None:
        super().__init__(generator, queue, max_batch=max_batch)
        self.at_once = 1
        self._batches_at_once = batches_at_once
        self._under_way: dict[asyncio.Task[None], list[Job]] = {}

    def seconds_left(self, job: Job) -> float | None:
        """Estimate when a job will have ended; None while nothing has been measured."""
        if job.state.is_end:
            return 0.0
        for batch in self._under_way.values():
            if job in batch:
                return self._left_s(batch)
        left = [self._left_s(batch) for batch in self._under_way.values()]
        free_in = [seconds for seconds in left if seconds is not None]
        if len(free_in) < len(left):
            return None
        free_in += [0.0] * (self.at_once - len(free_in))
        heapq.heapify(free_in)  # when each machine is free, the soonest first
        for batch in self.queue.plan(self.max_batch):
            batch_s = self.estimator.estimate_s(len(batch), batch[0].steps)
            if batch_s is None:
                return None
            ends_in = heapq.heappop(free_in) + batch_s
            if job in batch:
                return ends_in
            heapq.heappush(free_in, ends_in)
        return None

    def _left_s(self, batch: list[Job]) -> float | None:
        """Estimate what is left of a batch under way."""
        left = [max(0, job.steps - job.step) for job in batch if not job.state.is_end]
        return self.estimator.estimate_s(len(batch), max(left)) if left else 0.0

    async def _work(self) -> None:
        """Begin batches as machines are free, until the worker is stopped."""
        counting = asyncio.create_task(self._count())
        try:
            with _ContextExecutor(MOST_AT_ONCE, thread_name_prefix="sdlesson-draw") as executor:
                while not self._stopping:
                    self._something_waits.clear()
                    while len(self._under_way) < self.at_once and not self._stopping:
                        batch = self.queue.take(self.max_batch)
                        if not batch:
                            break
                        self._begin(batch, executor)
                    await self._something_waits.wait()
                    self._put_away()
                if self._under_way:
                    await asyncio.wait(self._under_way)
                    self._put_away()
        finally:
            counting.cancel()

    def _begin(self, batch: list[Job], executor: ThreadPoolExecutor) -> None:
        """Have a batch drawn, in a task of its own."""
        for job in batch:
            job.move_to(JobState.RUNNING)
        self.running = [*self.running, *batch]
        task = asyncio.create_task(self._draw_logged(batch, executor))
        self._under_way[task] = batch
        task.add_done_callback(lambda _: self._something_waits.set())

    async def _draw_logged(self, batch: list[Job], executor: ThreadPoolExecutor) -> None:
        try:
            with request_context(*(job.id for job in batch)):
                await self._draw_batch(batch, executor)
        finally:
            self.running = [job for job in self.running if job not in batch]

    def _put_away(self) -> None:
        """Forget the batches that have ended; what one broke down with is raised here."""
        for task in [task for task in self._under_way if task.done()]:
            del self._under_way[task]
            task.result()

    async def _count(self) -> None:
        """Find out, again and again, how many batches can be drawn at once."""
        while True:
            try:
                counted = await asyncio.to_thread(self._batches_at_once)
                at_once = min(max(1, counted), MOST_AT_ONCE)
                if at_once != self.at_once:
                    log.info("%s batches at once from now on", at_once)
                    self.at_once = at_once
                    self._something_waits.set()
            except Exception as error:  # such as: Redis is away; as many as before, then
                log.warning("the workers cannot be counted (%s)", type(error).__name__)
            await asyncio.sleep(COUNT_EVERY_S)


class _ContextExecutor(ThreadPoolExecutor):
    """Runs each call in the context of whoever made it, so that its log lines carry their ids."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return super().submit(contextvars.copy_context().run, fn, *args, **kwargs)
