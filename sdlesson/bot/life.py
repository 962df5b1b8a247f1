"""One run of the bot, from the first call to the last, in an event loop of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from telegram.error import Conflict, InvalidToken, TelegramError

from sdlesson.bot import failures
from sdlesson.bot.application import UPDATES, App, name_commands
from sdlesson.bot.logs import RingBuffer
from sdlesson.bot.worker import Worker

log = logging.getLogger(__name__)

RETRY_S = 3.0
POLL_S = 10  # how long the server may keep a question for news open
LOOK_EVERY_S = 1.0
SILENCE_S = 60.0  # without an answer for so long, the polling is started again
FAREWELL_S = 3.0  # for each part of the leave-taking


class Life:
    """A bot that runs once: an application never leaves the loop that it was started in.

    Args:
        worker: What draws.
        build: Makes the application; called in the loop.
        kept: Where log lines and errors go.
        place: What the server is called, "Telegram" or "localhost".

    Attributes:
        name: Such as "@my_bot"; "" before the server has said it.
        failure: Why it ended without being told to, in the reader's language; else "".
        is_up: Set once it hears users, or the reader should be told that it does not yet.
        is_to_stop: Set from outside to end it.
    """

    def __init__(
        self, worker: Worker, build: Callable[[Worker], App], kept: RingBuffer, place: str
    ) -> None:
        self.worker, self._build, self._kept, self._place = worker, build, kept, place
        self.name, self.failure = "", ""
        self.is_up, self.is_to_stop = threading.Event(), threading.Event()

    def run(self) -> None:
        """Live until it is time to stop; for a thread."""
        self._kept.open()
        loop = asyncio.new_event_loop()  # asyncio.run fails in a thread after nest_asyncio.apply()
        try:
            loop.run_until_complete(self._live())
        except BaseException as error:  # a library's SystemExit too: nobody else would tell of it
            log.critical("the bot has ended by itself", exc_info=error)
            self._fail(failures.died(error))
        finally:
            try:
                loop.run_until_complete(_end_tasks())
                loop.run_until_complete(loop.shutdown_default_executor())
            except BaseException as error:
                log.warning("the bot did not end in order", exc_info=error)
            loop.close()
            self._kept.close()
            self.is_up.set()

    async def _live(self) -> None:
        """Connect, talk until it is time to stop, and take leave."""
        try:
            application = self._build(self.worker)
        except Exception as error:  # what httpx raises depends on which setting is broken
            log.error("the line to %s cannot be made (%s)", self._place, type(error).__name__)
            self._fail(failures.no_line(error))
            return
        try:
            if await self._insist(lambda: self._open(application)):
                await application.start()
                self.worker.start()
                self.is_up.set()
                await self._watch(application)
        finally:
            await _close(application, self.worker)

    def _fail(self, sentence: str) -> None:
        """Take down why the bot ends without being told to."""
        if not self.is_to_stop.is_set():
            self.failure = sentence
            self._kept.tell(sentence)

    async def _open(self, application: App) -> None:
        """Ask who the bot is, name its commands, and begin to ask for news."""
        await application.initialize()
        self.name = f"@{application.bot.username}"
        await name_commands(application)
        await self._poll(application)

    async def _poll(self, application: App) -> None:
        line, updater = application.bot_data["line"], application.updater
        line.heard_s, line.is_refused = time.monotonic(), False
        assert updater is not None
        await updater.start_polling(
            timeout=POLL_S, allowed_updates=UPDATES, error_callback=self._note
        )

    async def _watch(self, application: App) -> None:
        """Wait until it is time to stop, and start a polling anew that has fallen silent."""
        line = application.bot_data["line"]
        while not self.is_to_stop.is_set():
            await self._pause(LOOK_EVERY_S)
            self.worker.check()
            silent_s = time.monotonic() - line.heard_s
            if silent_s > SILENCE_S or line.is_refused:  # which the polling does not outlive
                log.warning("no news for %.0f s: polling again", silent_s)
                await _stop_polling(application)
                if not await self._insist(lambda: self._poll(application)):
                    return

    async def _insist(self, action: Callable[[], Awaitable[object]]) -> bool:
        """Try until it works; False when the token is refused or it is time to stop."""
        while not self.is_to_stop.is_set():
            try:
                await action()
                return True
            except InvalidToken:  # whose message holds the token
                self._fail(failures.refused())
                return False
            except Exception as error:  # whatever it is: who watches must not fall with the rest
                self._note(error)
            self.is_up.set()
            await self._pause(RETRY_S)
        return False

    async def _pause(self, seconds: float) -> None:
        """Wait, but no longer than until it is time to stop."""
        await asyncio.to_thread(self.is_to_stop.wait, seconds)

    def _note(self, error: Exception) -> None:
        """Say what keeps the bot from its users; it goes on trying."""
        if isinstance(error, TelegramError):
            log.warning("%s: %s", type(error).__name__, error)
            is_conflict = isinstance(error, Conflict)
            self._kept.tell(failures.conflict() if is_conflict else failures.away(self._place))
        else:
            log.warning("the bot keeps trying", exc_info=error)
            self._kept.tell(failures.unexpected(error))


async def _close(application: App, worker: Worker) -> None:
    """Hear no more, end the jobs, tell users, and hang up; each within its time."""
    desk = application.bot_data["desk"]
    for leave in (
        lambda: _stop_polling(application),
        worker.stop,
        lambda: desk.close(FAREWELL_S),
        lambda: _stop_handling(application),
        application.shutdown,
        application.bot.shutdown,  # which the one before leaves open if nobody ever answered
    ):
        try:
            await leave()
        except Exception as error:  # what fails must not keep the others from theirs
            log.warning("a part of the bot did not end in order", exc_info=error)


async def _stop_polling(application: App) -> None:
    updater = application.updater
    if updater is not None and updater.running:
        try:  # its last question may go unanswered, or it may have broken down before
            await asyncio.wait_for(updater.stop(), FAREWELL_S)
        except Exception as error:
            log.info("the polling did not end in order (%s)", type(error).__name__)


async def _stop_handling(application: App) -> None:
    if application.running:
        with suppress(TimeoutError):  # a handler may wait for its turn to speak, for minutes
            await asyncio.wait_for(application.stop(), FAREWELL_S)


async def _end_tasks() -> None:
    """Cancel what is still under way in this loop, such as a handler that waits for its turn."""
    late = asyncio.all_tasks() - {asyncio.current_task()}
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
