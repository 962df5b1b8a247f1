"""Jobs, and the bounded queue in which they wait by fair turns.

A queue of first come, first served lets one user who orders six pictures hold up everybody. Here
users stand in a ring, and whoever is served goes to its end, so that each in turn gets one picture.
It is the round-robin scheduling of operating systems and network routers.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import zip_longest
from typing import TYPE_CHECKING

from sdlesson.bot.requests import Request

if TYPE_CHECKING:
    from PIL import Image

    from sdlesson.bot.generator import Result

MAX_PER_USER = 3
MAX_TOTAL = 100  # so that the memory has a bound, and the time that the last one waits
ID_BYTES = 4  # shown to users as 8 hex digits


class JobState(StrEnum):
    """Where a job stands. The last four are ends: exactly one of them comes, and once."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FLAGGED = "flagged"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def is_end(self) -> bool:
        """Whether nothing follows."""
        return self not in NEXT_STATES


# Written down as data, so that a job that would end twice, and be told of twice, is an error at
# once, and not a second message to a user.
NEXT_STATES = {
    JobState.QUEUED: {JobState.RUNNING, JobState.CANCELLED},
    JobState.RUNNING: {JobState.DONE, JobState.FLAGGED, JobState.CANCELLED, JobState.FAILED},
}


# eq=False: two users may ask for the same picture, and the queue must not take one for the other.
@dataclass(eq=False)
class Job:
    """One request of one user; only the worker changes it, and only in its event loop.

    Attributes:
        batch_key: Jobs with equal keys may be drawn in one batch.
        id: Named to the user and in every log line about the job.
        step: How many steps are done, of `steps`.
        cancel_requested: Whether a running job is to stop at its next step.
        preview: The latest picture on the way, while it runs.
        result: What was drawn, once it is done or flagged.
        error: Why it failed, or that the bot was stopped; for the log, not for the user.
        estimated_s: How long it was to take when it was submitted, if that could be said.
        chat_id: The chat in which it was asked for, and nowhere else told of.
        created_s, started_s, ended_s: On the clock of `time.monotonic`.
    """

    user_id: int
    request: Request
    batch_key: Hashable = None
    id: str = field(default_factory=lambda: secrets.token_hex(ID_BYTES))
    state: JobState = JobState.QUEUED
    step: int = 0
    steps: int = 0
    cancel_requested: bool = False
    preview: Image.Image | None = None
    result: Result | None = None
    error: Exception | None = None
    estimated_s: float | None = None
    created_s: float = field(default_factory=time.monotonic)
    started_s: float | None = None
    ended_s: float | None = None
    chat_id: int | None = None
    # An event, and no question asked again and again: whoever waits costs nothing until the end.
    _ended: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def __post_init__(self) -> None:
        # With a photo only a share of the steps is taken, and the estimates count real ones.
        self.steps = self.steps or self.request.steps_to_take

    def move_to(self, state: JobState) -> None:
        """Go on to the next state.

        Raises:
            ValueError: That state does not follow on this one, so somebody acts on an old view.
        """
        allowed = NEXT_STATES.get(self.state, set())
        if state not in allowed:
            follow = ", ".join(sorted(allowed)) or "nothing"
            raise ValueError(f"job {self.id} is {self.state}; {follow} follows, not {state}")
        self.state = state
        if state is JobState.RUNNING:
            self.started_s = time.monotonic()
        else:
            # The preview goes: a worker keeps its latest jobs, and those would keep two pictures.
            self.ended_s, self.preview = time.monotonic(), None
            self._ended.set()  # wakes whoever awaits `wait_until_ended`

    async def wait_until_ended(self) -> Job:
        """Wait until the job has ended, however it ends."""
        await self._ended.wait()
        return self


