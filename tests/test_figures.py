import base64
import io
import math
import re
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image, ImageSequence

from sdlesson import figures
from sdlesson.figures import charts, strips

LABELS = {"x_label": "pasos", "y_label": "proporción"}


class Measured(NamedTuple):
    value: float
    low: float
    high: float


def plain(colour: str = "red", size: tuple[int, int] = (24, 16)) -> Image.Image:
    return Image.new("RGB", size, colour)


def shown(chart: figures.Chart) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(chart._repr_png_())).convert("RGB"))


def texts(chart: figures.Chart) -> list[str]:
    return [text.get_text() for text in chart.findobj(lambda artist: hasattr(artist, "get_text"))]


def boxes_of_names(chart: figures.Chart, names: list[str]) -> list:
    FigureCanvasAgg(chart).draw()
    return [text.get_window_extent() for text in chart.axes[0].texts if text.get_text() in names]


def test_a_chart_shows_itself_without_pyplot_and_keeps_pyplots_settings():
    import matplotlib

    before = dict(matplotlib.rcParams)
    chart = figures.curves([1, 2], {"a": [1, 2]}, **LABELS)
    assert min(shown(chart).shape[:2]) > 100
    assert dict(matplotlib.rcParams) == before


def test_points_are_numbers_of_any_kind_or_measured_values():
    points = [1, 2.0, np.float32(3), torch.tensor(4.0), Measured(5.0, 4.0, 6.0)]
    chart = figures.curves(range(5), {"a": points}, **LABELS)
    (line,) = chart.axes[0].lines
    assert line.get_ydata().tolist() == [1, 2, 3, 4, 5]


def test_a_band_reaches_from_the_low_end_to_the_high_one():
    points = [Measured(0.5, 0.3, 0.6), Measured(0.7, 0.4, 0.9)]
    chart = figures.curves([0, 1], {"a": points}, percent=True, **LABELS)
    (band,) = chart.axes[0].collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.tolist()}
    assert {(0, 0.3), (0, 0.6), (1, 0.4), (1, 0.9)} <= corners


@pytest.mark.parametrize("ends", [[0.5] * 4, [0.9, 0.91, 0.1, 0.9], [0, 0, 1, 1]])
def test_each_line_carries_its_name_and_no_two_names_meet(ends: list[float]):
    names = ["año", "b", "c", "d"]
    series = {name: [0.2, end] for name, end in zip(names, ends, strict=True)}
    boxes = boxes_of_names(figures.curves([0, 1], series, percent=True, **LABELS), names)
    assert len(boxes) == 4
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_pictures_stand_under_their_x_where_there_is_room():
    pictures = [plain("red"), None, plain("green"), plain("blue")]
    chart = figures.curves([0, 10, 20, 30], {"": [1, 2, 3, 4]}, pictures=pictures, **LABELS)
    FigureCanvasAgg(chart).draw()
    axes = chart.axes[0]
    windows = [child.get_window_extent() for child in axes.child_axes]
    places = [axes.transData.transform((x, 0))[0] for x in (0, 20, 30)]
    assert len(windows) == 3
    assert [(window.x0 + window.x1) / 2 for window in windows] == pytest.approx(places)
    _, *leads = axes.lines  # from each place on the axis to its picture
    for lead, place in zip(leads, places, strict=True):
        assert lead.get_transform().transform(lead.get_xydata())[0][0] == pytest.approx(place)
    foot = axes.get_window_extent().y0
    assert all(window.y1 < foot for window in windows)


@pytest.mark.parametrize("log_x", [False, True])
def test_pictures_never_meet_and_never_leave_the_width_of_the_plot(log_x: bool):
    x = [1, 2, 3, 4, 5, 10, 20, 100]
    settings = {"pictures": [plain() for _ in x], "picture_labels": ["a"] * 8, "log_x": log_x}
    chart = figures.curves(x, {"": x}, **settings, **LABELS)
    FigureCanvasAgg(chart).draw()
    plot = chart.axes[0].get_window_extent()
    windows = [child.get_window_extent() for child in chart.axes[0].child_axes]
    assert all(right.x0 > left.x1 for left, right in pairwise(windows))
    assert windows[0].x0 >= plot.x0 - 1
    assert windows[-1].x1 <= plot.x1 + 1
    assert {"1", "10", "100", "a"} <= set(texts(chart))


