"""Pictures as tensors and as PIL images, what "the same picture" means, and PNGs that tell all."""

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from sdlesson.files import atomic_write, partial_path, regular_file

# The one tolerance for pictures. Batching, devices and library versions add floats in another
# order, which moves a pixel by a rounding step (1/255); a real difference moves many by far more.
SAME_MEAN_ERROR = 1 / 255
SAME_PIXEL_ERROR = 8 / 255
SAME_SHARE_OFF = 1 / 1000

GRID_GAP_PX = 4
LABEL_FONT_PX = 12
MAX_FONT_PX = 500
LABEL_LINES = 1.5  # heights of the font that a label takes


class Difference(NamedTuple):
    """How far two pictures are apart.

    Attributes:
        mean_error: Mean absolute difference over all pixels and channels, in [0, 1].
        share_off: Share of pixels with a channel off by more than `SAME_PIXEL_ERROR`, in [0, 1].
    """

    mean_error: float
    share_off: float


def list_pictures(images: Sequence[Image.Image]) -> list[Image.Image]:
    """Return PIL images in RGB, as many as there are.

    Raises:
        ValueError: It is no list of PIL images, or one of them cannot be read.
    """
    if not isinstance(images, Iterable) or isinstance(images, str | bytes | Image.Image):
        kind = type(images).__name__
        raise ValueError(f"images must be a list of PIL images, got one {kind}; try [image]")
    return [as_rgb(image, f"image {number}") for number, image in enumerate(images)]


def check_picture(image: Image.Image, name: str = "image") -> None:
    """Refuse what is no PIL image, and one without a pixel.

    Raises:
        ValueError: It is of another type, or a side of it is 0.
    """
    if not isinstance(image, Image.Image):
        kind = type(image).__name__
        raise ValueError(f"{name} is of type {kind}, must be a PIL image; try Image.open(path)")
    if not all(image.size):
        width, height = image.size
        raise ValueError(f"{name} is {width} x {height} and has no pixel; each side needs one")


def as_rgb(image: Image.Image, name: str = "image") -> Image.Image:
    """Return a PIL image in RGB; numbers with a point are levels from 0 to 1, or up to 255.

    For pictures that code made: each pixel stays where it is. A person's photo goes through
    `photos.flatten`, which turns it the right way up and puts a ground below what is transparent.

    Raises:
        ValueError: It is no PIL image, is empty, was closed, is damaged, or holds other numbers.
    """
    check_picture(image, name)
    try:
        image.load()
        return (_levels(image, name) if image.mode[0] in "FI" else image).convert("RGB")
    except (AssertionError, AttributeError, OSError, SyntaxError, ValueError) as error:
        # Without a file Pillow raises, by its version, the first, the second or the last of these.
        without_file = isinstance(error, AttributeError) and getattr(image, "fp", image) is None
        if without_file or isinstance(error, AssertionError) or "closed" in str(error):
            raise ValueError(
                f"{name} was closed before it was read: open it again, or call image.load() in the "
                "`with` block"
            ) from error
        if isinstance(error, ValueError):
            raise
        raise ValueError(f"{name} is damaged ({error}); copy or download it again") from error


def _levels(image: Image.Image, name: str) -> Image.Image:
    """Turn floats or wide whole numbers, which `convert` would cut off, into levels of a byte."""
    numbers = np.asarray(image).astype(np.float64)
    if not np.isfinite(numbers).all() or numbers.min() < 0 or numbers.max() > 65535:
        low, high = numbers.min(), numbers.max()
        raise ValueError(
            f"{name} holds numbers from {low:g} to {high:g}; scale them to 0 to 255 first"
        )
    if image.mode == "F" and numbers.max() <= 1:
        numbers = numbers * 255
    elif numbers.max() > 255:  # 16 bits
        numbers = numbers / 257
    return Image.fromarray(numbers.round().astype(np.uint8))


