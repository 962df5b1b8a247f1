"""What a sweep gives: its pictures, a tidy table of their settings, and a labelled grid."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, overload

from PIL import Image, ImageDraw

from sdlesson.drawing import Drawing
from sdlesson.experiments.batched_drawing import PictureSettings
from sdlesson.images import GRID_GAP_PX, LABEL_FONT_PX, label_font

SETTING_NAMES = tuple(field.name for field in fields(PictureSettings))
MAX_TILE_PX = 256
MAX_LABEL_CHARS = 18  # to a line, about as wide as a picture of the pocket model


class Sweep(Sequence[Drawing]):
    """The pictures of a sweep, in the order of their settings; a notebook shows them in a grid."""

    def __init__(self, drawings: Sequence[Drawing], seconds_each: Sequence[float]) -> None:
        self._drawings = tuple(drawings)
        self._seconds_each = tuple(seconds_each)

    def __len__(self) -> int:
        return len(self._drawings)

    @overload
    def __getitem__(self, index: int) -> Drawing: ...
    @overload
    def __getitem__(self, index: slice) -> Sweep: ...
    def __getitem__(self, index: int | slice) -> Drawing | Sweep:
        if isinstance(index, slice):
            return Sweep(self._drawings[index], self._seconds_each[index])
        return self._drawings[index]

    def __repr__(self) -> str:
        changing = ", ".join(self._changing())
        return f"<Sweep of {len(self)} pictures over {changing or 'one setting each'}>"

    def _repr_png_(self) -> bytes | None:
        return self.grid()._repr_png_() if self._drawings else None

    @property
    def images(self) -> list[Image.Image]:
        """The pictures alone."""
        return [drawing.image for drawing in self]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A tidy table: for each picture its settings, whether it was flagged, and its seconds."""
        return [
            _row(drawing, seconds)
            for drawing, seconds in zip(self._drawings, self._seconds_each, strict=True)
        ]

    @property
    def seconds(self) -> float:
        """The time that one picture took, on average; a batch shares its time out evenly."""
        return sum(self._seconds_each) / max(1, len(self._seconds_each))

    def where(self, **settings: object) -> Sweep:
        """Keep the pictures with these settings: for each name one value, or a list of them.

        Raises:
            ValueError: There is no such name in the table, or no such picture.
        """
        rows = self.rows
        _check_names(settings, rows[0] if rows else SETTING_NAMES)
        choices = {name: list(listed(wanted)) for name, wanted in settings.items()}
        found = [
            index
            for index, row in enumerate(rows)
            if all(row[name] in wanted for name, wanted in choices.items())
        ]
        if not found:
            asked = ", ".join(f"{name}={wanted!r}" for name, wanted in settings.items())
            there = "; ".join(f"{name} is {_choices(rows, name)}" for name in settings)
            raise ValueError(f"no picture has {asked}; here {there}")
        return Sweep(
            [self._drawings[index] for index in found],
            [self._seconds_each[index] for index in found],
        )

    def grid(
        self,
        *,
        rows: str | Sequence[str] | None = None,
        columns: str | Sequence[str] | None = None,
    ) -> Image.Image:
        """Lay the pictures out, down and across, by the settings that change.

        Args:
            rows: The setting that changes down the grid, or several of them.
            columns: The same across. What is left out takes all that changes; with both left out
                the setting that changes fastest goes across, and the rest of them down.

        Raises:
            ValueError: There is no such setting, or pictures would lie on top of each other.
        """
        if not self._drawings:
            raise ValueError("there is no picture here to lay out; choose a larger slice")
        down, across = self._layout(rows, columns)
        _check_names((*down, *across), SETTING_NAMES)
        table = self.rows
        places = {
            (_values(row, down), _values(row, across)): image
            for row, image in zip(table, self.images, strict=True)
        }
        if len(places) < len(table):
            hidden = ", ".join(name for name in self._changing() if name not in (*down, *across))
            raise ValueError(
                f"{hidden} changes too: name it in rows or columns, "
                f"or choose one value with .where({hidden.split(', ')[0]}=...)"
            )
        heads = list(dict.fromkeys(_values(row, across) for row in table))
        sides = list(dict.fromkeys(_values(row, down) for row in table))
        cells = [[_label(_corner(down, across)), *(_label(_text(head)) for head in heads)]]
        for side in sides:
            pictures = [_tile(places.get((side, head))) for head in heads]
            cells.append([_label(_text(side)), *pictures])
        return _table(cells)

    def _changing(self) -> list[str]:
        """Name the settings of which there is more than one value."""
        rows = self.rows
        return [name for name in SETTING_NAMES if len({row[name] for row in rows}) > 1]

    def _layout(
        self, rows: str | Sequence[str] | None, columns: str | Sequence[str] | None
    ) -> tuple[list[str], list[str]]:
        """Decide which settings go down, and which across."""
        changing = self._changing()
        if rows is None and columns is None:
            return changing[:-1], changing[-1:]
        down, across = list(listed(rows or [])), list(listed(columns or []))
        if rows is None:
            down = [name for name in changing if name not in across]
        if columns is None:
            across = [name for name in changing if name not in down]
        return down, across


