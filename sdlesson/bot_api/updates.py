"""The updates that wait for the bot, kept until it confirms them, and the long poll for them."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Collection

from sdlesson.bot_api.errors import CONFLICT, ApiError, Json

UPDATE_IDS = (10_000_000, 2_000_000_000)  # between which a server begins to count
MAX_KEPT = 50_000  # then the oldest are forgotten
MAX_AT_ONCE = 100
MAX_TIMEOUT_S = 50
ALIVE_S = 5  # a bot that polled within this time is taken to be running
WEBHOOK_CONFLICT = (
    "Conflict: can't use getUpdates method while webhook is active; "
    "use deleteWebhook to delete the webhook first"
)


class Updates:
    """The queue of updates of one bot.

    Attributes:
        allowed: The kinds that the bot asked for; nothing stands for all.
        history: Every update so far, delivered or not; of very many the latest.
    """

    def __init__(self) -> None:
        self.allowed: Collection[str] = ()
        self.history: deque[Json] = deque(maxlen=MAX_KEPT)
        self._waiting: list[Json] = []
        self._replayed: list[Json] = []
        # By chance, as at Telegram after a quiet week: what keeps ids of updates over a restart, or
        # for two bots, would else take new ones for old.
        low, high = UPDATE_IDS
        self._next_id = low + secrets.randbelow(high - low)
        self._poll: asyncio.Future[bool] | None = None  # of the bot that waits, if one does
        self._polled_at = float("-inf")

    @property
    def pending(self) -> int:
        """How many are not confirmed yet."""
        return len(self._waiting)

    @property
    def is_polled(self) -> bool:
        """Whether a bot asks for updates, so that somebody will answer."""
        return self._poll is not None or time.monotonic() - self._polled_at < ALIVE_S

    def add(self, kind: str, content: Json) -> Json | None:
        """Queue an update of a kind, such as "message", unless the bot did not ask for it."""
        if self.allowed and kind not in self.allowed:
            return None
        update = {"update_id": self._next_id, kind: content}
        self._next_id += 1
        self.history.append(update)
        self._waiting.append(update)
        del self._waiting[:-MAX_KEPT]
        self._wake()
        return update

    def replay(self, update: Json) -> None:
        """Deliver an update once as it is, even one that was confirmed long ago."""
        self._replayed.append(update)
        self._wake()

    def drop_pending(self) -> None:
        """Deliver nothing of what is not confirmed yet."""
        self._waiting.clear()

    async def take(self, offset: int, limit: int, timeout_s: float) -> list[Json]:
        """Confirm what is before the offset and return what waits, or wait for it to come.

        Raises:
            ApiError: Another call of this kind came while this one waited.
        """
        self._polled_at = time.monotonic()
        if offset < 0:
            self._waiting = self._waiting[offset:]
        elif offset:
            self._waiting = [one for one in self._waiting if one["update_id"] >= offset]
        if not self._waiting and not self._replayed and timeout_s > 0:
            await self._wait(timeout_s)
        self._polled_at = time.monotonic()
        replayed, self._replayed = self._replayed[:limit], self._replayed[limit:]
        return (replayed + self._waiting)[:limit]

    async def _wait(self, timeout_s: float) -> None:
        if self._poll and not self._poll.done():
            self._poll.set_exception(ApiError(409, CONFLICT))
        mine = self._poll = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait_for(mine, timeout_s)
        except TimeoutError:
            pass
        finally:
            if self._poll is mine:
                self._poll = None

    def _wake(self) -> None:
        if self._poll and not self._poll.done():
            self._poll.set_result(True)
