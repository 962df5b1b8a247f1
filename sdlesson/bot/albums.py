"""Photos sent together: each comes as a message of its own, and the caption with one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from telegram import Message, Update
from telegram.ext import ContextTypes

QUIET_S = 1.0  # after the last photo of an album

Context: TypeAlias = ContextTypes.DEFAULT_TYPE


class Albums:
    """Waits for the photos of an album, and hands them on together.

    Args:
        take: Called with all updates of one album, in the order of its photos.
    """

    def __init__(self, take: Callable[[list[Update], Context], Awaitable[Any]]) -> None:
        self._take = take
        self._coming: dict[tuple[int, str], list[Update]] = {}

    def add(self, update: Update, message: Message, context: Context) -> None:
        """Let a photo wait for the others of its album."""
        key = (message.chat_id, str(message.media_group_id))
        if key in self._coming:
            self._coming[key].append(update)
            return
        self._coming[key] = [update]
        # A task of the application's: what goes wrong in it is told as for any other update.
        context.application.create_task(self._close(key, context), update)

    async def _close(self, key: tuple[int, str], context: Context) -> None:
        """Wait until no more photos come."""
        seen = 0
        while seen < len(self._coming[key]):
            seen = len(self._coming[key])
            await asyncio.sleep(QUIET_S)
        await self._take(sorted(self._coming.pop(key), key=_number), context)


def _number(update: Update) -> int:
    return update.effective_message.message_id if update.effective_message else 0
