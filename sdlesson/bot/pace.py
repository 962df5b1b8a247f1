"""How fast a bot may speak: Telegram's rates kept, and its own word on waiting obeyed.

python-telegram-bot asks a rate limiter before each call. The one that comes with it spaces out
neither the messages of one private chat nor calls that were refused once; this one does both.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from telegram.error import RetryAfter
from telegram.ext import BaseRateLimiter

MAX_TRIES = 5
MESSAGES = ("send", "edit", "copy", "forward")  # how the methods begin that write to a chat
MAX_BUCKETS = 1000  # chats remembered before those at rest are forgotten


@dataclass(frozen=True)
class Rates:
    """How many calls Telegram takes before it answers 429, by its own account."""

    chat_per_s: float = 1.0
    group_per_s: float = 20 / 60
    overall_per_s: float = 25.0  # of 30: the rest is room for clocks that differ


class TokenBucket:
    """Holds up to `size` tokens and gains `per_s` of them a second; each call takes one."""

    def __init__(self, per_s: float, size: float = 1.0) -> None:
        self.per_s, self.size = per_s, size
        self._tokens, self._counted_at = size, time.monotonic()
        self._turn = asyncio.Lock()  # first come, first served

    def wait_s(self) -> float:
        """How long until there is a token."""
        now = time.monotonic()
        gained = (now - self._counted_at) * self.per_s
        self._tokens, self._counted_at = min(self.size, self._tokens + gained), now
        return max(0.0, 1.0 - self._tokens) / self.per_s

    async def take(self, also: TokenBucket | None = None) -> None:
        """Wait for a token, and then for one of another bucket, and take both at that moment."""
        async with self._turn:
            while (wait_s := self.wait_s()) > 0:
                await asyncio.sleep(wait_s)
            if also:
                await also.take()
                self.wait_s()  # which counts what came meanwhile
            self._tokens -= 1

    def pause(self, seconds: float) -> None:
        """Have no token for so long."""
        self.wait_s()
        self._tokens = min(self._tokens, 1.0 - seconds * self.per_s)

    @property
    def at_rest(self) -> bool:
        """Whether it is full and nobody waits, as a new one is."""
        self.wait_s()
        return self._tokens >= self.size and not self._turn.locked()


class Pace(BaseRateLimiter[None]):
    """Lets each call through in its turn: one bucket for every chat, and one for all of them."""

    def __init__(self, rates: Rates | None = None) -> None:
        self.rates = rates or Rates()
        self._overall = TokenBucket(self.rates.overall_per_s)
        self._chats: dict[int | str, TokenBucket] = {}

    async def initialize(self) -> None:
        """Nothing to prepare."""

    async def shutdown(self) -> None:
        """Nothing to close."""

    def is_busy(self, chat_id: int | str) -> bool:
        """Whether a message to this chat would have to wait now."""
        return self._bucket(chat_id).wait_s() > 0

    async def process_request(
        self,
        callback: Callable[..., Coroutine[Any, Any, Any]],
        args: Any,
        kwargs: dict[str, Any],
        endpoint: str,
        data: dict[str, Any],
        rate_limit_args: None,
    ) -> Any:
        """Make one call in its turn, and again where Telegram says to wait and then try again."""
        edits = endpoint.startswith("edit")
        is_message = endpoint.startswith(MESSAGES) and endpoint != "sendChatAction"
        bucket = self._bucket(data["chat_id"]) if is_message and data.get("chat_id") else None
        for tries_left in reversed(range(MAX_TRIES)):
            await (bucket.take(self._overall) if bucket else self._overall.take())
            try:
                return await callback(*args, **kwargs)
            except RetryAfter as error:
                (bucket or self._overall).pause(_seconds(error))
                if edits or not tries_left:  # by then an edit would say what is no longer so
                    raise
        raise AssertionError("the last try returns or raises")

    def _bucket(self, chat_id: int | str) -> TokenBucket:
        if len(self._chats) > MAX_BUCKETS:
            self._chats = {known: b for known, b in self._chats.items() if not b.at_rest}
        chat = _chat(chat_id)
        if chat not in self._chats:
            is_private = isinstance(chat, int) and chat > 0
            per_s = self.rates.chat_per_s if is_private else self.rates.group_per_s
            self._chats[chat] = TokenBucket(per_s)
        return self._chats[chat]


def _chat(chat_id: int | str) -> int | str:
    """A chat's number, or the name of a channel or group such as "@news", in one spelling."""
    try:
        return int(chat_id)
    except ValueError:
        return str(chat_id).casefold()


def _seconds(error: RetryAfter) -> float:
    wait = error.retry_after  # a number until python-telegram-bot's next major version
    return wait.total_seconds() if isinstance(wait, timedelta) else float(wait)
