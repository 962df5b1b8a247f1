"""A photo as people have it, turned, see-through, of any format and size, made a square picture."""

from __future__ import annotations

import importlib
import io
import os
from contextlib import suppress
from importlib.util import find_spec
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from sdlesson.files import regular_file
from sdlesson.language import say

PhotoSource: TypeAlias = str | os.PathLike[str] | bytes | io.IOBase | Image.Image

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


def open_photo(
    source: PhotoSource, *, size: int, name: str, max_pixels: int | None = None
) -> Image.Image:
    """Open one photo as an RGB picture of size x size.

    It is turned as its camera says, laid on white where it is see-through, cropped to the square in
    its middle and resized. Of an animation it is the first picture.

    Args:
        source: A path, the bytes of a file, an open file, or a PIL image, which stays as it is.
        size: Pixels a side.
        name: What errors call it.
        max_pixels: How many it may unpack to; by default as many as Pillow thinks harmless.

    Raises:
        PhotoError: It is missing, empty, damaged, too large, too small, or no photo.
        ValueError: The size is none.
    """
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"size={size!r} must be a whole number of pixels; try 128")
    if isinstance(source, Image.Image):
        image = flatten(source, name)
    else:
        image = read_photo(source, name=name, max_pixels=max_pixels)
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


def flatten(image: Image.Image, name: str, *, ground: str = "white") -> Image.Image:
    """Turn any PIL picture into RGB, the right way up and on a ground; it stays as it is.

    For what people bring, with an error in their language; `images.as_rgb` is for what code made.

    Raises:
        PhotoError: It is closed or damaged, or its numbers are none of a picture's.
    """
    try:
        return _flat(image, name, ground)
    except PhotoError:
        raise
    except Exception as error:  # what a decoder raises on damage depends on where the damage is
        raise PhotoError(
            f"{name} is closed or damaged ({error}); open it again, and keep its file open or call "
            ".load() on it",
            f"{name} está cerrada o dañada ({error}); vuelve a abrirla, y deja su archivo abierto "
            "o llama a su .load()",
        ) from error


def read_photo(
    source: str | os.PathLike[str] | bytes | io.IOBase,
    *,
    name: str,
    max_pixels: int | None = None,
    ground: str = "white",
) -> Image.Image:
    """Open one photo as an RGB picture of its own size, the right way up.

    Args:
        source: A path, the bytes of a file, or an open file.
        name: What errors call it.
        max_pixels: How many it may unpack to; by default as many as Pillow thinks harmless.
        ground: The colour of what is see-through; that of a mask is "black", which stays.

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
    return _decode(io.BytesIO(data), name, max_pixels or Image.MAX_IMAGE_PIXELS or 0, ground)


def _bytes(source: str | os.PathLike[str] | bytes | io.IOBase, name: str) -> bytes:
    if isinstance(source, bytes | bytearray):
        return bytes(source)
    try:
        if isinstance(source, str | os.PathLike):
            return regular_file(source).read_bytes()
        if isinstance(source, io.IOBase) and source.seekable():
            source.seek(0)  # it may have been read before
        data = source.read()
    except (OSError, ValueError) as error:  # ValueError of a file that is closed, or no bytes
        reason = getattr(error, "strerror", None) or error
        raise PhotoError(
            f"{name} cannot be opened ({reason}); check its path",
            f"{name} no se puede abrir ({reason}); revisa su ruta",
        ) from error
    except AttributeError as error:
        raise _wrong_type(source, name) from error
    if not isinstance(data, bytes):
        raise _wrong_type(source, name)
    return data


def _wrong_type(source: object, name: str) -> PhotoError:
    kind = type(source).__name__
    return PhotoError(
        f"{name} is of type {kind}; give a path, bytes, an open file or a PIL image",
        f"{name} es de tipo {kind}; da una ruta, bytes, un archivo abierto o una imagen PIL",
    )


def _decode(file: io.BytesIO, name: str, max_pixels: int, ground: str) -> Image.Image:
    Image.init()
    known = [format_ for format_ in FORMATS if format_ in Image.OPEN]
    try:
        # No warning is turned off meanwhile: in a thread, that would be everybody's.
        with Image.open(file, formats=known) as image:
            if image.width * image.height > max_pixels:
                raise Image.DecompressionBombError
            return _flat(image, name, ground)
    except PhotoError:
        raise
    except UnidentifiedImageError as error:
        raise PhotoError(
            f"{name} is not a picture that can be read; give {', '.join(known)}",
            f"{name} no es una imagen que se pueda leer; da {', '.join(known)}",
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        limit = max_pixels // 1_000_000
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


def _flat(image: Image.Image, name: str, ground: str) -> Image.Image:
    """RGB pixels the right way up, on a ground."""
    image.load()
    with suppress(Exception):  # with damaged notes of the camera, the photo stays as it lies
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        image = _in_8_bits(image, name)
    if not image.has_transparency_data:
        return image.convert("RGB")
    below = Image.new("RGBA", image.size, ground)
    return Image.alpha_composite(below, image.convert("RGBA")).convert("RGB")


def _in_8_bits(image: Image.Image, name: str) -> Image.Image:
    """Scale numbers of 16 or 32 bits, which `convert` would cut off at 255, or turn black."""
    levels = np.asarray(image).astype(np.float64)
    low, high = (float(levels.min()), float(levels.max())) if levels.size else (0.0, 0.0)
    if image.mode.startswith("I;"):
        scale = 1 / 257  # 16 bits
    elif image.mode == "F" and high <= 1:
        scale = 255.0
    else:
        scale = 1.0 if high <= 255 else 1 / 257
    if not (low >= 0 and high * scale <= 255):  # nor NaN
        raise PhotoError(
            f"{name} has numbers from {low:g} to {high:g}; a picture's go from 0 to 1, to 255 or "
            "to 65535",
            f"{name} tiene números de {low:g} a {high:g}; los de una imagen van de 0 a 1, a 255 o "
            "a 65535",
        )
    return Image.fromarray((levels * scale).round().astype(np.uint8))