def to_pixels(images: Sequence[Image.Image]) -> Tensor:
    """Stack PIL images into pixels, (B, 3, H, W) in [-1, 1].

    Raises:
        ValueError: There are no images, their sizes differ, or one of them cannot be read.
    """
    pictures = list_pictures(images)
    sizes = sorted({picture.size for picture in pictures})
    if len(sizes) != 1:
        raise ValueError(f"images must be of one size, got {sizes}; resize them first")
    arrays = [np.asarray(picture, dtype=np.float32) for picture in pictures]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2) / 127.5 - 1  # (B, H, W, 3) before


def to_images(pixels: Tensor) -> list[Image.Image]:
    """Turn pixels, (B, 3, H, W) in [-1, 1], into PIL images; values outside are clipped.

    Raises:
        ValueError: The shape is another, or a pixel is NaN or infinite, which would turn black.
    """
    shape = tuple(getattr(pixels, "shape", ()))
    if not isinstance(pixels, Tensor) or len(shape) != 4 or shape[1] != 3 or 0 in shape[2:]:
        raise ValueError(f"pixels have shape {shape}, must be (B, 3, H, W)")
    if not pixels.is_floating_point():
        raise ValueError(f"pixels are {pixels.dtype}, must be floats in [-1, 1]")
    if not pixels.isfinite().all():
        in_float = pixels.dtype == torch.float32
        advice = "look for where they come from" if in_float else "decode in float32"
        raise ValueError(f"pixels hold NaN or infinity, so there is no picture; {advice}")
    levels = (pixels.detach().float().clamp(-1, 1) / 2 + 0.5) * 255
    arrays = levels.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()  # (B, H, W, 3)
    return [Image.fromarray(array) for array in arrays]


def picture_difference(a: Image.Image, b: Image.Image) -> Difference:
    """Measure how far two pictures of one size are apart.

    Raises:
        ValueError: The sizes differ.
    """
    pixels = to_pixels([a, b])
    # (3, H, W); [-1, 1] is two wide and [0, 1] one. Doubles, so that 1 in 1,000 is not above it.
    errors = (pixels[0] - pixels[1]).abs().double() / 2
    # Half a level of slack, so that a pixel off by exactly eight levels does not count as more.
    off = errors.amax(dim=0) > SAME_PIXEL_ERROR + 0.5 / 255
    return Difference(errors.mean().item(), off.double().mean().item())


def same_picture(a: Image.Image, b: Image.Image) -> bool:
    """Say whether two pictures are the same, within the one tolerance of this project."""
    difference = picture_difference(a, b)
    return difference.mean_error <= SAME_MEAN_ERROR and difference.share_off <= SAME_SHARE_OFF


