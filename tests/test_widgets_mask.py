"""A mask painted by hand: in Python as it arrives from the browser."""

import base64
import io

import numpy as np
from PIL import Image, ImageDraw

from sdlesson.language import set_language
from sdlesson.widgets.mask import PREFIX, MaskPainter

PICTURE = Image.new("RGB", (128, 96), "lightblue")


def as_the_browser_sends(strokes: Image.Image) -> str:
    file = io.BytesIO()
    strokes.save(file, format="PNG")  # see-through where nothing was painted, as a canvas is
    return PREFIX + base64.b64encode(file.getvalue()).decode()


def test_without_a_stroke_there_is_no_mask_and_a_box_steps_in() -> None:
    painter = MaskPainter(PICTURE)
    assert painter.mask is None
    assert painter.mask_or_box((10, 20, 30, 40)).getbbox() == (10, 20, 30, 40)


def test_what_is_painted_is_white_on_black_and_as_large_as_the_picture() -> None:
    strokes = Image.new("RGBA", PICTURE.size)
    ImageDraw.Draw(strokes).rectangle((5, 6, 50, 60), fill="white")
    painter = MaskPainter(PICTURE)
    painter.drawn = as_the_browser_sends(strokes)
    for mask in (painter.mask, painter.mask_or_box((0, 0, 1, 1))):
        assert (mask.mode, mask.size, mask.getbbox()) == ("L", PICTURE.size, (5, 6, 51, 61))
        assert set(np.unique(mask)) == {0, 255}


def test_soft_edges_of_a_stroke_are_cut_in_the_middle() -> None:
    strokes = Image.new("RGBA", (3, 1))
    for x, alpha in enumerate((127, 128, 255)):
        strokes.putpixel((x, 0), (255, 255, 255, alpha))
    painter = MaskPainter(Image.new("RGB", (3, 1)))
    painter.drawn = as_the_browser_sends(strokes)
    assert list(np.asarray(painter.mask)[0]) == [0, 255, 255]


def test_its_words_are_the_readers() -> None:
    assert MaskPainter(PICTURE).clear_label == "Clear"
    set_language("es")
    assert MaskPainter(PICTURE).clear_label == "Borrar"
