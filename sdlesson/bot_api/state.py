"""What the server keeps, for whoever answers the bot, the chat page or a program.

`TelegramState` is what Telegram's servers keep for one bot: its users, their chats, messages, files
and updates. `ServerState` adds what only a stand-in has: the calls so far, and faults to come.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from sdlesson.bot_api.errors import BLOCKED, ApiError, Json, bad_request
from sdlesson.bot_api.faults import Faults
from sdlesson.bot_api.formatting import find_commands
from sdlesson.bot_api.media import MediaStore
from sdlesson.bot_api.parameters import whole_number
from sdlesson.bot_api.updates import Updates

ACTION_S = 5  # how long "typing" is shown
QUERY_TIMEOUT_S = 15  # how long a press waits for its answer
USER_IDS = (1_000_000_000, 8_000_000_000)
MAX_MESSAGES = 20_000  # in a chat; then the oldest are forgotten
BOT_NAME, BOT_USERNAME = "Course bot", "course_stand_in_bot"
KEY_BYTES = 16
MAX_CALLS = 50_000  # in the log of calls
MAX_LOGGED = 32 * 2**20  # characters in it
ANSWER_TIMEOUT_S = 30

Answer = TypeVar("Answer")


@dataclass
class Chat:
    """A user's chat with the bot.

    Attributes:
        messages: What the user sees now, by message id, in the order of writing.
        is_started: The user wrote first, as a bot must not.
        action: What the bot was last said to be doing, such as "typing", until `action_until`.
        notice: What the bot last answered a press with.
        revision: Counts the changes, so that a page knows when to look.
    """

    user: Json
    messages: dict[int, Json] = field(default_factory=dict)
    is_started: bool = False
    is_blocked: bool = False
    action: str = ""
    action_until: float = 0.0
    notice: Json = field(default_factory=dict)
    revision: int = 1

    @property
    def json(self) -> Json:
        """The chat as messages name it."""
        return {"id": self.user["id"], "type": "private", "first_name": self.user["first_name"]}

    def message(self, message_id: int, purpose: str) -> Json:
        """A message that is there.

        Raises:
            ApiError: It is not there; the purpose is such as "message to edit".
        """
        if message_id not in self.messages:
            raise bad_request(f"{purpose} not found")
        return self.messages[message_id]


@dataclass
class Query:
    """A press of a button, which waits for the bot's answer."""

    chat: Chat
    pressed_at: float = field(default_factory=time.monotonic)


class TelegramState:
    """Everything that is known; not to be used from two threads at once."""

    def __init__(self, token: str) -> None:
        self.bot: Json = {
            "id": int(token.partition(":")[0]),
            "is_bot": True,
            "first_name": BOT_NAME,
            "username": BOT_USERNAME,
        }
        self.chats: dict[int, Chat] = {}
        self.media = MediaStore()
        self.updates = Updates()
        self.queries: dict[str, Query] = {}
        self.commands: dict[tuple[str, str], list[Json]] = {}  # by scope and language
        self.webhook_url = ""
        self._message_ids = itertools.count(1)

    def chat(self, chat_id: int) -> Chat:
        """A chat that the bot may write to.

        Raises:
            ApiError: There is none, its user never wrote, or has blocked the bot.
        """
        if chat_id not in self.chats:
            raise bad_request("chat not found")
        chat = self.chats[chat_id]
        if chat.is_blocked:
            raise ApiError(403, BLOCKED)
        if not chat.is_started:
            raise ApiError(403, "Forbidden: bot can't initiate conversation with a user")
        return chat

    def add_message(self, chat: Chat, sender: Json, content: Json, reply_to: int | None) -> Json:
        """Put a message at the end of a chat."""
        message: Json = {
            "message_id": next(self._message_ids),
            "from": sender,
            "chat": chat.json,
            "date": int(time.time()),
        }
        if reply_to is not None:
            replied = chat.message(reply_to, "message to be replied")
            message["reply_to_message"] = {
                key: value for key, value in replied.items() if key != "reply_to_message"
            }
        message |= content
        chat.messages[message["message_id"]] = message
        if len(chat.messages) > MAX_MESSAGES:
            del chat.messages[next(iter(chat.messages))]
        chat.revision += 1
        return message

    # What users do.

    def add_user(self, name: str, language_code: str, user_id: int | None = None) -> Chat:
        """Let somebody in who has not written yet.

        Raises:
            ValueError: Somebody else has that id.
        """
        user_id = self._free_id(name) if user_id is None else user_id
        if user_id in self.chats:
            raise ValueError(f"id={user_id} is {self.chats[user_id].user['first_name']}'s already")
        user = {"id": user_id, "is_bot": False, "first_name": name, "language_code": language_code}
        self.chats[user_id] = Chat(user)
        return self.chats[user_id]

    def receive(self, chat: Chat, content: Json, reply_to: int | None = None) -> Json:
        """A user writes: text, or a photo or file with a caption."""
        for text, entities in (("text", "entities"), ("caption", "caption_entities")):
            found = find_commands(content.get(text, ""))
            if found:
                content = {**content, entities: found}
        chat.is_started = True
        if chat.is_blocked:
            self.set_blocked(chat, is_blocked=False)
        message = self.add_message(chat, chat.user, content, reply_to)
        self.updates.add("message", message)
        return message

    def press(self, chat: Chat, message_id: int, data: str) -> str:
        """A user presses a button, or a changed app pretends so; returns the query's id."""
        gone = {"chat": chat.json, "message_id": message_id, "date": 0}
        query_id, oldest = str(secrets.randbits(62)), time.monotonic() - QUERY_TIMEOUT_S
        late = [key for key, query in self.queries.items() if query.pressed_at < oldest]
        for key in late:  # which are refused like those that never were
            del self.queries[key]
        self.queries[query_id] = Query(chat)
        chat.notice = {}
        chat.revision += 1
        query = {
            "id": query_id,
            "from": chat.user,
            "message": chat.messages.get(message_id, gone),
            "chat_instance": str(chat.user["id"]),
            "data": data,
        }
        self.updates.add("callback_query", query)
        return query_id

    def set_blocked(self, chat: Chat, *, is_blocked: bool) -> None:
        """A user blocks the bot, or lets it write again."""
        if chat.is_blocked == is_blocked:
            return
        chat.is_blocked = is_blocked
        chat.revision += 1
        before, after = ("member", "kicked") if is_blocked else ("kicked", "member")
        change = {
            "chat": chat.json,
            "from": chat.user,
            "date": int(time.time()),
            "old_chat_member": self._membership(before),
            "new_chat_member": self._membership(after),
        }
        self.updates.add("my_chat_member", change)

    def delete(self, chat: Chat, message_id: int) -> None:
        """A message goes, whoever deletes it.

        Raises:
            ApiError: It is not there.
        """
        chat.message(message_id, "message to delete")
        del chat.messages[message_id]
        chat.revision += 1

    def _free_id(self, name: str) -> int:
        """Number a person by name, as they have one number everywhere: a store may outlive this."""
        low, high = USER_IDS
        digests = (
            hashlib.sha256(f"{name} {count}".encode()).digest() for count in itertools.count()
        )
        found = (low + int.from_bytes(digest[:8], "big") % (high - low) for digest in digests)
        return next(user_id for user_id in found if user_id not in self.chats)

    def _membership(self, status: str) -> Json:
        until = {"until_date": 0} if status == "kicked" else {}
        return {"user": self.bot, "status": status, **until}


