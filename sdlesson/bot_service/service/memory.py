"""The bot's view of the store: it asks without waiting, so what it may ask is loaded before.

Writes go to the store's thread in their order; an update counts as handled only after those that
it caused.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from sdlesson.bot.requests import Request
from sdlesson.bot.store import StoredRequest, UserRecord
from sdlesson.bot_service.store import StoreThread
from sdlesson.bot_service.store.people import TOKEN_BYTES, People

MAX_USERS = 10_000
MAX_REQUESTS = 200  # with photos of 512 x 512 pixels, 160 MB

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class LRUCache(Generic[Key, Value]):
    """So many entries: the one that was not used for longest makes room."""

    def __init__(self, most: int) -> None:
        self._most, self._kept = most, OrderedDict[Key, Value]()

    def get(self, key: Key) -> Value | None:
        """Find an entry, which counts as using it."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: Key, value: Value) -> None:
        """Keep an entry."""
        self._kept[key] = value
        self._kept.move_to_end(key)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def drop(self, is_gone: Callable[[Key, Value], bool]) -> None:
        """Forget entries."""
        for key in [key for key, value in self._kept.items() if is_gone(key, value)]:
            del self._kept[key]


class StoreView:
    """What `sdlesson.bot.store.Store` asks for, out of a store that lasts."""

    def __init__(self, people: People, call: StoreThread) -> None:
        self._people, self._call = people, call
        self._users: LRUCache[int, UserRecord] = LRUCache(MAX_USERS)
        self._requests: LRUCache[str, StoredRequest] = LRUCache(MAX_REQUESTS)
        self._writes: set[asyncio.Task[Any]] = set()

    async def load(self, user_id: int, token: str = "") -> None:
        """Bring into memory what an update of a user may need.

        Raises:
            StoreError: The database is away.
        """
        if self._users.get(user_id) is None:
            self._users.put(user_id, await self._call(self._people.load_user, user_id))
        if token and self._requests.get(token) is None:
            found = await self._call(self._people.load_request, token)
            if found is not None:
                self._requests.put(token, found)

    async def written(self) -> None:
        """Wait until all that was saved so far is in the store."""
        if self._writes:
            await asyncio.wait(self._writes)

    def load_user(self, user_id: int) -> UserRecord:
        """Look up what is kept of a user."""
        return self._users.get(user_id) or UserRecord()

    def save_user(self, user_id: int, user: UserRecord) -> None:
        """Keep this of a user."""
        self._users.put(user_id, user)
        self._write(self._people.save_user, user_id, user)

    def save_request(self, user_id: int, request: Request) -> str:
        """Keep a request, and return a token that nobody can guess."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._requests.put(token, StoredRequest(user_id, request))
        self._write(self._people.save_request, user_id, request, token)
        return token

    def load_request(self, token: str) -> StoredRequest | None:
        """Find a request by its token."""
        return self._requests.get(token)

    async def forget(self, user_id: int) -> int:
        """Delete all that is kept of a user, here and in the store.

        Raises:
            StoreError: The database is away.
        """
        await self.written()
        gone = await self._call(self._people.forget, user_id)
        self._users.drop(lambda known, _: known == user_id)
        self._requests.drop(lambda _, kept: kept.user_id == user_id)
        return gone

    async def forget_requests(self, user_id: int) -> None:
        """Delete the requests behind a user's buttons, here and in the store."""
        await self.written()
        self._requests.drop(lambda _, kept: kept.user_id == user_id)
        await self._call.retry(self._people.forget_requests, user_id)

    def _write(self, write: Callable[..., Any], *args: Any) -> None:
        task = asyncio.create_task(self._call.retry(write, *args))
        self._writes.add(task)  # or it could be collected on its way
        task.add_done_callback(self._writes.discard)
