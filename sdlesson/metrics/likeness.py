"""Does a picture show a figure as an eye would see it? Nothing learned: a correlation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from sdlesson.images import to_pixels

CLEAR = 0.75
"""From this likeness on, people name the figure without being told what to look for."""
INSIDE = 0.9
"""How much of a figure has to lie inside the picture."""


class Likeness(NamedTuple):
    """How well a picture shows a figure.

    Attributes:
        value: The best correlation, in [-1, 1].
        mirrored: The best correlation with the figure's mirror image.
    """

    value: float
    mirrored: float

    @property
    def clear(self) -> bool:
        """Whether the figure is there for anyone to see."""
        return self.value >= CLEAR

    @property
    def commitment(self) -> float:
        """How much more the figure looks its own way than the other; near 0 is both at once."""
        return self.value - self.mirrored


def likeness(image: Image.Image, figures: Sequence[Image.Image]) -> Likeness:
    """Find the figure in the picture that fits best, wherever it stands.

    The measure is Pearson's correlation of the figure's RGB values with the picture's under it,
    each pixel weighed by the figure's alpha; the best place counts, and the best figure.

    It means that these shapes and colours are there, in this arrangement. It lies about figures of
    nearly one colour, which any patch of that colour resembles; where a style repaints everything
    (compare unstyled pictures only); and where a right thing is drawn in a size or a pose that is
    not among `figures`. What surrounds the figure does not count, a second head beside it neither.

    Args:
        image: RGB, of any size.
        figures: The ways the thing may look: RGBA, in the size it is to be found in.

    Raises:
        ValueError: There is no figure, or none fits into the picture.

    Source: Lewis 1995, "Fast Normalized Cross-Correlation", with a mask.
    """
    if not figures:
        raise ValueError("figures=[] must hold at least one RGBA picture of what is looked for")
    pixels = to_pixels([image])
    return Likeness(
        max(_best(pixels, figure) for figure in figures),
        max(_best(pixels, ImageOps.mirror(figure)) for figure in figures),
    )


def _best(pixels: Tensor, figure: Image.Image) -> float:
    """The largest correlation of a figure with pixels (1, 3, H, W), over all places."""
    rgb = to_pixels([figure.convert("RGB")])
    alpha = torch.from_numpy(np.array(figure.getchannel("A")) / 255).float()[None, None]
    image_size = tuple(pixels.shape[:1:-1])
    margin = [round(side * (1 - INSIDE)) for side in rgb.shape[2:]]
    pad = (margin[1], margin[1], margin[0], margin[0])
    inside = F.pad(torch.ones_like(pixels[:, :1]), pad)
    pixels = F.pad(pixels, pad)
    if any(p < f for p, f in zip(pixels.shape[2:], rgb.shape[2:], strict=True)):
        raise ValueError(
            f"a figure of {figure.size} pixels is larger than the picture, {image_size}; make it "
            "smaller"
        )
    # Weighed sums over the figure's pixels at every place; beyond the picture nothing counts.
    n = 3 * F.conv2d(inside, alpha)
    figure_sum = F.conv2d(inside, (alpha * rgb).sum(1, keepdim=True))
    figure_squares = F.conv2d(inside, (alpha * rgb.square()).sum(1, keepdim=True))
    picture_sum = F.conv2d(pixels.sum(1, keepdim=True), alpha)
    picture_squares = F.conv2d(pixels.square().sum(1, keepdim=True), alpha)
    products = F.conv2d(pixels, alpha * rgb)
    covariance = products / n - figure_sum / n * picture_sum / n
    figure_variance = (figure_squares / n - (figure_sum / n).square()).clamp_min(1e-6)
    picture_variance = (picture_squares / n - (picture_sum / n).square()).clamp_min(1e-6)
    correlation = covariance / (figure_variance * picture_variance).sqrt()
    return float(correlation.where(n >= INSIDE * 3 * alpha.sum(), -1).max())
