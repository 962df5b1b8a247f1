"""All that is stored, in one place: jobs, people, the inbox, and how long each is kept."""

from __future__ import annotations

import time
from typing import Self

from sqlalchemy import delete, select, text

from sdlesson.bot_service.limits import day_of
from sdlesson.bot_service.store.database import BUSY_TIMEOUT_S, Database
from sdlesson.bot_service.store.inbox import Inbox
from sdlesson.bot_service.store.jobs import Jobs, StoredJobState
from sdlesson.bot_service.store.logins import Logins
from sdlesson.bot_service.store.outcomes import Outcomes
from sdlesson.bot_service.store.people import People
from sdlesson.bot_service.store.tables import BUTTONS, INBOX, JOBS, SPENT, VOTES

DAY_S = 86_400.0
INBOX_DAYS = 2  # Telegram delivers an update again within one day


class Store:
    """Everything that outlives the bot, behind one address.

    Args:
        url: As `Database` takes it.
        busy_timeout_s: How long to wait for a lock that somebody else has.

    Attributes:
        jobs, people, inbox, logins, outcomes: The parts of it.
    """

    def __init__(self, url: str, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self.database = Database(url, busy_timeout_s=busy_timeout_s)
        self.jobs, self.people = Jobs(self.database), People(self.database)
        self.inbox, self.logins = Inbox(self.database), Logins(self.database)
        self.outcomes = Outcomes(self.database)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self.database.close()

    def ping(self) -> None:
        """See whether the database can be written to now.

        Raises:
            StoreError: It cannot.
        """
        with self.database.begin() as connection:
            connection.execute(text("UPDATE migrations SET taken_at = taken_at WHERE step = 1"))

    def counts(self) -> dict[StoredJobState, int]:
        """Count the jobs in each state."""
        return self.jobs.counts()

    def purge(self, retention_days: float, now: float | None = None) -> int:
        """Delete what is older than it may be, and return how many rows that were."""
        now = time.time() if now is None else now
        oldest = now - retention_days * DAY_S
        old = (
            delete(JOBS).where(JOBS.c.ended_at < oldest, JOBS.c.told == 1),
            delete(VOTES).where(VOTES.c.job_id.not_in(select(JOBS.c.id))),
            delete(BUTTONS).where(BUTTONS.c.created_at < oldest),
            delete(INBOX).where(INBOX.c.received_at < now - INBOX_DAYS * DAY_S),
            delete(SPENT).where(SPENT.c.day < day_of(now)),
        )
        with self.database.begin() as connection:
            gone = sum(connection.execute(one).rowcount for one in old)
        self.database.wipe()
        return gone
