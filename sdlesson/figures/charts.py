"""Charts: curves with the pictures behind them, and bars, each value with its interval.

Labels are passed in, in the reader's language. Colours are Okabe and Ito's, which people with any
kind of colour vision tell apart; lines carry their names, so that nobody has to match a legend.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter
from PIL import Image

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333333")
MARKERS = "os^Dv*P"
BAR_COLOUR = "#56B4E9"
INK, FAINT = "#333333", "#d9d9d9"
STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#8a8a8a",
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "DejaVu Sans",  # comes with matplotlib and has every accent
    "font.size": 9.5,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "savefig.dpi": 96,
    "text.color": INK,
    "text.parse_math": False,  # a prompt may speak of dollars
    "xtick.color": INK,
    "ytick.color": INK,
    "ytick.left": False,
}
PLOT_INCHES = (6.2, 2.8)
MARGIN_INCHES = 1.0  # room around the plot; what stays empty of it is cut when it is shown
LABEL_INCHES = 0.17  # from one line of text to the next
MAX_PICTURE_INCHES = 0.8
PICTURE_TOP_INCHES = -0.45  # from the foot of the plot
PICTURE_SPACING = 1.06
MAX_MARKED_POINTS = 30
BAR_CHARACTERS = 66  # that fit under all bars together


@runtime_checkable
class Interval(Protocol):
    """A measured value and how sure we are of it; `metrics.Share` and `metrics.Mean` are."""

    @property
    def value(self) -> float:
        """The value itself."""

    @property
    def low(self) -> float:
        """The lower end of its interval."""

    @property
    def high(self) -> float:
        """The upper end of its interval."""


Point: TypeAlias = float | Interval


class Chart(Figure):
    """A matplotlib figure that a notebook shows once, cut to what is drawn in it."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=STYLE["savefig.dpi"], bbox_inches="tight")
        return file.getvalue()


def curves(
    x: Sequence[float],
    series: Mapping[str, Sequence[Point]],
    *,
    x_label: str,
    y_label: str,
    title: str = "",
    pictures: Sequence[Image.Image | None] = (),
    picture_labels: Sequence[str] = (),
    log_x: bool = False,
    percent: bool = False,
) -> Chart:
    """Draw lines over x, each with its name at its end and its intervals as a band.

    Args:
        x: One place on the axis for each point, increasing.
        series: Points by the name of their line; a point is a number, or has an interval.
        x_label: What x is.
        y_label: What is measured.
        title: What there is to see.
        pictures: One for each x, None where there is none; they stand in a row under the plot.
        picture_labels: Texts under the pictures, one for each x.
        log_x: Let equal steps on the axis be equal ratios.
        percent: Values from 0 to 1 are shares: show 0% to 100%.

    Raises:
        ValueError: A line, the pictures or their labels do not match x in number, or a point is
            none.
    """
    if not isinstance(series, Mapping) or not series:
        raise ValueError(f"series={series!r} must have points by the name of their line")
    _require_one_each(x, {**series, "pictures": pictures, "picture_labels": picture_labels})
    with matplotlib.rc_context(STYLE):
        chart, axes = _new_chart(y_label, title, percent=percent, log_x=log_x)
        for index, points in enumerate(series.values()):
            _draw_line(axes, x, points, index)
        _name_lines(axes, list(series), [_value(points[-1]) for points in series.values()])
        if any(pictures):
            columns = zip(x, pictures, picture_labels or [""] * len(x), strict=True)
            row = [(place, picture, label) for place, picture, label in columns if picture]
            _draw_pictures(axes, row, x_label)
        else:
            axes.set_xlabel(x_label)
            if log_x:
                _mark(axes, x, [f"{place:g}" for place in x])
        return chart


