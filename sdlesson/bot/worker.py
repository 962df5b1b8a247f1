"""The worker: takes batches from the queue and has them drawn, one batch at a time.

Drawing happens in one thread of its own, so that the event loop stays free to answer users. All
else happens in the event loop: the thread only reads a job's `request` and `cancel_requested`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import TYPE_CHECKING

from sdlesson.bot.queue import FairQueue, Job, JobState
from sdlesson.bot.requests import Request

if TYPE_CHECKING:
    from PIL import Image

    from sdlesson.bot.generator import ImageGenerator, Result

MAX_BATCH = 4
MAX_RECENT = 8
NEWEST_SHARE = 0.3  # of a new measurement in the running mean
MAX_ERRORS = 200

_log = logging.getLogger(__name__)


class StoppedError(RuntimeError):
    """The worker has been stopped; a job that it cancelled carries this as its error."""

    def __init__(self) -> None:
        super().__init__("this worker has been stopped and draws no more; start a new one")


class Worker:
    """Draws what waits in a queue; all methods are for the event loop that `start` ran in.

    Args:
        generator: What draws.
        queue: Where jobs wait.
        max_batch: How many pictures to draw at once.

    Attributes:
        running: The jobs of the batch under way.
        end_counts: How many jobs came to which end.
        recent: The latest jobs that ended, oldest first.
        estimator: What was learned about how long it takes.
    """

    def __init__(
        self,
        generator: ImageGenerator,
        queue: FairQueue | None = None,
        *,
        max_batch: int = MAX_BATCH,
    ) -> None:
        self.generator, self.max_batch = generator, max_batch
        self.queue = FairQueue() if queue is None else queue
        self.running: list[Job] = []
        self.end_counts: Counter[JobState] = Counter()
        self.recent: deque[Job] = deque(maxlen=MAX_RECENT)
        self.estimator = DurationEstimator()
        self._something_waits = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to draw, in a task of the running loop; a second call changes nothing."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def stop(self) -> None:
        """Cancel what waits, stop what runs at its next step, and return once all has ended."""
        self._stopping = True
        for job in [*self.queue.order(), *self.running]:
            if self.cancel(job):
                job.error = StoppedError()
        self._something_waits.set()
        try:
            if self._task is not None:
                await self._task
        finally:
            for job in self.running:  # if the task had broken down
                if not job.state.is_end:
                    self._end(job, JobState.CANCELLED)

    def raise_if_broken(self) -> None:
        """Raise what the task has broken down with, if it has."""
        if self._task is not None and self._task.done() and not self._stopping:
            self._task.result()
            raise RuntimeError("the worker has ended by itself")

    def check_room(self, user_id: int) -> None:
        """See whether a request of this user would be taken now.

        Raises:
            TooManyJobsError: The user has as many waiting as one may.
            QueueFullError: The queue is full.
            StoppedError: The worker has been stopped.
        """
        if self._stopping:
            raise StoppedError
        self.queue.check_room(user_id)

    def submit(self, user_id: int, request: Request, chat_id: int | None = None) -> Job:
        """Put a request into the queue and return its job.

        Raises:
            TooManyJobsError: The user has as many waiting as one may.
            QueueFullError: The queue is full.
            StoppedError: The worker has been stopped.
        """
        self.check_room(user_id)
        job = Job(user_id, request, self.generator.batch_key(request), chat_id=chat_id)
        self.queue.put(job)
        job.estimated_s = self.seconds_left(job)
        self._something_waits.set()
        _log.info("job %s of user %s waits, %s in all", job.id, user_id, len(self.queue))
        return job

    def cancel(self, job: Job) -> bool:
        """End a waiting job at once and a running one at its next step; False if it has ended."""
        if self.queue.remove(job):
            self._end(job, JobState.CANCELLED)
            return True
        if job.state is JobState.RUNNING:
            job.cancel_requested = True
        return job.cancel_requested and not job.state.is_end

    @property
    def jobs(self) -> list[Job]:
        """The jobs that have not ended: running ones, then waiting ones."""
        return [job for job in self.running if not job.state.is_end] + self.queue.order()

    def jobs_of(self, user_id: int, chat_id: int | None = None) -> list[Job]:
        """List the jobs of a user that have not ended; with a chat, those asked for there."""
        return [
            job for job in self.jobs if job.user_id == user_id and chat_id in (None, job.chat_id)
        ]

    def seconds_left(self, job: Job) -> float | None:
        """Estimate when a job will have ended; None while nothing has been measured."""
        if job.state.is_end:
            return 0.0
        seconds = self._running_s()
        if job.state is JobState.RUNNING or seconds is None:
            return seconds
        for batch in self.queue.plan(self.max_batch):
            batch_s = self.estimator.estimate_s(len(batch), batch[0].steps)
            if batch_s is None:
                return None
            seconds += batch_s
            if job in batch:
                break
        return seconds

    def _running_s(self) -> float | None:
        """Estimate what is left of the batch under way."""
        left = [max(0, job.steps - job.step) for job in self.running if not job.state.is_end]
        return self.estimator.estimate_s(len(self.running), max(left)) if left else 0.0

    async def _work(self) -> None:
        """Draw batch after batch until the worker is stopped."""
        with ThreadPoolExecutor(1, thread_name_prefix="sdlesson-draw") as executor:
            while not self._stopping:
                self.running = self.queue.take(self.max_batch)
                for job in self.running:
                    job.move_to(JobState.RUNNING)
                if self.running:
                    await self._draw_batch(self.running, executor)
                else:
                    self._something_waits.clear()
                    await self._something_waits.wait()

    async def _draw_batch(self, batch: list[Job], executor: ThreadPoolExecutor) -> None:
        """Draw a batch; if that fails, each job alone, so that only the guilty one fails."""
        try:
            await self._draw(batch, executor)
            return
        except Exception as error:
            failure = error
        if len(batch) == 1:
            self._fail(batch[0], failure)
            return
        _log.warning("batch %s failed, so each is drawn alone", _ids(batch), exc_info=failure)
        del failure  # its traceback holds the memory that the batch took
        for job in batch:
            if job.cancel_requested:
                self._finish(job, None)
            elif not job.state.is_end:
                await self._draw_batch([job], executor)

    async def _draw(self, batch: list[Job], executor: ThreadPoolExecutor) -> None:
        """Have a batch drawn in the thread, and end its jobs with what comes out."""
        loop, started_s = asyncio.get_running_loop(), time.monotonic()

        def on_step(step: int, steps: int, previews: dict[int, Image.Image]) -> None:
            loop.call_soon_threadsafe(self._note_step, batch, step, steps, previews)

        def draw() -> Sequence[Result | None]:
            try:
                return self.generator.draw(
                    [job.request for job in batch],
                    on_step=on_step,
                    is_cancelled=lambda number: batch[number].cancel_requested,
                )
            except SystemExit as error:  # which would end the loop, and the bot with it
                raise RuntimeError(f"a library wanted to end the process: {error!r}") from error

        results = await loop.run_in_executor(executor, draw)
        if not any(job.cancel_requested for job in batch):
            self.estimator.record(len(batch), batch[0].steps, time.monotonic() - started_s)
        for job, result in zip(batch, results, strict=True):
            self._finish(job, result)

    def _note_step(
        self, batch: list[Job], step: int, steps: int, previews: dict[int, Image.Image]
    ) -> None:
        """Take down how far a batch is, and end those of its jobs that are to stop."""
        for number, job in enumerate(batch):
            if job.state.is_end:
                continue
            job.step, job.steps = step, steps
            job.preview = previews.get(number, job.preview)
            if job.cancel_requested:
                self._end(job, JobState.CANCELLED)

    def _finish(self, job: Job, result: Result | None) -> None:
        """End a job whose batch has been drawn."""
        if job.state.is_end:
            return
        if job.cancel_requested or result is None:
            self._end(job, JobState.CANCELLED)
            return
        job.result = result
        self._end(job, JobState.FLAGGED if result.flagged else JobState.DONE)
        if job.estimated_s is not None:
            self.estimator.errors_s.append(time.monotonic() - job.created_s - job.estimated_s)

    def _fail(self, job: Job, error: Exception) -> None:
        """End a job that the generator could not draw; the traceback goes to the log."""
        if job.state.is_end:
            return
        _log.error("job %s failed", job.id, exc_info=error)
        job.error = error.with_traceback(None)  # which would hold what was in memory then
        self._end(job, JobState.FAILED)

    def _end(self, job: Job, state: JobState) -> None:
        job.move_to(state)
        self.end_counts[state] += 1
        self.recent.append(job)
        _log.info("job %s of user %s is %s", job.id, job.user_id, state)


class DurationEstimator:
    """Seconds a step for each size of batch, and how far the promises were off.

    Attributes:
        errors_s: What jobs took minus what was promised when they were submitted.
    """

    def __init__(self) -> None:
        self._step_s: dict[int, float] = {}  # by pictures in the batch
        self.errors_s: deque[float] = deque(maxlen=MAX_ERRORS)

    def record(self, pictures: int, steps: int, seconds: float) -> None:
        """Take in a batch that was drawn to its end."""
        measured = seconds / steps
        before = self._step_s.get(pictures, measured)
        self._step_s[pictures] = before + NEWEST_SHARE * (measured - before)

    def estimate_s(self, pictures: int, steps: int) -> float | None:
        """Estimate a batch from those of its size, else of the nearest; None before the first."""
        if not self._step_s:
            return None
        nearest = min(self._step_s, key=lambda size: (abs(size - pictures), size))
        # From one size to another: between "no slower" and "slower in proportion".
        return steps * self._step_s[nearest] * (pictures / nearest) ** 0.5

    @property
    def median_error_s(self) -> float | None:
        """The middle of how far promises were off, whichever way; None before the first."""
        return median(map(abs, self.errors_s)) if self.errors_s else None


def _ids(batch: list[Job]) -> str:
    return ", ".join(job.id for job in batch)
