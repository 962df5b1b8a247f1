"""A photo as people have it, turned, see-through, of any format and size, made a square picture."""

from __future__ import annotations

import importlib
import io
import os
import warnings
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from sdlesson.language import say

Source: TypeAlias = str | os.PathLike[str] | bytes | io.BufferedIOBase | Image.Image

# Only what cameras, phones and screens write: some of Pillow's other readers start programs.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF")
MAX_ENLARGEMENT = 2  # beyond it, a model is taught blur
HEIC_SUFFIXES = (".heic", ".heif")
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


class PhotoError(ValueError):
    """A photo that cannot be used: one sentence says which, why, and what to do."""

    def __init__(self, english: str, spanish: str) -> None:
        super().__init__(english)
        self._spanish = spanish

    @property
    def sentence(self) -> str:
        """The message in the reader's language."""
        return say(str(self), self._spanish)


def open_photo(source: Source, *, size: int, name: str) -> Image.Image:
    """Open one photo as an RGB picture of size x size.

    It is turned as its camera says, laid on white where it is see-through, cropped to the square in
    its middle and resized. Of an animation it is the first picture.

    Args:
        source: A path, the bytes of a file, an open file, or a PIL image, which stays as it is.
        size: Pixels a side.
        name: What errors call it.

    Raises:
        PhotoError: It is missing, empty, damaged, too large, too small, or no photo.
    """
    image = flat(source) if isinstance(source, Image.Image) else read_photo(source, name=name)
    width, height = image.size
    least = -(-size // MAX_ENLARGEMENT)
    if min(width, height) < least:
        raise PhotoError(
            f"{name} is too small: {width} x {height} pixels, and for {size} x {size} each side "
            f"needs at least {least}; find a larger copy",
            f"{name} es demasiado pequeña: {width} x {height} píxeles, y para {size} x {size} cada "
            f"lado necesita al menos {least}; busca una copia más grande",
        )
    return ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)


def read_photo(
    source: str | os.PathLike[str] | bytes | io.BufferedIOBase, *, name: str
) -> Image.Image:
    """Open one photo as an RGB picture of its own size, the right way up.

    Raises:
        PhotoError: It is missing, empty, damaged, too large, or no photo.
    """
    data = _bytes(source, name)
    if not data:
        raise PhotoError(
            f"{name} is empty: its download or copy broke off; fetch it again",
            f"{name} está vacío: su descarga o copia se interrumpió; vuelve a traerlo",
        )
    if data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS:
        _learn_heic(name)
    return _decode(io.BytesIO(data), name)


def _bytes(source: str | os.PathLike[str] | bytes | io.BufferedIOBase, name: str) -> bytes:
    if isinstance(source, bytes):
        return source
    try:
        if isinstance(source, str | os.PathLike):
            return Path(source).read_bytes()
        return source.read()
    except OSError as error:
        raise PhotoError(
            f"{name} cannot be opened ({error.strerror}); check its path",
            f"{name} no se puede abrir ({error.strerror}); revisa su ruta",
        ) from error
    except AttributeError as error:
        kind = type(source).__name__
        raise PhotoError(
            f"{name} is of type {kind}; give a path, bytes, an open file or a PIL image",
            f"{name} es de tipo {kind}; da una ruta, bytes, un archivo abierto o una imagen PIL",
        ) from error


def _decode(file: io.BytesIO, name: str) -> Image.Image:
    Image.init()
    known = [format_ for format_ in FORMATS if format_ in Image.OPEN]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of oddities in metadata that do not matter here
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=known) as image:
                return flat(image)
    except UnidentifiedImageError as error:
        raise PhotoError(
            f"{name} is not a picture that can be read; give {', '.join(known)}",
            f"{name} no es una imagen que se pueda leer; da {', '.join(known)}",
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        limit = (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
        raise PhotoError(
            f"{name} unpacks to more than {limit} million pixels, which could fill the memory; "
            "save it smaller first",
            f"{name} ocupa al abrirse más de {limit} millones de píxeles, lo que podría llenar la "
            "memoria; guárdala antes más pequeña",
        ) from error
    except Exception as error:  # what a decoder raises on damage depends on where the damage is
        raise PhotoError(
            f"{name} is damaged ({error}); copy or download it again",
            f"{name} está dañado ({error}); vuelve a copiarlo o a descargarlo",
        ) from error


def _learn_heic(name: str) -> None:
    """Let Pillow read the format of iPhones, where the package for it is installed."""
    if find_spec("pillow_heif") is None:
        raise PhotoError(
            f"{name} is in HEIC, which iPhones write and Python cannot read by itself: run "
            "`pip install pillow-heif` and try again, or export it as JPEG",
            f"{name} está en HEIC, que los iPhone escriben y Python no lee por sí solo: ejecuta "
            "`pip install pillow-heif` y vuelve a probar, o expórtala como JPEG",
        )
    importlib.import_module("pillow_heif").register_heif_opener()


def flat(image: Image.Image) -> Image.Image:
    """Return a picture as RGB, turned as its camera says, on white where it is see-through."""
    image.load()
    with suppress(Exception):  # with damaged notes of the camera, the photo stays as it lies
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits, of which `convert` would keep the darkest 256 levels
        levels = np.asarray(image).astype(np.float32) / 257
        image = Image.fromarray(levels.clip(0, 255).round().astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
