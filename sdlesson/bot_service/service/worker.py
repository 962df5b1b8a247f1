"""The worker, which takes a job only once it is on record that it does."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from typing import TypeAlias

from sdlesson.bot.generator import ImageGenerator, Result
from sdlesson.bot.queue import FairQueue, Job, JobState, QueueFullError
from sdlesson.bot.worker import MAX_BATCH
from sdlesson.bot_service.models.cache import PictureCache
from sdlesson.bot_service.models.cards import cards_of, weights_of
from sdlesson.bot_service.workers.parallel import ParallelWorker

log = logging.getLogger(__name__)

# Puts jobs on record as running, and returns those that may be drawn.
Begin: TypeAlias = Callable[[Sequence[str]], Awaitable[Sequence[str]]]


async def begin_all(job_ids: Sequence[str]) -> Sequence[str]:
    """Let every job be drawn."""
    return job_ids


class RecordingWorker(ParallelWorker):
    """Draws what waits in a queue, and first says so to the record.

    Args:
        generator, queue, max_batch: As `ParallelWorker` takes them.
        cache: Pictures that need not be drawn again; by default none.

    Attributes:
        begin: Called with the jobs of a batch before it is drawn; the others are dropped.
    """

    def __init__(
        self,
        generator: ImageGenerator,
        queue: FairQueue | None = None,
        *,
        max_batch: int = MAX_BATCH,
        cache: PictureCache | None = None,
    ) -> None:
        at_once = getattr(generator, "batches_at_once", lambda: 1)
        super().__init__(generator, queue, max_batch=max_batch, batches_at_once=at_once)
        self.begin: Begin = begin_all
        self._begun: set[str] = set()
        self.recent = deque(maxlen=0)  # nobody looks at them here, and they hold what was asked for
        self.cache = PictureCache(0) if cache is None else cache

    def enqueue(self, job: Job, *, is_promised: bool = False) -> Job:
        """Let a job wait that has been made elsewhere, under the name that it has there.

        Args:
            job: What waits from now on.
            is_promised: An earlier run has accepted it, so there is a place for it.

        Raises:
            TooManyJobsError: The user has as many waiting as one may.
            QueueFullError: The queue is full.
            StoppedError: The worker has been stopped.
        """
        with suppress(QueueFullError) if is_promised else nullcontext():
            self.check_room(job.user_id)
        job.batch_key = self.generator.batch_key(job.request)
        self.queue.put(job, is_promised=is_promised)
        job.estimated_s = self.seconds_left(job)
        self._something_waits.set()
        log.info("job %s of user %s waits, %s in all", job.id, job.user_id, len(self.queue))
        return job

    async def _draw_batch(self, batch: list[Job], executor: ThreadPoolExecutor) -> None:
        new = [job.id for job in batch if job.id not in self._begun]
        if new:
            self._begun |= set(new)  # those of a batch that failed are drawn again, one by one
            granted = await self.begin(new)
            for job in batch:
                if job.id in new and job.id not in granted and not job.state.is_end:
                    self._end(job, JobState.CANCELLED)
        for job in batch:
            if job.state.is_end or job.id not in new:
                continue
            known = self.cache.find(job.request, weights_of(cards_of(self.generator), job.request))
            if known is not None:
                super()._finish(job, known)
        going_on = [job for job in batch if not job.state.is_end]
        if going_on:
            await super()._draw_batch(going_on, executor)
        self._begun -= {job.id for job in batch if job.state.is_end}

    def _finish(self, job: Job, result: Result | None) -> None:
        """End a job whose batch has been drawn, and keep its picture for who asks for the same."""
        super()._finish(job, result)
        if job.state is JobState.DONE and job.result is not None:
            self.cache.keep(job.user_id, job.request, job.result)