def bars(
    labels: Sequence[str],
    values: Sequence[Point],
    *,
    y_label: str,
    title: str = "",
    percent: bool = False,
) -> Chart:
    """Draw one bar for each label, its value over it and its interval as a thin line.

    Args:
        labels: Names of the bars; long ones are broken into lines.
        values: Numbers, or values with an interval.
        y_label: What is measured.
        title: What there is to see.
        percent: Values from 0 to 1 are shares: show 0% to 100%.

    Raises:
        ValueError: Labels do not match values in number.
    """
    _require_one_each(labels, {"values": values})
    with matplotlib.rc_context(STYLE):
        chart, axes = _new_chart(y_label, title, percent=percent)
        places, heights = range(len(labels)), [_value(point) for point in values]
        axes.bar(places, heights, width=0.6, color=BAR_COLOUR)
        for place, point in enumerate(values):
            low, high = _interval(point)
            axes.plot([place, place], [low, high], color=INK, linewidth=1.2)
            text = f"{_value(point):.0%}" if percent else f"{_value(point):.3g}"
            top, lift = (place, max(high, 0)), (0, 3)
            axes.annotate(text, top, lift, textcoords="offset points", ha="center")
        wrap = textwrap.TextWrapper(
            max(1, BAR_CHARACTERS // len(labels)), break_on_hyphens=False, break_long_words=False
        )
        _mark(axes, places, [wrap.fill(str(label)) for label in labels])
        axes.tick_params(axis="x", length=0)
        return chart


def _require_one_each(wanted: Sequence, found: Mapping[str, Sequence]) -> None:
    if isinstance(wanted, str) or not len(wanted):
        raise ValueError(f"there is nothing to draw over {wanted!r}; give a list of one or more")
    for name, values in found.items():
        if isinstance(values, str | bytes):
            raise ValueError(f"{name!r} is {values!r}, must be a list, one item for each")
        optional = name in ("pictures", "picture_labels") and not values
        if len(values) != len(wanted) and not optional:
            raise ValueError(f"{name!r} has {len(values)} items for {len(wanted)}; give one each")


def _value(point: Point) -> float:
    value = point.value if isinstance(point, Interval) else point
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{point!r} must be a number, or have an interval") from error
    if math.isinf(number):  # NaN leaves a gap
        raise ValueError(f"{point!r} has no place on an axis; leave it out")
    return number


def _interval(point: Point) -> tuple[float, float]:
    return (point.low, point.high) if isinstance(point, Interval) else (_value(point),) * 2


def _new_chart(
    y_label: str, title: str, *, percent: bool, log_x: bool = False
) -> tuple[Chart, Axes]:
    """Make an empty plot in the middle of a chart, with room around it."""
    (plot_width, plot_height), room = PLOT_INCHES, MARGIN_INCHES
    width, height = plot_width + 2 * room, plot_height + 2 * room
    chart = Chart((width, height))
    box = room / width, room / height, plot_width / width, plot_height / height
    axes = chart.add_axes(box)
    axes.grid(axis="y")
    if percent:
        axes.set_ylim(0, 1.04)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    if log_x:
        axes.set_xscale("log")
    axes.text(-0.05, 1.04, y_label, color="#666666", transform=axes.transAxes)
    axes.text(-0.05, 1.13, title, fontsize=11.5, fontweight="bold", transform=axes.transAxes)
    return chart, axes


def _draw_line(axes: Axes, x: Sequence[float], points: Sequence[Point], index: int) -> None:
    colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
    low, high = zip(*(_interval(point) for point in points), strict=True)
    axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    marker = marker if len(x) <= MAX_MARKED_POINTS else ""
    values = [_value(point) for point in points]
    axes.plot(x, values, color=colour, marker=marker, markersize=5, linewidth=1.8, clip_on=False)


def _name_lines(axes: Axes, names: Sequence[str], ends: Sequence[float]) -> None:
    """Write each line's name at its right end, moved up or down where names would meet."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)  # fixed from here on, so that the names stay beside their lines
    shares = [(end - low) / (high - low) for end in ends]
    for index, y in enumerate(_apart(shares, LABEL_INCHES / PLOT_INCHES[1])):
        colour = COLOURS[index % len(COLOURS)]
        axes.text(1.01, y, names[index], color=colour, va="center", transform=axes.transAxes)


def _draw_pictures(axes: Axes, row: Sequence[tuple[float, Image.Image, str]], x_label: str) -> None:
    """Put pictures under the plot, each below its x, or joined to it where they would meet."""
    width, height = PLOT_INCHES
    side = min(MAX_PICTURE_INCHES, width / len(row) / PICTURE_SPACING)
    axes.margins(x=side / 2 / (width - side))  # the outermost pictures end with the plot
    axes.autoscale_view(scaley=False)
    to_share = axes.transData + axes.transAxes.inverted()
    wanted = [to_share.transform((x, 1))[0] * width for x, _, _ in row]  # 1 is on any log axis
    places = _apart(wanted, side * PICTURE_SPACING, side / 2, width - side / 2)
    _mark(axes, [x for x, _, _ in row], [""] * len(row))
    for (x, picture, label), target, place in zip(row, wanted, places, strict=True):
        line = [target / width, place / width], [-0.05, (PICTURE_TOP_INCHES + 0.2) / height]
        axes.plot(*line, color="#8a8a8a", linewidth=0.7, transform=axes.transAxes, clip_on=False)
        tall = side * picture.height / picture.width
        corner = (place - side / 2) / width, (PICTURE_TOP_INCHES - tall) / height
        window = axes.inset_axes((*corner, side / width, tall / height))
        window.imshow(picture, aspect="auto")
        window.axis("off")
        window.set_title(f"{x:g}", fontsize=9, pad=2)
        window.text(0.5, -0.06, label, transform=window.transAxes, ha="center", va="top")
    lines = max(label.count("\n") + 1 if label else 0 for _, _, label in row)
    below = PICTURE_TOP_INCHES - tall - (lines + 0.6) * LABEL_INCHES
    axes.text(0.5, below / height, x_label, transform=axes.transAxes, ha="center", va="top")


def _mark(axes: Axes, x: Sequence[float], labels: Sequence[str]) -> None:
    """Put ticks at these places and nowhere else."""
    axes.set_xticks(x, labels)
    axes.xaxis.set_minor_locator(NullLocator())


def _apart(
    wanted: Sequence[float], gap: float, low: float = -np.inf, high: float = np.inf
) -> list[float]:
    """Move places as little as possible until neighbours are a gap apart, from low to high.

    It is isotonic regression by pooling: neighbours in each other's way move as one block.
    """
    order = np.argsort(wanted, kind="stable")
    blocks: list[list[float]] = []  # places of a block, each less the gaps before it
    for rank, index in enumerate(order):
        blocks.append([wanted[index] - rank * gap])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    means = np.repeat([np.mean(block) for block in blocks], [len(block) for block in blocks])
    places = np.clip(means, low, high - (len(order) - 1) * gap) + gap * np.arange(len(order))
    return places[np.argsort(order)].tolist()
