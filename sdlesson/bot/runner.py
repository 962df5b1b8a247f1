"""Run the bot beside a notebook: in a thread with an event loop of its own, started and stopped.

Other ways hold the cell, or answer only while no other cell runs.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from PIL import Image
from telegram.ext import BaseHandler

from sdlesson.bot.application import TIMEOUT_S, App, SeenUpdates, build_application
from sdlesson.bot.bot_run import BotRun, unreachable
from sdlesson.bot.logs import RingBuffer
from sdlesson.bot.queue import JobState
from sdlesson.bot.rate_limiter import RateLimits
from sdlesson.bot.store import MemoryStore, Store
from sdlesson.bot.token import check_token
from sdlesson.bot.worker import Worker
from sdlesson.bot_api import BotApiServer
from sdlesson.language import say

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

    from sdlesson.bot.generator import ImageGenerator

START_WAIT_S = 10.0
MODEL_NAME_TYPES = (str, os.PathLike)  # of models, for `load_pipeline`
GENERATOR_MEMBERS = ("model", "defaults", "size", "has_control", "batch_key", "draw")

_current: Bot | None = None  # the bot of this kernel: two would take each other's updates


class BotError(RuntimeError):
    """A bot that cannot run: one sentence says why, and what to do."""


@dataclass(frozen=True)
class BotSnapshot:
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
    queued: int = 0
    drawing: int = 0
    done: int = 0
    failed: int = 0
    pictures: Sequence[tuple[Image.Image, str]] = ()
    errors: Sequence[str] = ()


class Bot:
    """A bot that draws: `bot.start()` returns at once, `bot.stop()` stops it cleanly.

    Args:
        pipe: What draws: a pipeline, what `load_pipeline` takes, or another `ImageGenerator`.
        token: From BotFather; None talks to a server on this machine instead of Telegram.
        server: That server; by default one that starts and stops with the bot.
        store: What remembers users; by default in memory, from one start to the next.
        rate_limits: How fast the bot may speak.
        timeout_s: How long to wait for an answer of the server.
        handlers: Handlers of your own, which are asked before the bot's.

    Raises:
        ValueError: There are a token and a server, of which only one can be meant, or one of the
            arguments is not what it should be.
        ModelError: The model that was named cannot be loaded.
    """

    def __init__(
        self,
        pipe: StableDiffusionPipeline | ImageGenerator | str | os.PathLike[str] | None = None,
        *,
        token: str | None = None,
        server: BotApiServer | None = None,
        store: Store | None = None,
        rate_limits: RateLimits | None = None,
        timeout_s: float = TIMEOUT_S,
        handlers: Sequence[BaseHandler[Any, Any, Any]] = (),
    ) -> None:
        if token is not None and server is not None:
            raise ValueError("give a token, for Telegram, or a server, which has one; not both")
        if token is not None:
            check_token(token, say("the token given", "el token indicado"))
        _check(server=server, handlers=handlers, rate_limits=rate_limits, timeout_s=timeout_s)
        self.server = None if token else server or BotApiServer()
        self._owns_server = not token and not server
        self._generator = _generator(pipe)
        self._build = partial(
            build_application,
            self.server.token if self.server else str(token),
            store=MemoryStore() if store is None else store,
            rate_limits=rate_limits,
            timeout_s=timeout_s,
            handlers=handlers,
            seen=SeenUpdates(),
        )
        self._server_name = "localhost" if self.server else "Telegram"
        self._log_buffer = RingBuffer()
        self._run: BotRun | None = None
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        seen = self.snapshot()
        state = "running" if seen.running else "stopped"
        return f"Bot({seen.name or 'no name yet'}, {seen.server}, {state})"

    def start(self) -> Self:
        """Run in the background, in place of the bot that this kernel ran before.

        Raises:
            BotError: The token is refused, or the bot cannot run here; the sentence says why.
            OSError: Something else listens on the port of its server.
        """
        global _current
        if self.is_running:
            return self
        if _current is not None:
            _current.stop()
        if self.server:
            self.server.start()
        _current = self
        run = self._run = BotRun(
            Worker(self._generator), self._application, self._log_buffer, self._server_name
        )
        self._thread = threading.Thread(target=run.run, name="sdlesson-bot", daemon=True)
        self._thread.start()
        run.has_started.wait(START_WAIT_S)
        if run.failure:
            self.stop()
            raise BotError(run.failure)
        print(self._greeting(run.name))
        return self

    def stop(self) -> None:
        """Tell users, end all jobs and stop; a second call changes nothing."""
        global _current
        if self._run and self._thread:
            self._run.must_stop.set()
            self._thread.join()
        if _current is self:
            _current = None  # which would keep the pipeline in memory
        if self.server and self._owns_server:
            self.server.stop()

    @property
    def is_running(self) -> bool:
        """Whether its thread is alive."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def failure(self) -> str:
        """Why it ended without being told to, in a sentence; "" where it did not."""
        return self._run.failure if self._run else ""

    @property
    def log(self) -> list[str]:
        """The latest log lines, without the token."""
        return list(self._log_buffer.lines)

    def snapshot(self) -> BotSnapshot:
        """What there is to see of it now; may be called from any thread."""
        errors = list(self._log_buffer.errors)[::-1]
        if self._run is None:
            return BotSnapshot(running=False, name="", server=self._server_name, errors=errors)
        worker = self._run.worker
        ended = [job for job in list(worker.recent)[::-1] if job.state is JobState.DONE]
        return BotSnapshot(
            running=self.is_running,
            name=self._run.name,
            server=self._server_name,
            queued=len(worker.queue),
            drawing=len(worker.running),
            done=worker.end_counts[JobState.DONE] + worker.end_counts[JobState.FLAGGED],
            failed=worker.end_counts[JobState.FAILED],
            pictures=[(job.result.image, job.request.prompt) for job in ended if job.result],
            errors=errors,
        )

    def _application(self, worker: Worker) -> App:
        return self._build(worker=worker, base_url=self.server.base_url if self.server else None)

    def _greeting(self, name: str) -> str:
        """Say where the bot can be talked to, and that this is not Telegram where it is not."""
        if not name:
            return unreachable(self._server_name)
        if self.server is None:
            page = f"https://t.me/{name[1:]}"
            return say(f"{name} is on Telegram: {page}", f"{name} está en Telegram: {page}")
        page = self.server.chat_url
        return say(
            f"{name} is on localhost, which is not Telegram. Its chat page: {page}",
            f"{name} está en localhost, que no es Telegram. Su página de chat: {page}",
        )


