"""One run of the bot, from the first call to the last, in an event loop of its own.

Below it stands what is told to whoever runs the bot when it cannot run or cannot hear its users.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from telegram.error import Conflict, InvalidToken, TelegramError

from sdlesson.bot.application import ALLOWED_UPDATES, App, set_command_menu
from sdlesson.bot.logs import RingBuffer
from sdlesson.bot.worker import Worker
from sdlesson.language import say

log = logging.getLogger(__name__)

RETRY_EVERY_S = 3.0
POLL_TIMEOUT_S = 10  # how long the server may keep a request for updates open
WATCHDOG_EVERY_S = 1.0
MAX_SILENCE_S = 60.0  # without an answer for so long, the polling is started again
SHUTDOWN_STEP_S = 3.0  # for each step of the shutdown

PROXY_VARIABLES = ("HTTPS_PROXY", "ALL_PROXY", "HTTP_PROXY", "NO_PROXY")
CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


class BotRun:
    """A bot that runs once: an application never leaves the loop that it was started in.

    Args:
        worker: What draws.
        build: Makes the application; called in the loop.
        log_buffer: Where log lines and errors go.
        server_name: "Telegram" or "localhost".

    Attributes:
        name: Such as "@my_bot"; "" before the server has said it.
        failure: Why it ended without being told to, in the reader's language; else "".
        has_started: Set once it hears users, or the reader should be told that it does not yet.
        must_stop: Set from outside to end it.
    """

    def __init__(
        self,
        worker: Worker,
        build: Callable[[Worker], App],
        log_buffer: RingBuffer,
        server_name: str,
    ) -> None:
        self.worker, self._build = worker, build
        self._log_buffer, self._server_name = log_buffer, server_name
        self.name, self.failure = "", ""
        self.has_started, self.must_stop = threading.Event(), threading.Event()

    def run(self) -> None:
        """Run until it is time to stop; for a thread."""
        self._log_buffer.open()
        loop = asyncio.new_event_loop()  # asyncio.run fails in a thread after nest_asyncio.apply()
        try:
            loop.run_until_complete(self._run())
        except BaseException as error:  # a library's SystemExit too: nobody else would tell of it
            log.critical("the bot has ended by itself", exc_info=error)
            self._fail(crashed(error))
        finally:
            try:
                loop.run_until_complete(_cancel_tasks())
                loop.run_until_complete(loop.shutdown_default_executor())
            except BaseException as error:
                log.warning("the bot did not end in order", exc_info=error)
            loop.close()
            self._log_buffer.close()
            self.has_started.set()

    async def _run(self) -> None:
        """Connect, hear users until it is time to stop, and shut down."""
        try:
            application = self._build(self.worker)
        except Exception as error:  # what httpx raises depends on which setting is broken
            kind = type(error).__name__
            log.error("no connection to %s can be made (%s)", self._server_name, kind)
            self._fail(bad_network_settings(error))
            return
        try:
            if await self._retry(lambda: self._connect(application)):
                await application.start()
                self.worker.start()
                self.has_started.set()
                await self._watch(application)
        finally:
            await _shut_down(application, self.worker)

    def _fail(self, sentence: str) -> None:
        """Take down why the bot ends without being told to."""
        if not self.must_stop.is_set():
            self.failure = sentence
            self._log_buffer.add_error(sentence)

    async def _connect(self, application: App) -> None:
        """Ask who the bot is, name its commands, and begin to ask for updates."""
        await application.initialize()
        self.name = f"@{application.bot.username}"
        await self._set_menu(application)
        await self._start_polling(application)

    async def _set_menu(self, application: App) -> None:
        await set_command_menu(application)

    async def _start_polling(self, application: App) -> None:
        polling_request, updater = application.bot_data["polling_request"], application.updater
        polling_request.last_answer_s = time.monotonic()
        polling_request.is_unauthorized = False
        assert updater is not None
        await updater.start_polling(
            timeout=POLL_TIMEOUT_S, allowed_updates=ALLOWED_UPDATES, error_callback=self._report
        )

    async def _watch(self, application: App) -> None:
        """Wait until it is time to stop, and start a polling anew that has fallen silent."""
        polling_request = application.bot_data["polling_request"]
        while not self.must_stop.is_set():
            await self._pause(WATCHDOG_EVERY_S)
            self.worker.raise_if_broken()
            silent_s = time.monotonic() - polling_request.last_answer_s
            # The polling ends by itself where the server does not know the token.
            if silent_s > MAX_SILENCE_S or polling_request.is_unauthorized:
                log.warning("no answer for %.0f s: polling again", silent_s)
                await _stop_polling(application)
                if not await self._retry(lambda: self._start_polling(application)):
                    return

    async def _retry(self, action: Callable[[], Awaitable[object]]) -> bool:
        """Try until it works; False when the token is refused or it is time to stop."""
        while not self.must_stop.is_set():
            try:
                await action()
                return True
            except InvalidToken:  # whose message holds the token
                self._fail(token_refused())
                return False
            except Exception as error:  # whatever it is: who watches must not fall with the rest
                self._report(error)
            self.has_started.set()
            await self._pause(RETRY_EVERY_S)
        return False

    async def _pause(self, seconds: float) -> None:
        """Wait, but no longer than until it is time to stop."""
        await asyncio.to_thread(self.must_stop.wait, seconds)

    def _report(self, error: Exception) -> None:
        """Say what keeps the bot from its users; it goes on trying."""
        if isinstance(error, Conflict):
            sentence = conflict()
        elif isinstance(error, TelegramError):
            sentence = unreachable(self._server_name)
        else:
            log.warning("the bot keeps trying", exc_info=error)
            self._log_buffer.add_error(unexpected(error))
            return
        log.warning("%s: %s", type(error).__name__, error)
        self._log_buffer.add_error(sentence)


async def _shut_down(application: App, worker: Worker) -> None:
    """Hear no more, end the jobs, tell users, and hang up; each within its time."""
    service = application.bot_data["service"]
    for step in (
        lambda: _stop_polling(application),
        worker.stop,
        lambda: service.close(SHUTDOWN_STEP_S),
        lambda: _stop_handling(application),
        application.shutdown,
        application.bot.shutdown,  # which the one before leaves open if nobody ever answered
    ):
        try:
            await step()
        except Exception as error:  # what fails must not keep the others from theirs
            log.warning("a part of the bot did not end in order", exc_info=error)


async def _stop_polling(application: App) -> None:
    updater = application.updater
    if updater is not None and updater.running:
        try:  # its last request may go unanswered, or it may have broken down before
            await asyncio.wait_for(updater.stop(), SHUTDOWN_STEP_S)
        except Exception as error:
            log.info("the polling did not end in order (%s)", type(error).__name__)


async def _stop_handling(application: App) -> None:
    if application.running:
        with suppress(TimeoutError):  # a handler may wait for its turn to speak, for minutes
            await asyncio.wait_for(application.stop(), SHUTDOWN_STEP_S)


async def _cancel_tasks() -> None:
    """Cancel what is still under way in this loop, such as a handler that waits for its turn."""
    late = asyncio.all_tasks() - {asyncio.current_task()}
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)


def unreachable(server_name: str) -> str:
    """Say that a server, "Telegram" or "localhost", cannot be reached."""
    proxies = "" if server_name == "localhost" else " & ".join(_set(PROXY_VARIABLES[:3]))
    by = say(f" by the proxy in {proxies}", f" por el proxy de {proxies}") if proxies else ""
    return say(
        f"{server_name} cannot be reached{by}. Check the network: the bot keeps trying.",
        f"No se llega a {server_name}{by}. Comprueba la red: el bot sigue probando.",
    )


def token_refused() -> str:
    """Say that Telegram does not know the token."""
    return say(
        "Telegram refuses this token: it is mistyped or revoked. Copy it again from @BotFather, "
        "who shows it after /token.",
        "Telegram rechaza este token: está mal copiado o revocado. Vuelve a copiarlo de "
        "@BotFather, que lo muestra con /token.",
    )


def conflict() -> str:
    """Say that another bot takes this one's messages."""
    return say(
        "Another bot runs with this token, here or elsewhere. Stop it: this one keeps trying.",
        "Hay otro bot con este token en marcha, aquí o en otro sitio. Detenlo: este no desiste.",
    )