def _row(drawing: Drawing, seconds: float) -> dict[str, Any]:
    width, height = drawing.image.size
    found = {**vars(drawing), "height": height, "width": width}
    row = {name: found[name] for name in SETTING_NAMES}
    return row | {"model": drawing.model, "flagged": drawing.flagged, "seconds": seconds}


def _check_names(names: Iterable[str], known: Iterable[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"there is no setting {name!r}; there is {', '.join(known)}")


def listed(value: Any) -> Iterable[Any]:
    """Take one value as several: a text is one, not its letters, and so is an array of none."""
    is_one = isinstance(value, str | bytes | bytearray) or getattr(value, "shape", None) == ()
    return [value] if is_one or not isinstance(value, Iterable) else value


def _choices(rows: list[dict[str, Any]], name: str) -> str:
    return ", ".join(dict.fromkeys(repr(row[name]) for row in rows))


def _values(row: dict[str, Any], names: Sequence[str]) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


# The grid is a table of small images: labels are drawn as images too, and lie in its cells.


def _corner(down: Sequence[str], across: Sequence[str]) -> str:
    """Say what changes down and what across."""
    return "\n".join([*(f"{name} →" for name in across), *(f"{name} ↓" for name in down)])


def _text(values: tuple[Any, ...]) -> str:
    """Write the values of a row or a column, one to a line and more where they are long."""
    texts = (f"{value:g}" if isinstance(value, float) else str(value) for value in values)
    wrap = textwrap.TextWrapper(MAX_LABEL_CHARS, break_long_words=False)
    return "\n".join(wrap.fill(text or '""') for text in texts)


def _label(text: str) -> Image.Image:
    font = label_font(LABEL_FONT_PX)
    canvas = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    _, _, right, bottom = canvas.multiline_textbbox((0, 0), text, font=font)
    label = Image.new("RGB", (int(right) + 2 * GRID_GAP_PX, int(bottom) + 2 * GRID_GAP_PX), "white")
    place = (GRID_GAP_PX, GRID_GAP_PX)
    ImageDraw.Draw(label).multiline_text(place, text, fill="black", font=font, align="center")
    return label


def _tile(image: Image.Image | None) -> Image.Image:
    """Make a picture small enough for a grid; white where there is none."""
    tile = Image.new("RGB", (1, 1), "white") if image is None else image.copy()
    tile.thumbnail((MAX_TILE_PX, MAX_TILE_PX))
    return tile


def _table(cells: list[list[Image.Image]]) -> Image.Image:
    """Lay images out in rows and columns, each as wide and as high as its largest image."""
    heights = [max(image.height for image in row) + GRID_GAP_PX for row in cells]
    widths = [
        max(image.width for image in column) + GRID_GAP_PX for column in zip(*cells, strict=True)
    ]
    table = Image.new("RGB", (sum(widths), sum(heights)), "white")
    for y, row in enumerate(cells):
        for x, image in enumerate(row):
            left = sum(widths[:x]) + (widths[x] - image.width) // 2
            top = sum(heights[:y]) + (heights[y] - image.height) // 2
            table.paste(image, (left, top))
    return table
