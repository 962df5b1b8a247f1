"""Who may use the bot, and who may govern it: admins, an allow-list, bans."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from enum import StrEnum

from sdlesson.bot_service.store import StoreThread
from sdlesson.bot_service.store.people import People


class Standing(StrEnum):
    """What somebody is to the bot."""

    ADMIN = "admin"
    USER = "user"
    BANNED = "banned"
    NOT_ALLOWED = "not_allowed"
    # Where a company's directory says who may come in; see `login`.
    NOT_ENROLLED = "not_enrolled"
    LOGGED_OUT = "logged_out"
    NOT_A_MEMBER = "not_a_member"
    DIRECTORY_AWAY = "directory_away"

    @property
    def may_ask(self) -> bool:
        """Whether somebody is let in."""
        return self in (Standing.ADMIN, Standing.USER)


class Access:
    """Knows who may do what; bans are read once, and changed here only.

    Args:
        people: The store's part about people.
        call: The thread in which it is asked.
        admins: Who may do everything, and cannot be shut out.
        allowed: Who may use the bot; nobody in particular stands for everybody.
        ask_login: What everybody else is to the bot, where people log in; those on the lists need
            no login. Without it, the lists alone decide.
    """

    def __init__(
        self,
        people: People,
        call: StoreThread,
        *,
        admins: Collection[int] = (),
        allowed: Collection[int] = (),
        ask_login: Callable[[int], Awaitable[Standing]] | None = None,
    ) -> None:
        self._people, self._call, self._ask_login = people, call, ask_login
        self.admins, self._allowed = frozenset(admins), frozenset(allowed)
        self._banned: set[int] = set()

    async def load(self) -> None:
        """Read who is shut out.

        Raises:
            StoreError: The database is away.
        """
        self._banned = await self._call(self._people.banned)

    async def standing(self, user_id: int) -> Standing:
        """Say what a user is to the bot.

        Raises:
            StoreError: The database is away.
        """
        if user_id in self.admins:
            return Standing.ADMIN
        if user_id in self._banned:
            return Standing.BANNED
        if user_id in self._allowed:
            return Standing.USER
        if self._ask_login is not None:
            return await self._ask_login(user_id)
        return Standing.NOT_ALLOWED if self._allowed else Standing.USER

    def is_banned(self, user_id: int) -> bool:
        """Whether somebody is shut out now."""
        return user_id in self._banned and user_id not in self.admins

    async def ban(self, user_id: int, by: int) -> None:
        """Shut somebody out.

        Raises:
            StoreError: The database is away.
        """
        await self._call(self._people.ban, user_id, by)
        self._banned.add(user_id)

    async def unban(self, user_id: int) -> bool:
        """Let somebody in again; False if nobody had shut that one out.

        Raises:
            StoreError: The database is away.
        """
        self._banned.discard(user_id)
        return await self._call(self._people.unban, user_id)
