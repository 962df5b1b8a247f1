"""Choose photos to teach: small copies show the good ones, a sentence names each bad one."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, count
from numbers import Integral
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
        self._files: list[tuple[str, bytes]] = []  # phones call every photo image.jpg
        types = ",".join(("image/*", *HEIC_SUFFIXES))
        choose = say("Choose photos", "Elegir fotos")
        self.upload = FileUpload(
            accept=types, multiple=True, description=choose, layout={"width": "auto"}
        )
        self.again = Button(description=say("Start again", "Empezar de nuevo"), icon="undo")
        self.status = HTML()
        self.thumbnails = Image(format="png", layout={"display": "none"})
        super().__init__([Box([self.upload, self.again]), self.status, self.thumbnails])
        observe_files(self.upload, self._take)
        self.again.on_click(lambda _: self._forget())
        self._show()

    def photos(self, size: int) -> list[Pictures.Image]:
        """The photos chosen, as RGB pictures of size x size; bad ones are left out and named.

        Nothing chosen gives an empty list, so that a lesson can fall back on the course's own.

        Raises:
            ValueError: The size is no number of pixels.
        """
        if not isinstance(size, Integral) or isinstance(size, bool) or size < 1:
            raise ValueError(f"size={size!r} must be a whole number of pixels; try 128")
        good, complaints = self._opened(size)
        for complaint in complaints:
            print(complaint)
        return list(good.values())

    def _take(self, value: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
        self._files += [file for file in files_of(value) if file not in self._files]
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
        for name, data in zip(self._names(), (data for _, data in self._files), strict=True):
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

    def _names(self) -> list[str]:
        """What each file is called here: the second image.jpg is "image.jpg (2)"."""
        names: list[str] = []
        for name, _ in self._files:
            numbered = (f"{name} ({number})" for number in count(2))
            names.append(next(one for one in chain([name], numbered) if one not in names))
        return names

    def _show(self) -> None:
        good, complaints = self._opened(THUMBNAIL_PX)
        lines = [_counted(len(good)), *complaints]
        self.status.value = "".join(f"<div>{html.escape(line)}</div>" for line in lines)
        if good:
            labels = [name[:MAX_LABEL_CHARACTERS] for name in good]
            self.thumbnails.value = png(strip(list(good.values()), labels))
        self.thumbnails.layout.display = None if good else "none"


def files_of(value: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> list[tuple[str, bytes]]:
    """Names and contents of what was chosen: ipywidgets 7 gives a dict, ipywidgets 8 a tuple."""
    if isinstance(value, Mapping):
        value = [{"name": name, **file} for name, file in value.items()]
    return [(file["name"], bytes(file["content"])) for file in value]


def observe_files(upload: FileUpload, take: Callable[[Sequence[Mapping[str, Any]]], None]) -> None:
    """Hand on what is chosen, all of it: in the dict of ipywidgets 7, names can stand but once."""

    def take_all(_: object) -> None:
        pairs = zip(upload.metadata, upload.data, strict=True)
        take([{"name": described["name"], "content": data} for described, data in pairs])

    if upload.has_trait("metadata"):
        upload.observe(take_all, "_counter")
    else:
        upload.observe(lambda change: take(change["new"]), "value")


def _counted(photos: int) -> str:
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
