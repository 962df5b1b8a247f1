"""Every message on its way to Telegram, and what becomes of it when the way is bad.

A message that did not leave is tried again until it does, however long the network is away. One
whose answer is lost may well be on the user's screen: it is *unconfirmed* and not sent again.
Whatever becomes of a message is told to whoever sent it, as an `DeliveryOutcome`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from enum import Enum
from itertools import chain, repeat
from typing import NamedTuple, TypeAlias

import httpx
from telegram import (
    CallbackQuery,
    InlineKeyboardMarkup,
    InputMediaPhoto,
    Message,
    ReplyParameters,
)
from telegram.constants import FileSizeLimit, ParseMode
from telegram.error import (
    BadRequest,
    ChatMigrated,
    Forbidden,
    InvalidToken,
    NetworkError,
    RetryAfter,
    TelegramError,
)
from telegram.ext import ExtBot

from sdlesson.bot.rate_limiter import RateLimiter

log = logging.getLogger(__name__)

PAUSES_S = (1.0, 2.0, 4.0)  # between tries, and from then on:
LONGEST_PAUSE_S = 5.0
NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


class Destination(NamedTuple):
    """Where a message goes: a chat, and a topic of it where the chat is a forum."""

    chat_id: int
    thread_id: int | None = None


class DeliveryOutcome(Enum):
    """What became of a message."""

    DELIVERED = "delivered"
    UNCONFIRMED = "it left, and may have arrived or not"
    REFUSED = "this chat takes no such message from the bot"
    UNSENT = "it did not leave, and was tried once only"


class DeliveryResult(NamedTuple):
    """What became of a message, and the message where it arrived."""

    outcome: DeliveryOutcome
    message: Message | None = None


Send: TypeAlias = Callable[[Destination], Awaitable[Message]]


class Delivery:
    """Sends, edits and deletes messages in HTML; errors of the network end here, in the log.

    Args:
        bot: The calls.
        rate_limiter: What spaces them out.
        on_blocked: Called with a chat that has shut the bot out.
    """

    def __init__(
        self, bot: ExtBot[None], rate_limiter: RateLimiter, on_blocked: Callable[[int], object]
    ) -> None:
        self._bot, self._rate_limiter, self._on_blocked = bot, rate_limiter, on_blocked

    def must_wait(self, chat_id: int) -> bool:
        """Whether a message to this chat would have to wait now."""
        return self._rate_limiter.must_wait(chat_id)

    async def send_text(
        self,
        destination: Destination,
        text: str,
        buttons: InlineKeyboardMarkup | None = None,
        *,
        retry: bool = True,
        at_least_once: bool = False,
        answers: int | None = None,
    ) -> DeliveryResult:
        """Send a text.

        Args:
            destination: Where to.
            text: What it says, in HTML.
            buttons: What stands below it.
            retry: Whether to try again where it did not leave; else it is sent now or never,
                since later it would say what is no longer so.
            at_least_once: Send it again where it is unconfirmed: to read it twice does no harm.
            answers: The message of that chat that it is a reply to, if that is still there.
        """
        reply = ReplyParameters(answers, allow_sending_without_reply=True) if answers else None

        def send(to: Destination) -> Awaitable[Message]:
            return self._bot.send_message(
                to.chat_id,
                text,
                message_thread_id=to.thread_id,
                parse_mode=ParseMode.HTML,
                reply_markup=buttons,
                reply_parameters=reply,
            )

        try:
            return await self._send(destination, send, retry=retry, at_least_once=at_least_once)
        except BadRequest as error:
            log.warning("chat %s: a text was refused (%s)", destination.chat_id, error)
            return DeliveryResult(DeliveryOutcome.REFUSED)

    async def send_picture(
        self,
        destination: Destination,
        png: bytes,
        *,
        caption: str,
        buttons: InlineKeyboardMarkup | None = None,
        filename: str = "",
    ) -> DeliveryResult:
        """Send a picture.

        Args:
            destination: Where to.
            png: The picture, with its settings.
            caption: What stands below it, in HTML.
            buttons: What stands below that.
            filename: Sends a file, as it is; "" sends a photo, which Telegram compresses.
        """

        def by(method: Callable[..., Awaitable[Message]], **named: str) -> Send:
            parts = {"caption": caption, "parse_mode": ParseMode.HTML, "reply_markup": buttons}
            return lambda to: method(
                to.chat_id, png, message_thread_id=to.thread_id, **parts, **named
            )

        if not filename and len(png) <= FileSizeLimit.PHOTOSIZE_UPLOAD:
            try:
                return await self._send(destination, by(self._bot.send_photo))
            except BadRequest as error:  # a shape that Telegram takes in a file only
                log.warning("chat %s: no photo, so a file (%s)", destination.chat_id, error)
        name = filename or "picture.png"
        try:
            return await self._send(destination, by(self._bot.send_document, filename=name))
        except BadRequest as error:
            log.error("chat %s: a picture was refused (%s)", destination.chat_id, error)
            return DeliveryResult(DeliveryOutcome.REFUSED)

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

    async def delete(self, chat_id: int, message_id: int) -> None:
        """Take a message back, which does no harm when it is done twice."""
        for pause_s in _pauses_s():
            try:
                await self._bot.delete_message(chat_id, message_id)
                return
            except TelegramError as error:
                self._note(chat_id, error)
                if isinstance(error, BadRequest) or not isinstance(error, NetworkError):
                    return  # such as: already deleted by the user
            await asyncio.sleep(pause_s)

    async def answer_press(self, query: CallbackQuery, text: str = "") -> None:
        """Answer a pressed button, which stops its waiting; too late is no harm."""
        try:
            await query.answer(text or None, show_alert=bool(text))
        except TelegramError as error:
            self._note(query.from_user.id, error)

    async def _send(
        self,
        destination: Destination,
        send: Send,
        *,
        retry: bool = True,
        at_least_once: bool = False,
    ) -> DeliveryResult:
        """Send until it is known what became of it.

        Raises:
            BadRequest: Telegram refuses what is sent, or the bot may not write there.
        """
        for pause_s in _pauses_s():
            try:
                return DeliveryResult(DeliveryOutcome.DELIVERED, await send(destination))
            except BadRequest:  # which python-telegram-bot counts among the network's errors
                raise
            except ChatMigrated as error:  # a group that has become a larger one, of a new number
                self._note(destination.chat_id, error)
                destination = Destination(error.new_chat_id)
                continue
            except (Forbidden, InvalidToken) as error:
                self._note(destination.chat_id, error)
                return DeliveryResult(DeliveryOutcome.REFUSED)
            except TelegramError as error:
                self._note(destination.chat_id, error)
                did_not_leave = isinstance(error, RetryAfter) or isinstance(
                    error.__cause__, NEVER_LEFT
                )
                if not retry:
                    return DeliveryResult(
                        DeliveryOutcome.UNSENT if did_not_leave else DeliveryOutcome.UNCONFIRMED
                    )
                if not did_not_leave and not at_least_once:
                    return DeliveryResult(DeliveryOutcome.UNCONFIRMED)
            await asyncio.sleep(pause_s)
        raise AssertionError("the tries have no end")

    def _note(self, chat_id: int, error: TelegramError) -> None:
        log.warning("chat %s: %s: %s", chat_id, type(error).__name__, error)
        if isinstance(error, Forbidden):
            self._on_blocked(chat_id)


def _pauses_s() -> Iterator[float]:
    """How long to wait after each try: longer and longer, up to a limit."""
    return chain(PAUSES_S, repeat(LONGEST_PAUSE_S))
