"""Every message on its way to Telegram, and what becomes of it when the way is bad.

A message is never sent again unless it certainly did not arrive: one whose answer is lost may well
be on the user's screen. Such a message is *unconfirmed*, and whoever sent it says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import httpx
from telegram import CallbackQuery, InlineKeyboardMarkup, InputMediaPhoto, Message
from telegram.constants import FileSizeLimit, ParseMode
from telegram.error import BadRequest, Forbidden, NetworkError, TelegramError
from telegram.ext import ExtBot

from sdlesson.bot.pace import Pace

log = logging.getLogger(__name__)

MAX_TRIES = 5
RETRY_PAUSE_S = 1.0
NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

T = TypeVar("T")


class UnconfirmedError(Exception):
    """A message left, and Telegram's answer did not come back: it may have arrived or not."""


class Delivery:
    """Sends, edits and deletes messages in HTML; errors of the network end here, in the log.

    Args:
        bot: The calls.
        pace: What spaces them out.
        on_blocked: Called with a chat whose user has blocked the bot.
    """

    def __init__(self, bot: ExtBot[None], pace: Pace, on_blocked: Callable[[int], object]) -> None:
        self._bot, self._pace, self._on_blocked = bot, pace, on_blocked

    def is_busy(self, chat_id: int) -> bool:
        """Whether a message to this chat would have to wait now."""
        return self._pace.is_busy(chat_id)

    async def say(
        self, chat_id: int, text: str, buttons: InlineKeyboardMarkup | None = None
    ) -> Message | None:
        """Send a text; None where it did not arrive, or nobody knows."""

        def send() -> Awaitable[Message]:
            return self._bot.send_message(
                chat_id, text, parse_mode=ParseMode.HTML, reply_markup=buttons
            )

        try:
            return await self._send(chat_id, send)
        except (UnconfirmedError, BadRequest) as error:
            log.error("chat %s: a text: %s: %s", chat_id, type(error).__name__, error)
            return None

    async def send_picture(
        self,
        chat_id: int,
        png: bytes,
        *,
        caption: str,
        buttons: InlineKeyboardMarkup | None = None,
        filename: str = "",
    ) -> Message | None:
        """Send a picture; None where it did not arrive.

        Args:
            chat_id: Where to.
            png: The picture, with its settings.
            caption: What stands below it, in HTML.
            buttons: What stands below that.
            filename: Sends a file, as it is; "" sends a photo, which Telegram compresses.

        Raises:
            UnconfirmedError: It left, and may have arrived or not.
        """

        def send(method: Callable[..., Awaitable[Message]], **named: str) -> Awaitable[Message]:
            parts = {"caption": caption, "parse_mode": ParseMode.HTML, "reply_markup": buttons}
            return method(chat_id, png, **parts, **named)

        if not filename and len(png) <= FileSizeLimit.PHOTOSIZE_UPLOAD:
            try:
                return await self._send(chat_id, lambda: send(self._bot.send_photo))
            except BadRequest as error:  # a shape that Telegram takes in a file only
                log.warning("chat %s: no photo, so a file (%s)", chat_id, error)
        name = filename or "picture.png"
        try:
            return await self._send(chat_id, lambda: send(self._bot.send_document, filename=name))
        except BadRequest as error:
            log.error("chat %s: a picture was refused (%s)", chat_id, error)
            return None

    async def edit(
        self,
        message: Message,
        text: str,
        buttons: InlineKeyboardMarkup | None = None,
        picture: bytes | None = None,
    ) -> bool:
        """Try once to change a message; False where that failed.

        Args:
            message: One that this bot sent.
            text: What it says from now on, or what stands below its picture.
            buttons: What stands below that.
            picture: What it shows from now on; a text becomes a picture's caption.
        """
        if picture is None:
            edit = message.edit_text(text, parse_mode=ParseMode.HTML, reply_markup=buttons)
        else:
            media = InputMediaPhoto(picture, caption=text, parse_mode=ParseMode.HTML)
            edit = message.edit_media(media, reply_markup=buttons)
        try:
            await edit
        except TelegramError as error:  # such as: deleted by the user, or not modified
            self._note(message.chat_id, error)
            return False
        return True

    async def delete(self, message: Message) -> None:
        """Take a message back, which does no harm when it is done twice."""
        for _ in range(MAX_TRIES):
            try:
                await message.delete()
            except NetworkError as error:
                self._note(message.chat_id, error)
                if not isinstance(error, BadRequest):  # such as: already deleted by the user
                    await asyncio.sleep(RETRY_PAUSE_S)
                    continue
            except TelegramError as error:
                self._note(message.chat_id, error)
            return

    async def answer(self, query: CallbackQuery, text: str = "") -> None:
        """Answer a pressed button, which stops its waiting; too late is no harm."""
        try:
            await query.answer(text or None, show_alert=bool(text))
        except TelegramError as error:
            self._note(query.from_user.id, error)

    async def _send(self, chat_id: int, send: Callable[[], Awaitable[T]]) -> T | None:
        for _ in range(MAX_TRIES):
            try:
                return await send()
            except BadRequest:  # which python-telegram-bot counts among the network's errors
                raise
            except NetworkError as error:
                if not isinstance(error.__cause__, NEVER_LEFT):
                    raise UnconfirmedError(str(error)) from error
                self._note(chat_id, error)
                await asyncio.sleep(RETRY_PAUSE_S)
            except TelegramError as error:
                self._note(chat_id, error)
                return None
        return None

    def _note(self, chat_id: int, error: TelegramError) -> None:
        log.warning("chat %s: %s: %s", chat_id, type(error).__name__, error)
        if isinstance(error, Forbidden):
            self._on_blocked(chat_id)
