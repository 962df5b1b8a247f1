"""Who may use the bot, and who may govern it: admins, an allow-list, bans."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from sdlesson.bot_service.store import OffLoop
from sdlesson.bot_service.store.people import People


class Standing(StrEnum):
    """What somebody is to the bot."""

    ADMIN = "admin"
    USER = "user"
    BANNED = "banned"
    NOT_ALLOWED = "not_allowed"

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
    """

    def __init__(
        self,
        people: People,
        call: OffLoop,
        *,
        admins: Collection[int] = (),
        allowed: Collection[int] = (),
    ) -> None:
        self._people, self._call = people, call
        self.admins, self._allowed = frozenset(admins), frozenset(allowed)
        self._banned: set[int] = set()

    async def load(self) -> None:
        """Read who is shut out.

        Raises:
            StoreError: The database is away.
        """
        self._banned = await self._call(self._people.banned)

    def standing(self, user_id: int) -> Standing:
        """Say what a user is to the bot."""
        if user_id in self.admins:
            return Standing.ADMIN
        if user_id in self._banned:
            return Standing.BANNED
        is_open = not self._allowed
        return Standing.USER if is_open or user_id in self._allowed else Standing.NOT_ALLOWED

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
