"""Pictures that users send: found in a message, an album's collected, and then downloaded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from PIL import Image
from telegram import Document, Message, PhotoSize, Update
from telegram.constants import FileSizeLimit
from telegram.error import BadRequest
from telegram.ext import ContextTypes

from sdlesson.bot.requests import MAX_SHAPE, Reason, RequestError
from sdlesson.photos import MAX_ENLARGEMENT, PhotoError, open_photo

log = logging.getLogger(__name__)

MAX_PHOTO_PIXELS = 16_000_000  # unpacked, some 250 MB for a moment: a small file may hold far more
MAX_DOWNLOADS = 4  # at once, of up to 20 MB each
QUIET_S = 1.0  # after the last photo of an album
PLACEHOLDER_PHOTO = Image.new("RGB", (1, 1))  # stands for a photo until that is downloaded

Context: TypeAlias = ContextTypes.DEFAULT_TYPE


def image_attachment(message: Message | None) -> PhotoSize | Document | None:
    """The photo of a message, or the file that is one; None where it has neither."""
    if message is None:
        return None
    if message.photo:
        return message.photo[-1]
    document = message.document
    return document if document and (document.mime_type or "").startswith("image/") else None


class AlbumCollector:
    """Waits for the photos of an album, and hands them on together.

    Args:
        on_album: Called with all updates of one album, in the order of its photos.
        on_done: Called with them once that has been done, or has failed.
    """

    def __init__(
        self,
        on_album: Callable[[list[Update], Context], Awaitable[Any]],
        on_done: Callable[..., Awaitable[Any]],
    ) -> None:
        self._on_album, self._on_done = on_album, on_done
        self._coming: dict[tuple[int, str], list[Update]] = {}
        self._undone: set[int] = set()

    def has(self, update: Update) -> bool:
        """Whether an update is a photo here that is not done yet."""
        return update.update_id in self._undone

    def add(self, update: Update, message: Message, context: Context) -> None:
        """Let a photo wait for the others of its album."""
        key = (message.chat_id, str(message.media_group_id))
        self._undone.add(update.update_id)
        if key in self._coming:
            self._coming[key].append(update)
            return
        self._coming[key] = [update]
        # A task of the application's: what goes wrong in it is told as for any other update.
        context.application.create_task(self._close(key, context), update)

    async def _close(self, key: tuple[int, str], context: Context) -> None:
        """Hand the album on once no photo comes any more: Telegram does not say how many will."""
        seen = 0
        while seen < len(self._coming[key]):
            seen = len(self._coming[key])
            await asyncio.sleep(QUIET_S)
        album = sorted(self._coming.pop(key), key=_number)
        try:
            await self._on_album(album, context)
        except Exception:  # whoever sent it is told; where the bot stops instead, it is not done
            await self._done(album)
            raise
        await self._done(album)

    async def _done(self, album: list[Update]) -> None:
        self._undone -= {update.update_id for update in album}
        await self._on_done(*album)


class PhotoDownloader:
    """Fetches pictures, a few at a time, and unpacks them one at a time, for memory's sake.

    Args:
        size: Pixels a side of what is made of them.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._download = asyncio.Semaphore(MAX_DOWNLOADS)
        self._unpack = asyncio.Lock()

    async def download(self, source: PhotoSize | Document, *, square: bool = True) -> Image.Image:
        """Download a picture as a square, or in its own shape with a square's short side.

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
                        longest=None if square else MAX_SHAPE * self.size,
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


def _number(update: Update) -> int:
    return update.effective_message.message_id if update.effective_message else 0