def test_moving_apart_keeps_the_order_and_moves_nothing_that_has_room():
    assert charts._apart([5.0, 1.0, 9.0], gap=1) == [5.0, 1.0, 9.0]
    assert charts._apart([1.0, 1.0, 1.0], gap=1) == [0.0, 1.0, 2.0]
    assert charts._apart([1.0, 1.0, 1.0], gap=1, low=0.5, high=9) == [0.5, 1.5, 2.5]
    crowded = np.random.default_rng(0).uniform(0, 3, 20).tolist()
    moved = charts._apart(crowded, gap=0.2, low=0, high=4)
    assert np.argsort(moved).tolist() == np.argsort(crowded).tolist()
    assert np.diff(sorted(moved)).min() > 0.2 - 1e-9
    assert 0 <= min(moved) <= max(moved) <= 4


def test_a_logarithmic_axis_is_marked_with_plain_numbers():
    chart = figures.curves([1, 10, 100], {"a": [1, 2, 3]}, log_x=True, **LABELS)
    ticks = [label.get_text() for label in chart.axes[0].get_xticklabels()]
    assert ticks == ["1", "10", "100"]


def test_shares_are_read_as_percentages():
    chart = figures.bars(["a", "b"], [Measured(0.25, 0.1, 0.4), 1.0], y_label="", percent=True)
    FigureCanvasAgg(chart).draw()
    ticks = [label.get_text() for label in chart.axes[0].get_yticklabels()]
    assert {"0%", "100%"} <= set(ticks)
    assert {"25%", "100%"} <= set(texts(chart))


