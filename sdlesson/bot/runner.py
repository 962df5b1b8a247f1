"""Run the bot beside a notebook: in a thread with an event loop of its own, started and stopped.

Other ways hold the cell, or answer only while no other cell runs. An application belongs to the
loop that it was started in, so that each start makes everything anew, in a fresh loop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from PIL import Image
from telegram.error import Conflict, InvalidToken, TelegramError
from telegram.ext import BaseHandler

from sdlesson.bot.application import (
    TIMEOUT_S,
    UPDATES,
    App,
    Line,
    build_application,
    name_commands,
)
from sdlesson.bot.jobs import Job, State
from sdlesson.bot.logs import RingBuffer
from sdlesson.bot.pace import Rates
from sdlesson.bot.store import MemoryStore, Store
from sdlesson.bot.worker import Worker
from sdlesson.bot_api import BotApiServer
from sdlesson.language import say

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

    from sdlesson.bot.generator import Generator
    from sdlesson.bot.results import Result

log = logging.getLogger(__name__)

START_WAIT_S = 10.0
RETRY_S = 3.0
POLL_S = 10  # how long the server may keep a question for news open
SILENCE_S = 60.0  # without an answer for so long, the polling is started again
FAREWELL_S = 3.0  # for telling users, when the bot stops
LOOK_EVERY_S = 1.0

_current: Bot | None = None  # the bot of this kernel: two would take each other's updates


class BotError(RuntimeError):
    """A bot that cannot run: one sentence says why, and what to do."""


@dataclass(frozen=True)
class Snapshot:
    """What a panel shows of a bot.

    Attributes:
        name: Such as "@my_bot"; "" before the server has said it.
        server: "Telegram" or "localhost".
        queued, drawing, done, failed: How many jobs.
        pictures: The latest first, each with its prompt.
        errors: The latest first, as sentences.
    """

    running: bool
    name: str
    server: str
    queued: int
    drawing: int
    done: int
    failed: int
    pictures: list[tuple[Image.Image, str]]
    errors: list[str]


class Bot:
    """A bot that draws: `bot.start()` returns at once, `bot.stop()` stops it cleanly.

    Args:
        pipe: What draws, a pipeline or another `Generator`; by default what `load_pipeline` loads.
        token: From BotFather; None talks to a server on this machine instead of Telegram.
        server: That server, started; by default one that starts and stops with the bot.
        store: What remembers users; by default in memory, from one start to the next.
        rates: How fast the bot may speak.
        timeout_s: How long to wait for an answer of the server.
        handlers: Handlers of your own, which are asked before the bot's.

    Raises:
        ValueError: There are a token and a server, of which only one is meant.
    """

    def __init__(
        self,
        pipe: StableDiffusionPipeline | Generator | None = None,
        *,
        token: str | None = None,
        server: BotApiServer | None = None,
        store: Store | None = None,
        rates: Rates | None = None,
        timeout_s: float = TIMEOUT_S,
        handlers: Sequence[BaseHandler[Any, Any, Any]] = (),
    ) -> None:
        if token and server:
            raise ValueError("give a token, for Telegram, or a server, which has one; not both")
        self._generator = _generator(pipe)
        self.server = None if token else server or BotApiServer()
        self._owns_server = not token and not server
        self._token = self.server.token if self.server else str(token)
        self._store = MemoryStore() if store is None else store
        self._rates, self._timeout_s, self._handlers = rates, timeout_s, handlers
        self._thread: threading.Thread | None = None
        self._worker: Worker | None = None
        self._log, self._name, self._failure = RingBuffer(), "", ""
        self._is_up, self._is_to_stop = threading.Event(), threading.Event()

    def __repr__(self) -> str:
        state = "running" if self.is_running else "stopped"
        return f"Bot({self._name or 'no name yet'}, {self._place}, {state})"

    def start(self) -> Self:
        """Run in the background, in place of the bot that this kernel ran before.

        Raises:
            BotError: The token is refused.
        """
        global _current
        if self.is_running:
            return self
        if _current is not None:
            _current.stop()
        _current = self
        if self.server:
            self.server.start()
        self._failure = ""
        self._is_up.clear()
        self._is_to_stop.clear()
        self._thread = threading.Thread(target=self._run, name="sdlesson-bot", daemon=True)
        self._thread.start()
        self._is_up.wait(START_WAIT_S)
        if self._failure:
            self.stop()
            raise BotError(self._failure)
        print(self._greeting())
        return self

    def stop(self) -> None:
        """Tell users, end all jobs and stop; a second call changes nothing."""
        if self._thread is not None:
            self._is_to_stop.set()
            self._thread.join()
            self._thread = None
        if self.server and self._owns_server:
            self.server.stop()

    @property
    def is_running(self) -> bool:
        """Whether its thread is alive."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def log(self) -> list[str]:
        """The latest log lines, without the token."""
        return list(self._log.lines)

    def snapshot(self) -> Snapshot:
        """What there is to see of it now; may be called from any thread."""
        worker = self._worker
        recent = list(worker.recent)[::-1] if worker else []
        tally = worker.tally if worker else Counter[State]()
        return Snapshot(
            running=self.is_running,
            name=self._name,
            server=self._place,
            queued=len(worker.queue) if worker else 0,
            drawing=len(worker.running) if worker else 0,
            done=tally[State.DONE] + tally[State.FLAGGED],
            failed=tally[State.FAILED],
            pictures=[
                (result.image, result.request.prompt) for result in map(_picture, recent) if result
            ],
            errors=list(self._log.errors)[::-1],
        )

    @property
    def _place(self) -> str:
        return "localhost" if self.server else "Telegram"

    def _greeting(self) -> str:
        """Say where the bot can be talked to, and that this is not Telegram where it is not."""
        if not self._name:
            return self._log.errors[-1] if self._log.errors else _away(self._place)
        if self.server is None:
            page = f"https://t.me/{self._name[1:]}"
            return say(
                f"{self._name} is on Telegram: {page}", f"{self._name} está en Telegram: {page}"
            )
        page = self.server.chat_url
        return say(
            f"{self._name} is on localhost, which is not Telegram. Its chat page: {page}",
            f"{self._name} está en localhost, que no es Telegram. Su página de chat: {page}",
        )

    # In the thread.

    def _run(self) -> None:
        self._log.open()
        loop = asyncio.new_event_loop()  # asyncio.run fails here after nest_asyncio.apply()
        try:
            loop.run_until_complete(self._live())
        except Exception:
            log.exception("the bot stopped by itself")
        finally:
            loop.run_until_complete(_end_tasks())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
            self._log.close()
            self._is_up.set()

    async def _live(self) -> None:
        """Connect, talk until it is time to stop, and take leave."""
        worker = self._worker = Worker(self._generator)
        application = build_application(
            self._token,
            worker,
            self._store,
            base_url=self.server.base_url if self.server else None,
            rates=self._rates,
            timeout_s=self._timeout_s,
            handlers=self._handlers,
        )
        if not await self._insist(application.initialize):
            return
        self._name = f"@{application.bot.username}"
        try:
            if await self._insist(lambda: self._poll(application)):
                await application.start()
                worker.start()
                self._is_up.set()
                await self._watch(application)
        finally:
            await _close(application, worker)

    async def _watch(self, application: App) -> None:
        """Wait until it is time to stop, and start a polling anew that has fallen silent."""
        line: Line = application.bot_data["line"]
        while not self._is_to_stop.is_set():
            await self._pause(LOOK_EVERY_S)
            if time.monotonic() - line.heard_s > SILENCE_S:
                log.warning("no answer for %s s: polling again", SILENCE_S)
                await _stop_polling(application)
                if not await self._insist(lambda: self._poll(application)):
                    return

    async def _poll(self, application: App) -> None:
        """Name the commands, and begin to ask for news."""
        await name_commands(application)
        application.bot_data["line"].heard_s = time.monotonic()
        updater = application.updater
        assert updater is not None
        await updater.start_polling(
            timeout=POLL_S, allowed_updates=UPDATES, error_callback=self._note
        )

    async def _insist(self, action: Callable[[], Awaitable[object]]) -> bool:
        """Try until it works; False when the token is refused or it is time to stop."""
        while not self._is_to_stop.is_set():
            try:
                await action()
                return True
            except InvalidToken:  # whose message holds the token
                self._failure = _refused()
                self._tell(self._failure)
                return False
            except TelegramError as error:
                self._note(error)
            self._is_up.set()  # `start` waits no longer for it
            await self._pause(RETRY_S)
        return False

    async def _pause(self, seconds: float) -> None:
        """Wait, but no longer than until it is time to stop."""
        await asyncio.to_thread(self._is_to_stop.wait, seconds)

    def _note(self, error: TelegramError) -> None:
        """Say what keeps the bot from its users; it goes on trying."""
        log.warning("%s: %s", type(error).__name__, error)
        self._tell(_conflict() if isinstance(error, Conflict) else _away(self._place))

    def _tell(self, sentence: str) -> None:
        if sentence not in list(self._log.errors)[-1:]:
            self._log.errors.append(sentence)


