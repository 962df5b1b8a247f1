"""The photos that a training starts from: three to five, all different, all of one size."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from io import IOBase
from pathlib import Path
from typing import TypeGuard, cast

from PIL import Image

from sdlesson.photos import HEIC_SUFFIXES, PhotoError, PhotoSource, open_photo
from sdlesson.settings import check_size

__all__ = ["PhotoError", "load_photos"]

MIN_PHOTOS = 2


def load_photos(sources: PhotoSource | Iterable[PhotoSource], *, size: int) -> list[Image.Image]:
    """Open photos as RGB pictures of size x size, in the order given.

    They are turned as their camera says, laid on white where they are see-through, cropped to the
    square in their middle and resized.

    Args:
        sources: Paths, bytes of files, open files or PIL images; or one folder, of which all
            pictures are taken in the order of their names.
        size: Pixels a side, such as 128 for the pocket model and 512 for SD 1.5.

    Raises:
        PhotoError: There are no photos, or only one, or two are the same; or one of them is
            missing, empty, damaged, too large, too small, or no photo.
        ValueError: The size is none.
    """
    if size is None:
        raise ValueError("size=None must be the photos' side in pixels, such as 128")
    check_size(size=size)
    named = _named(sources)
    photos = [open_photo(source, size=size, name=name) for name, source in named]
    if len(named) < MIN_PHOTOS:
        raise _too_few(sources, named)
    _check_different([name for name, _ in named], photos)
    return photos


def _named(sources: PhotoSource | Iterable[PhotoSource]) -> list[tuple[str, PhotoSource]]:
    """Each photo with the name that errors call it."""
    if isinstance(sources, str | os.PathLike) and os.path.isdir(sources):  # noqa: PTH112
        return [(path.name, path) for path in sorted(Path(sources).iterdir()) if is_picture(path)]
    if is_one(sources) or not isinstance(sources, Iterable):
        return [(name_of(sources, 1), sources)]
    listed = cast("Iterable[PhotoSource]", sources)
    return [(name_of(source, number), source) for number, source in enumerate(listed, start=1)]


def is_one(sources: object) -> TypeGuard[PhotoSource]:
    """Whether this is one photo or a folder of them, and not a list, though it has parts."""
    return isinstance(sources, str | os.PathLike | bytes | bytearray | Image.Image | IOBase)


def is_picture(path: Path) -> bool:
    """Whether a file of a folder is meant: not what the system leaves there, nor a text."""
    known = path.suffix.lower() in {*Image.registered_extensions(), *HEIC_SUFFIXES}
    return known and path.is_file() and not path.name.startswith(".")


def name_of(source: object, number: int) -> str:
    """What errors call a photo: its file, or its number."""
    if isinstance(source, str | os.PathLike):
        return Path(source).name or str(source)
    path = getattr(source, "filename", "") or getattr(source, "name", "")  # of PIL; of a file
    return Path(path).name if isinstance(path, str) and path else f"photo {number}"


def _check_different(names: Sequence[str], photos: Sequence[Image.Image]) -> None:
    first: dict[bytes, str] = {}
    for name, photo in zip(names, photos, strict=True):
        twin = first.setdefault(photo.tobytes(), name)
        if twin is not name:
            raise PhotoError(
                f"{name} shows the same as {twin}: given twice, it counts double; leave it out",
                f"{name} muestra lo mismo que {twin}: repetida, cuenta el doble; quítala",
            )


def _too_few(
    sources: PhotoSource | Iterable[PhotoSource], named: Sequence[tuple[str, PhotoSource]]
) -> PhotoError:
    if named:
        ((name, _),) = named
        return PhotoError(
            f"{name} is the only photo, and the model would learn its background and pose with it; "
            "take three to five, each in another place",
            f"{name} es la única foto, y el modelo aprendería con ella su fondo y su postura; "
            "haz de tres a cinco, cada una en otro sitio",
        )
    where = f" in {sources}" if isinstance(sources, str | os.PathLike) else ""
    donde = f" en {sources}" if isinstance(sources, str | os.PathLike) else ""
    return PhotoError(
        f"there are no photos{where}: give three to five of one thing",
        f"no hay fotos{donde}: da de tres a cinco de una misma cosa",
    )
