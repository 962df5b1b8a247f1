"""A real PostgreSQL on this machine, for the tests of the bot's service."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

START_S = 20.0
POSTGRES = "/usr/lib/postgresql"  # where Debian puts it, a folder for each version


@contextmanager
def postgres() -> Iterator[str]:
    """Run a PostgreSQL of its own, and yield its address."""
    tools = _postgres_tools()
    port, folder = free_port(), Path(tempfile.mkdtemp(prefix="sdlesson-postgres-"))
    as_user = _as_postgres(folder)
    data = folder / "data"
    quiet = {"check": True, "capture_output": True}
    make = [f"{tools}/initdb", "-D", str(data), "-U", "tester", "--auth=trust", "-E", "UTF8"]
    subprocess.run([*as_user, *make, "--locale=C", "--no-sync"], **quiet)
    serve = [f"{tools}/postgres", "-D", str(data), "-p", str(port), "-h", "127.0.0.1"]
    server = subprocess.Popen(
        [*as_user, *serve, "-k", str(folder), "-F"], stderr=subprocess.DEVNULL, cwd=folder
    )
    try:
        _wait_for(port, server)
        ready = [f"{tools}/pg_isready", "-h", "127.0.0.1", "-p", str(port)]
        _wait(lambda: subprocess.run(ready, capture_output=True).returncode == 0)
        yield f"postgresql://tester@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait(START_S)
        shutil.rmtree(folder, ignore_errors=True)


def missing(what: str, package: str) -> None:
    """Skip a test for want of a server, and say so; in CI, fail instead."""
    sentence = f"{what} is not installed here: apt-get install {package}"
    if os.environ.get("CI"):
        pytest.fail(sentence)
    pytest.skip(sentence)


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _postgres_tools() -> Path:
    found = sorted(Path(POSTGRES).glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    elsewhere = shutil.which("initdb")
    if elsewhere is None:
        missing("PostgreSQL", "postgresql")
    return Path(str(elsewhere)).parent


def _as_postgres(folder: Path) -> list[str]:
    """PostgreSQL refuses to run as root, as CI does."""
    if os.geteuid() != 0:
        return []
    shutil.chown(folder, "postgres")
    return ["runuser", "-u", "postgres", "--"]


def _wait_for(port: int, server: subprocess.Popen) -> None:
    def answers() -> bool:
        assert server.poll() is None, f"{server.args} has ended with {server.returncode}"
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", port)) == 0

    _wait(answers)


def _wait(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_S
    while not is_so():
        assert time.monotonic() < deadline, "the server does not answer"
        time.sleep(0.05)
