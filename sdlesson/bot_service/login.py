"""Logins: a code that only the right phone shows, and a directory that knows its owner.

The number of a user of Telegram, which nobody can forge, is the first factor; a code of the secret
that the operator gave to that very user is the second; whether that one may use the bot is for the
company's directory to say, at each login and every few minutes after it. So nobody has to write a
name or a password into a chat, and nobody can try codes, or lock somebody out, from another
account.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from sdlesson.bot_service.access import Standing
from sdlesson.bot_service.directory import Directory, DirectoryError, Member
from sdlesson.bot_service.one_time_codes import secret_of, step_of
from sdlesson.bot_service.store import StoreThread
from sdlesson.bot_service.store.logins import Attempt, Enrolment, Logins

CHECK_EVERY_S = 600.0  # whoever leaves the company, or the group, is out after so long
AWAY_S = 10.0  # for so long, a directory that did not answer is not asked again
QUESTIONS_AT_ONCE = 4  # to the directory

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoginSettings:
    """How people log in.

    Attributes:
        directory: Who is in the company.
        key: The operator's, of which all secrets are made.
        hours: How long a login holds.
        check_every_s: How long an answer of the directory holds.
    """

    directory: Directory
    key: str = field(repr=False)
    hours: float = 12.0
    check_every_s: float = CHECK_EVERY_S


class Login:
    """Says who is logged in, and lets in who has a right code.

    Args:
        settings: How people log in.
        logins: The store's part about logins.
        call: The thread in which that is asked.
    """

    def __init__(self, settings: LoginSettings, logins: Logins, call: StoreThread) -> None:
        self._settings, self._logins, self._call = settings, logins, call
        # Of its own: a directory that hangs must not take the threads of everything else.
        self._threads = ThreadPoolExecutor(QUESTIONS_AT_ONCE, thread_name_prefix="directory")
        self._known: dict[str, tuple[float, bool]] = {}  # by name: when asked, and the answer
        self._away_until = 0.0

    async def standing(self, user_id: int) -> Standing:
        """Say whether a user is logged in and may use the bot.

        Raises:
            StoreError: The database is away.
        """
        enrolment = await self.enrolment(user_id)
        if enrolment is None:
            return Standing.NOT_ENROLLED
        if enrolment.until <= time.time():
            return Standing.LOGGED_OUT
        try:
            is_member = await self._is_member(enrolment.name)
        except DirectoryError:
            return Standing.DIRECTORY_AWAY
        return Standing.USER if is_member else Standing.NOT_A_MEMBER

    async def enrolment(self, user_id: int) -> Enrolment | None:
        """Look a user up; None for one who was not enrolled.

        Raises:
            StoreError: The database is away.
        """
        return await self._call(self._logins.enrolment, user_id)

    async def try_code(self, user_id: int, code: str) -> Attempt:
        """Log a user in with a code, if it is right.

        Raises:
            StoreError: The database is away.
        """
        now = time.time()

        def step(salt: str) -> int | None:
            return step_of(secret_of(self._settings.key, salt), code, now)

        hours = self._settings.hours
        return await self._call(self._logins.try_code, user_id, step, hours, now)

    async def log_out(self, user_id: int) -> bool:
        """End a user's login; False where there was none.

        Raises:
            StoreError: The database is away.
        """
        return await self._call(self._logins.log_out, user_id)

    def close(self) -> None:
        """Ask the directory no more, and wait for no answer."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _is_member(self, name: str) -> bool:
        """Ask the directory, or remember what it said.

        Raises:
            DirectoryError: It does not answer, or did not only just now.
        """
        now = time.monotonic()
        asked_at, is_member = self._known.get(name, (now, False))
        # A "no" is asked again each time: it may have been mended a moment ago.
        if is_member and now - asked_at < self._settings.check_every_s:
            return True
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._threads, self._find, name)
        except DirectoryError as error:
            log.error("nobody can be looked up: %s", str(error))
            raise
        is_member = found is not None and found.may_use_bot
        self._known[name] = (now, is_member)
        return is_member

    def _find(self, name: str) -> Member | None:
        """Ask the directory, unless it did not answer only just now; in a thread.

        Else those who wait for a thread while it hangs would wait for its silence one by one.

        Raises:
            DirectoryError: It does not answer.
        """
        if time.monotonic() < self._away_until:
            raise DirectoryError("the directory did not answer a moment ago")
        try:
            return self._settings.directory.find(name)
        except DirectoryError:
            self._away_until = time.monotonic() + AWAY_S
            raise
