"""Choose photos to teach: small copies show the good ones, a sentence names each bad one."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from ipywidgets import HTML, Box, Button, FileUpload, Image, VBox  # type: ignore[import-untyped]
from PIL import Image as Pictures

from sdlesson.figures import strip
from sdlesson.language import say
from sdlesson.photos import HEIC_SUFFIXES, PhotoError, open_photo
from sdlesson.widgets.parts import png

THUMBNAIL_PX = 128
MAX_LABEL_CHARACTERS = 16
ENOUGH = 3


class PhotoUpload(VBox):
    """A button to choose photos with; as the last line of a cell, `PhotoUpload()` shows it.

    Photos may be chosen at once or one after the other. A saved notebook keeps none of them.
    """

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
        types = ",".join(("image/*", *HEIC_SUFFIXES))
        choose = say("Choose photos", "Elegir fotos")
        self.upload = FileUpload(
            accept=types, multiple=True, description=choose, layout={"width": "auto"}
        )
        self.again = Button(description=say("Start again", "Empezar de nuevo"), icon="undo")
        self.status = HTML()
        self.thumbnails = Image(format="png", layout={"display": "none"})
        super().__init__([Box([self.upload, self.again]), self.status, self.thumbnails])
        self.upload.observe(lambda change: self._take(change["new"]), "value")
        self.again.on_click(lambda _: self._forget())
        self._show()

    def photos(self, size: int) -> list[Pictures.Image]:
        """The photos chosen, as RGB pictures of size x size; bad ones are left out and named.

        Nothing chosen gives an empty list, so that a lesson can fall back on the course's own.
        """
        good, complaints = self._opened(size)
        for complaint in complaints:
            print(complaint)
        return list(good.values())

    def _take(self, value: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
        self._files |= files_of(value)
        self._show()

    def _forget(self) -> None:
        self._files.clear()
        self.upload.set_trait("value", type(self.upload.value)())  # else the same is not news
        self._show()

    def _opened(self, size: int) -> tuple[dict[str, Pictures.Image], list[str]]:
        """The good photos by name, and a sentence on each of the others."""
        good: dict[str, Pictures.Image] = {}
        complaints: list[str] = []
        first: dict[bytes, str] = {}
        for name, data in self._files.items():
            twin = first.setdefault(data, name)
            if twin != name:
                english = f"{name} is the same file as {twin}; it counts once"
                spanish = f"{name} es el mismo archivo que {twin}; cuenta una vez"
                complaints.append(say(english, spanish))
                continue
            try:
                good[name] = open_photo(data, size=size, name=name)
            except PhotoError as error:
                complaints.append(error.sentence)
        return good, complaints

    def _show(self) -> None:
        good, complaints = self._opened(THUMBNAIL_PX)
        lines = [_count(len(good)), *complaints]
        self.status.value = "".join(f"<div>{html.escape(line)}</div>" for line in lines)
        if good:
            labels = [name[:MAX_LABEL_CHARACTERS] for name in good]
            self.thumbnails.value = png(strip(list(good.values()), labels))
        self.thumbnails.layout.display = None if good else "none"


def files_of(value: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """Names and contents of what was chosen: ipywidgets 7 gives a dict, ipywidgets 8 a tuple."""
    if isinstance(value, Mapping):
        return {name: bytes(file["content"]) for name, file in value.items()}
    return {file["name"]: bytes(file["content"]) for file in value}


def _count(photos: int) -> str:
    if photos == 0:
        return say(
            "Choose three to five photos of one thing, each in another place.",
            "Elige de tres a cinco fotos de una misma cosa, cada una en otro sitio.",
        )
    if photos < ENOUGH:
        return say(
            f"Photos so far: {photos}. Three to five in different places teach better.",
            f"Fotos por ahora: {photos}. De tres a cinco en sitios distintos enseñan mejor.",
        )
    return say(f"{photos} photos are ready.", f"{photos} fotos listas.")
