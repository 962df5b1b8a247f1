"""A Bot API server on localhost, for bots without a token, a network or a phone."""

from __future__ import annotations

import asyncio
import copy
import io
import secrets
import threading
from collections.abc import Callable
from typing import Self

from PIL import Image, UnidentifiedImageError
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from sdlesson.bot_api.control import ControlHandler, PageHandler
from sdlesson.bot_api.errors import ApiError, Json
from sdlesson.bot_api.faults import Fault
from sdlesson.bot_api.guard import NotFoundHandler
from sdlesson.bot_api.people import Person
from sdlesson.bot_api.state import Answer, ApiCall, ServerState, TelegramState
from sdlesson.bot_api.web import MAX_BODY_BYTES, FileHandler, MethodHandler

HOST = "127.0.0.1"
MAX_PORT = 65_535


class BotApiServer:
    """Answers a bot as Telegram would, and lets a program or a page be its users.

    It runs in a thread of its own. Only this machine reaches it. `with BotApiServer() as server:`
    starts and stops it; it may be started again, and keeps its port and all that was said.

    Args:
        port: Where to listen; 0 for any free port.
        token: The bot's token; None for a new made-up one, which Telegram does not know.

    Raises:
        ValueError: The port or the token is none.

    Attributes:
        state: All that is kept, for those who look behind the Bot API.
    """

    def __init__(self, port: int = 0, *, token: str | None = None) -> None:
        if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= MAX_PORT:
            raise ValueError(f"port={port!r} must be a whole number from 0 to {MAX_PORT}; try 0")
        self.state = ServerState(_made_up_token() if token is None else _checked(token))
        self._port = port
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None

    def __repr__(self) -> str:
        place = self.url if self._thread else "not started"
        return f"BotApiServer({place})"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Begin to answer; without effect if it does already.

        Raises:
            OSError: Something else listens on that port.
        """
        if self._thread:
            return self
        sockets = _bind(self._port)
        self._port = sockets[0].getsockname()[1]
        ready = threading.Event()
        arguments = (sockets, ready)
        self._thread = threading.Thread(
            target=self._serve, args=arguments, name="bot-api", daemon=True
        )
        self._thread.start()
        ready.wait()
        return self

    def stop(self) -> None:
        """Close every connection and stop answering; without effect if it has stopped."""
        thread, loop, over = self._thread, self._loop, self._over
        if thread is None or loop is None or over is None:
            return
        loop.call_soon_threadsafe(over.set)
        thread.join()
        self._thread = None
        self.state.bind_to(None)

    # Where the bot and people find it.

    @property
    def token(self) -> str:
        """The token that the bot has to use."""
        return self.state.token

    @property
    def url(self) -> str:
        """The address of the server."""
        if not self._port:
            raise RuntimeError("the server has no address yet; call start() first")
        return f"http://{HOST}:{self._port}"

    @property
    def base_url(self) -> str:
        """What python-telegram-bot takes as `base_url`."""
        return f"{self.url}/bot"

    @property
    def base_file_url(self) -> str:
        """What python-telegram-bot takes as `base_file_url`."""
        return f"{self.url}/file/bot"

    @property
    def chat_url(self) -> str:
        """The page on which to talk to the bot, at an address that cannot be guessed."""
        return f"{self.url}/chat/{self.state.key}/"

    # What happens there.

    def user(self, name: str, language_code: str = "en", id: int | None = None) -> Person:
        """Let somebody in; the bot hears of a person when that person writes first."""
        return self.run(
            lambda telegram: Person(self.state, telegram.add_user(name, language_code, id))
        )

    def messages(self, chat_id: int) -> list[Json]:
        """What the user of a chat sees now, oldest first, as the Bot API describes messages."""
        return self.run(
            lambda telegram: copy.deepcopy(list(telegram.chats[chat_id].messages.values()))
        )

    def picture(self, message: Json) -> Image.Image:
        """The picture that a message shows, at its largest.

        Raises:
            ValueError: It shows none, or the server has forgotten it.
        """
        described = (message.get("photo") or [message.get("document") or {}])[-1]
        try:
            data = self.run(lambda telegram: telegram.media.file(described["file_id"]).data)
            return Image.open(io.BytesIO(data))
        except (KeyError, ApiError, UnidentifiedImageError) as error:
            number = message.get("message_id")
            raise ValueError(
                f"message {number} shows no picture that is kept here; give one with a photo, or "
                "with a file that is a picture"
            ) from error

    @property
    def updates(self) -> list[Json]:
        """Every update that was made for the bot so far, delivered or not."""
        return self.run(lambda telegram: copy.deepcopy(list(telegram.updates.history)))

    def replay(self, update: Json) -> None:
        """Deliver an update once as it is, even one that the bot has confirmed."""
        self.run(lambda telegram: telegram.updates.replay(update))

    def fail(
        self,
        method: str,
        *,
        status: int = 200,
        description: str = "",
        retry_after: int | None = None,
        times: int = 1,
        drop: bool = False,
        delay_s: float = 0.0,
        after: bool = False,
        chat_id: int | None = None,
    ) -> None:
        """Let the next calls of a method fail, as `Fault` says.

        Raises:
            ValueError: No call could fail like that.
        """
        fault = Fault(
            method, status, description, retry_after, times, drop, delay_s, after, chat_id
        )
        self.run(lambda _: self.state.faults.add(fault))

    def clear_faults(self) -> None:
        """Let no more calls fail of those that `fail` asked for."""
        self.run(lambda _: self.state.faults.clear())

    @property
    def calls(self) -> list[ApiCall]:
        """The calls of the bot, oldest first."""
        return self.run(lambda _: list(self.state.calls))

    def run(self, action: Callable[[TelegramState], Answer]) -> Answer:
        """Do something with what is kept, between two calls of the bot; from any thread."""
        return self.state.run(action)

    def _serve(self, sockets: list, ready: threading.Event) -> None:
        # Not asyncio.run, which nest_asyncio replaces by one for the main thread only.
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self.state.bind_to(self._loop)
        try:
            self._loop.run_until_complete(self._listen(sockets, ready))
        finally:
            self._loop.close()

    async def _listen(self, sockets: list, ready: threading.Event) -> None:
        self._over = asyncio.Event()
        mine = {"state": self.state}
        routes: list[tuple] = [
            (r"/bot([^/]+)/([^/]+)", MethodHandler, mine),
            (r"/file/bot([^/]+)/(.+)", FileHandler, mine),
            (r"/chat/([^/]+)/control/(.+)", ControlHandler, mine),
            (r"/chat/([^/]+)(?:/(|chat\.css|chat\.js))?", PageHandler, mine),
        ]
        # The default log holds addresses, and so the token.
        application = Application(
            routes, log_function=lambda handler: None, default_handler_class=NotFoundHandler
        )
        most = 2 * MAX_BODY_BYTES
        http = HTTPServer(application, max_buffer_size=most, max_body_size=most)
        http.add_sockets(sockets)
        ready.set()
        await self._over.wait()
        http.stop()
        await http.close_all_connections()
        waiting = asyncio.all_tasks() - {asyncio.current_task()}
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def _bind(port: int) -> list:
    try:
        return bind_sockets(port, HOST)
    except OSError as error:
        raise OSError(
            f"cannot listen on port {port} ({error.strerror}); choose another, or 0 for any"
        ) from error


def _made_up_token() -> str:
    number = 1_000_000_000 + secrets.randbelow(1_000_000_000)
    return f"{number}:AA{secrets.token_hex(17)[:33]}"


def _checked(token: str) -> str:
    number, _, rest = token.partition(":") if isinstance(token, str) else ("", "", "")
    if not number.isdecimal() or not rest:
        raise ValueError("token must be digits, a colon and letters, such as 123456:ABC")
    return token
