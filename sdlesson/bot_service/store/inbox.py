"""Updates on record before Telegram hears that they came, and until they are handled.

Telegram forgets an update once the bot has confirmed it; a bot that is killed then would have lost
it. So each is written down first, and what is not handled is handled at the next start.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, bindparam, select, text, update

from sdlesson.bot_service.store.database import Database
from sdlesson.bot_service.store.tables import INBOX

MAX_TRIES = 3  # an update that the bot died of so often, once it was left undone, is left alone

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
        """List the updates that an earlier run left undone, in their order."""
        return self._list(INBOX.c.tries < MAX_TRIES)

    def begin_again(self, update_id: int) -> None:
        """Take down that an update left undone is handled once more, which the bot may die of."""
        change = update(INBOX).where(INBOX.c.update_id == update_id)
        with self._database.begin() as connection:
            connection.execute(change.values(tries=INBOX.c.tries + 1))

    def given_up(self) -> list[dict[str, Any]]:
        """List the updates that were begun too often; whoever sent them is to be told."""
        return self._list(INBOX.c.tries >= MAX_TRIES)

    def _list(self, condition: ColumnElement[bool]) -> list[dict[str, Any]]:
        query = select(INBOX.c.body).where(INBOX.c.body.is_not(None), condition)
        with self._database.begin() as connection:
            rows = connection.execute(query.order_by(INBOX.c.update_id)).scalars()
            return [json.loads(body) for body in rows]
