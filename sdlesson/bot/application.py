"""The bot as python-telegram-bot runs it: put together here, started by whoever has a loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

from telegram import Update
from telegram.ext import Application, BaseHandler, BaseUpdateProcessor
from telegram.request import HTTPXRequest

from sdlesson.bot import texts
from sdlesson.bot.delivery import Delivery
from sdlesson.bot.desk import Desk
from sdlesson.bot.handlers import Handlers
from sdlesson.bot.pace import Pace, Rates
from sdlesson.bot.store import Store
from sdlesson.bot.words import Words
from sdlesson.bot.worker import Worker
from sdlesson.language import LANGUAGES

TIMEOUT_S = 20.0  # python-telegram-bot's 5 are too few on a slow line
UPLOAD_TIMEOUT_S = 60.0
CONNECTIONS = 64
MAX_UPDATES_AT_ONCE = 10_000
UPDATES = (Update.MESSAGE, Update.CALLBACK_QUERY)

App: TypeAlias = Application[Any, Any, Any, Any, Any, Any]


class Line(HTTPXRequest):
    """A line to the server that knows when it last heard from it.

    Attributes:
        heard_s: When, on the clock of `time.monotonic`.
    """

    heard_s = 0.0

    async def do_request(self, *args: Any, **named: Any) -> tuple[int, bytes]:
        """Make one request."""
        answer = await super().do_request(*args, **named)
        self.heard_s = time.monotonic()
        return answer


class ChatByChat(BaseUpdateProcessor):
    """Handles the updates of one chat in their order, and different chats at the same time."""

    def __init__(self) -> None:
        super().__init__(MAX_UPDATES_AT_ONCE)
        self._turns: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    async def initialize(self) -> None:
        """Nothing to prepare."""

    async def shutdown(self) -> None:
        """Nothing to close."""

    async def do_process_update(self, update: object, coroutine: Awaitable[Any]) -> None:
        """Handle one update once those before it in its chat are handled."""
        chat = update.effective_chat if isinstance(update, Update) else None
        turn = self._turns.setdefault(chat.id if chat else 0, asyncio.Lock())
        async with turn:
            await coroutine


def build_application(
    token: str,
    worker: Worker,
    store: Store,
    *,
    base_url: str | None = None,
    rates: Rates | None = None,
    timeout_s: float = TIMEOUT_S,
    handlers: Sequence[BaseHandler[Any, Any, Any]] = (),
) -> App:
    """Put the bot together; it belongs to one event loop, and after a stop a new one is built.

    Args:
        token: The bot's.
        worker: What draws.
        store: What remembers.
        base_url: Another server than Telegram's, such as "http://127.0.0.1:8081/bot".
        rates: How fast the bot may speak.
        timeout_s: How long to wait for an answer.
        handlers: Others, which are asked before the bot's.

    Returns:
        The application; in its `bot_data`, "desk" is what its handlers call, and "line" the one
        on which it asks for news.
    """
    pace = Pace(rates)
    builder = Application.builder().token(token).rate_limiter(pace)
    if base_url is not None:
        builder = builder.base_url(base_url)
        builder = builder.base_file_url(base_url.removesuffix("/bot") + "/file/bot")
    line = _line(1, timeout_s, is_local=base_url is not None)
    application = (
        builder.request(_line(CONNECTIONS, timeout_s, is_local=base_url is not None))
        .get_updates_request(line)
        .concurrent_updates(ChatByChat())
        .build()
    )
    delivery = Delivery(application.bot, pace, lambda chat_id: desk.give_up(chat_id))
    desk = Desk(worker, store, delivery)
    application.bot_data.update(desk=desk, line=line)
    application.add_handlers(handlers)
    Handlers(desk).register(application)
    return application


async def name_commands(application: App) -> None:
    """Fill the menu of commands, in each language."""
    for code in LANGUAGES:
        words = Words(code)
        commands = [(name, words(text)) for name, text in texts.COMMANDS.items()]
        await application.bot.set_my_commands(commands, language_code="" if code == "en" else code)


def _line(connections: int, timeout_s: float, *, is_local: bool) -> Line:
    return Line(
        connections,
        read_timeout=timeout_s,
        write_timeout=timeout_s,
        connect_timeout=timeout_s,
        pool_timeout=timeout_s,
        media_write_timeout=max(timeout_s, UPLOAD_TIMEOUT_S),
        httpx_kwargs={"trust_env": not is_local},  # a proxy does not lead to this machine
    )