async def _close(application: App, worker: Worker) -> None:
    """Hear no more, end the jobs, tell users, and hang up; each within its time."""
    await _stop_polling(application)
    await worker.stop()
    await application.bot_data["desk"].close(FAREWELL_S)
    if application.running:
        with suppress(TimeoutError):  # a handler may wait for its turn to speak, for minutes
            await asyncio.wait_for(application.stop(), FAREWELL_S)
    await application.shutdown()


async def _end_tasks() -> None:
    """Cancel what is still under way in this loop, such as a handler that waits for its turn."""
    late = asyncio.all_tasks() - {asyncio.current_task()}
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)


async def _stop_polling(application: App) -> None:
    updater = application.updater
    if updater is not None and updater.running:
        with suppress(TelegramError, TimeoutError):  # its last question may go unanswered
            await asyncio.wait_for(updater.stop(), FAREWELL_S)


def _generator(pipe: StableDiffusionPipeline | Generator | None) -> Generator:
    """Make what draws out of what was given."""
    from diffusers import DiffusionPipeline

    from sdlesson.bot.generator import PipelineGenerator
    from sdlesson.pipelines import load_pipeline

    if pipe is None or isinstance(pipe, DiffusionPipeline):
        return PipelineGenerator(pipe or load_pipeline())
    return pipe


def _picture(job: Job) -> Result | None:
    return job.result if job.state is State.DONE else None


def _refused() -> str:
    return say(
        "Telegram refuses this token: it is mistyped or revoked. Copy it again from @BotFather, "
        "who shows it after /token.",
        "Telegram rechaza este token: está mal copiado o revocado. Vuelve a copiarlo de "
        "@BotFather, que lo muestra con /token.",
    )


def _conflict() -> str:
    return say(
        "Another bot runs with this token, here or elsewhere. Stop it: this one keeps trying.",
        "Hay otro bot con este token en marcha, aquí o en otro sitio. Detenlo: este no desiste.",
    )


def _away(place: str) -> str:
    return say(
        f"{place} cannot be reached. Check the network: the bot keeps trying.",
        f"No se llega a {place}. Comprueba la red: el bot sigue probando.",
    )
