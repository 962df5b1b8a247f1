"""A bot and people who talk to it, over real HTTP on this machine."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from fixtures_bot import Painter

from sdlesson.bot.pace import Rates
from sdlesson.bot.runner import Bot
from sdlesson.bot_api import BotApiServer, Person

QUICK = Rates(chat_per_s=100, group_per_s=100, overall_per_s=1000)  # so that tests do not wait


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
        bot = Bot(painter, server=server, **{"rates": QUICK} | named).start()
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
