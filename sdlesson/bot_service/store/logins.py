"""Who was enrolled for logins, when each has logged in, and how many wrong codes each has given."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import delete, insert, select, update

from sdlesson.bot_service.store.database import Database
from sdlesson.bot_service.store.tables import ENROLMENTS

MAX_WRONG_CODES = 5
LOCKED_S = 900.0  # from the last wrong code on
NEVER = 0


@dataclass(frozen=True)
class Enrolment:
    """What is kept of somebody who may log in.

    Attributes:
        name: In the company's directory.
        salt: What the secret is made of, with the operator's key.
        until: How long the last login holds.
    """

    user_id: int
    name: str
    salt: str
    until: float


class CodeOutcome(StrEnum):
    """What became of a code."""

    RIGHT = "right"
    WRONG = "wrong"
    LOCKED = "locked"
    NOT_ENROLLED = "not_enrolled"


@dataclass(frozen=True)
class Attempt:
    """What became of a code, how many more may be wrong, and how long until one is looked at."""

    outcome: CodeOutcome
    left: int = MAX_WRONG_CODES
    wait_s: float = 0.0


class Logins:
    """The table of those who may log in; each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def enrol(self, user_id: int, name: str, salt: str, now: float | None = None) -> None:
        """Let a user log in with codes of a new secret, and no longer with those of an old one."""
        now = time.time() if now is None else now
        new = {"user_id": user_id, "name": name, "salt": salt, "enrolled_at": now}
        clean = {"allowed_until": NEVER, "last_step": NEVER, "wrong": 0, "wrong_at": NEVER}
        with self._database.begin() as connection:
            connection.execute(delete(ENROLMENTS).where(ENROLMENTS.c.user_id == user_id))
            connection.execute(insert(ENROLMENTS).values(new | clean))
        self._database.wipe()

    def unenrol(self, user_id: int) -> bool:
        """Let a user log in no more, from now on; False for one who could not."""
        with self._database.begin() as connection:
            gone = connection.execute(
                delete(ENROLMENTS).where(ENROLMENTS.c.user_id == user_id)
            ).rowcount
        self._database.wipe()
        return bool(gone)

    def enrolment(self, user_id: int) -> Enrolment | None:
        """Look a user up; None for one who was not enrolled."""
        with self._database.begin() as connection:
            row = connection.execute(
                select(ENROLMENTS).where(ENROLMENTS.c.user_id == user_id)
            ).first()
        return Enrolment(user_id, row.name, row.salt, row.allowed_until) if row else None

    def try_code(
        self, user_id: int, step_of: Callable[[str], int | None], hours: float, now: float
    ) -> Attempt:
        """Take a code once, or count it as wrong; both in one transaction with looking at it.

        Args:
            user_id: Whose.
            step_of: Finds the half minute of the code, from the salt of the secret.
            hours: How long a login holds.
            now: When it came.
        """
        mine = ENROLMENTS.c.user_id == user_id
        with self._database.begin() as connection:
            row = connection.execute(select(ENROLMENTS).where(mine).with_for_update()).first()
            if row is None:
                return Attempt(CodeOutcome.NOT_ENROLLED)
            wait_s = row.wrong_at + LOCKED_S - now
            wrong = row.wrong if wait_s > 0 else 0
            if wrong >= MAX_WRONG_CODES:
                return Attempt(CodeOutcome.LOCKED, 0, math.ceil(wait_s))
            step = step_of(row.salt)
            # A code that was used is wrong, and so is every older one.
            if step is None or step <= row.last_step:
                values = {"wrong": wrong + 1, "wrong_at": now}
                connection.execute(update(ENROLMENTS).where(mine).values(values))
                left = MAX_WRONG_CODES - wrong - 1
                return Attempt(CodeOutcome.WRONG, left, 0.0 if left else LOCKED_S)
            taken = {"last_step": step, "wrong": 0, "allowed_until": now + hours * 3600}
            connection.execute(update(ENROLMENTS).where(mine).values(taken))
        return Attempt(CodeOutcome.RIGHT)

    def log_out(self, user_id: int) -> bool:
        """End a user's login; False where there was none."""
        was_in = (ENROLMENTS.c.user_id == user_id) & (ENROLMENTS.c.allowed_until > time.time())
        with self._database.begin() as connection:
            change = update(ENROLMENTS).where(was_in).values(allowed_until=NEVER)
            return bool(connection.execute(change).rowcount)
