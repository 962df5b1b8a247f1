"""Updates on record before the server hears that they came, until they are handled."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

from telegram import Update
from telegram.error import NetworkError

from sdlesson.bot_service.service.memory import StoreView
from sdlesson.bot_service.store import StoreError, StoreThread
from sdlesson.bot_service.store.inbox import Inbox

log = logging.getLogger(__name__)


class Journal:
    """Writes each update into the inbox, as `UpdateJournal` of the bot asks.

    Args:
        inbox: Where.
        view: What has to be written, too, before an update is done.
        call: The thread in which that is done.
    """

    def __init__(self, inbox: Inbox, view: StoreView, call: StoreThread) -> None:
        self._inbox, self._view, self._call = inbox, view, call
        self._again: set[int] = set()
        self._repeated: Counter[int] = Counter()  # those that came again, and were emptied

    async def received(self, updates: list[dict[str, Any]]) -> set[int]:
        """Write updates down, and return the numbers of those that come for the first time.

        Raises:
            NetworkError: The database is away, so the server is to keep them.
        """
        if not updates:
            return set()
        try:
            new = await self._call(self._inbox.add, updates)
        except StoreError as error:
            log.error("updates cannot be written down, so they stay where they are: %s", error)
            raise NetworkError("the updates could not be written down") from error
        self._repeated.update({one["update_id"] for one in updates} - new)
        return new

    async def left_undone(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """List the updates that an earlier run has left, and those that are given up.

        Raises:
            StoreError: The database is away.
        """
        undone = await self._call(self._inbox.unhandled)
        self._again = {one["update_id"] for one in undone}
        return undone, await self._call(self._inbox.given_up)

    async def begun(self, update: Update) -> None:
        """Take down, of an update that was left undone, that it is begun again.

        Raises:
            StoreError: The database is away.
        """
        if update.update_id in self._again:
            await self._call(self._inbox.begin_again, update.update_id)

    async def handled(self, *updates: Update) -> None:
        """Take down, of all at once, that updates need no more care.

        One that came again is emptied on its way and says nothing of the first, which may wait yet.
        """
        done = [one.update_id for one in updates if not self._is_repeated(one)]
        if done:
            await self._view.written()
            await self._call.retry(self._inbox.handled, done)

    def _is_repeated(self, update: Update) -> bool:
        if update.effective_sender is not None or not self._repeated[update.update_id]:
            return False
        self._repeated[update.update_id] -= 1
        self._repeated += Counter()  # without those that are at zero
        return True
