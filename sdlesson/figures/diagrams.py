"""Diagrams that say why: the pipeline, the U-Net, an equation of pictures, guidance, attention.

Shapes and vectors in them are measured on the model that is handed over, never written by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import matplotlib
import numpy as np
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from matplotlib.axes import Axes
from PIL import Image
from torch import Tensor

from sdlesson.copies import check_loaded
from sdlesson.figures.charts import COLOURS, INK, STYLE, Chart
from sdlesson.figures.strips import grid
from sdlesson.images import as_rgb, list_pictures
from sdlesson.language import say

NETWORK, FORMULA, DATA = "#cfe3f5", "#fde3c4", "#f4f4f4"  # learned, written by hand, passed on
FONT = 13.0  # points; a diagram is seen from the last row
ATTENTION_COLOURS = "inferno"
ATTENTION_SHARE = 0.65  # of the heat map in the blend; the rest is the picture
COLUMN_INCHES, ROW_INCHES = 1.75, 1.3


class Box(NamedTuple):
    """A box of a diagram: its text, its column and row from the top left, and its colour."""

    text: str
    column: float
    row: float
    colour: str = DATA


def diagram(boxes: Mapping[str, Box], arrows: Sequence[tuple[str, str, str]]) -> Chart:
    """Draw boxes and the arrows between them.

    Args:
        boxes: By a name that arrows use.
        arrows: From a box, to a box, and a text for the middle, "" for none.
    """
    columns = max(box.column for box in boxes.values()) + 1
    rows = max(box.row for box in boxes.values()) + 1
    chart, axes = _canvas(columns * COLUMN_INCHES, rows * ROW_INCHES)
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    drawn = {}
    for name, box in boxes.items():
        style = {"boxstyle": "round,pad=0.45", "facecolor": box.colour, "edgecolor": INK}
        drawn[name] = axes.text(
            box.column, box.row, box.text, ha="center", va="center", fontsize=FONT, bbox=style
        )
    for start, end, text in arrows:
        first, last = boxes[start], boxes[end]
        axes.annotate(
            "",
            (last.column, last.row),
            (first.column, first.row),
            arrowprops={
                "arrowstyle": "-|>",
                "color": INK,
                "linewidth": 1.6,
                "patchA": drawn[start].get_bbox_patch(),
                "patchB": drawn[end].get_bbox_patch(),
                "shrinkA": 2,
                "shrinkB": 2,
            },
        )
        middle = (first.column + last.column) / 2, (first.row + last.row) / 2 - 0.2
        axes.text(*middle, text, ha="center", fontsize=FONT - 2, color=COLOURS[1])
    return chart


def pipeline_diagram() -> Chart:
    """Draw what a prompt and a seed go through on the way to a picture."""
    boxes = {
        "words": Box(say("words", "palabras"), 0, 0),
        "tokenizer": Box(say("tokenizer", "tokenizador"), 1, 0, FORMULA),
        "encoder": Box(say("text\nencoder", "codificador\nde texto"), 2, 0, NETWORK),
        "seed": Box(say("seed", "semilla"), 0, 1),
        "noise": Box(say("noise", "ruido"), 1, 1),
        "unet": Box("U-Net", 2, 1, NETWORK),
        "guidance": Box(say("guidance", "guía"), 3, 1, FORMULA),
        "step": Box(say("scheduler:\none step", "planificador:\nun paso"), 3, 2, FORMULA),
        "latents": Box(say("latents", "latentes"), 2, 2),
        "vae": Box("VAE", 4.6, 2, NETWORK),
        "picture": Box(say("picture", "imagen"), 5.5, 2),
        "checker": Box(say("safety\nchecker", "filtro de\nseguridad"), 5.5, 1, NETWORK),
    }
    arrows = [
        ("words", "tokenizer", ""),
        ("tokenizer", "encoder", "tokens"),
        ("encoder", "unet", ""),
        ("seed", "noise", ""),
        ("noise", "unet", ""),
        ("unet", "guidance", ""),
        ("guidance", "step", ""),
        ("step", "latents", ""),
        ("latents", "unet", ""),
        ("step", "vae", say("at the end", "al final")),
        ("vae", "picture", ""),
        ("picture", "checker", ""),
    ]
    return diagram(boxes, arrows)


def unet_diagram(pipe: StableDiffusionPipeline) -> Chart:
    """Draw the U of a pipeline's U-Net, with the shape that each of its parts gives."""
    unet = check_loaded(pipe).unet
    shapes = unet_shapes(unet, pipe.tokenizer.model_max_length)
    depth = len(unet.down_blocks)
    blocks = {f"down {level}": block for level, block in enumerate(unet.down_blocks)}
    blocks |= {f"up {level}": block for level, block in enumerate(unet.up_blocks)}
    blocks["mid"] = unet.mid_block
    reading = [
        name for name, block in blocks.items() if getattr(block, "has_cross_attention", False)
    ]
    boxes, arrows = {}, []
    for name, shape in shapes.items():
        kind, _, number = name.partition(" ")
        level = int(number or 0)
        row, column = {
            "in": (0.0, 0.0),
            "down": (level + 1.0, level * 0.7),
            "mid": (depth + 1.0, depth * 0.7 + 0.4),
            "up": (depth - level + 0.0, (depth + level) * 0.7 + 0.8),
            "out": (0.0, 2 * depth * 0.7 + 0.8),
        }[kind]
        text = f"{_part(kind)}\n{' × '.join(map(str, shape))}"
        if name in reading:
            text += say("\nreads the words", "\nlee las palabras")
        boxes[name] = Box(text, column, row, NETWORK)
    order = list(boxes)
    arrows += [(first, second, "") for first, second in pairwise(order)]
    across = say("copied across", "copia directa")
    arrows += [
        (f"down {level}", f"up {depth - 1 - level}", "" if level else across)
        for level in range(depth)
    ]
    return diagram(boxes, arrows)


