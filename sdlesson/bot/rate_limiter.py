"""How fast a bot may speak: Telegram's limits kept, and its own word on waiting obeyed.

Telegram takes about one message a second in each chat, twenty a minute in a group and thirty a
second in all; to a bot that sends more it answers 429, and for how long to be silent. Waiting here,
before a call leaves, costs the same time as waiting there, and no refused calls.

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
MESSAGE_METHODS = ("send", "edit", "copy", "forward")  # how those begin that write to a chat
MAX_CHATS = 1000  # remembered before those at rest are forgotten


@dataclass(frozen=True)
class RateLimits:
    """How many calls Telegram takes before it answers 429, by its own account."""

    chat_per_s: float = 1.0
    group_per_s: float = 20 / 60
    overall_per_s: float = 25.0  # of 30: the rest is room for clocks that differ


class TokenBucket:
    """Holds up to `size` tokens and gains `per_s` of them a second; each call takes one.

    A full bucket lets `size` calls through at once, and whatever comes, no more than
    `size` + `per_s` * t leave within t seconds: short bursts pass, and the average holds.
    """

    def __init__(self, per_s: float, size: float = 1.0) -> None:
        self.per_s, self.size = per_s, size
        # Nothing fills the bucket as time goes by. Two numbers say what is in it at any moment: the
        # tokens when they were last counted, and when that was. So a thousand buckets cost nothing
        # while nobody speaks. The clock is the monotonic one: the wall clock may be set back.
        self._tokens, self._counted_at = size, time.monotonic()
        # An asyncio.Lock wakes those who wait in the order in which they came. Without it all would
        # wake at the same token, and whoever is quickest would take it.
        self._turn = asyncio.Lock()

    def wait_s(self) -> float:
        """Count the tokens, and say how long until there is one to take."""
        now = time.monotonic()
        gained = (now - self._counted_at) * self.per_s
        self._tokens, self._counted_at = min(self.size, self._tokens + gained), now
        # Below zero, the tokens are a debt, which `pause` makes: it takes longer then.
        return max(0.0, 1.0 - self._tokens) / self.per_s

    async def take(self, also: TokenBucket | None = None) -> None:
        """Wait for a token, and then for one of another bucket, and take both at that moment."""
        async with self._turn:
            # Again and again: sleep may end a little early, and `pause` may come in between.
            while (wait_s := self.wait_s()) > 0:
                await asyncio.sleep(wait_s)
            # The chat's first, and only then the one for all: the other way round, a chat that must
            # be silent for a minute would hold a token that others could speak with.
            if also:
                await also.take()
                self.wait_s()  # which counts what came meanwhile
            self._tokens -= 1

    def pause(self, seconds: float) -> None:
        """Let no call through for so long."""
        self.wait_s()
        # The tokens that will come in this time are owed, so that the next is there after it. Of
        # two pauses the longer one counts.
        self._tokens = min(self._tokens, 1.0 - seconds * self.per_s)

    @property
    def is_idle(self) -> bool:
        """Whether it is full and nobody waits, as a new one is."""
        self.wait_s()
        return self._tokens >= self.size and not self._turn.locked()


class RateLimiter(BaseRateLimiter[None]):
    """Lets each call through in its turn: one bucket for every chat, and one for all of them."""

    def __init__(self, limits: RateLimits | None = None) -> None:
        self.limits = limits or RateLimits()
        self._overall = TokenBucket(self.limits.overall_per_s)
        self._chats: dict[int | str, TokenBucket] = {}

    async def initialize(self) -> None:
        """Called before the first request; the buckets are made as chats come."""

    async def shutdown(self) -> None:
        """Called after the last request; no bucket holds anything that must be closed."""

    def must_wait(self, chat_id: int | str) -> bool:
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
        # "sendChatAction" shows "typing..." and is no message: nobody would see it late.
        is_message = endpoint.startswith(MESSAGE_METHODS) and endpoint != "sendChatAction"
        bucket = self._bucket(data["chat_id"]) if is_message and data.get("chat_id") else None
        for tries_left in reversed(range(MAX_TRIES)):
            await (bucket.take(self._overall) if bucket else self._overall.take())
            try:
                return await callback(*args, **kwargs)
            except RetryAfter as error:
                # Telegram's count is the true one: others write to this chat too, and bots on other
                # machines may use the token. The pause holds for all that waits in this bucket.
                (bucket or self._overall).pause(_seconds(error))
                if edits or not tries_left:  # by then an edit would say what is no longer so
                    raise
        raise AssertionError("the last try returns or raises")

    def _bucket(self, chat_id: int | str) -> TokenBucket:
        # A bucket that is full and that nobody waits for is like a new one, so it may be forgotten:
        # the memory is bounded by how many chats speak at once, not by how many there ever were.
        if len(self._chats) > MAX_CHATS:
            self._chats = {known: b for known, b in self._chats.items() if not b.is_idle}
        chat = _chat(chat_id)
        if chat not in self._chats:
            is_private = isinstance(chat, int) and chat > 0  # groups and channels are below zero
            per_s = self.limits.chat_per_s if is_private else self.limits.group_per_s
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
