"""How strong a picture's colours are, how fine its detail, and how near it is to another."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor

from sdlesson.images import as_rgb
from sdlesson.settings import check_whole

LUMA = (0.299, 0.587, 0.114)
"""How bright red, green and blue look (ITU-R BT.601)."""


class PixelStatistics(NamedTuple):
    """What `pixel_statistics` counts, each in [0, 1].

    Attributes:
        saturation: Mean over pixels of (max - min) / max of red, green and blue; black counts 0.
        clipped: Share of pixels with a channel at 0 or 255, where a colour may have been cut off.
        contrast: Standard deviation of luma over pixels; half black, half white has 0.5, the most.
    """

    saturation: float
    clipped: float
    contrast: float


def pixel_statistics(image: Image.Image) -> PixelStatistics:
    """Measure saturation, clipped pixels and contrast of one picture.

    They say nothing of beauty, and no value is broken in itself: a red car is saturated, and so
    few colours do for pixel art that it is clipped by nature. Compare with real pictures of the
    same prompts, or one setting with another. JPEG and resizing change `clipped`: measure the
    picture as it was drawn.

    Raises:
        ValueError: It is no picture, or has no pixel.

    Source: Smith 1978, doi:10.1145/800248.807361 (HSV's saturation).
    """
    pixels = np.asarray(as_rgb(image))  # (H, W, 3)
    top, bottom = pixels.max(2), pixels.min(2)
    saturation = (top - bottom) / np.maximum(top, 1)
    clipped = (top == 255) | (bottom == 0)
    luma = pixels @ np.array(LUMA) / 255
    return PixelStatistics(float(saturation.mean()), float(clipped.mean()), float(luma.std()))


def fine_detail(image: Image.Image, *, above_cycles: float = 32) -> float:
    """Energy of the luma's waves with more than `above_cycles` periods across the picture.

    Blur takes it away first. Noise and jagged edges have it too: it says that detail is there, not
    that it is right. Compare pictures of one size and of the same scenes.

    Returns:
        The variance of luma, in [0, 1], that these waves carry.

    Source: Parseval's theorem.
    """
    luma = np.asarray(image.convert("RGB")) @ np.array(LUMA) / 255  # (H, W)
    height, width = luma.shape
    rows = np.fft.fftfreq(height)[:, None] * height  # whole periods down the picture
    columns = np.fft.fftfreq(width)[None] * width
    energy = np.abs(np.fft.fft2(luma) / luma.size) ** 2
    return float(energy[np.hypot(rows, columns) > above_cycles].sum())


def psnr(restored: Tensor, pixels: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of pixels in [-1, 1], clipped; the mean over the batch."""
    mse = (restored.clamp(-1, 1) - pixels).square().mean((1, 2, 3)) / 4  # as if in [0, 1]
    return float((-10 * mse.clamp_min(1e-10).log10()).mean())


def seam_ratio(
    image: Image.Image, *, column: int | None = None, row: int | None = None, span: int = 1
) -> float:
    """Compare the step between two neighbouring columns, or rows, with all other such steps.

    About 1 where nothing is to be seen; a straight cut through the picture is far above. It lies
    where the picture itself has a straight edge, such as a wall, at that place; and with `span=1`
    it is deceived by a seam that is only blurred, which one of several pixels is not.

    Args:
        image: Of any mode.
        column: The first column on the right of the seam; its left neighbour is on the other side.
        row: Likewise the first row below a seam.
        span: How many pixels lie between what is compared, half of them on either side.

    Raises:
        ValueError: There is no such seam in the picture, or both are given or neither.
    """
    if (column is None) == (row is None):
        raise ValueError("say column= or row=, where the seam is")
    levels = np.asarray(as_rgb(image), dtype=np.float64)
    across = levels if row is None else levels.swapaxes(0, 1)
    name, where = ("column", column) if row is None else ("row", row)
    most = across.shape[1] - 1
    if most < 2:
        raise ValueError(f"the picture has no {name} beside its seam to compare with; it needs 3")
    seam = check_whole(1, most, most // 2, **{name: where})
    span = check_whole(1, 2 * min(seam, most + 1 - seam), 1, span=span)
    steps = np.abs(across[:, span:] - across[:, :-span]).mean((0, 2))  # one for each pair
    at_seam = np.arange(len(steps)) + (span + 1) // 2 - seam  # 0 for the pair about the seam
    if (abs(at_seam) < span).all():
        raise ValueError(f"span={span} leaves no step that does not cross the seam; try 1")
    others = steps[abs(at_seam) >= span].mean()
    return float(steps[at_seam == 0][0] / max(others, 1e-9))
