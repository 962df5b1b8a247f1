"""Updates as Telegram brings them: a server behind the proxy that has the certificate.

Not python-telegram-bot's own server, which says yes to an update before anybody has written it
down, and compares the secret sign by sign. This one says yes once the update is on record; until
then Telegram brings it again.
"""

from __future__ import annotations

import hmac
import json
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from telegram.error import NetworkError
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from sdlesson.bot_service.configuration import WEBHOOK_SECRET

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"
MAX_BODY_BYTES = 2**20  # an update has some kilobytes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WebhookSettings:
    """Where Telegram brings updates, and where this machine takes them.

    Attributes:
        url: The address that Telegram is told, which begins with https://.
        secret: What Telegram says with each update, to show that it is Telegram.
        listen, port: Where the proxy hands updates on; port 0 takes any free one.
    """

    url: str
    secret: str
    listen: str = "127.0.0.1"
    port: int = 8443

    def __post_init__(self) -> None:
        """Refuse a secret that is none: an empty one would be known to everybody."""
        if not WEBHOOK_SECRET.fullmatch(self.secret):
            raise ValueError("a webhook's secret has at least 16 letters, digits, _ or -")


class WebhookServer:
    """Takes updates over HTTP, in the running event loop.

    Args:
        settings: Where, and the secret.
        receive: Called with each update; a NetworkError lets Telegram bring it again.

    Attributes:
        port: Where it listens.

    Raises:
        OSError: Something else listens there.
    """

    def __init__(
        self, settings: WebhookSettings, receive: Callable[[dict[str, Any]], Awaitable[None]]
    ) -> None:
        path = urlsplit(settings.url).path or "/"
        given = {"secret": settings.secret, "receive": receive}
        application = Application(
            [(re.escape(path), _Updates, given)],
            log_function=lambda _: None,  # which would log addresses
            default_handler_class=_NothingHere,
        )
        self._server = HTTPServer(application, max_body_size=MAX_BODY_BYTES)
        sockets = bind_sockets(settings.port, settings.listen)
        self.port: int = sockets[0].getsockname()[1]
        self._server.add_sockets(sockets)

    async def close(self) -> None:
        """Take no more updates."""
        self._server.stop()
        await self._server.close_all_connections()


class _NothingHere(RequestHandler):
    def prepare(self) -> None:
        self.set_status(HTTPStatus.NOT_FOUND)
        self.finish()


class _Updates(RequestHandler):
    """Takes one update."""

    def initialize(self, secret: str, receive: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        self._secret, self._receive = secret, receive

    def prepare(self) -> None:
        """Refuse whoever does not know the secret, however near the guess."""
        given = self.request.headers.get(SECRET_HEADER, "")
        # In constant time: else the time to an answer says how many signs of a guess are right.
        if not hmac.compare_digest(given.encode(), self._secret.encode()):
            log.warning("an update with a wrong secret was refused")
            self.set_status(HTTPStatus.FORBIDDEN)
            self.finish()

    async def post(self) -> None:
        """Take an update, and say yes once it is on record."""
        try:
            update = json.loads(self.request.body)
            is_update = type(update["update_id"]) is int
        except (ValueError, LookupError, TypeError, RecursionError):
            is_update = False
        if not is_update:
            self.set_status(HTTPStatus.BAD_REQUEST)
            return
        try:
            await self._receive(update)
        except NetworkError:
            self.set_status(HTTPStatus.SERVICE_UNAVAILABLE)
