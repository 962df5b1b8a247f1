"""A request with the model that it is meant for, and how it is packed for a store."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, fields

from PIL import Image

from sdlesson.bot.requests import Request


@dataclass(frozen=True)
class ServiceRequest(Request):
    """A request that says which of the operator's models is to draw it.

    Attributes:
        model: By the name that the operator gave it; "" for the first.
        lora: What is laid over the model; "" for nothing.
    """

    model: str = ""
    lora: str = ""


NAMES = tuple(field.name for field in fields(ServiceRequest) if field.name != "photo")


def for_service(request: Request, *, model: str = "", lora: str = "") -> ServiceRequest:
    """Return the same request, meant for a model."""
    if isinstance(request, ServiceRequest):
        model, lora = model or request.model, lora or request.lora
    values = {field.name: getattr(request, field.name) for field in fields(Request)}
    return ServiceRequest(**values, model=model, lora=lora)


def pack(request: Request) -> tuple[str, bytes | None]:
    """Pack a request as JSON and, if it starts from a photo, that as a PNG, which loses nothing."""
    values = {name: getattr(request, name) for name in NAMES if hasattr(request, name)}
    if request.photo is None:
        return json.dumps(values), None
    file = io.BytesIO()
    request.photo.save(file, "PNG")
    return json.dumps(values), file.getvalue()


def unpack(packed: str, photo: bytes | None) -> ServiceRequest:
    """Make the request that was packed; a field that this version does not know is left out."""
    values = {name: value for name, value in json.loads(packed).items() if name in NAMES}
    return ServiceRequest(**values, photo=_opened(photo) if photo else None)


def _opened(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    image.load()
    return image
