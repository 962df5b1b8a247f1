"""Jobs and their states: what was promised to a user, and what has become of it.

A job is on record before the user hears that it waits, before it is drawn, and before its picture
leaves. So whenever the bot is killed, what it finds at its next start says what may have happened:
an *accepted* job was not begun, and waits again; a *running* one was not sent, and is interrupted,
not begun again, since it may be what the bot died of; one that was *sending* may have arrived, so
it is unconfirmed, not sent again, and the user is told.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, func, insert, or_, select, update

from sdlesson.bot.requests import Request
from sdlesson.bot_service.limits import Bucket, Limits, check_quota, day_of, full_bucket
from sdlesson.bot_service.limits import start_of_day as midnight
from sdlesson.bot_service.store.database import Database
from sdlesson.bot_service.store.packing import pack, unpack
from sdlesson.bot_service.store.tables import JOBS, SPENT, USERS

MAX_HISTORY = 10


class StoredJobState(StrEnum):
    """Where a job stands; exactly one of the last seven is its end."""

    ACCEPTED = "accepted"
    RUNNING = "running"
    SENDING = "sending"
    SENT = "sent"
    REFUSED = "refused"  # Telegram takes no picture there
    FLAGGED = "flagged"
    CANCELLED = "cancelled"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    UNCONFIRMED = "unconfirmed"

    @property
    def is_end(self) -> bool:
        """Whether nothing follows."""
        return self not in NEXT


_S = StoredJobState
NEXT: dict[StoredJobState, set[StoredJobState]] = {
    _S.ACCEPTED: {_S.RUNNING, _S.CANCELLED, _S.FAILED},
    # Back to accepted where the bot is stopped in good order, and knows that nothing was sent.
    _S.RUNNING: {
        _S.ACCEPTED,
        _S.SENDING,
        _S.FLAGGED,
        _S.CANCELLED,
        _S.FAILED,
        _S.INTERRUPTED,
    },
    _S.SENDING: {_S.SENT, _S.REFUSED, _S.UNCONFIRMED},
}
BEFORE = {after: [one for one in NEXT if after in NEXT[one]] for after in StoredJobState}
FREE = (_S.FAILED, _S.INTERRUPTED, _S.REFUSED)  # which the user's quota does not pay for


@dataclass(frozen=True)
class NewJob:
    """What is known of a job when it is asked for.

    Attributes:
        update_id: Which update asked for it.
        thread_id: The topic to answer in, where the chat is a forum.
        language: In which the user is answered.
        by_lot: Whether it counts for the comparison of two models.
        button: What was pressed under another picture to ask for it; None for words.
    """

    id: str
    user_id: int
    chat_id: int
    request: Request
    language: str = "en"
    thread_id: int | None = None
    update_id: int | None = None
    by_lot: bool = False
    button: str | None = None


@dataclass(frozen=True)
class StoredJob:
    """A job as the store has it."""

    id: str
    user_id: int
    chat_id: int
    thread_id: int | None
    language: str
    request: Request
    state: StoredJobState
    seed: int | None
    status_id: int | None
    created_at: float
    started_at: float | None
    ended_at: float | None


class Jobs:
    """The table of jobs; each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def accept(self, job: NewJob, limits: Limits, now: float | None = None) -> bool:
        """Put a job on record, and take it from what the user may have, both or neither.

        Returns:
            Whether it is new; False where this very update has asked for it before.

        Raises:
            LimitError: The user may have no more for now.
        """
        now = time.time() if now is None else now
        with self._database.begin() as connection:
            if job.update_id is not None and _has_of(connection, job.update_id):
                return False
            _spend(connection, job.user_id, limits, now)
            request, photo = pack(job.request)
            values: dict[str, Any] = {
                **{name: getattr(job, name) for name in ("id", "user_id", "chat_id", "thread_id")},
                **{"language": job.language, "update_id": job.update_id, "part": 0},
                **{"request": request, "photo": photo},
                **{"model": job.request.model or None, "lora": job.request.lora or None},
                **{"by_lot": int(job.by_lot), "button": job.button},
                **{"state": StoredJobState.ACCEPTED, "told": 0, "created_at": now},
            }
            connection.execute(insert(JOBS).values(values))
        return True

    def has_of(self, update_id: int) -> bool:
        """Whether there is a job on record that this update has asked for."""
        with self._database.begin() as connection:
            return _has_of(connection, update_id)

    def move(
        self,
        job_ids: str | Iterable[str],
        state: StoredJobState,
        *,
        seed: int | None = None,
        seconds: float | None = None,
        told: bool = False,
        now: float | None = None,
    ) -> list[str]:
        """Take jobs to their next state; those from which it does not follow stay as they are.

        Whoever is to draw or to send asks first, and does it for the jobs that are returned, so
        that nothing is begun twice.

        Args:
            job_ids: One or several.
            state: Where they go.
            seed: The one that the picture was drawn with.
            seconds: Its share of the drawing.
            told: Whether the user knows of this end.
            now: When.

        Returns:
            The jobs that went there.
        """
        wanted = [job_ids] if isinstance(job_ids, str) else list(job_ids)
        values: dict[str, Any] = {"state": state, "told": int(told)}
        if state is StoredJobState.RUNNING:
            values["started_at"] = time.time() if now is None else now
        elif state is StoredJobState.ACCEPTED:
            values["started_at"] = None
        elif state.is_end:
            values["ended_at"] = time.time() if now is None else now
        if seed is not None:
            values["seed"] = seed
        if seconds is not None:
            values["seconds"] = seconds
        if told:
            values["photo"] = None  # the buttons below the picture have their own
        moved = []
        with self._database.begin() as connection:
            for job_id in wanted:
                change = update(JOBS).where(JOBS.c.id == job_id, JOBS.c.state.in_(BEFORE[state]))
                if connection.execute(change.values(values)).rowcount:
                    moved.append(job_id)
        return moved

    def told(self, job_id: str) -> None:
        """Take down that a user knows how a job ended."""
        with self._database.begin() as connection:
            change = update(JOBS).where(JOBS.c.id == job_id)
            connection.execute(change.values(told=1, photo=None))

    def change_model(self, job_id: str, request: Request) -> None:
        """Take down that a waiting job is drawn with another model than it was asked for."""
        packed, _ = pack(request)
        values = {"request": packed, "model": request.model, "lora": request.lora or None}
        with self._database.begin() as connection:
            change = update(JOBS).where(JOBS.c.id == job_id)
            connection.execute(change.values(**values, by_lot=0))

    def show_in(self, job_id: str, message_id: int | None) -> None:
        """Take down which message tells how a job stands."""
        with self._database.begin() as connection:
            change = update(JOBS).where(JOBS.c.id == job_id)
            connection.execute(change.values(status_id=message_id))

    def recover(self, now: float | None = None) -> None:
        """At the start: end what a killed bot left running or sending."""
        now = time.time() if now is None else now
        ends = {
            StoredJobState.RUNNING: StoredJobState.INTERRUPTED,
            StoredJobState.SENDING: StoredJobState.UNCONFIRMED,
        }
        with self._database.begin() as connection:
            for left, end in ends.items():
                change = update(JOBS).where(JOBS.c.state == left)
                connection.execute(change.values(state=end, told=0, ended_at=now))

    def waiting(self) -> list[StoredJob]:
        """List the accepted jobs, the oldest first."""
        return self._list(JOBS.c.state == StoredJobState.ACCEPTED)

    def untold(self) -> list[StoredJob]:
        """List the jobs whose user does not know yet how they ended, the oldest first."""
        ends = [state for state in StoredJobState if state.is_end]
        return self._list(JOBS.c.state.in_(ends) & (JOBS.c.told == 0))

    def history(
        self, user_id: int, limit: int = MAX_HISTORY, *, chat_id: int | None = None
    ) -> list[StoredJob]:
        """List a user's latest jobs, the newest first; with a chat, those asked for there."""
        with self._database.begin() as connection:
            mine = select(JOBS).where(JOBS.c.user_id == user_id)
            if chat_id is not None:
                mine = mine.where(JOBS.c.chat_id == chat_id)
            newest = mine.order_by(JOBS.c.created_at.desc(), JOBS.c.id).limit(limit)
            return [_stored(row) for row in connection.execute(newest)]

    def find(self, job_id: str) -> StoredJob | None:
        """Find a job; None where there is none of this name."""
        found = self._list(JOBS.c.id == job_id)
        return found[0] if found else None

    def counts(self, since: float = 0.0) -> dict[StoredJobState, int]:
        """Count the jobs in each state."""
        query = select(JOBS.c.state, func.count()).where(JOBS.c.created_at >= since)
        with self._database.begin() as connection:
            found = connection.execute(query.group_by(JOBS.c.state)).all()
        return {StoredJobState(state): count for state, count in found}

    def drawn_today(self, user_id: int, now: float | None = None) -> int:
        """Count what a user's quota of today has paid for."""
        with self._database.begin() as connection:
            return _drawn(connection, user_id, time.time() if now is None else now)

    def _list(self, condition: Any) -> list[StoredJob]:
        with self._database.begin() as connection:
            query = select(JOBS).where(condition).order_by(JOBS.c.created_at, JOBS.c.id)
            return [_stored(row) for row in connection.execute(query)]


