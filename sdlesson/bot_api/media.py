"""Files as Telegram keeps them: photos become JPEG in several sizes, documents stay as they are."""

from __future__ import annotations

import base64
import hashlib
import io
import mimetypes
from pathlib import PurePath
from typing import NamedTuple

from PIL import Image

from sdlesson.bot_api.errors import ApiError, Json, bad_request
from sdlesson.photos import FORMATS, flatten

MIB = 2**20
MAX_PHOTO_BYTES = 10 * MIB
MAX_UPLOAD_BYTES = 50 * MIB
MAX_DOWNLOAD_BYTES = 20 * MIB
MAX_PHOTO_SIDES_PX = 10_000  # width + height
MAX_PHOTO_RATIO = 20
PHOTO_SIDES_PX = (90, 320, 800, 1280)  # the longer side of the copies that Telegram makes
JPEG_QUALITY = 87
# Then the oldest are forgotten, so that a long lesson fits into memory.
MAX_FILES = 5_000
MAX_KEPT_BYTES = 256 * MIB
# What is decoded at once: 5,000 x 5,000, the most that Telegram takes. JPEG is decoded small.
MAX_PIXELS = 25_000_000
MAX_JPEG_PIXELS = 120_000_000


class Upload(NamedTuple):
    """A file on its way to Telegram."""

    data: bytes
    name: str
    mime_type: str = ""


class StoredFile(NamedTuple):
    """A file that Telegram keeps."""

    file_id: str
    unique_id: str
    path: str
    data: bytes

    @property
    def json(self) -> Json:
        """What every description of a file says of it."""
        return {
            "file_id": self.file_id,
            "file_unique_id": self.unique_id,
            "file_size": len(self.data),
        }


class MediaStore:
    """Everything that was sent, by file id."""

    def __init__(self) -> None:
        self._files: dict[str, StoredFile] = {}
        self._contents: dict[str, Json] = {}  # what a message says of a file, to send it again
        self._added = self._kept_bytes = 0

    def add_photo(self, upload: Upload) -> Json:
        """Keep a photo, and return the part of a message that shows it.

        Raises:
            ApiError: It is empty, too large, too long and thin, or not a picture.
        """
        image = _photo(upload.data)
        longer = max(image.size)
        image.thumbnail((PHOTO_SIDES_PX[-1], PHOTO_SIDES_PX[-1]))
        sides = [side for side in PHOTO_SIDES_PX if side < longer]
        sides.append(min(longer, PHOTO_SIDES_PX[-1]))
        content: Json = {"photo": [self._add_size(image, side) for side in sides]}
        for size in content["photo"]:
            self._contents[size["file_id"]] = content
        return content

    def add_document(self, upload: Upload) -> Json:
        """Keep a file as it is, and return the part of a message that shows it.

        Raises:
            ApiError: It is empty.
        """
        if not upload.data:
            raise bad_request("file must be non-empty")
        name = PurePath(upload.name.replace("\\", "/")).name or "file"
        guessed = mimetypes.guess_type(name)[0] or "application/octet-stream"
        kept = self._keep(upload.data, "documents", PurePath(name).suffix)
        described = {"file_name": name, "mime_type": upload.mime_type or guessed, **kept.json}
        self._contents[kept.file_id] = {"document": described}
        return self._contents[kept.file_id]

    def content(self, file_id: str) -> Json:
        """The part of a message that shows a file which Telegram has already.

        Raises:
            ApiError: There is none of that id.
        """
        if file_id not in self._contents:
            raise bad_request("wrong file identifier/HTTP URL specified")
        return self._contents[file_id]

    def file(self, file_id: str) -> StoredFile:
        """A file by its id.

        Raises:
            ApiError: There is none of that id.
        """
        if file_id not in self._files:
            raise bad_request("wrong file_id or the file is temporarily unavailable")
        return self._files[file_id]

    def at(self, path: str) -> StoredFile:
        """A file by its path.

        Raises:
            ApiError: There is none at that path.
        """
        for kept in self._files.values():
            if kept.path == path:
                return kept
        raise ApiError(404, "Not Found")

    def by_unique_id(self, unique_id: str) -> StoredFile | None:
        """A file with that content, if there is one."""
        found = (kept for kept in self._files.values() if kept.unique_id == unique_id)
        return next(found, None)

    def _add_size(self, image: Image.Image, side: int) -> Json:
        copy = image.copy()
        copy.thumbnail((side, side))
        data = io.BytesIO()
        copy.save(data, "JPEG", quality=JPEG_QUALITY)
        kept = self._keep(data.getvalue(), "photos", ".jpg")
        return {**kept.json, "width": copy.width, "height": copy.height}

    def _keep(self, data: bytes, folder: str, suffix: str) -> StoredFile:
        number = self._added.to_bytes(8, "big")
        digest = hashlib.sha256(data).digest()
        unique_id = base64.urlsafe_b64encode(digest[:12]).decode()
        file_id = "AgAC" + base64.urlsafe_b64encode(digest[:28] + number).decode()
        kept = StoredFile(file_id, unique_id, f"{folder}/file_{self._added}{suffix}", data)
        self._added += 1
        self._files[file_id] = kept
        self._kept_bytes += len(data)
        while len(self._files) > MAX_FILES or self._kept_bytes > MAX_KEPT_BYTES:
            oldest = next(iter(self._files))
            self._kept_bytes -= len(self._files.pop(oldest).data)
            self._contents.pop(oldest, None)
        return kept


def open_picture(source: io.BytesIO | str | PurePath) -> Image.Image:
    """Decode a picture as RGB, upright and on white, of a photo no more than can be used.

    Raises:
        ValueError: It has too many pixels, which are not decoded.
        OSError: It is none, or damaged.
    """
    Image.init()
    known = [name for name in FORMATS if name in Image.OPEN]  # other readers start programs
    with Image.open(source, formats=known) as image:
        width, height = image.size
        most = MAX_JPEG_PIXELS if image.format in ("JPEG", "MPO") else MAX_PIXELS
        if width * height > most:
            raise ValueError(
                f"{width} x {height} pixels are more than {most:,}; save it smaller first"
            )
        image.draft("RGB", (PHOTO_SIDES_PX[-1], PHOTO_SIDES_PX[-1]))
        return flatten(image, "the photo")


def _photo(data: bytes) -> Image.Image:
    """Open what is sent as a photo, if Telegram would take it; its size before its pixels."""
    if not data:
        raise bad_request("file must be non-empty")
    if len(data) > MAX_PHOTO_BYTES:
        raise bad_request(
            f"file of size {len(data)} bytes is too big for a photo; "
            f"the maximum size is {MAX_PHOTO_BYTES} bytes"
        )
    try:
        with Image.open(io.BytesIO(data)) as image:
            _check_size(*image.size)
        return open_picture(io.BytesIO(data))
    except ApiError:
        raise
    except Exception as error:  # what a decoder raises depends on where the damage is
        raise bad_request("IMAGE_PROCESS_FAILED") from error


def _check_size(width: int, height: int) -> None:
    ratio = max(width, height) / min(width, height)
    if width + height > MAX_PHOTO_SIDES_PX or ratio > MAX_PHOTO_RATIO:
        raise bad_request("PHOTO_INVALID_DIMENSIONS")
