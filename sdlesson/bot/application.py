"""The bot as python-telegram-bot runs it: put together here, started by whoever has a loop.

An update comes in by a `TimedRequest`, waits in the `PerUserUpdateProcessor` until those before it
are handled, is dropped by `SeenUpdates` if it came before, and goes to the handlers.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol, TypeAlias

from telegram import Update
from telegram.error import NetworkError
from telegram.ext import (
    Application,
    ApplicationHandlerStop,
    BaseHandler,
    BaseUpdateProcessor,
    ContextTypes,
    TypeHandler,
)
from telegram.request import HTTPXRequest

from sdlesson.bot import texts
from sdlesson.bot.delivery import Delivery
from sdlesson.bot.handlers import Handlers
from sdlesson.bot.rate_limiter import RateLimiter, RateLimits
from sdlesson.bot.request_service import RequestService
from sdlesson.bot.store import Store
from sdlesson.bot.texts import Localizer
from sdlesson.bot.worker import Worker
from sdlesson.language import LANGUAGES

TIMEOUT_S = 20.0  # python-telegram-bot's 5 are too few on a slow line
UPLOAD_TIMEOUT_S = 60.0
CONNECTIONS = 64
MAX_UPDATES_AT_ONCE = 100_000
MAX_WAITING_UPDATES = 100  # of one user
MAX_SEEN_UPDATES = 10_000
ALLOWED_UPDATES = (Update.MESSAGE, Update.CALLBACK_QUERY)

log = logging.getLogger(__name__)

App: TypeAlias = Application[Any, Any, Any, Any, Any, Any]


class UpdateJournal(Protocol):
    """Writes updates down before the server hears that they came, for a bot that may be killed."""

    async def received(self, updates: list[dict[str, Any]]) -> set[int]:
        """Write updates down, and return the numbers of those to handle.

        Raises:
            NetworkError: That failed, so the server is to keep them.
        """

    async def handled(self, *updates: Update) -> None:
        """Take down, of all at once, that updates need no more care."""


class TimedRequest(HTTPXRequest):
    """What makes the requests to the server, and knows when it last had an answer.

    Attributes:
        last_answer_s: When, on the clock of `time.monotonic`.
        is_unauthorized: Whether the server did not know the bot when it last answered.
        journal: Where updates are written down before the bot has them.
    """

    last_answer_s = 0.0
    is_unauthorized = False
    journal: UpdateJournal | None = None

    async def do_request(self, url: str, *args: Any, **named: Any) -> tuple[int, bytes]:
        """Make one request, note when it was answered, and empty updates that cannot be read."""
        status, body = await super().do_request(url, *args, **named)
        self.last_answer_s = time.monotonic()
        self.is_unauthorized = status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND)
        if status == HTTPStatus.OK and url.endswith("/getUpdates"):
            body = without_unreadable_updates(body)
            if self.journal:
                body = await _write_down(body, self.journal)
        return status, body


@dataclass
class UserBacklog:
    """The updates of one user: how many wait, and whether the user was told that it is too many."""

    waiting: int = 0
    is_told: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class PerUserUpdateProcessor(BaseUpdateProcessor):
    """Handles each user's updates in their order, and those of different users at the same time.

    Args:
        refuse: Called with the first update of a user that is one too many.
        on_handled: Called with each update whose handler has returned.
    """

    def __init__(
        self,
        refuse: Callable[[Update], Awaitable[None]],
        on_handled: Callable[[Update], Awaitable[None]],
    ) -> None:
        super().__init__(MAX_UPDATES_AT_ONCE)
        self._refuse, self._on_handled = refuse, on_handled
        self._backlogs: dict[int, UserBacklog] = {}

    async def initialize(self) -> None:
        """Called before the first update; backlogs are made as users write."""

    async def shutdown(self) -> None:
        """Called after the last update; a backlog goes with its last update."""

    async def do_process_update(self, update: object, coroutine: Awaitable[Any]) -> None:
        """Handle one update once those before it are handled; left out where too many wait."""
        await self._handle(update, coroutine)
        if isinstance(update, Update):
            await self._on_handled(update)

    async def _handle(self, update: object, coroutine: Awaitable[Any]) -> None:
        assert isinstance(coroutine, Coroutine)
        sender = update.effective_sender if isinstance(update, Update) else None
        user_id = sender.id if sender else 0
        backlog = self._backlogs.setdefault(user_id, UserBacklog())
        if backlog.waiting >= MAX_WAITING_UPDATES:
            coroutine.close()
            if isinstance(update, Update) and sender and not backlog.is_told:
                backlog.is_told = True
                await self._refuse(update)
            return
        backlog.waiting += 1
        try:
            async with backlog.lock:
                await coroutine
        finally:
            coroutine.close()  # which was not begun if this was cancelled before
            backlog.waiting -= 1
            if not backlog.waiting:
                self._backlogs.pop(user_id, None)


class SeenUpdates:
    """The updates that one bot has had from its server: elsewhere, other ones have the numbers."""

    def __init__(self) -> None:
        self._numbers: dict[int, None] = {}

    async def drop_duplicate(self, update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
        """Handle an update no further that came before, which Telegram was not sure of."""
        if not self.is_new(update.update_id):
            raise ApplicationHandlerStop

    def is_new(self, update_id: int) -> bool:
        """Whether an update comes for the first time; from then on it is known."""
        if update_id in self._numbers:
            return False
        self._numbers[update_id] = None
        if len(self._numbers) > MAX_SEEN_UPDATES:
            del self._numbers[next(iter(self._numbers))]  # a dict keeps the order of arrival
        return True


def build_application(
    token: str,
    worker: Worker,
    store: Store,
    *,
    base_url: str | None = None,
    rate_limits: RateLimits | None = None,
    timeout_s: float = TIMEOUT_S,
    handlers: Sequence[BaseHandler[Any, Any, Any]] = (),
    seen: SeenUpdates | None = None,
    journal: UpdateJournal | None = None,
    make_service: Callable[[Worker, Store, Delivery], RequestService] = RequestService,
) -> App:
    """Put the bot together; it belongs to one event loop, and after a stop a new one is built.

    Args:
        token: The bot's.
        worker: What draws.
        store: What remembers.
        base_url: Another server than Telegram's, such as "http://127.0.0.1:8081/bot".
        rate_limits: How fast the bot may speak.
        timeout_s: How long to wait for an answer.
        handlers: Others, which are asked before the bot's.
        seen: The updates that this bot has had from this server before.
        journal: Where updates are written down until they are handled.
        make_service: Makes what the handlers call.

    Returns:
        The application; in its `bot_data`, "service" is what its handlers call, "handlers" are
        those, and "polling_request" makes the requests for updates.
    """
    rate_limiter = RateLimiter(rate_limits)
    builder = Application.builder().token(token).rate_limiter(rate_limiter)
    if base_url is not None:
        builder = builder.base_url(base_url)
        builder = builder.base_file_url(base_url.removesuffix("/bot") + "/file/bot")
    is_local = base_url is not None
    polling_request = _timed_request(1, timeout_s, is_local=is_local)
    polling_request.journal = journal

    async def note_handled(*updates: Update) -> None:
        # A photo of an album has been looked at long before it is drawn: with the others.
        if journal and not any(map(own_handlers.is_waiting, updates)):
            await journal.handled(*updates)

    processor = PerUserUpdateProcessor(
        lambda update: _reply_too_fast(service, update), note_handled
    )
    application = (
        builder.request(_timed_request(CONNECTIONS, timeout_s, is_local=is_local))
        .get_updates_request(polling_request)
        .concurrent_updates(processor)
        .build()
    )
    delivery = Delivery(
        application.bot, rate_limiter, lambda chat_id: service.cancel_jobs_in_chat(chat_id)
    )
    service = make_service(worker, store, delivery)
    own_handlers = Handlers(service, note_handled)
    application.bot_data.update(
        service=service, handlers=own_handlers, polling_request=polling_request
    )
    drop = (seen or SeenUpdates()).drop_duplicate
    application.add_handler(TypeHandler(Update, drop), group=-1)  # before all others
    application.add_handlers(handlers)
    own_handlers.register(application)
    return application


async def set_command_menu(application: App) -> None:
    """Fill the menu of commands, in each language."""
    for code in LANGUAGES:
        localize = Localizer(code)
        commands = [(name, localize(text)) for name, text in texts.COMMANDS.items()]
        await application.bot.set_my_commands(commands, language_code="" if code == "en" else code)


async def _reply_too_fast(service: RequestService, update: Update) -> None:
    requester = service.requester(update)
    await service.reply(requester, requester.localize(texts.TOO_FAST, limit=MAX_WAITING_UPDATES))


def _timed_request(connections: int, timeout_s: float, *, is_local: bool) -> TimedRequest:
    return TimedRequest(
        connections,
        read_timeout=timeout_s,
        write_timeout=timeout_s,
        connect_timeout=timeout_s,
        pool_timeout=timeout_s,
        media_write_timeout=max(timeout_s, UPLOAD_TIMEOUT_S),
        httpx_kwargs={"trust_env": not is_local},  # a proxy does not lead to this machine
    )


def without_unreadable_updates(body: bytes) -> bytes:
    """Empty those updates of an answer that cannot be read, but for their numbers.

    Else python-telegram-bot would ask for the same ones again, for ever, and log all of them.

    Args:
        body: The answer to a `getUpdates`.

    Raises:
        NetworkError: It is no list of updates at all.
    """
    try:
        answer = json.loads(body)
        updates = [update for update in answer["result"] if type(update["update_id"]) is int]
    except (ValueError, LookupError, TypeError):
        raise NetworkError("the answer is no list of updates") from None
    bad = {update["update_id"]: error for update in updates if (error := _what_is_wrong(update))}
    if not bad and len(updates) == len(answer["result"]):
        return body
    for number, error in bad.items():
        log.error("update %s cannot be read (%s), so it is left out", number, error)
    numbers = [update["update_id"] for update in updates]
    kept = [
        {"update_id": number} if number in bad else update
        for number, update in zip(numbers, updates, strict=True)
    ]
    return json.dumps(answer | {"result": kept}).encode()


async def _write_down(body: bytes, journal: UpdateJournal) -> bytes:
    """Write the updates of an answer down, and empty those that are known already."""
    answer = json.loads(body)
    wanted = await journal.received(answer["result"])
    kept = [
        one if one["update_id"] in wanted else {"update_id": one["update_id"]}
        for one in answer["result"]
    ]
    return json.dumps(answer | {"result": kept}).encode()


def _what_is_wrong(update: dict[str, Any]) -> str:
    """Name the error of an update that cannot be read; its message would quote the update."""
    try:
        Update.de_json(update, None)
    except Exception as error:  # whatever does not fit, somewhere deep in a message
        return type(error).__name__
    return ""