def unexpected(error: BaseException) -> str:
    """Say that something nobody has thought of keeps the bot from its users for now."""
    kind = type(error).__name__
    return say(
        f"Something unexpected ({kind}) keeps the bot from its users; it keeps trying, and "
        "`bot.log` says more.",
        f"Algo inesperado ({kind}) separa al bot de sus usuarios; sigue probando, y `bot.log` "
        "dice más.",
    )


def crashed(error: BaseException) -> str:
    """Say that the bot has ended by itself, and of what."""
    kind = type(error).__name__
    return say(
        f"The bot has ended by itself, of an error ({kind}) that `bot.log` describes. Start it "
        "again, and report this if it comes back.",
        f"El bot ha acabado por sí solo, por un error ({kind}) que `bot.log` describe. Vuelve a "
        "ponerlo en marcha y, si se repite, avisa.",
    )


def bad_network_settings(error: BaseException) -> str:
    """Say which setting of this machine's network keeps the bot from being built.

    No value is shown: an address of a proxy may hold a password.
    """
    certificates, proxies = _set(CERTIFICATE_VARIABLES), _set(PROXY_VARIABLES)
    if isinstance(error, OSError) and certificates:
        missing = [name for name in certificates if not Path(_value(name)).exists()]
        name = (missing or certificates)[0]
        return say(
            f"The certificates that {name} names cannot be read. Correct that variable, or take "
            "it away, and start again.",
            f"No se pueden leer los certificados que indica {name}. Corrige esa variable, o "
            "quítala, y vuelve a empezar.",
        )
    socks = [name for name in proxies if _value(name).lower().startswith("socks")]
    if socks and isinstance(error, RuntimeError | ImportError):
        return say(
            f"{socks[0]} names a SOCKS proxy, which needs one more package: run "
            "`pip install 'httpx[socks]'`, or take that variable away, and start again.",
            f"{socks[0]} indica un proxy SOCKS, que necesita otro paquete: ejecuta "
            "`pip install 'httpx[socks]'`, o quita esa variable, y vuelve a empezar.",
        )
    if proxies:
        names = " & ".join(proxies)
        return say(
            f"The proxy cannot be used that {names} names. It should look like "
            "http://proxy.example:8080; correct that variable, or take it away, and start again.",
            f"No se puede usar el proxy que indica {names}. Debe parecerse a "
            "http://proxy.example:8080; corrige esa variable, o quítala, y vuelve a empezar.",
        )
    return crashed(error)


def _set(names: tuple[str, ...]) -> list[str]:
    """Those variables that have a value, as they are spelt in the environment."""
    spelt = [spelling for name in names for spelling in (name, name.lower())]
    return [name for name in spelt if os.environ.get(name)]


def _value(name: str) -> str:
    return os.environ.get(name, "")
