"""One run of the service: what was left undone is taken up, then users are heard."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from telegram import Update

from sdlesson.bot.application import ALLOWED_UPDATES, App, build_application
from sdlesson.bot.bot_run import WATCHDOG_EVERY_S, BotRun
from sdlesson.bot.delivery import Delivery
from sdlesson.bot.generator import ImageGenerator
from sdlesson.bot.logs import RingBuffer
from sdlesson.bot.queue import FairQueue
from sdlesson.bot.rate_limiter import RateLimits
from sdlesson.bot.worker import MAX_BATCH, Worker
from sdlesson.bot_service.access import Access
from sdlesson.bot_service.events import Events, NoEvents
from sdlesson.bot_service.limits import Limits
from sdlesson.bot_service.login import Login, LoginSettings
from sdlesson.bot_service.models.cache import PictureCache
from sdlesson.bot_service.models.catalogue import Catalogue
from sdlesson.bot_service.models.metrics import ModelMetrics
from sdlesson.bot_service.moderation import Moderation
from sdlesson.bot_service.service import login_texts
from sdlesson.bot_service.service.choices import ModelChoice
from sdlesson.bot_service.service.handlers import ServiceHandlers
from sdlesson.bot_service.service.journal import Journal
from sdlesson.bot_service.service.login_handlers import LoginHandlers
from sdlesson.bot_service.service.memory import StoreView
from sdlesson.bot_service.service.menu import Menu, services_commands
from sdlesson.bot_service.service.model_handlers import ModelHandlers
from sdlesson.bot_service.service.requests import RecordingService
from sdlesson.bot_service.service.worker import RecordingWorker
from sdlesson.bot_service.store import Store, StoredJob, StoreError, StoreThread
from sdlesson.bot_service.webhook import WebhookServer, WebhookSettings
from sdlesson.language import Text

PURGE_EVERY_S = 3600.0

log = logging.getLogger(__name__)


@asynccontextmanager
async def nothing_beside(_run: ServiceRun) -> AsyncIterator[None]:
    """Run nothing beside the bot."""
    yield


@dataclass
class Parts:
    """What a service is made of, so that a test or an operator may change each.

    Attributes:
        token: The bot's.
        generator: What draws.
        store: What remembers.
        base_url: Another server than Telegram's.
        rate_limits: How fast the bot may speak.
        queue: Makes the queue in which jobs wait.
        admins, allowed: As `Access` takes them.
        login: How people log in who are on neither list; None lets all in, or those on the list.
        retention_days: How long requests are kept.
        also_kept: What else there is to say about what is kept of people.
        events: Who counts.
        webhook: Where Telegram brings updates; None asks for them.
        beside: What runs in the same loop while users are heard, such as a page of metrics.
        catalogue: The models that users choose from; None is the generator's only one.
        cache_mb: How much memory pictures may take that are asked for again.
        model_metrics: Who counts by model.
    """

    token: str
    generator: ImageGenerator
    store: Store
    base_url: str | None = None
    rate_limits: RateLimits | None = None
    limits: Limits = field(default_factory=Limits)
    queue: Callable[[], FairQueue] = FairQueue
    max_batch: int = MAX_BATCH
    moderation: Moderation = field(default_factory=Moderation)
    admins: tuple[int, ...] = ()
    allowed: tuple[int, ...] = ()
    login: LoginSettings | None = None
    retention_days: float = 30.0
    also_kept: tuple[Text, ...] = ()
    events: Events = field(default_factory=NoEvents)
    webhook: WebhookSettings | None = None
    beside: Callable[[ServiceRun], AbstractAsyncContextManager[None]] = nothing_beside
    catalogue: Catalogue | None = None
    cache_mb: float = 0.0
    model_metrics: ModelMetrics = field(default_factory=ModelMetrics)


class Left(NamedTuple):
    """What an earlier run has left: jobs, and updates as Telegram sent them."""

    waiting: list[StoredJob]
    untold: list[StoredJob]
    undone: list[dict[str, Any]]
    given_up: list[dict[str, Any]]


class ServiceRun(BotRun):
    """A run of the bot with a memory that lasts: in a thread by `start`, or in this one by `run`.

    Args:
        parts: What it is made of; the store stays open, whoever opened it closes it.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts, self._call = parts, StoreThread()
        self._thread: threading.Thread | None = None
        self.webhook: WebhookServer | None = None
        self._left: Left | None = None
        self._view = StoreView(parts.store.people, self._call)
        self._journal = Journal(parts.store.inbox, self._view, self._call)
        self._login = Login(parts.login, parts.store.logins, self._call) if parts.login else None
        self._catalogue = parts.catalogue or Catalogue.only(parts.generator.model)
        self._has = {
            "has_login": self._login is not None,
            "has_choice": self._catalogue.has_choice,
        }
        self._menu = Menu(parts.admins, **self._has)
        self._access = Access(
            parts.store.people,
            self._call,
            admins=parts.admins,
            allowed=parts.allowed,
            ask_login=self._login.standing if self._login else None,
        )
        self._cache = PictureCache(parts.cache_mb, on_look=parts.model_metrics.looked)
        worker = RecordingWorker(
            parts.generator, parts.queue(), max_batch=parts.max_batch, cache=self._cache
        )
        server_name = "localhost" if parts.base_url else "Telegram"
        super().__init__(worker, lambda _: self._application(worker), RingBuffer(), server_name)

    def start(self) -> Self:
        """Run in a thread of its own; returns once users are heard.

        Raises:
            RuntimeError: It cannot run; the sentence says why.
        """
        self._thread = threading.Thread(target=self.run, name="sdlesson-service", daemon=True)
        self._thread.start()
        self.has_started.wait()
        if self.failure:
            raise RuntimeError(self.failure)
        return self

    def stop(self) -> None:
        """End what `start` has begun, in good order: what waits, waits for the next run."""
        self.must_stop.set()
        if self._thread is not None:
            self._thread.join()

    def run(self) -> None:
        """Run until it is time to stop."""
        try:
            super().run()
        finally:
            if self._login is not None:
                self._login.close()
            self._call.close()

    def _application(self, worker: RecordingWorker) -> App:
        """Put the bot together, with the service's parts in the places of its own."""
        parts, login = self.parts, self._login

        def make_service(_worker: Worker, _store: object, delivery: Delivery) -> RecordingService:
            return RecordingService(
                worker,
                self._view,
                delivery,
                store=parts.store,
                call=self._call,
                limits=parts.limits,
                moderation=parts.moderation,
                events=parts.events,
                is_banned=self._access.is_banned,
                models=ModelChoice(self._catalogue),
                model_metrics=parts.model_metrics,
                retention_days=parts.retention_days,
                also_kept=(*parts.also_kept, *([login_texts.KEPT] if login else [])),
                help_commands=services_commands(**self._has),
            )

        application = build_application(
            parts.token,
            worker,
            self._view,
            base_url=parts.base_url,
            rate_limits=parts.rate_limits,
            journal=self._journal,
            make_service=make_service,
        )
        service = application.bot_data["service"]
        logging_in = LoginHandlers(service, self._access, login) if login else None
        handlers = ServiceHandlers(service, self._access, self._journal, self._menu, logging_in)
        handlers.add(ModelHandlers(service))
        handlers.register(application)
        return application

    async def _set_menu(self, application: App) -> None:
        await self._menu.fill(application.bot)

    async def ready(self) -> str:
        """Say what is in the way of new requests; "" for nothing."""
        try:
            await self._call(self.parts.store.ping)
        except StoreError as error:
            return f"the store does not answer: {error}"
        look = getattr(self.parts.generator, "ready", None)
        return await asyncio.to_thread(look) if look else ""

    async def _start_polling(self, application: App) -> None:
        """Ask Telegram for updates, or tell it where to bring them."""
        settings = self.parts.webhook
        if settings is None:
            await super()._start_polling(application)
            return
        if self.webhook is None:
            self.webhook = WebhookServer(settings, lambda one: self._receive(application, one))
        await application.bot.set_webhook(
            settings.url, secret_token=settings.secret, allowed_updates=ALLOWED_UPDATES
        )

    async def _receive(self, application: App, update: dict[str, Any]) -> None:
        """Write down an update that Telegram has brought, and let it be handled.

        Raises:
            NetworkError: It could not be written down.
        """
        if not await self._journal.received([update]):
            return
        try:
            await application.update_queue.put(Update.de_json(update, application.bot))
        except Exception as error:  # whatever does not fit, somewhere deep in a message
            kind = type(error).__name__
            log.error("update %s cannot be read (%s), so it is left out", update["update_id"], kind)

    async def _watch(self, application: App) -> None:
        """Take up what an earlier run has left, and then hear users until it is time to stop."""
        purging = asyncio.create_task(self._purge_now_and_then())
        try:
            if await self._retry(lambda: self._take_up(application)):
                async with self.parts.beside(self):
                    await self._hear(application)
        finally:
            purging.cancel()
            if self.webhook is not None:
                await self.webhook.close()

    async def _hear(self, application: App) -> None:
        if self.webhook is None:
            await super()._watch(application)
            return
        while not self.must_stop.is_set():
            await self._pause(WATCHDOG_EVERY_S)
            self.worker.raise_if_broken()

    async def _connect(self, application: App) -> None:
        """Look at what an earlier run has left, and only then hear users, who add to it."""
        if self._left is None:
            await self._access.load()
            waiting, untold = await application.bot_data["service"].look_back()
            self._left = Left(waiting, untold, *await self._journal.left_undone())
        await super()._connect(application)

    async def _take_up(self, application: App) -> None:
        """Take up jobs that wait, and updates that were never handled.

        Raises:
            StoreError: The database is away.
        """
        service, left = application.bot_data["service"], self._left
        assert left is not None
        await service.take_up(left.waiting, left.untold)
        for one in left.undone:
            await application.update_queue.put(Update.de_json(one, application.bot))
        for one in left.given_up:
            update = Update.de_json(one, application.bot)
            log.error("update %s is given up: the bot died of it", update.update_id)
            is_on_record = await self._call(self.parts.store.jobs.has_of, update.update_id)
            if update.effective_sender and not is_on_record:  # else its job tells how it ended
                await service.apologize(service.requester(update), update.update_id)
            await self._journal.handled(update)

    async def _purge_now_and_then(self) -> None:
        """Delete what is older than it may be."""
        while True:
            try:
                gone = await self._call(self.parts.store.purge, self.parts.retention_days)
                log.info("%s old rows are deleted", gone)
            except StoreError as error:
                log.error("old rows could not be deleted: %s", error)
            await asyncio.sleep(PURGE_EVERY_S)