def _generator(
    pipe: StableDiffusionPipeline | ImageGenerator | str | os.PathLike[str] | None,
) -> ImageGenerator:
    """Turn what was given as `pipe` into an image generator."""
    from diffusers import StableDiffusionPipeline

    from sdlesson.bot.generator import PipelineGenerator
    from sdlesson.pipelines import load_pipeline

    found: Any = load_pipeline(pipe) if pipe is None or isinstance(pipe, MODEL_NAME_TYPES) else pipe
    if isinstance(found, StableDiffusionPipeline):
        return PipelineGenerator(found)
    if isinstance(found, type) or not all(hasattr(found, name) for name in GENERATOR_MEMBERS):
        raise ValueError(
            f"pipe={pipe!r:.80} cannot draw for a bot: give a StableDiffusionPipeline, what "
            f"load_pipeline takes, or an ImageGenerator, which has {', '.join(GENERATOR_MEMBERS)}"
        )
    return found


def _check(*, server: Any, handlers: Any, rate_limits: Any, timeout_s: Any) -> None:
    """Refuse at the door what would fail in the thread, where nobody sees it."""
    if server is not None and not isinstance(server, BotApiServer):
        raise ValueError(f"server={server!r:.80} must be a BotApiServer, or None for a new one")
    if rate_limits is not None and not isinstance(rate_limits, RateLimits):
        raise ValueError(
            f"rate_limits={rate_limits!r:.80} must be RateLimits, such as "
            "RateLimits(chat_per_s=1.0)"
        )
    is_number = isinstance(timeout_s, int | float) and not isinstance(timeout_s, bool)
    if not is_number or not 0 < timeout_s < math.inf:
        raise ValueError(f"timeout_s={timeout_s!r:.80} must be a number of seconds above 0")
    is_list = isinstance(handlers, Sequence) and not isinstance(handlers, str)
    if not is_list or not all(isinstance(one, BaseHandler) for one in handlers):
        raise ValueError(
            f"handlers={handlers!r:.80} must be a list of handlers of python-telegram-bot, such as "
            "[CommandHandler('surprise', surprise)]"
        )