def test_bars_are_as_high_as_their_values_and_carry_their_labels():
    chart = figures.bars(["uno", "dos palabras"], [1.5, 2], y_label="s", title="Título")
    assert [bar.get_height() for bar in chart.axes[0].patches] == [1.5, 2]
    assert {"uno", "dos palabras", "s", "Título", "1.5"} <= set(texts(chart))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"series": {"a": [1]}}, "'a' has 1 items for 2"),
        ({"pictures": [plain()]}, "'pictures' has 1 items for 2"),
        ({"pictures": [plain()] * 2, "picture_labels": "abc"}, "'picture_labels' is 'abc'"),
    ],
)
def test_what_does_not_match_x_is_refused(settings: dict, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        figures.curves([0, 1], **{"series": {"a": [1, 2]}, **LABELS, **settings})


def test_a_strip_is_one_row_and_no_wider_than_a_page():
    assert figures.strip([plain(), plain("blue")]).size == (2 * 3 * 24 + 4, 3 * 16)
    wide = figures.strip([plain(size=(512, 512)) for _ in range(8)], [f"t={i}" for i in range(8)])
    assert wide.width <= strips.STRIP_WIDTH_PX + 8 * 4
    assert wide.height < 200


def test_an_animation_plays_its_pictures_in_order_and_holds_the_last():
    colours = ["red", "green", "blue"]
    film = figures.animation([plain(c) for c in colours], milliseconds=50, hold_milliseconds=900)
    frames = Image.open(io.BytesIO(film.data))
    seen, times = [], []
    for frame in ImageSequence.Iterator(frames):
        pixel = frame.convert("RGB").getpixel((8, 8))
        seen.append(int(np.argmax(pixel)))
        times.append(frames.info["duration"])
    assert seen == [0, 1, 2]
    assert times == [50, 50, 900]
    assert frames.info["loop"] == 0
    assert (film.size, film.frames) == ((24, 16), 3)


def test_a_notebook_gets_the_animation_whole_and_a_file_the_same(tmp_path):
    film = figures.animation([plain(), plain("blue")])
    encoded = re.search(r'src="data:image/webp;base64,([^"]+)"', film._repr_html_()).group(1)
    film.save(tmp_path / "film.webp")
    assert base64.b64decode(encoded) == film.data == (tmp_path / "film.webp").read_bytes()


def test_noise_in_an_animation_stays_small():
    levels = np.random.default_rng(0).integers(0, 256, (25, 16, 32, 3), dtype=np.uint8)
    noise = [Image.fromarray(frame).resize((256, 128)) for frame in levels]
    assert len(figures.animation(noise).data) < 130 * 1024


@pytest.mark.parametrize("show", [figures.strip, figures.animation])
def test_no_images_or_images_of_two_sizes_are_refused(show):
    with pytest.raises(ValueError, match=r"one size|grid needs"):
        show([])
    with pytest.raises(ValueError, match=r"one size"):
        show([plain(), plain(size=(8, 8))])


def test_a_value_that_is_no_number_leaves_a_gap_and_the_rest():
    chart = figures.curves([0, 1, 2], {"a": [1.0, math.nan, 2.0]}, **LABELS)
    assert min(shown(chart).shape[:2]) > 100


def test_small_pictures_are_shown_at_two_or_three_times_their_pixels_and_large_ones_fit():
    small, large = plain(size=(128, 128)), plain(size=(1024, 1024))
    assert figures.enlarged(small).size == (384, 384)
    assert figures.enlarged(large).width <= strips.STRIP_WIDTH_PX / 2
    assert figures.grid([small] * 8, 4).size == (4 * 264 + 3 * 4, 2 * 264 + 4)
    assert figures.grid([small] * 4, 4, ["á"] * 4).height == 264 + 24
    film = figures.animation([small, plain("blue", (128, 128))])
    assert film.size == (128, 128)  # stored as it is
    assert 'width="384" height="384"' in film._repr_html_()


ODD = {
    "a grid in columns of text": (lambda: figures.grid([plain()], "x"), "columns='x' must be"),
    "a strip of a path": (lambda: figures.strip("cat.png"), "must be a list of PIL images"),
    "a strip of thousands": (lambda: figures.strip([plain()] * 2000), "columns=2000 must be"),
    "a strip of nothing": (lambda: figures.strip([plain(size=(0, 0))]), "has no pixel"),
    "a number, enlarged": (lambda: figures.enlarged(5), "must be a PIL image"),
    "time that runs backwards": (
        lambda: figures.animation([plain()] * 2, milliseconds=-1),
        "milliseconds=-1 must be",
    ),
    "curves over nothing": (lambda: figures.curves([], {"a": []}, **LABELS), "nothing to draw"),
    "no curves": (lambda: figures.curves([1, 2], {}, **LABELS), "must have points by the name"),
    "a curve of letters": (lambda: figures.curves([1, 2], {"a": "12"}, **LABELS), "must be a list"),
    "a point of nothing": (
        lambda: figures.curves([1, 2], {"a": [1, None]}, **LABELS),
        "None must be a number",
    ),
    "a point without end": (
        lambda: figures.curves([1, 2], {"a": [1, math.inf]}, **LABELS),
        "has no place on an axis",
    ),
    "bars of nothing": (lambda: figures.bars([], [], y_label=""), "nothing to draw"),
    "an equation of paths": (lambda: figures.equation(["x"], [], ["a"]), "must be a PIL image"),
    "arrows to nowhere": (
        lambda: figures.guidance_arrow(torch.ones(4), torch.rand(4), []),
        "leave nowhere to go",
    ),
    "arrows in no plane": (
        lambda: figures.guidance_arrow(torch.zeros(4), torch.ones(4), [1.0]),
        "no plane",
    ),
    "a map of NaN": (
        lambda: figures.heat_maps(plain(), {"a": torch.full((4, 4), math.nan)}),
        "holds NaN or infinity",
    ),
    "a U-Net's name": (lambda: figures.unet_diagram("pocket"), "must be a loaded pipeline"),
}


@pytest.mark.parametrize(("draw", "sentence"), ODD.values(), ids=ODD)
def test_what_cannot_be_shown_is_one_sentence(draw, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        draw()
    assert "\n" not in str(caught.value)


def test_a_dollar_in_a_label_is_a_dollar():
    chart = figures.bars(["from $5_ to $6_"], [1], y_label="$\\x$")
    FigureCanvasAgg(chart).draw()
    assert {"$\\x$"} <= set(texts(chart))


def test_hundreds_of_bars_and_a_picture_like_a_line_are_drawn():
    assert len(figures.bars(["a"] * 100, [1] * 100, y_label="").axes[0].patches) == 100
    assert figures.enlarged(plain(size=(5000, 1))).height == 1
