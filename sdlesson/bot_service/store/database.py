"""One database, SQLite or PostgreSQL, and a thread for it, so that the event loop never waits."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError

from sdlesson.bot_service.store.migrations import migrate

BUSY_TIMEOUT_S = 5.0  # how long to wait for whoever else writes to the file
PAUSES_S = (0.1, 0.5, 1.0, 2.0, 5.0)  # between tries of what has to succeed; the last one repeats
RETRY_S = 0.02
OWNER_ONLY = 0o600

log = logging.getLogger(__name__)

Given = ParamSpec("Given")
Found = TypeVar("Found")


class StoreError(RuntimeError):
    """The database did not do it: locked, full, away; nothing of it has been done."""


class Database:
    """Runs transactions, each whole or not at all.

    Args:
        url: Such as "sqlite:///bot.db" or "postgresql://bot:secret@localhost/bot".
        busy_timeout_s: How long to wait for a lock that somebody else has.

    Raises:
        ValueError: The address is none of a database that is known here.
        StoreError: The database cannot be opened.
        NewerDatabaseError: A newer bot has used it.
    """

    def __init__(self, url: str, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self.engine = _engine(_checked(url), busy_timeout_s)
        with self.begin() as connection:
            migrate(connection)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Open a transaction: committed at the end of the block, undone by an exception.

        Raises:
            StoreError: The database is locked, full or away.
        """
        try:
            with self.engine.begin() as connection:
                yield connection
        except IntegrityError:
            raise
        except DBAPIError as error:
            # Not the statement's values, which are what users wrote.
            raise StoreError(f"{type(error).__name__}: {error.orig}") from None

    def wipe(self) -> None:
        """Let nothing of what was deleted stay in SQLite's files."""
        if self.engine.dialect.name == "sqlite":
            try:
                with self.engine.connect() as connection:
                    connection.connection.driver_connection.execute(  # type: ignore[union-attr]
                        "PRAGMA wal_checkpoint(TRUNCATE)"
                    )
            except DBAPIError as error:
                raise StoreError(f"{type(error).__name__}: {error.orig}") from None

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


class StoreThread:
    """Calls the store in its thread, one call after another, in the order in which they came."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="sdlesson-store")

    async def __call__(
        self, call: Callable[Given, Found], *args: Given.args, **kwargs: Given.kwargs
    ) -> Found:
        """Call something of the store.

        Raises:
            StoreError: The database did not do it.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: call(*args, **kwargs))

    async def retry(
        self, call: Callable[Given, Found], *args: Given.args, **kwargs: Given.kwargs
    ) -> Found:
        """Call until it works: for what must be on record before the next step is taken."""
        tries = 0
        while True:
            try:
                return await self(call, *args, **kwargs)
            except StoreError as error:
                log.error("the store does not answer, so this waits: %s", error)
                await asyncio.sleep(PAUSES_S[min(tries, len(PAUSES_S) - 1)])
                tries += 1

    def close(self) -> None:
        """Wait for the last call and end the thread."""
        self._executor.shutdown()


def _checked(url: str) -> URL:
    try:
        parsed = make_url(url)
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError):
        parsed = None
    if parsed is None or parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise ValueError(  # without the address, which may hold a password
            "database_url must look like sqlite:///bot.db or postgresql://user:password@host/name"
        )
    if parsed.get_backend_name() == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    return parsed


def _engine(url: URL, busy_timeout_s: float) -> Engine:
    if url.get_backend_name() == "postgresql":
        connect: dict[str, Any] = {"connect_timeout": max(2, round(busy_timeout_s))}
        return create_engine(url, pool_pre_ping=True, pool_size=1, connect_args=connect)
    if url.database and url.database != ":memory:":
        _make_private(Path(url.database))
    connect = {"timeout": busy_timeout_s, "check_same_thread": False}
    engine = create_engine(url, pool_size=1, max_overflow=0, connect_args=connect)

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # or sqlite3 begins transactions of its own
        _use_wal(connection, busy_timeout_s)  # a reader, as of a backup, stops nobody
        connection.execute("PRAGMA synchronous=FULL")  # what was promised survives a power cut
        connection.execute("PRAGMA secure_delete=ON")  # /forget overwrites what it deletes

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # Who reads first and writes later may find somebody else writing, and must not wait then.
        connection.execute(text("BEGIN IMMEDIATE"))

    return engine


def _use_wal(connection: sqlite3.Connection, busy_timeout_s: float) -> None:
    """Switch a file to WAL once nobody writes to it, such as a bot that makes its tables.

    Everything else waits by itself for a lock. This does not: SQLite gives up at once.
    """
    until = time.monotonic() + busy_timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
        time.sleep(RETRY_S)


def _make_private(path: Path) -> None:
    """Make the file, for its owner only: it holds what people wrote."""
    try:
        path.touch(OWNER_ONLY, exist_ok=True)
    except OSError as error:
        raise StoreError(f"the database {path} cannot be opened: {error.strerror}") from None
