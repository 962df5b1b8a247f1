"""Updates on record before Telegram hears that they came, and until they are handled.

Telegram forgets an update once the bot has confirmed it; a bot that is killed then would have lost
it. So each is written down first, and what is not handled is handled at the next start.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

from sqlalchemy import bindparam, select, text, update

from sdlesson.bot_service.store.database import Database
from sdlesson.bot_service.store.tables import INBOX

MAX_TRIES = 3  # an update that the bot died of so often is left alone

_ADD = text(
    "INSERT INTO inbox (update_id, body, received_at, tries) VALUES (:update_id, :body, :now, 0)"
    " ON CONFLICT (update_id) DO NOTHING"
)


class Inbox:
    """The table of updates; each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, updates: Iterable[dict[str, Any]]) -> set[int]:
        """Write updates down, and return the numbers of those that come for the first time."""
        new, now = set(), time.time()
        with self._database.begin() as connection:
            for one in updates:
                row = {"update_id": one["update_id"], "body": json.dumps(one), "now": now}
                if connection.execute(_ADD, row).rowcount:
                    new.add(one["update_id"])
        return new

    def handled(self, update_ids: Iterable[int]) -> None:
        """Take down that updates are done: what they said goes, their numbers stay."""
        rows = [{"number": number} for number in update_ids]
        if rows:
            change = update(INBOX).where(INBOX.c.update_id == bindparam("number"))
            with self._database.begin() as connection:
                connection.execute(change.values(body=None), rows)

    def unhandled(self) -> list[dict[str, Any]]:
        """List the updates that an earlier run left undone, in their order.

        Each counts as tried once more; one that was tried too often is given up.
        """
        with self._database.begin() as connection:
            left = INBOX.c.body.is_not(None)
            connection.execute(update(INBOX).where(left).values(tries=INBOX.c.tries + 1))
            given_up = update(INBOX).where(left, INBOX.c.tries > MAX_TRIES)
            connection.execute(given_up.values(body=None))
            rows = connection.execute(
                select(INBOX.c.body).where(left).order_by(INBOX.c.update_id)
            ).scalars()
            return [json.loads(body) for body in rows]
