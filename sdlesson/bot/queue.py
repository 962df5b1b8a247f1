"""A bounded queue with fair turns: nobody waits behind another user's backlog.

Users stand in a ring. Whoever is served goes to its end, so each in turn gets one picture.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import zip_longest

from sdlesson.bot.jobs import Job

MAX_PER_USER = 3
MAX_TOTAL = 100


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

    Args:
        max_per_user: How many jobs of one user may wait.
        max_total: How many jobs may wait in all.
    """

    def __init__(self, max_per_user: int = MAX_PER_USER, max_total: int = MAX_TOTAL) -> None:
        self.max_per_user, self.max_total = max_per_user, max_total
        self._waiting: dict[int, deque[Job]] = {}  # users in the order of their turns

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def put(self, job: Job) -> None:
        """Let a job wait; a user who had none comes last in the ring.

        Raises:
            TooManyJobsError: The user has as many waiting as one may.
            QueueFullError: The queue is full.
        """
        self.check_room(job.user_id)
        self._waiting.setdefault(job.user_id, deque()).append(job)

    def check_room(self, user_id: int) -> None:
        """See whether another job of this user may wait.

        Raises:
            TooManyJobsError: The user has as many waiting as one may.
            QueueFullError: The queue is full.
        """
        if len(self.jobs_of(user_id)) >= self.max_per_user:
            raise TooManyJobsError(self.max_per_user)
        if len(self) >= self.max_total:
            raise QueueFullError(self.max_total)

    def order(self) -> list[Job]:
        """List the jobs as they would be taken one by one: the first of each user, the second..."""
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
            fits = not batch or job.batch_key == batch[0].batch_key
            if fits and job.user_id not in passed_over and len(batch) < limit:
                batch.append(job)
            else:
                passed_over.add(job.user_id)
        for job in batch:
            jobs = self._waiting.pop(job.user_id)
            jobs.popleft()
            if jobs:
                self._waiting[job.user_id] = jobs  # at the end of the ring
        return batch

    def plan(self, limit: int) -> Iterator[list[Job]]:
        """Yield the batches that would be taken if nobody else came; nothing is taken."""
        copy = FairQueue(self.max_per_user, self.max_total)
        copy._waiting = {user_id: deque(jobs) for user_id, jobs in self._waiting.items()}
        while batch := copy.take(limit):
            yield batch

    def cancel(self, job: Job) -> bool:
        """Take a job out of the queue; False if it does not wait here."""
        jobs = self._waiting.get(job.user_id, deque())
        if job not in jobs:
            return False
        jobs.remove(job)
        if not jobs:
            del self._waiting[job.user_id]
        return True

    def position(self, job: Job) -> int:
        """Count the jobs that are to be drawn before this one, as things stand.

        Raises:
            ValueError: The job does not wait here.
        """
        order = self.order()
        if job not in order:
            raise ValueError(f"job {job.id} does not wait here: it is {job.state}")
        return order.index(job)

    def jobs_of(self, user_id: int) -> list[Job]:
        """List the waiting jobs of a user, the oldest first."""
        return list(self._waiting.get(user_id, ()))
