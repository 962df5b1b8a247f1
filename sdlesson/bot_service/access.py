"""Who may use the bot, and who may govern it: admins, an allow-list, bans, members."""

from __future__ import annotations

import time
from collections.abc import Collection
from enum import StrEnum

from sdlesson.bot_service.store import OffLoop
from sdlesson.bot_service.store.people import People


class Standing(StrEnum):
    """What somebody is to the bot."""

    ADMIN = "admin"
    USER = "user"
    BANNED = "banned"
    NOT_ALLOWED = "not_allowed"  # on no list, and not shown to be of the company
    UNPROVEN = "unproven"  # may come in with a code of the company's

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
        by_directory: Whether others get in by the company's directory.
    """

    def __init__(
        self,
        people: People,
        call: OffLoop,
        *,
        admins: Collection[int] = (),
        allowed: Collection[int] = (),
        by_directory: bool = False,
    ) -> None:
        self._people, self._call = people, call
        self.admins, self._allowed = frozenset(admins), frozenset(allowed)
        self._by_directory = by_directory
        self._banned: set[int] = set()
        self._members: dict[int, float] = {}

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
        if user_id in self._allowed or not (self._allowed or self._by_directory):
            return Standing.USER
        if not self._by_directory:
            return Standing.NOT_ALLOWED
        if user_id not in self._members:
            self._members[user_id] = await self._call(self._people.member_until, user_id)
        return Standing.USER if self._members[user_id] > time.time() else Standing.UNPROVEN

    async def admit(self, user_id: int, until: float) -> None:
        """Let somebody in who has shown to be of the company.

        Raises:
            StoreError: The database is away.
        """
        await self._call(self._people.set_member_until, user_id, until)
        self._members[user_id] = until

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

    def forget(self, user_id: int) -> None:
        """Forget that somebody has shown to be of the company."""
        self._members.pop(user_id, None)
