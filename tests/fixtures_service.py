"""The bot's service with people who talk to it: here in a thread, or in a process to be killed."""

import os
import signal
import subprocess
import sys
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

ENDLESS = Limits(burst=10_000, per_minute=10_000, daily=10_000)


@dataclass
class Served:
    """A service, the server that it talks to, and what it draws with."""

    server: BotApiServer
    parts: Parts
    painter: Painter
    run: ServiceRun | None = None

    def start(self) -> None:
        """Begin a run, as after a restart."""
        self.run = ServiceRun(self.parts).start()

    def stop(self) -> None:
        """End the run in good order."""
        if self.run:
            self.run.stop()
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

NURSERY = """
import os, signal, sys, threading
sys.path[:0] = sys.argv[1].split(":")
from fixtures_service import parts_of_child
from sdlesson.bot_service.service.run import ServiceRun
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in sys.stdin:
    pid = os.fork()
    if pid:
        print("pid", pid, flush=True)
        continue
    run = ServiceRun(parts_of_child(*sys.argv[2:]))
    threading.Thread(target=lambda: (run.has_started.wait(), print("up", flush=True))).start()
    run.run()
    os._exit(0)
"""


def parts_of_child(token: str, base_url: str, url: str, step_s: str, daily: str) -> Parts:
    """What a child's service is made of."""
    limits = replace(ENDLESS, daily=int(daily))
    return Parts(token, Painter(float(step_s)), Store(url), base_url, QUICK, limits)


class Nursery:
    """Runs a service in processes of their own, one after another; torch is imported only once."""

    def __init__(self, server: BotApiServer, url: str, *, step_s: float = 0.01, daily: int = 10**4):
        here = Path(__file__).parent
        given = (server.token, server.base_url, url, str(step_s), str(daily))
        self._process = subprocess.Popen(
            [sys.executable, "-c", NURSERY, f"{here}:{here.parent}", *given],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        self._pid = 0

    def start(self) -> None:
        """Begin a process, and wait until it hears users."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        lines = sorted(self._process.stdout.readline() for _ in range(2))
        assert lines[1:] == ["up\n"], lines
        self._pid = int(lines[0].split()[1])

    def kill(self) -> None:
        """End the process as a power cut would: kill -9."""
        os.kill(self._pid, signal.SIGKILL)
        while Path(f"/proc/{self._pid}").exists():
            time.sleep(0.005)

    def close(self) -> None:
        """End all."""
        self._process.kill()
        self._process.communicate()
