"""What comes in: updates that can be read and are new, commands with their words, pictures."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from typing import Any, NamedTuple

from PIL import Image
from telegram import Document, Message, PhotoSize, Update
from telegram.constants import FileSizeLimit
from telegram.error import BadRequest, NetworkError

from sdlesson.bot.options import Reason, RequestError
from sdlesson.bot.requests import clean
from sdlesson.photos import MAX_ENLARGEMENT, PhotoError, open_photo

log = logging.getLogger(__name__)

DRAW_COMMANDS = ("draw", "generate")
MAX_UPDATES = 10_000
MAX_PHOTO_PIXELS = 16_000_000  # unpacked, some 250 MB for a moment: a small file may hold far more
MAX_DOWNLOADS = 4  # at once, of up to 20 MB each

# As Telegram reads commands: at the start, of Latin letters, perhaps with the bot that is meant.
_COMMAND = re.compile(r"/([A-Za-z0-9_]{1,64})(?:@([A-Za-z0-9_]+))?(?![\w@])[:,]?")
_INVISIBLE = re.compile(r"^[\s\u200b-\u200f\u2060\ufeff]+")


# Updates.


def readable(body: bytes) -> bytes:
    """Empty those updates of an answer that cannot be read, but for their numbers.

    Else python-telegram-bot would ask for the same ones again, for ever, and log all of them.

    Args:
        body: The answer to a `getUpdates`.

    Raises:
        NetworkError: It is no list of updates at all.
    """
    try:
        answer = json.loads(body)
        updates = [update for update in answer["result"] if type(update["update_id"]) is int]
    except (ValueError, LookupError, TypeError):
        raise NetworkError("the answer is no list of updates") from None
    bad = {update["update_id"]: error for update in updates if (error := _what_is_wrong(update))}
    if not bad and len(updates) == len(answer["result"]):
        return body
    for number, error in bad.items():
        log.error("update %s cannot be read (%s), so it is left out", number, error)
    numbers = [update["update_id"] for update in updates]
    kept = [
        {"update_id": number} if number in bad else update
        for number, update in zip(numbers, updates, strict=True)
    ]
    return json.dumps(answer | {"result": kept}).encode()


def _what_is_wrong(update: dict[str, Any]) -> str:
    """Name the error of an update that cannot be read; its message would quote the update."""
    try:
        Update.de_json(update, None)
    except Exception as error:  # whatever does not fit, somewhere deep in a message
        return type(error).__name__
    return ""


class SeenUpdates:
    """The updates that one bot has had from its server: elsewhere, other ones have the numbers."""

    def __init__(self) -> None:
        self._numbers: dict[int, None] = {}

    def is_new(self, update_id: int) -> bool:
        """Whether an update comes for the first time; from then on it is known."""
        if update_id in self._numbers:
            return False
        self._numbers[update_id] = None
        if len(self._numbers) > MAX_UPDATES:
            del self._numbers[next(iter(self._numbers))]  # a dict keeps the order of arrival
        return True


# Words.


class Command(NamedTuple):
    """A command such as "/draw@my_bot a cat": its name, the bot that is meant, what follows."""

    name: str
    bot: str
    words: str


def read_command(text: str | None) -> Command | None:
    """Read a command and what follows it, after whatever space; None where there is none."""
    visible = _INVISIBLE.sub("", text or "")
    found = _COMMAND.match(visible)
    if found is None:
        return None
    words = _INVISIBLE.sub("", visible[found.end() :])
    return Command(found[1].lower(), (found[2] or "").lower(), words)


def wish(text: str | None) -> str:
    """Return what a message says after /draw, or all of it; "" where nothing can be seen."""
    command = read_command(text)
    words = command.words if command and command.name in DRAW_COMMANDS else text or ""
    return words if clean(words) else ""


# Pictures.


def picture_of(message: Message | None) -> PhotoSize | Document | None:
    """The photo of a message, or the file that is one; None where it has neither."""
    if message is None:
        return None
    if message.photo:
        return message.photo[-1]
    document = message.document
    return document if document and (document.mime_type or "").startswith("image/") else None


class Pictures:
    """Fetches pictures, a few at a time, and unpacks them one at a time, for memory's sake.

    Args:
        size: Pixels a side of what is made of them.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._download = asyncio.Semaphore(MAX_DOWNLOADS)
        self._unpack = asyncio.Lock()

    async def fetch(self, source: PhotoSize | Document) -> Image.Image:
        """Download a picture as a square.

        Raises:
            RequestError: It is too large, too small, or no picture.
        """
        try:
            async with self._download:
                self._check_bytes(source.file_size)
                file = await source.get_file()
                self._check_bytes(file.file_size)
                data = bytes(await file.download_as_bytearray())
                async with self._unpack:
                    return await asyncio.to_thread(
                        open_photo,
                        data,
                        size=self.size,
                        name="the photo",
                        max_pixels=MAX_PHOTO_PIXELS,
                    )
        except (PhotoError, BadRequest) as error:
            log.info("a picture was not taken: %s", error)
            raise self.refusal() from error

    def refusal(self) -> RequestError:
        """Make the error that says which pictures are taken."""
        least = -(-self.size // MAX_ENLARGEMENT)
        return RequestError(Reason.BAD_PHOTO, least=least, most=MAX_PHOTO_PIXELS // 1_000_000)

    def _check_bytes(self, count: int | None) -> None:
        if (count or 0) > FileSizeLimit.FILESIZE_DOWNLOAD:
            raise self.refusal()