class QueueFullError(RuntimeError):
    """The queue takes no more; the sentence for the user needs `limit`."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} jobs are waiting, and no more fit; try again later")
        self.limit = limit


class TooManyJobsError(QueueFullError):
    """One user has as many jobs waiting as one may; the sentence for the user needs `limit`."""

    def __init__(self, limit: int) -> None:
        RuntimeError.__init__(self, f"the user has {limit} jobs waiting, and may have no more")
        self.limit = limit


class FairQueue:
    """Jobs that wait, taken by fair turns between users.

    It has no lock: all its methods are called in one event loop, and none of them awaits anything,
    so nobody can come in between.

    Args:
        max_per_user: How many jobs of one user may wait.
        max_total: How many jobs may wait in all.
    """

    def __init__(self, max_per_user: int = MAX_PER_USER, max_total: int = MAX_TOTAL) -> None:
        self.max_per_user, self.max_total = max_per_user, max_total
        # The ring is the order of this dict's keys, which is the order of their insertion: a user
        # who is taken out and put in again has gone to the end. Nobody in it waits for nothing, so
        # users who left take up no memory and no turn.
        self._waiting: dict[int, deque[Job]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def put(self, job: Job, *, is_promised: bool = False) -> None:
        """Let a job wait; a user who had none comes last in the ring.

        Args:
            job: What waits from now on.
            is_promised: Its place was promised before: it has one whether there is room or not.

        Raises:
            TooManyJobsError: The user has as many waiting as one may.
            QueueFullError: The queue is full.
        """
        if not is_promised:
            self.check_room(job.user_id)
        # A user who is in the ring keeps the place there: ordering more neither gains nor costs
        # a turn.
        self._waiting.setdefault(job.user_id, deque()).append(job)

    def check_room(self, user_id: int) -> None:
        """See whether another job of this user may wait.

        Raises:
            TooManyJobsError: The user has as many waiting as one may.
            QueueFullError: The queue is full.
        """
        # A queue without limits hides that it is overrun: it only grows slower, until its memory
        # is full. A limit that is told at once lets users decide.
        if len(self.jobs_of(user_id)) >= self.max_per_user:
            raise TooManyJobsError(self.max_per_user)
        if len(self) >= self.max_total:
            raise QueueFullError(self.max_total)

    def order(self) -> list[Job]:
        """List the jobs as they would be taken one by one: the first of each user, the second..."""
        # {Ana: a1 a2 a3, Bruno: b1, Chloe: c1 c2}, read by columns: a1 b1 c1, a2 c2, a3.
        rounds = zip_longest(*self._waiting.values())
        return [job for turns in rounds for job in turns if job is not None]

    def take(self, limit: int) -> list[Job]:
        """Take the next job, and up to `limit` - 1 later ones that can be drawn along with it.

        A user's own jobs keep their order. Nobody loses a turn to those who ride along: the next
        batch begins with the job that is then the first in order.
        """
        batch: list[Job] = []
        passed_over: set[int] = set()
        for job in self.order():
            # The first sets the key, so it is never passed over: no job starves, however odd its
            # settings, because others would fit together better.
            fits = not batch or job.batch_key == batch[0].batch_key
            if fits and job.user_id not in passed_over and len(batch) < limit:
                batch.append(job)
            else:
                # From here on, this user's later jobs would overtake an earlier one.
                passed_over.add(job.user_id)
        for job in batch:
            jobs = self._waiting.pop(job.user_id)
            jobs.popleft()  # the user's oldest is the one in the batch: none was overtaken
            if jobs:
                self._waiting[job.user_id] = jobs  # at the end of the ring
        return batch

    def plan(self, limit: int) -> Iterator[list[Job]]:
        """Yield the batches that would be taken if nobody else came; nothing is taken."""
        # By the same `take`, on a copy: so what users are told of their place cannot differ from
        # what will happen.
        copy = FairQueue(self.max_per_user, self.max_total)
        copy._waiting = {user_id: deque(jobs) for user_id, jobs in self._waiting.items()}
        while batch := copy.take(limit):
            yield batch

    def remove(self, job: Job) -> bool:
        """Take a cancelled job out of the queue; False if it does not wait here."""
        jobs = self._waiting.get(job.user_id, deque())
        if job not in jobs:
            return False
        jobs.remove(job)
        if not jobs:
            del self._waiting[job.user_id]  # or an empty place in the ring would stay for ever
        return True

    def position(self, job: Job) -> int:
        """Count the jobs that are to be drawn before this one, as things stand.

        Raises:
            ValueError: The job does not wait here.
        """
        # By turns and not by arrival: one who comes later and has fewer jobs may be before.
        order = self.order()
        if job not in order:
            raise ValueError(f"job {job.id} does not wait here: it is {job.state}")
        return order.index(job)

    def jobs_of(self, user_id: int) -> list[Job]:
        """List the waiting jobs of a user, the oldest first."""
        return list(self._waiting.get(user_id, ()))