@torch.no_grad()
def unet_shapes(unet: UNet2DConditionModel, tokens: int) -> dict[str, tuple[int, ...]]:
    """Run a U-Net once on zeros, and note what each part gives: (channels, height, width)."""
    parts = {"in": unet.conv_in}
    parts |= {f"down {number}": block for number, block in enumerate(unet.down_blocks)}
    parts |= {"mid": unet.mid_block}
    parts |= {f"up {number}": block for number, block in enumerate(unet.up_blocks)}
    parts |= {"out": unet.conv_out}
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, result: Tensor | tuple[Tensor, ...]) -> None:
        tensor = result[0] if isinstance(result, tuple) else result
        shapes[name] = tuple(tensor.shape[1:])

    hooks = [
        part.register_forward_hook(lambda _part, _inputs, result, name=name: note(name, result))
        for name, part in parts.items()
    ]
    side, config = unet.config.sample_size, unet.config
    like = {"device": unet.device, "dtype": unet.dtype}
    try:
        latents = torch.zeros(1, config.in_channels, side, side, **like)
        unet(latents, 0, torch.zeros(1, tokens, config.cross_attention_dim, **like))
    finally:
        for hook in hooks:
            hook.remove()
    return {name: shapes[name] for name in parts}


def equation(images: Sequence[Image.Image], signs: Sequence[str], labels: Sequence[str]) -> Chart:
    """Write pictures as an equation: a sign between each two, a label under each.

    Raises:
        ValueError: There is not one sign less than images, or not one label each.
    """
    images = list_pictures(images)
    if len(signs) != len(images) - 1 or len(labels) != len(images):
        counts = f"{len(images)} images, {len(signs)} signs, {len(labels)} labels"
        raise ValueError(f"{counts}; give a sign between each two images and a label for each")
    step = 1.62
    chart, axes = _canvas(len(images) * step * 1.25, 2.3)
    axes.set(xlim=(-0.6, (len(images) - 1) * step + 0.6), ylim=(1.0, -0.62), aspect="equal")
    for place, (image, label) in enumerate(zip(images, labels, strict=True)):
        middle = place * step
        axes.imshow(image, extent=(middle - 0.5, middle + 0.5, 0.5, -0.5), interpolation="bicubic")
        axes.text(middle, 0.6, label, ha="center", va="top", fontsize=FONT)
    for place, sign in enumerate(signs):
        axes.text((place + 0.5) * step, 0, sign, ha="center", va="center", fontsize=FONT + 3)
    axes.set(xlim=(-0.6, (len(images) - 1) * step + 0.6), ylim=(1.0, -0.62))
    return chart


