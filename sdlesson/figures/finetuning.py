"""What fine-tuning adds: the batch that DreamBooth learns from, and the matrices of a LoRA."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from PIL import Image
from torch import Tensor

from sdlesson.figures.charts import COLOURS, INK, STYLE, Chart
from sdlesson.language import say

TILE_INCHES = 1.15
MATRIX_INCHES = 8.6
THINNEST = 0.02  # of the figure's width: a matrix of four columns must still be seen
GAP = 0.06
PHOTO_COLOUR, CLASS_COLOUR = COLOURS[1], COLOURS[0]


def dreambooth_batch(
    photos: Sequence[Image.Image],
    class_images: Sequence[Image.Image],
    *,
    noisy: Sequence[Image.Image],
    words: tuple[str, str],
    weight: str = "prior_weight",
) -> Chart:
    """Draw a batch as the U-Net gets it: photos, pictures of the class, and all under noise.

    Args:
        photos: Of the new thing.
        class_images: As many of its class.
        noisy: Both under noise, the photos first.
        words: What the texts call the photos, and the class.
        weight: What the class's error is multiplied by.

    Raises:
        ValueError: There is not one noisy picture for each.
    """
    pictures = [*photos, *class_images]
    if len(noisy) != len(pictures):
        raise ValueError(f"{len(noisy)} noisy pictures for {len(pictures)}; give one for each")
    count = len(pictures)
    with matplotlib.rc_context(STYLE):
        chart = Chart((count * TILE_INCHES, 2 * TILE_INCHES + 1.5))
        grid = chart.subplots(2, count)
        for row, shown in zip(grid, (pictures, noisy), strict=True):
            for axes, picture in zip(row, shown, strict=True):
                axes.imshow(picture)
                axes.axis("off")
        top, bottom = 0.83, 0.27
        chart.subplots_adjust(0.005, bottom, 0.995, top, wspace=0.04, hspace=0.05)
        half = len(photos) / count
        for place, text, colour in (
            (half / 2, words[0], PHOTO_COLOUR),
            ((1 + half) / 2, words[1], CLASS_COLOUR),
        ):
            chart.text(
                place,
                0.9,
                say(f"“{text} …”", f"«{text} …»"),
                ha="center",
                fontsize=12,
                color=colour,
            )
        chart.text(
            0.5,
            0.19,
            say(
                "under noise, which the U-Net has to guess",
                "bajo un ruido que la U-Net debe adivinar",
            ),
            ha="center",
            color="#666666",
        )
        error = say("mean error", "error medio")
        chart.text(half / 2, 0.06, error, ha="center", fontsize=12, color=PHOTO_COLOUR)
        chart.text(half, 0.06, "+", ha="center", fontsize=14, color=INK)
        times = f"{weight} × {error}"
        chart.text((1 + half) / 2, 0.06, times, ha="center", fontsize=12, color=CLASS_COLOUR)
        return chart


def lora_matrices(W: Tensor, A: Tensor, B: Tensor) -> Chart:
    """Draw a layer's weights beside the two narrow matrices of a LoRA and their product, to scale.

    Args:
        W: The frozen weights, (outputs, inputs).
        A: (rank, inputs).
        B: (outputs, rank).
    """
    parts = [
        ("W", W, say("frozen", "congelada")),
        ("B", B, say("trained", "se entrena")),
        ("A", A, say("trained", "se entrena")),
        ("BA", B @ A, say("as large as W", "tan grande como W")),
    ]
    with matplotlib.rc_context(STYLE):
        widths = [max(THINNEST, matrix.shape[1] / W.shape[1] * 0.24) for _, matrix, _ in parts]
        scale = 0.24 * MATRIX_INCHES / W.shape[1]  # inches a number
        height = W.shape[0] * scale
        chart = Chart((MATRIX_INCHES, height + 1.0))
        left = 0.01
        for index, ((name, matrix, note), width) in enumerate(zip(parts, widths, strict=True)):
            tall = max(matrix.shape[0] * scale, THINNEST * MATRIX_INCHES)
            y = (0.75 + height - tall) / (height + 1.0)
            axes = chart.add_axes((left, y, width, tall / (height + 1.0)))
            _draw_matrix(axes, matrix, f"{name}  {tuple(matrix.shape)}", note)
            sign = ["", "×", "=", ""][index]
            middle = (0.75 + height / 2) / (height + 1.0)
            chart.text(left + width + GAP / 2, middle, sign, ha="center", va="center", fontsize=16)
            left += width + GAP
        return chart


def _draw_matrix(axes: Axes, matrix: Tensor, name: str, note: str) -> None:
    limit = float(matrix.abs().max()) or 1.0
    axes.imshow(matrix.float().cpu().numpy(), cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
    axes.set(xticks=[], yticks=[])
    numbers = f"{matrix.numel():,}".replace(",", say(",", " "))
    axes.set_xlabel(f"{name}\n{numbers}\n{note}", fontsize=9.5)
