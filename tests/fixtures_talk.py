"""A bot and people who talk to it, over real HTTP on this machine."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from PIL import Image

from fixtures_bot import Painter
from sdlesson.bot.rate_limiter import RateLimits
from sdlesson.bot.runner import Bot
from sdlesson.bot_api import BotApiServer, Person, TelegramState
from sdlesson.bot_api.errors import Json
from sdlesson.bot_api.people import photo_upload
from sdlesson.bot_api.state import Chat, Query

QUICK = RateLimits(chat_per_s=100, group_per_s=100, overall_per_s=1000)  # so that tests do not wait


class Talk(NamedTuple):
    """A bot, the server that it talks to, and what it draws with."""

    bot: Bot
    server: BotApiServer
    painter: Painter

    def person(self, name: str = "Ana", language_code: str = "en") -> Person:
        """Let somebody in who has agreed to what the bot keeps."""
        person = self.server.user(name, language_code)
        welcome = answer(person, "/start")
        person.presses(welcome, data="agree:")
        person.waits_for("/help", after=welcome)
        return person


@contextmanager
def talking(painter: Painter | None = None, **named: Any) -> Iterator[Talk]:
    """Run a bot that draws with a painter; `named` goes to `Bot`."""
    painter = painter or Painter()
    with BotApiServer() as server:
        bot = Bot(painter, server=server, **{"rate_limits": QUICK} | named).start()
        try:
            yield Talk(bot, server, painter)
        finally:
            bot.stop()


def answer(person: Person, text: str = "", **media: Any) -> dict[str, Any]:
    """Say something, and return the bot's first answer."""
    return person.waits_for(lambda message: True, after=person.says(text, **media))


def picture(person: Person, text: str = "", **media: Any) -> dict[str, Any]:
    """Ask for a picture, and return the message that it comes in."""
    return person.waits_for(is_picture, after=person.says(text, **media))


def is_picture(message: dict[str, Any]) -> bool:
    """Whether a message is a finished picture: one in a status has only the button to cancel."""
    has_media = "photo" in message or "document" in message
    return has_media and "seed:" in str(message.get("reply_markup"))


def wait_until(is_so: Callable[[], object], timeout_s: float = 5) -> None:
    """Wait until something is so, and fail if it does not become so."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.04)


@dataclass
class GroupChat(Chat):
    """A group or channel as the stand-in keeps a chat."""

    @property
    def json(self) -> Json:
        return {"id": self.user["id"], "type": "supergroup", "title": self.user["first_name"]}


class Group:
    """A group in which people talk to a bot, in topics or not, and some in its own name."""

    def __init__(self, server: BotApiServer, title: str = "The club", id: int = -1001234567890):
        user = {"id": id, "is_bot": False, "first_name": title, "language_code": "en"}
        self.id, self.server = id, server
        self.chat = GroupChat(user, is_started=True)
        server.run(lambda telegram: telegram.chats.__setitem__(id, self.chat))
        self.seen = Person(server.state, self.chat)  # what everybody there sees

    def hears(
        self,
        sender: Person | int,
        text: str = "",
        *,
        photo: Image.Image | None = None,
        reply_to: Json | None = None,
        **fields: Any,
    ) -> Json:
        """Let a person write, or the group or channel of that number in whose name one does."""
        user = _user(sender) if isinstance(sender, Person) else NOBODY
        if isinstance(sender, int):
            fields["sender_chat"] = {"id": sender, "type": "channel", "title": "The news"}

        def write(telegram: TelegramState) -> Json:
            media = telegram.media.add_photo(photo_upload(photo)) if photo else {}
            words = {"caption" if photo else "text": text} if text else {}
            content = {**media, **words, **fields}
            message = telegram.add_message(
                self.chat, user, content, reply_to and reply_to["message_id"]
            )
            telegram.updates.add("message", message)
            return message

        return self.server.run(write)

    def presses(self, person: Person, message: Json, data: str) -> None:
        """Let a person press a button below a message."""

        def press(telegram: TelegramState) -> None:
            query = {"id": f"{time.monotonic_ns()}", "from": _user(person), "data": data}
            telegram.queries[query["id"]] = Query(self.chat)
            there = self.chat.messages[message["message_id"]]
            telegram.updates.add("callback_query", query | {"message": there, "chat_instance": "1"})

        self.server.run(press)

    def sends(self, method: str) -> list[Json]:
        """What the bot gave with its calls of a method for this group."""
        calls = self.server.calls
        return [one.parameters for one in calls if one.method == method and one.chat_id == self.id]


NOBODY = {"id": 136817688, "is_bot": True, "first_name": "Channel"}  # whom Telegram names then


def _user(person: Person) -> Json:
    return {"id": person.id, "is_bot": False, "first_name": person.name, "language_code": "en"}


def data_of(message: Json, beginning: str = "") -> str:
    """The data of the first button below a message that begins like this."""
    rows = message["reply_markup"]["inline_keyboard"]
    found = (one["callback_data"] for row in rows for one in row)
    return next(data for data in found if data.startswith(beginning))


def album(person: Person, photos: list[Image.Image], captions: list[str]) -> None:
    """Let a person send several photos at once."""

    def send(telegram: TelegramState) -> None:
        for photo, caption in zip(photos, captions, strict=True):
            content = telegram.media.add_photo(photo_upload(photo)) | {"media_group_id": "99"}
            telegram.receive(
                telegram.chats[person.id], content | ({"caption": caption} if caption else {})
            )

    person._state.run(send)