def guidance_arrow(
    noise_pred_uncond: Tensor, noise_pred_text: Tensor, scales: Sequence[float]
) -> Chart:
    """Draw two predictions, and where guidance goes from them, in the plane that holds them all.

    Nothing is distorted: guided predictions lie on the line through both, so two axes are enough.
    The first axis points along the prediction without words, the second at right angles to it.

    Raises:
        ValueError: The predictions have no plane of their own, or there are no scales.
    """
    both = (noise_pred_uncond, noise_pred_text)
    if not all(isinstance(pred, Tensor) for pred in both) or both[0].shape != both[1].shape:
        raise ValueError("the two predictions must be tensors of one shape; see Step.noise_pred")
    if not len(scales):
        raise ValueError("scales=[] leave nowhere to go; give one or more, such as [1.0, 7.5]")
    without, text = (pred.detach().float().flatten() for pred in both)
    along = without / without.norm()
    across = text - (text @ along) * along
    if not without.norm() or not across.norm():
        raise ValueError("the two predictions point the same way, or one is zero: no plane")
    across = across / across.norm()

    def place(vector: Tensor) -> tuple[float, float]:
        return (vector @ along).item(), (vector @ across).item()

    start = place(without)
    chart, axes = _canvas(8.0, 4.4)
    axes.set_aspect("equal", adjustable="datalim")
    names = {0.0: "", 1.0: say("with the words: 1", "con las palabras: 1")}  # 0 has its own
    ends = []
    for scale in sorted(scales):
        end = place(without + scale * (text - without))
        ends.append(end)
        axes.plot(*end, "o", color=COLOURS[1], markersize=9)
        label = names.get(float(scale), f"{scale:g}")
        axes.annotate(label, end, (10, -4), textcoords="offset points", fontsize=FONT)
    arrow = {"arrowstyle": "-|>", "linewidth": 2.2}
    axes.annotate("", start, (0, 0), arrowprops={**arrow, "color": COLOURS[0]})
    axes.annotate("", ends[-1], start, arrowprops={**arrow, "color": COLOURS[1]})
    axes.annotate(
        say("without words: 0", "sin palabras: 0"),
        start,
        (0, -22),
        textcoords="offset points",
        ha="center",
        fontsize=FONT,
        color=COLOURS[0],
    )
    axes.plot(0, 0, "o", color=INK, markersize=6)
    axes.annotate(
        say("no noise at all", "nada de ruido"),
        (0, 0),
        (0, -22),
        textcoords="offset points",
        ha="center",
        fontsize=FONT,
    )
    axes.margins(0.18)
    return chart


def heat_maps(picture: Image.Image, maps: Mapping[str, Tensor]) -> Image.Image:
    """Lay a heat map of each word over a picture: bright where the word is looked at the most.

    Args:
        picture: What was drawn.
        maps: By the word, (h, w); each is stretched from its own least value to its greatest.

    Raises:
        ValueError: It is no picture, or a map is no tensor of finite numbers.
    """
    colours = matplotlib.colormaps[ATTENTION_COLOURS]
    picture = as_rgb(picture, "the picture")
    grey = picture.convert("L").convert("RGB")
    laid = []
    for word, values in maps.items():
        if not isinstance(values, Tensor) or values.ndim != 2 or not values.numel():
            raise ValueError(f"the map of {word!r} must be a tensor, (h, w), as word_maps makes it")
        if not values.isfinite().all():
            raise ValueError(f"the map of {word!r} holds NaN or infinity; load in float32")
        low, high = values.min(), values.max()
        heat = ((values - low) / (high - low).clamp(min=1e-12)).cpu().numpy()
        levels = Image.fromarray((255 * heat).astype(np.uint8))
        levels = levels.resize(picture.size, Image.Resampling.BICUBIC)
        coloured = Image.fromarray((255 * colours(np.asarray(levels))[..., :3]).astype(np.uint8))
        laid.append(Image.blend(grey, coloured, ATTENTION_SHARE))
    return grid([picture, *laid], len(laid) + 1, ["", *maps])


def _part(kind: str) -> str:
    names = {
        "in": say("latents in", "entran latentes"),
        "down": say("down", "bajada"),
        "mid": say("middle", "centro"),
        "up": say("up", "subida"),
        "out": say("noise out", "sale ruido"),
    }
    return names[kind]


def _canvas(width: float, height: float) -> tuple[Chart, Axes]:
    with matplotlib.rc_context(STYLE):
        chart = Chart((width, height))
        axes = chart.add_axes((0.01, 0.01, 0.98, 0.98))
        axes.axis("off")
        return chart, axes