@dataclass
class ApiCall:
    """One call of the bot, as it reached the server; the token is not kept.

    Attributes:
        method: Such as "sendMessage"; "file" for a download.
        parameters: As they came, by name; uploads as their sizes in bytes.
        at: When it came, by `time.monotonic()`.
        answered_at: When the answer went, by the same clock; None as long as it has not.
        status: Of the answer, as in HTTP; 0 where the connection was dropped.
    """

    method: str
    parameters: dict[str, str]
    uploads: dict[str, int]
    at: float = field(default_factory=time.monotonic)
    answered_at: float | None = None
    status: int | None = None

    @property
    def characters(self) -> int:
        """How long its parameters are."""
        return sum(map(len, self.parameters.values()))

    @property
    def chat_id(self) -> int | None:
        """The chat that it is about, if it is about one."""
        return whole_number(self.parameters.get("chat_id", ""))


def scope_key(scope: Json) -> str:
    """Name the chats that a menu of commands is for, as Telegram describes them."""
    place = {name: scope[name] for name in ("type", "chat_id", "user_id") if name in scope}
    return str(sorted(place.items()))


class ServerState:
    """All that one server keeps from start to start; while it runs, its loop alone touches it.

    Attributes:
        token: The token that the bot has to use.
        key: The part of the chat page's address that cannot be guessed.
        telegram: What Telegram would keep.
        faults: What is to go wrong.
        calls: The calls of the bot, oldest first; of very many the latest.
    """

    def __init__(self, token: str) -> None:
        self.token, self.key = token, secrets.token_urlsafe(KEY_BYTES)
        self.telegram, self.faults = TelegramState(token), Faults()
        self.calls: deque[ApiCall] = deque()
        self._logged = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread_id = 0

    def bind_to(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Let `run` act in this loop from now on, that of the calling thread; None ends that."""
        self._thread_id, self._loop = threading.get_ident(), loop

    def run(self, action: Callable[[TelegramState], Answer]) -> Answer:
        """Do something with what is kept, between two calls of the bot; from any thread."""
        if self._loop is None or threading.get_ident() == self._thread_id:
            return action(self.telegram)

        async def act() -> Answer:
            return action(self.telegram)

        return asyncio.run_coroutine_threadsafe(act(), self._loop).result(ANSWER_TIMEOUT_S)

    def log(self, call: ApiCall) -> None:
        """Remember a call of the bot, and of very many the latest."""
        self.calls.append(call)
        self._logged += call.characters
        while len(self.calls) > MAX_CALLS or self._logged > MAX_LOGGED:
            self._logged -= self.calls.popleft().characters
