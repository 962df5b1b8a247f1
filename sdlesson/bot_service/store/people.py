"""What is kept of people: their settings, the requests behind their buttons, bans."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from sdlesson.bot.requests import Defaults, Request
from sdlesson.bot.store import StoredRequest, UserRecord
from sdlesson.bot_service.limits import day_of, start_of_day
from sdlesson.bot_service.store.database import Database
from sdlesson.bot_service.store.jobs import StoredJobState, count_drawn
from sdlesson.bot_service.store.packing import pack, unpack
from sdlesson.bot_service.store.tables import (
    BANS,
    BUTTONS,
    ENROLMENTS,
    JOBS,
    SPENT,
    USERS,
    VOTES,
)

MAX_BUTTONS = 50  # of one user; each may hold a photo
TOKEN_BYTES = 8


class People:
    """What is kept of people; each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load_user(self, user_id: int) -> UserRecord:
        """Look up a user's settings; those of a new user for someone unknown."""
        with self._database.begin() as connection:
            row = connection.execute(select(USERS).where(USERS.c.user_id == user_id)).first()
        if row is None:
            return UserRecord()
        defaults = Defaults(**json.loads(row.defaults)) if row.defaults else None
        return UserRecord(
            row.language,
            defaults,
            bool(row.consented),
            bool(row.as_file),
            row.model or "",
            row.lora or "",
        )

    def save_user(self, user_id: int, user: UserRecord) -> None:
        """Keep a user's settings."""
        defaults = json.dumps(asdict(user.defaults)) if user.defaults else None
        values: dict[str, Any] = {"language": user.language, "defaults": defaults}
        values |= {"consented": int(user.consented), "as_file": int(user.as_file)}
        values |= {"model": user.model or None, "lora": user.lora or None}
        with self._database.begin() as connection:
            _save(connection, user_id, values)

    def save_request(self, user_id: int, request: Request, token: str | None = None) -> str:
        """Keep a request for the buttons below its picture, and return its token."""
        token = token or secrets.token_urlsafe(TOKEN_BYTES)
        packed, photo = pack(request)
        values: dict[str, Any] = {"token": token, "user_id": user_id, "request": packed}
        with self._database.begin() as connection:
            connection.execute(
                insert(BUTTONS).values(**values, photo=photo, created_at=time.time())
            )
            mine = select(BUTTONS.c.token).where(BUTTONS.c.user_id == user_id)
            newest = mine.order_by(BUTTONS.c.created_at.desc()).limit(MAX_BUTTONS)
            old = (BUTTONS.c.user_id == user_id) & BUTTONS.c.token.not_in(newest)
            connection.execute(delete(BUTTONS).where(old))
        return token

    def load_request(self, token: str) -> StoredRequest | None:
        """Find a request by its token; None if it is not, or no longer, known."""
        with self._database.begin() as connection:
            row = connection.execute(select(BUTTONS).where(BUTTONS.c.token == token)).first()
        return StoredRequest(row.user_id, unpack(row.request, row.photo)) if row else None

    def forget_requests(self, user_id: int) -> None:
        """Delete the requests behind a user's buttons."""
        with self._database.begin() as connection:
            connection.execute(delete(BUTTONS).where(BUTTONS.c.user_id == user_id))
        self._database.wipe()

    def ban(self, user_id: int, by: int) -> None:
        """Shut a user out, until `unban`."""
        with self._database.begin() as connection:
            connection.execute(delete(BANS).where(BANS.c.user_id == user_id))
            connection.execute(
                insert(BANS).values(user_id=user_id, banned_by=by, banned_at=time.time())
            )

    def unban(self, user_id: int) -> bool:
        """Let a user in again; False if nobody had shut that one out."""
        with self._database.begin() as connection:
            return bool(connection.execute(delete(BANS).where(BANS.c.user_id == user_id)).rowcount)

    def banned(self) -> set[int]:
        """List who is shut out."""
        with self._database.begin() as connection:
            return set(connection.execute(select(BANS.c.user_id)).scalars())

    def count(self) -> int:
        """Count the users that something is kept of."""
        with self._database.begin() as connection:
            return connection.execute(select(func.count()).select_from(USERS)).scalar_one()

    def forget(self, user_id: int, now: float | None = None) -> int:
        """Delete all that is kept of a user, but for a ban and, until midnight, today's count.

        Returns:
            How many pictures' requests are gone.
        """
        now = time.time() if now is None else now
        with self._database.begin() as connection:
            # What waits is never drawn now, so nobody pays for it.
            waits = (JOBS.c.user_id == user_id) & (JOBS.c.state == StoredJobState.ACCEPTED)
            gone = connection.execute(delete(JOBS).where(waits)).rowcount
            drawn = count_drawn(connection, user_id, start_of_day(now))
            if drawn:
                _keep_spent(connection, user_id, drawn, now)
            mine = select(JOBS.c.id).where(JOBS.c.user_id == user_id)
            connection.execute(delete(VOTES).where(VOTES.c.job_id.in_(mine)))  # also others'
            gone += connection.execute(delete(JOBS).where(JOBS.c.user_id == user_id)).rowcount
            for table in (BUTTONS, USERS, VOTES, ENROLMENTS):
                connection.execute(delete(table).where(table.c.user_id == user_id))
        self._database.wipe()
        return gone


def _save(connection: Connection, user_id: int, values: dict[str, Any]) -> None:
    change = update(USERS).where(USERS.c.user_id == user_id).values(values)
    if not connection.execute(change).rowcount:
        nobody = {"user_id": user_id, "consented": 0, "as_file": 0}
        connection.execute(insert(USERS).values(nobody | values))


def _keep_spent(connection: Connection, user_id: int, pictures: int, now: float) -> None:
    mine = (SPENT.c.user_id == user_id) & (SPENT.c.day == day_of(now))
    more = update(SPENT).where(mine).values(pictures=SPENT.c.pictures + pictures)
    if not connection.execute(more).rowcount:
        row = {"user_id": user_id, "day": day_of(now), "pictures": pictures}
        connection.execute(insert(SPENT).values(row))
