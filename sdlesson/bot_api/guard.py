"""Who may come in: programs on this machine, and the chat page by its own address; nobody else.

A page somewhere on the web can have a browser ask this machine, under a name that it has pointed
here. Such a request gives itself away by its `Host` or `Origin`.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import socket
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from tornado.web import HTTPError, RequestHandler

from sdlesson.runtime import in_colab

# Set where a notebook runs on a machine of somebody else, behind a proxy whose name is not known.
HOSTED_VARIABLES = ("JUPYTERHUB_API_URL", "JUPYTERHUB_SERVICE_PREFIX", "CODESPACES")
FRAMES = "'self' http://localhost:* http://127.0.0.1:*"  # a notebook on this machine
COLAB_FRAMES = "https://colab.research.google.com https://*.googleusercontent.com"
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors {frames}"
)

log = logging.getLogger(__name__)
log.addHandler(logging.NullHandler())  # else Python prints tracebacks below some cell


class GuardedHandler(RequestHandler):
    """What all requests have in common: strangers stay out, and errors tell no address."""

    def set_default_headers(self) -> None:
        """Let other pages neither frame what comes from here nor learn its address."""
        frames = f"{FRAMES} {COLAB_FRAMES}" if in_colab() else FRAMES
        self.set_header("Content-Security-Policy", POLICY.format(frames=frames))
        self.set_header("X-Frame-Options", "SAMEORIGIN")  # for browsers that do not know the other
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")

    def prepare(self) -> None:
        """Refuse what comes from a page elsewhere."""
        headers = self.request.headers
        if not is_own_host(self.request.host):
            self.refuse(403, "this server is reached as 127.0.0.1 or localhost only")
        elif "Origin" in headers and not is_own_origin(headers["Origin"], self.request.host):
            self.refuse(403, "other pages may not write here")

    def refuse(self, status: int, sentence: str) -> None:
        """Answer with one sentence on what is wrong."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"ok": False, "error_code": status, "description": sentence}))

    def write_error(self, status_code: int, **_: Any) -> None:
        """Answer an unforeseen error as the Bot API does, in JSON."""
        self.refuse(status_code, self._reason)

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Log it without the address, which holds the token."""
        if isinstance(value, HTTPError) or typ is None or value is None:
            return
        log.error("%s could not answer", type(self).__name__, exc_info=(typ, value, tb))


class NotFoundHandler(GuardedHandler):
    """Any address that is none of this server's."""

    def prepare(self) -> None:
        """Say where the page is, to whoever asks from this machine; its address is a secret."""
        super().prepare()
        if not self._finished:
            self.refuse(404, "Not Found: open the whole address that `chat_url` gives")


def is_own_host(host: str) -> bool:
    """Whether a request is addressed to this machine.

    A name on the web can be pointed here, an address not; behind the proxy of a hosted notebook,
    which no browser can go around, the name is the proxy's.
    """
    name = _name(f"//{host}")
    if name == "localhost" or name in _names_of_this_machine() or _is_hosted():
        return True
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def is_own_origin(origin: str, host: str) -> bool:
    """Whether the page that asks is ours: from where the request goes, or of this machine."""
    name = _name(origin)
    try:
        is_same = urlsplit(origin).netloc == host
    except ValueError:  # half of an address in brackets
        return False
    if name in ("localhost", "127.0.0.1", "::1") or is_same:
        return True
    return _is_hosted() and origin.startswith("https://")


def _is_hosted() -> bool:
    return in_colab() or any(os.environ.get(name) for name in HOSTED_VARIABLES)


def _names_of_this_machine() -> tuple[str, ...]:
    name = socket.gethostname().lower()
    return name, f"{name}.local"


def _name(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:  # such as a bracket left open
        return ""
