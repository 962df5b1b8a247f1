"""Paint a mask over a picture with a mouse, a finger or a pen.

It needs anywidget, which lessons without it can do without: so `sdlesson.widgets` does not import
this module, and who wants it says `from sdlesson.widgets.mask import MaskPainter`.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path

import anywidget
import traitlets
from PIL import Image

from sdlesson.editing import box_mask
from sdlesson.images import as_rgb
from sdlesson.language import say
from sdlesson.widgets.parts import png

BRUSH_SHARE = 1 / 8  # of the picture's longer side
PREFIX = "data:image/png;base64,"


class MaskPainter(anywidget.AnyWidget):
    """A picture to paint on; as the last line of a cell, `MaskPainter(image)` shows it.

    It works in JupyterLab, in Colab and in VS Code. A saved notebook keeps no strokes.

    Attributes:
        mask: What was painted, white on black and as large as the picture, or None.

    Raises:
        ValueError: It is no picture, or cannot be read.
    """

    _esm = Path(__file__).with_suffix(".js")

    picture = traitlets.Unicode().tag(sync=True)
    width = traitlets.Int().tag(sync=True)
    height = traitlets.Int().tag(sync=True)
    brush = traitlets.Int().tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)
    brush_label = traitlets.Unicode().tag(sync=True)
    clear_label = traitlets.Unicode().tag(sync=True)
    drawn = traitlets.Unicode().tag(sync=True)

    def __init__(self, image: Image.Image) -> None:
        image = as_rgb(image)
        encoded = base64.b64encode(png(image)).decode()
        super().__init__(
            picture=PREFIX + encoded,
            width=image.width,
            height=image.height,
            brush=max(2, round(BRUSH_SHARE * max(image.size))),
            label=say("a picture to paint a mask on", "una imagen para pintar una máscara"),
            brush_label=say("Brush", "Pincel"),
            clear_label=say("Clear", "Borrar"),
        )

    @property
    def mask(self) -> Image.Image | None:
        """What was painted so far."""
        if not self.drawn:
            return None
        data = base64.b64decode(self.drawn.removeprefix(PREFIX))
        with Image.open(io.BytesIO(data), formats=["PNG"]) as strokes:
            return strokes.convert("RGBA").getchannel("A").point(lambda level: 255 * (level > 127))

    def mask_or_box(self, box: tuple[int, int, int, int]) -> Image.Image:
        """Return what was painted, or a box where nothing was: lessons run without a hand too."""
        return self.mask or box_mask((self.width, self.height), box)