def image_grid(
    images: Sequence[Image.Image],
    columns: int,
    *,
    labels: Sequence[str] = (),
    font_px: int = LABEL_FONT_PX,
) -> Image.Image:
    """Put images of one size side by side, row by row, each over its label if there are labels.

    Args:
        images: Of one size.
        columns: How many stand in a row.
        labels: One for each image, or none.
        font_px: The size of the labels.

    Raises:
        ValueError: There are no images, sizes differ, or labels do not match images in number.
    """
    images = list_pictures(images)
    sizes = sorted({image.size for image in images})
    if len(sizes) != 1 or type(columns) is not int or columns < 1:
        raise ValueError(f"a grid needs images of one size and columns; got {sizes} in {columns!r}")
    if type(font_px) is not int or not 1 <= font_px <= MAX_FONT_PX:
        raise ValueError(f"font_px={font_px!r} must be a whole number from 1 to {MAX_FONT_PX}")
    is_list = isinstance(labels, Sequence) and not isinstance(labels, str | bytes)
    if not is_list or not all(isinstance(label, str) for label in labels):
        raise ValueError(f"labels={labels!r} must be a list of texts, one for each image")
    if labels and len(labels) != len(images):
        raise ValueError(f"{len(labels)} labels for {len(images)} images; give one for each")
    width, height = sizes[0]
    label_height = round(LABEL_LINES * font_px) if labels else 0
    step_x, step_y = width + GRID_GAP_PX, height + GRID_GAP_PX + label_height
    columns, rows = min(columns, len(images)), -(-len(images) // columns)
    grid = Image.new("RGB", (columns * step_x - GRID_GAP_PX, rows * step_y - GRID_GAP_PX), "white")
    drawing, font = ImageDraw.Draw(grid), label_font(font_px)
    for index, image in enumerate(images):
        x, y = index % columns * step_x, index // columns * step_y
        grid.paste(image, (x, y))
        if labels:
            centre = (x + width / 2, y + height + label_height / 2)
            drawing.text(centre, labels[index], fill="black", font=font, anchor="mm")
    return grid


@cache
def label_font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Load DejaVu Sans, which has every accent and comes with matplotlib, without importing it."""
    spec = find_spec("matplotlib")
    folder = Path(spec.origin or "").parent if spec else Path()
    path = folder / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(path, size_px) if path.is_file() else ImageFont.load_default(size_px)


def check_output(path: str | os.PathLike[str]) -> Path:
    """Return the path if a PNG can be written there, before any work is spent on the picture.

    Raises:
        ValueError: The name does not end in .png, or its folder is missing or cannot be written.
    """
    if not isinstance(path, str | os.PathLike):
        raise ValueError(f"cannot write {path!r}: it must be the path of a file; try 'cat.png'")
    path = Path(path)
    if path.name.lower() == ".png":
        raise ValueError(f"cannot write {path}: it has no name before .png; try 'cat.png'")
    if path.suffix.lower() != ".png":
        raise ValueError(f"cannot write {path}: a picture is saved as PNG, so end it in .png")
    probe = partial_path(path)
    try:
        is_folder, has_parent = path.is_dir(), path.parent.is_dir()
        if has_parent and not is_folder:
            probe.touch()
            probe.unlink()
    except (OSError, ValueError) as error:  # the latter of a null byte
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"cannot write {path}: {reason}; choose another folder or name") from error
    if is_folder:
        raise ValueError(f"cannot write {path}: it is a folder; name a file in it")
    if path.exists() and not path.is_file():
        raise ValueError(f"cannot write {path}: it is a pipe or a device; choose another name")
    if not has_parent:
        raise ValueError(f"cannot write {path}: there is no folder {path.parent}; make it first")
    return path


def save_png(image: Image.Image, path: str | os.PathLike[str], settings: dict[str, str]) -> None:
    """Write a PNG with its settings as text, whole or not at all.

    Raises:
        ValueError: The path cannot be written, or the picture cannot be read or is empty.
    """
    path = check_output(path)
    with atomic_write(path) as partial:
        partial.write_bytes(encode_png(image, settings))


def encode_png(image: Image.Image, settings: Mapping[str, str]) -> bytes:
    """Make a PNG with its settings as text, in memory: the bytes that `save_png` writes."""
    text = PngInfo()
    for key, value in settings.items():
        text.add_text(key, value.encode("utf-8", "backslashreplace").decode())
    file = io.BytesIO()
    as_rgb(image).save(file, format="PNG", pnginfo=text)
    return file.getvalue()


def read_settings(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read the settings that `save_png` wrote; empty for a PNG without any.

    Raises:
        ValueError: It is no file, not a PNG, or damaged.
    """
    return open_png(path)[1]


def open_png(path: str | os.PathLike[str]) -> tuple[Image.Image, dict[str, str]]:
    """Read a PNG's picture, in RGB, and the settings that `save_png` wrote into it.

    Raises:
        ValueError: It is no file, not a PNG, or damaged.
    """
    if not isinstance(path, str | os.PathLike):
        raise ValueError(f"path={path!r} must be the path of a PNG; try 'cat.png'")
    try:
        with Image.open(regular_file(path)) as image:
            if image.format != "PNG":
                raise ValueError(f"{path} is {image.format}, and only a PNG carries settings")
            image.load()  # text may stand behind the pixels
            items = image.info.items()
            found = {str(key): value for key, value in items if isinstance(value, str)}
            return image.convert("RGB"), found
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{path} is damaged, or no picture ({reason}); copy it again") from error
