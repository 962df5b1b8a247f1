"""A stand-in for Telegram on localhost: bots talk to it over HTTP, people on its chat page.

`BotApiServer` knows the methods of the Bot API that the course's bot uses, and is as strict about
them as Telegram is; what it does not know, it refuses.
"""

from sdlesson.bot_api.errors import ApiError
from sdlesson.bot_api.people import Person
from sdlesson.bot_api.server import BotApiServer
from sdlesson.bot_api.state import ApiCall, TelegramState

__all__ = ["ApiCall", "ApiError", "BotApiServer", "Person", "TelegramState"]
