"""What comes with a message: its words without the command, and its picture."""

from __future__ import annotations

import asyncio
import logging

from PIL import Image
from telegram import Message
from telegram.constants import FileSizeLimit
from telegram.error import BadRequest

from sdlesson.photos import PhotoError, open_photo

log = logging.getLogger(__name__)

DRAW_COMMANDS = ("draw", "generate")


def wish(text: str | None) -> str:
    """Return what a message says after /draw, or all of it."""
    first, _, rest = (text or "").strip().partition(" ")
    command = first.lower().partition("@")[0].removeprefix("/")
    return rest if first.startswith("/") and command in DRAW_COMMANDS else text or ""


async def fetch_picture(message: Message, size: int) -> Image.Image | None:
    """Download the picture of a message as a square of that many pixels; None if it cannot be."""
    source = message.photo[-1] if message.photo else message.document
    if source is None or (source.file_size or 0) > FileSizeLimit.FILESIZE_DOWNLOAD:
        return None
    try:
        file = await source.get_file()
        data = bytes(await file.download_as_bytearray())
        return await asyncio.to_thread(open_photo, data, size=size, name="the photo")
    except (PhotoError, BadRequest) as error:
        log.info("chat %s: a picture was not taken: %s", message.chat_id, error)
        return None
