"""One run of the bot, from the first call to the last, in an event loop of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from telegram.error import Conflict, InvalidToken, TelegramError

from sdlesson.bot.application import UPDATES, App, name_commands
from sdlesson.bot.logs import RingBuffer
from sdlesson.bot.worker import Worker
from sdlesson.language import say

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
        failure: Why it cannot run, in the reader's language; "" as long as it can.
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
        except Exception:
            log.exception("the bot stopped by itself")
        finally:
            loop.run_until_complete(_end_tasks())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
            self._kept.close()
            self.is_up.set()

    async def _live(self) -> None:
        """Connect, talk until it is time to stop, and take leave."""
        application = self._build(self.worker)
        try:
            if await self._insist(lambda: self._open(application)):
                await application.start()
                self.worker.start()
                self.is_up.set()
                await self._watch(application)
        finally:
            await _close(application, self.worker)

    async def _open(self, application: App) -> None:
        """Ask who the bot is, name its commands, and begin to ask for news."""
        await application.initialize()
        self.name = f"@{application.bot.username}"
        await name_commands(application)
        await self._poll(application)

    async def _poll(self, application: App) -> None:
        application.bot_data["line"].heard_s = time.monotonic()
        updater = application.updater
        assert updater is not None
        await updater.start_polling(
            timeout=POLL_S, allowed_updates=UPDATES, error_callback=self._note
        )

    async def _watch(self, application: App) -> None:
        """Wait until it is time to stop, and start a polling anew that has fallen silent."""
        while not self.is_to_stop.is_set():
            await self._pause(LOOK_EVERY_S)
            if time.monotonic() - application.bot_data["line"].heard_s > SILENCE_S:
                log.warning("no answer for %s s: polling again", SILENCE_S)
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
                self.failure = _refused()
                self._kept.tell(self.failure)
                return False
            except TelegramError as error:
                self._note(error)
            self.is_up.set()
            await self._pause(RETRY_S)
        return False

    async def _pause(self, seconds: float) -> None:
        """Wait, but no longer than until it is time to stop."""
        await asyncio.to_thread(self.is_to_stop.wait, seconds)

    def _note(self, error: TelegramError) -> None:
        """Say what keeps the bot from its users; it goes on trying."""
        log.warning("%s: %s", type(error).__name__, error)
        self._kept.tell(_conflict() if isinstance(error, Conflict) else away(self._place))


def away(place: str) -> str:
    """Say that a server cannot be reached."""
    return say(
        f"{place} cannot be reached. Check the network: the bot keeps trying.",
        f"No se llega a {place}. Comprueba la red: el bot sigue probando.",
    )


async def _close(application: App, worker: Worker) -> None:
    """Hear no more, end the jobs, tell users, and hang up; each within its time."""
    await _stop_polling(application)
    await worker.stop()
    await application.bot_data["desk"].close(FAREWELL_S)
    if application.running:
        with suppress(TimeoutError):  # a handler may wait for its turn to speak, for minutes
            await asyncio.wait_for(application.stop(), FAREWELL_S)
    await application.shutdown()
    await application.bot.shutdown()  # which the line above leaves open if nobody ever answered


async def _stop_polling(application: App) -> None:
    updater = application.updater
    if updater is not None and updater.running:
        with suppress(TelegramError, TimeoutError):  # its last question may go unanswered
            await asyncio.wait_for(updater.stop(), FAREWELL_S)


async def _end_tasks() -> None:
    """Cancel what is still under way in this loop, such as a handler that waits for its turn."""
    late = asyncio.all_tasks() - {asyncio.current_task()}
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)


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
