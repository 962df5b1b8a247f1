"""New pixels in a picture that stays: their colours drawn to those that they meet at the border.

The VAE gives no pixel back as it was, so where decoded pixels are put beside those of the picture
that came, there is a step. What the decoder makes of the *known* pixels beside the border says how
large it is. The new part moves by as much there, and by smoothly less or more further in.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SWEEPS = 24
"""At each size: what is left is for the next coarser one."""

Floats = NDArray[np.float32]


def blend(decoded: Image.Image, original: Image.Image, mask: Image.Image) -> Image.Image:
    """Put the white part of a mask of one picture into another, with no step at the border.

    Outside of the mask every pixel is the original's, exactly.

    Source: Pérez et al. 2003, eq. 4, doi:10.1145/882262.882269.
    """
    new, old = (np.asarray(image, dtype=np.float32) for image in (decoded, original))
    known = np.asarray(mask) == 0
    if not known.any():
        return decoded
    moved = new + fill_smoothly(old - new, known)
    levels = np.where(known[..., None], old, moved.round().clip(0, 255))
    return Image.fromarray(levels.astype(np.uint8))


def fill_smoothly(values: Floats, known: NDArray[np.bool_]) -> Floats:
    """Fill what is not known like a soap film that is held by what is: Laplace's equation.

    First on a picture of half the size, whose answer is nearly right and is made to fit here.

    Args:
        values: (H, W, C); where it is not known, anything.
        known: (H, W), with at least one that is.
    """
    if known.all():
        return values
    if min(known.shape) < 2:
        return np.where(known[..., None], values, values[known].mean(0, dtype=np.float32))
    height, width = known.shape
    weights = _halved(known[..., None].astype(np.float32))
    means = _halved(values * known[..., None]) / weights.clip(1e-6)
    coarse = fill_smoothly(means, weights[..., 0] > 0)
    film = coarse.repeat(2, 0).repeat(2, 1)[:height, :width]
    for _ in range(SWEEPS):
        film = np.where(known[..., None], values, film)
        beside = np.pad(film, ((1, 1), (1, 1), (0, 0)), mode="edge")  # no pull from beyond
        across, down = beside[1:-1, :-2] + beside[1:-1, 2:], beside[:-2, 1:-1] + beside[2:, 1:-1]
        film = (across + down) * np.float32(0.25)
    return np.where(known[..., None], values, film)


def _halved(values: Floats) -> Floats:
    """Average each 2 x 2; an odd last row or column is an average of fewer."""
    height, width, channels = values.shape
    padded = np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)))
    return padded.reshape((height + 1) // 2, 2, (width + 1) // 2, 2, channels).mean((1, 3))
