"""What was measured on many pictures, once, and committed: the tables beside the live figures."""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from sdlesson import downloads, hub
from sdlesson.language import language, say
from sdlesson.metrics.intervals import Mean, Share
from sdlesson.pocket.paths import MEASURED_FOLDER
from sdlesson.runtime import best_device, device_name

SPANISH = "spanish"
"""The column with the first one's words in Spanish: a reader is shown one of the two."""
DIGEST_LENGTH = 12
DECIMALS = 6

Row = dict[str, Any]


@dataclass(frozen=True, repr=False)
class Table:
    """A committed measurement; a notebook shows it as a table in the reader's language.

    Attributes:
        n: Pictures a row; a figure that was counted on fewer says so itself.
        date: When it was measured, such as "2026-11-23".
        device: Where the pictures were drawn.
        weights: `weights_digest()` of the pocket model that drew them.
        rows: Settings as plain values, figures as `Share` or `Mean`. A column "spanish" holds the
            words of the first one in Spanish; whoever reads the table sees one of the two.
        headings: What to call a column in English and in Spanish.
    """

    name: str
    n: int
    date: str
    device: str
    weights: str
    rows: list[Row]
    headings: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def stale(self) -> bool:
        """Whether other weights than today's drew the pictures."""
        return self.weights != weights_digest()

    @property
    def caption(self) -> str:
        """How many pictures, when, where, and a warning if the weights have changed since."""
        text = say(
            f"{self.n} pictures a row, 95% intervals; {self.device}, {self.date}.",
            f"{self.n} imágenes por fila, intervalos del 95%; {self.device}, {self.date}.",
        )
        warning = say(
            " Measured on earlier weights: the pocket model has changed since.",
            " Medido con pesos anteriores: el modelo de bolsillo ha cambiado desde entonces.",
        )
        return text + warning * self.stale

    def column(self, name: str) -> list[Any]:
        """The values of one column, row by row.

        Raises:
            ValueError: There is no such column.
        """
        if name not in self.rows[0]:
            raise ValueError(f"there is no column {name!r}; there are {', '.join(self.rows[0])}")
        return [row[name] for row in self.rows]

    def heading(self, name: str) -> str:
        """What the reader calls a column."""
        return say(*self.headings.get(name, (name.replace("_", " "),) * 2))

    def __repr__(self) -> str:
        return f"<Table {self.name}: {len(self.rows)} rows. {self.caption}>"

    def _repr_html_(self) -> str:
        rows = [_in_language(row) for row in self.rows]
        head = "".join(f"<th>{html.escape(self.heading(name))}</th>" for name in rows[0])
        body = "".join(
            f"<tr>{''.join(f'<td>{self._cell(value)}</td>' for value in row.values())}</tr>"
            for row in rows
        )
        caption = f"<caption>{html.escape(self.caption)}</caption>"
        return f'<table lang="{language()}">{caption}<tr>{head}</tr>{body}</table>'

    def _cell(self, value: Any) -> str:
        if not isinstance(value, Share | Mean):
            return html.escape(f"{value:g}" if isinstance(value, float) else str(value))
        number, _, interval = str(value).partition(" ")
        if value.n == self.n:
            interval = interval.replace(f", n={value.n}", "")
        return f"<b>{number}</b> <small>{interval}</small>"


def measured(name: str, *, folder: Path = MEASURED_FOLDER) -> Table:
    """Open a committed table, such as "guidance".

    It was measured on the pocket model, so it says nothing of another; its caption warns where the
    weights have changed since.

    Raises:
        ValueError: There is no such table.
    """
    known = sorted(path.stem for path in Path(folder).glob("*.json"))
    if name not in known:
        raise ValueError(f"there is no table {name!r}; there are {', '.join(known) or 'none'}")
    path = Path(folder) / f"{name}.json"
    content = hub.read_json(path)
    if missing := {field.name for field in fields(Table)} - content.keys():
        raise ValueError(f"{path} is no table: it lacks {', '.join(sorted(missing))}")
    shares = set(content.pop("shares"))
    content["headings"] = {key: tuple(pair) for key, pair in content["headings"].items()}
    content["rows"] = [
        {key: _read_value(value, key in shares) for key, value in row.items()}
        for row in content["rows"]
    ]
    return Table(**content)


def write_table(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    n: int,
    *,
    headings: Mapping[str, tuple[str, str]] | None = None,
    device: str | None = None,
    folder: Path = MEASURED_FOLDER,
) -> Path:
    """Write what was measured today with today's weights, for `measured` to open.

    Args:
        name: What `measured` will call it.
        rows: All with the same columns: settings as plain values, figures as `Share` or `Mean`,
            or as [value, low, high], which is a mean of `n`.
        n: Pictures a row.
        headings: English and Spanish for columns whose name does not say it all.
        device: Where pictures were drawn, if not on the best device here.
        folder: Where the file goes.

    Raises:
        ValueError: There are no rows, their columns differ, or a number is not finite.
    """
    if not rows or any(list(row) != list(rows[0]) for row in rows):
        raise ValueError("a table needs rows, all with the same columns in the same order")
    head = {
        "name": name,
        "n": n,
        "date": datetime.now(UTC).date().isoformat(),
        "device": device or device_name(best_device()),
        "weights": weights_digest(),
        "shares": [key for key in rows[0] if any(isinstance(row[key], Share) for row in rows)],
        "headings": {key: list(pair) for key, pair in (headings or {}).items()},
    }
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(_as_json(head, [_plain(row, n) for row in rows]), "utf-8", newline="\n")
    return path


def weights_digest() -> str:
    """Name the pocket model's weights: 12 hex digits of the SHA-256 of their checksums."""
    record = (hub.POCKET_FOLDER / downloads.CHECKSUM_FILE).read_text(encoding="utf-8")
    return hashlib.sha256(record.encode()).hexdigest()[:DIGEST_LENGTH]


def _in_language(row: Row) -> Row:
    """The row as its reader is shown it: its first words in one language."""
    if SPANISH not in row:
        return row
    first = next(iter(row))
    words = say(row[first], row[SPANISH])
    return {key: value for key, value in (row | {first: words}).items() if key != SPANISH}


def _as_json(head: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """JSON with a row a line, so that a change can be read."""
    write = partial(json.dumps, ensure_ascii=False, allow_nan=False)
    fields = "".join(f"  {write(key)}: {write(value)},\n" for key, value in head.items())
    lines = ",\n".join(f"    {write(row)}" for row in rows)
    return f'{{\n{fields}  "rows": [\n{lines}\n  ]\n}}\n'


def _plain(row: Mapping[str, Any], n: int) -> Row:
    """A row for JSON, where a figure is [value, low, high, n]."""
    return {
        key: [*(round(x, DECIMALS) for x in value[:3]), *(value[3:] or [n])]
        if isinstance(value, list | tuple)
        else value
        for key, value in row.items()
    }


def _read_value(value: Any, is_share: bool) -> Any:
    if not isinstance(value, list):
        return value
    return Share(*value) if is_share else Mean(*value)
