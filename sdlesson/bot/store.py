"""What the bot remembers of its users: in memory here, and a seam for a store that lasts."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from sdlesson.bot.requests import Defaults, Request

MAX_REQUESTS = 200  # with photos of 512 x 512 pixels, 160 MB
TOKEN_BYTES = 8


@dataclass(frozen=True)
class UserRecord:
    """What is kept of one user.

    Attributes:
        language: The one chosen, "en" or "es"; None follows Telegram's.
        defaults: The settings chosen; None takes the model's.
        consented: Whether the user has agreed to what is stored.
        as_file: Whether pictures come as files, which keep their settings.
        model, lora: Those chosen, where a bot has several; "" leaves that to the bot.
    """

    language: str | None = None
    defaults: Defaults | None = None
    consented: bool = False
    as_file: bool = False
    model: str = ""
    lora: str = ""


class StoredRequest(NamedTuple):
    """A request that the buttons under its picture refer to, and whose it is."""

    user_id: int
    request: Request


class Store(Protocol):
    """What the bot needs to remember, wherever it is kept."""

    def load_user(self, user_id: int) -> UserRecord:
        """Look up what is kept of a user; an empty record for someone unknown."""

    def save_user(self, user_id: int, user: UserRecord) -> None:
        """Keep this of a user, instead of what was kept before."""

    def save_request(self, user_id: int, request: Request) -> str:
        """Keep a request and return its token, short enough for a button."""

    def load_request(self, token: str) -> StoredRequest | None:
        """Find a request by its token; None if it is not, or no longer, known."""


class MemoryStore:
    """A store that forgets with the process, and the oldest entries when it is full."""

    def __init__(self) -> None:
        self._users: dict[int, UserRecord] = {}
        self._requests: dict[str, StoredRequest] = {}

    def load_user(self, user_id: int) -> UserRecord:
        """Look up what is kept of a user."""
        return self._users.get(user_id, UserRecord())

    def save_user(self, user_id: int, user: UserRecord) -> None:
        """Keep this of a user."""
        self._users[user_id] = user

    def save_request(self, user_id: int, request: Request) -> str:
        """Keep a request, and return a token that nobody can guess."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._requests[token] = StoredRequest(user_id, request)
        if len(self._requests) > MAX_REQUESTS:
            del self._requests[next(iter(self._requests))]  # a dict keeps the order of arrival
        return token

    def load_request(self, token: str) -> StoredRequest | None:
        """Find a request by its token."""
        return self._requests.get(token)