def count_drawn(connection: Connection, user_id: int, since: float) -> int:
    """Count a user's jobs since a time that are not free."""
    never_begun = (JOBS.c.state == StoredJobState.CANCELLED) & JOBS.c.started_at.is_(None)
    is_free = or_(JOBS.c.state.in_(FREE), never_begun)
    mine = select(func.count()).select_from(JOBS).where(JOBS.c.user_id == user_id)
    return connection.execute(mine.where(JOBS.c.created_at >= since, ~is_free)).scalar_one()


def _drawn(connection: Connection, user_id: int, now: float) -> int:
    forgotten = select(SPENT.c.pictures).where(SPENT.c.user_id == user_id)
    before = connection.execute(forgotten.where(SPENT.c.day == day_of(now))).scalar_one_or_none()
    return count_drawn(connection, user_id, midnight(now)) + (before or 0)


def _has_of(connection: Connection, update_id: int) -> bool:
    same = select(JOBS.c.id).where(JOBS.c.update_id == update_id)
    return connection.execute(same).first() is not None


def _spend(connection: Connection, user_id: int, limits: Limits, now: float) -> None:
    """Take a token from the user's bucket, if there is one and the day's quota has room."""
    kept = select(USERS.c.bucket_tokens, USERS.c.bucket_at).where(USERS.c.user_id == user_id)
    found = connection.execute(kept.with_for_update()).first()  # nobody else counts meanwhile
    check_quota(_drawn(connection, user_id, now), limits, now)
    is_new = found is None or found.bucket_at is None
    before = full_bucket(limits, now) if is_new else Bucket(*found)  # type: ignore[misc]
    after = before.take(limits, now)
    if found is None:
        nobody = {"user_id": user_id, "consented": 0, "as_file": 0}
        connection.execute(insert(USERS).values(nobody))
    change = update(USERS).where(USERS.c.user_id == user_id)
    connection.execute(change.values(bucket_tokens=after.tokens, bucket_at=after.at))


def _stored(row: Row[Any]) -> StoredJob:
    kept = row._mapping
    names: Sequence[str] = (
        *("id", "user_id", "chat_id", "thread_id", "language", "seed", "status_id"),
        *("created_at", "started_at", "ended_at"),
    )
    values = {name: kept[name] for name in names}
    request = unpack(kept["request"], kept["photo"])
    return StoredJob(**values, request=request, state=StoredJobState(kept["state"]))
