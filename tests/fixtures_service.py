"""The bot's service with people who talk to it: here in a thread, or in a process to be killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fixtures_bot import Painter
from fixtures_talk import QUICK, answer
from sdlesson.bot_api import BotApiServer, Person
from sdlesson.bot_service.limits import Limits
from sdlesson.bot_service.service.run import Parts, ServiceRun
from sdlesson.bot_service.store import Store

START_S = 30.0
ENDLESS = Limits(burst=10_000, per_minute=10_000, daily=10_000)


@dataclass
class Served:
    """A service, the server that it talks to, and what it draws with."""

    server: BotApiServer
    parts: Parts
    painter: Painter
    run: ServiceRun | None = None
    thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin a run, as after a restart."""
        self.run = ServiceRun(self.parts)
        self.thread = threading.Thread(target=self.run.run, daemon=True)
        self.thread.start()
        assert self.run.has_started.wait(START_S)
        assert not self.run.failure

    def stop(self) -> None:
        """End the run in good order."""
        if self.run and self.thread:
            self.run.must_stop.set()
            self.thread.join(START_S)
            assert not self.thread.is_alive()
            self.run = None

    def person(self, name: str = "Ana", language_code: str = "en", **named: Any) -> Person:
        """Let somebody in who has agreed to what the bot keeps."""
        person = self.server.user(name, language_code, **named)
        agrees(person)
        return person


def agrees(person: Person) -> None:
    """Agree to what the bot keeps."""
    welcome = answer(person, "/start")
    person.presses(welcome, data="agree:")
    person.waits_for("/help", after=welcome)


@contextmanager
def serving(folder: Path, painter: Painter | None = None, **named: Any) -> Iterator[Served]:
    """Run a service that draws with a painter; `named` goes to `Parts`."""
    painter = painter or Painter()
    store = Store(named.pop("url", f"sqlite:///{folder}/bot.db"), busy_timeout_s=0.3)
    with BotApiServer() as server, store:
        parts = Parts(server.token, painter, store, base_url=server.base_url, rate_limits=QUICK)
        served = Served(server, replace(parts, **{"limits": ENDLESS} | named), painter)
        served.start()
        try:
            yield served
        finally:
            served.stop()


# In a process of its own, which can be killed.

CHILD = """
import sys, threading
sys.path[:0] = sys.argv[1].split(":")
from fixtures_bot import Painter
from fixtures_service import parts_of_child
from sdlesson.bot_service.service.run import ServiceRun
run = ServiceRun(parts_of_child(*sys.argv[2:]))
threading.Thread(target=lambda: (run.has_started.wait(), print("up", flush=True))).start()
run.run()
"""


def parts_of_child(token: str, base_url: str, url: str, step_s: str, daily: str) -> Parts:
    """What the child's service is made of."""
    limits = replace(ENDLESS, daily=int(daily))
    painter, store = Painter(float(step_s)), Store(url)
    return Parts(token, painter, store, base_url, QUICK, limits)


@dataclass
class Child:
    """A service in a process of its own."""

    server: BotApiServer
    url: str
    step_s: float = 0.01
    daily: int = 10_000
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Begin a process, and wait until it hears users."""
        here = Path(__file__).parent
        given = (self.server.token, self.server.base_url, self.url)
        command = [sys.executable, "-c", CHILD, f"{here}:{here.parent}", *given]
        self.process = subprocess.Popen(
            [*command, str(self.step_s), str(self.daily)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "up\n"

    def kill(self) -> None:
        """End it as a power cut would: kill -9."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        time.sleep(0.05)
