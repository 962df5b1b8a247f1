"""The bot as python-telegram-bot runs it: put together here, started by whoever has a loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeAlias

from telegram import Update
from telegram.ext import Application, BaseHandler, BaseUpdateProcessor
from telegram.request import HTTPXRequest

from sdlesson.bot import texts
from sdlesson.bot.delivery import Delivery
from sdlesson.bot.desk import Desk
from sdlesson.bot.handlers import Handlers
from sdlesson.bot.incoming import SeenUpdates, readable
from sdlesson.bot.pace import Pace, Rates
from sdlesson.bot.store import Store
from sdlesson.bot.words import Words
from sdlesson.bot.worker import Worker
from sdlesson.language import LANGUAGES

TIMEOUT_S = 20.0  # python-telegram-bot's 5 are too few on a slow line
UPLOAD_TIMEOUT_S = 60.0
CONNECTIONS = 64
MAX_UPDATES_AT_ONCE = 100_000
MAX_WAITING_UPDATES = 100  # of one user
UPDATES = (Update.MESSAGE, Update.CALLBACK_QUERY)

App: TypeAlias = Application[Any, Any, Any, Any, Any, Any]


class Line(HTTPXRequest):
    """A line to the server that knows when it last heard from it.

    Attributes:
        heard_s: When, on the clock of `time.monotonic`.
        is_refused: Whether the server did not know the bot when it last answered.
    """

    heard_s = 0.0
    is_refused = False

    async def do_request(self, url: str, *args: Any, **named: Any) -> tuple[int, bytes]:
        """Make one request."""
        status, body = await super().do_request(url, *args, **named)
        self.heard_s = time.monotonic()
        self.is_refused = status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND)
        if status == HTTPStatus.OK and url.endswith("/getUpdates"):
            body = readable(body)
        return status, body


@dataclass
class Turn:
    """The updates of one user: how many wait, and whether the user was told that it is too many."""

    waiting: int = 0
    is_told: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class UserByUser(BaseUpdateProcessor):
    """Handles each user's updates in their order, and those of different users at the same time.

    Args:
        refuse: Called with the first update of a user that is one too many.
    """

    def __init__(self, refuse: Callable[[Update], Awaitable[None]]) -> None:
        super().__init__(MAX_UPDATES_AT_ONCE)
        self._refuse = refuse
        self._turns: dict[int, Turn] = {}

    async def initialize(self) -> None:
        """Nothing to prepare."""

    async def shutdown(self) -> None:
        """Nothing to close."""

    async def do_process_update(self, update: object, coroutine: Awaitable[Any]) -> None:
        """Handle one update once those before it are handled; left out where too many wait."""
        assert isinstance(coroutine, Coroutine)
        sender = update.effective_sender if isinstance(update, Update) else None
        user_id = sender.id if sender else 0
        turn = self._turns.setdefault(user_id, Turn())
        if turn.waiting >= MAX_WAITING_UPDATES:
            coroutine.close()
            if isinstance(update, Update) and sender and not turn.is_told:
                turn.is_told = True
                await self._refuse(update)
            return
        turn.waiting += 1
        try:
            async with turn.lock:
                await coroutine
        finally:
            coroutine.close()  # which was not begun if this was cancelled before
            turn.waiting -= 1
            if not turn.waiting:
                self._turns.pop(user_id, None)


def build_application(
    token: str,
    worker: Worker,
    store: Store,
    *,
    base_url: str | None = None,
    rates: Rates | None = None,
    timeout_s: float = TIMEOUT_S,
    handlers: Sequence[BaseHandler[Any, Any, Any]] = (),
    seen: SeenUpdates | None = None,
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
        seen: The updates that this bot has had from this server before.

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
        .concurrent_updates(UserByUser(lambda update: _say_too_fast(desk, update)))
        .build()
    )
    delivery = Delivery(application.bot, pace, lambda chat_id: desk.give_up_chat(chat_id))
    desk = Desk(worker, store, delivery)
    application.bot_data.update(desk=desk, line=line)
    application.add_handlers(handlers)
    Handlers(desk, seen or SeenUpdates()).register(application)
    return application


async def name_commands(application: App) -> None:
    """Fill the menu of commands, in each language."""
    for code in LANGUAGES:
        words = Words(code)
        commands = [(name, words(text)) for name, text in texts.COMMANDS.items()]
        await application.bot.set_my_commands(commands, language_code="" if code == "en" else code)


async def _say_too_fast(desk: Desk, update: Update) -> None:
    asker = desk.asker(update)
    await desk.say(asker, asker.words(texts.TOO_FAST, limit=MAX_WAITING_UPDATES))


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
