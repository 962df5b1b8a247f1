"""What Kubernetes, a proxy or Prometheus may ask over HTTP: alive? ready? how many?

It answers from threads of its own, so that it can still say so when the event loop hangs.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from urllib.error import HTTPError
from urllib.request import urlopen

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from sdlesson.bot_service.metrics import Metrics

if TYPE_CHECKING:
    from sdlesson.bot_service.configuration import Configuration

PORT = "9464"
STUCK_S = 15.0  # an event loop that late is dead to its users
READY_WITHIN_S = 5.0
ASK_TIMEOUT_S = 10.0  # for whoever asks and then says nothing

# "" where all is well, else a sentence.
Check: TypeAlias = Callable[[], str]

log = logging.getLogger(__name__)


class Gauges(NamedTuple):
    """What is looked up in the bot when somebody asks."""

    queued: Callable[[], int]
    drawing: Callable[[], int]
    ready: Callable[[], Awaitable[str]]


@asynccontextmanager
async def serve(
    configuration: Configuration, gauges: Gauges, metrics: Metrics
) -> AsyncIterator[int]:
    """Answer while inside, for the bot whose event loop this runs in; yields the port.

    With port 0 nothing is served, and 0 is yielded.
    """
    if not configuration.metrics_port:
        yield 0
        return
    loop = asyncio.get_running_loop()

    def is_ready() -> str:
        asked = asyncio.run_coroutine_threadsafe(_ask(gauges.ready), loop)
        try:
            return asked.result(READY_WITHIN_S)
        except TimeoutError:
            asked.cancel()
            return f"no answer within {READY_WITHIN_S:.0f} s"

    metrics.watch("sdlesson_queue_length", "Jobs that wait", gauges.queued)
    metrics.watch("sdlesson_drawing", "Jobs that are drawn now", gauges.drawing)
    measuring = asyncio.create_task(metrics.measure_loop_lag())
    try:
        address = configuration.metrics_listen, configuration.metrics_port
        with answering(*address, metrics.registry, lambda: _is_alive(metrics), is_ready) as port:
            yield port
    finally:
        measuring.cancel()


@contextmanager
def answering(
    host: str, port: int, registry: CollectorRegistry, is_alive: Check, is_ready: Check
) -> Iterator[int]:
    """Answer at /metrics, /health/live and /health/ready while inside; yields the port."""
    pages = {"/health/live": is_alive, "/health/ready": is_ready}
    server = ThreadingHTTPServer((host, port), partial(_Answers, pages, registry))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Answers(BaseHTTPRequestHandler):
    """Answers one request."""

    timeout = ASK_TIMEOUT_S

    def __init__(self, pages: dict[str, Check], registry: CollectorRegistry, *request: Any) -> None:
        self._pages, self._registry = pages, registry
        super().__init__(*request)  # which answers

    def do_GET(self) -> None:
        """Answer, or say what there is."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._send(HTTPStatus.OK, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(self._registry))
        elif path in self._pages:
            trouble = self._look(path)
            status = HTTPStatus.SERVICE_UNAVAILABLE if trouble else HTTPStatus.OK
            body = json.dumps({"ok": not trouble, "trouble": trouble}).encode()
            self._send(status, "application/json", body)
        else:
            there = ", ".join(["/metrics", *self._pages])
            self._send(HTTPStatus.NOT_FOUND, "text/plain", f"There are {there}.\n".encode())

    def _look(self, path: str) -> str:
        try:
            return self._pages[path]()
        except Exception as error:
            log.error("%s cannot be answered", path, exc_info=error)
            return f"cannot be told ({type(error).__name__})"

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: somebody asks every few seconds."""


def main(arguments: Sequence[str]) -> int:
    """Ask the process on this machine how it is, such as with `live` or `ready 9464`.

    Returns:
        0 where all is well, and 1 where a sentence says what is not.
    """
    page = arguments[0] if arguments else "ready"
    port = arguments[1] if len(arguments) > 1 else PORT
    try:
        with urlopen(f"http://127.0.0.1:{port}/health/{page}", timeout=ASK_TIMEOUT_S) as answer:
            told = json.load(answer)
    except HTTPError as error:
        told = json.loads(error.read())
    except OSError as error:
        told = {"ok": False, "trouble": f"nobody answers on port {port} ({error})"}
    print(told["trouble"] or "all is well")
    return 0 if told["ok"] else 1


async def _ask(ready: Callable[[], Awaitable[str]]) -> str:
    return await ready()


def _is_alive(metrics: Metrics) -> str:
    """Whether the event loop turns."""
    if metrics.looked_s is None:
        return ""  # it has only just begun
    silent_s = time.monotonic() - metrics.looked_s
    return f"the event loop has hung for {silent_s:.0f} s" if silent_s > STUCK_S else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
