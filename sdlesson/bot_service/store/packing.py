"""A request packed for the store: JSON, and the photo beside it."""

from __future__ import annotations

import io
import json
from dataclasses import fields

from PIL import Image

from sdlesson.bot.requests import Request

NAMES = tuple(field.name for field in fields(Request) if field.name != "photo")


def pack(request: Request) -> tuple[str, bytes | None]:
    """Pack a request as JSON and, if it starts from a photo, that as a PNG, which loses nothing."""
    packed = json.dumps({name: getattr(request, name) for name in NAMES})
    if request.photo is None:
        return packed, None
    file = io.BytesIO()
    request.photo.save(file, "PNG")
    return packed, file.getvalue()


def unpack(packed: str, photo: bytes | None) -> Request:
    """Make the request that was packed; a field that this version does not know is left out."""
    values = {name: value for name, value in json.loads(packed).items() if name in NAMES}
    return Request(**values, photo=_opened(photo) if photo else None)


def _opened(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    image.load()
    return image
