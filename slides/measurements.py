"""Figures for slides, read from the committed tables: no slide has a measurement typed into it.

A slide writes `{bias.yellow prompt=a flower}`: the table, the column, and what picks the row;
`{interval ...}` is its 95% interval, `{n of ...}` how many were counted. Where several rows fit,
the first is meant, or with `row=2` the second. The tables are those of `sdlesson/pocket/measured/`,
and `evaluation`, the pocket model's own.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from sdlesson.metrics import Share, measured
from sdlesson.pocket.paths import EVALUATION_FILE, MEASURED_FOLDER

REFERENCE = re.compile(r"\{(interval |n of )?(\w+)\.(\w+)( [^{}]*)?\}")
AS_PERCENT = {"clipped", "closed"}
"""Means of shares, which read better as a percentage."""
_CLAIM = re.compile(r"(.+?) ([<>]) (.+?)(?: by ([\d.]+))?")


@dataclass(frozen=True)
class Figure:
    """A measured value with what is known of it."""

    table: str
    value: float
    low: float
    high: float
    n: int
    is_share: bool


def figure(table: str, column: str, picks: str = "") -> Figure:
    """Find one figure.

    Args:
        table: The name of a committed table, or "evaluation".
        column: What was measured.
        picks: Which row, such as "prompt=a flower, negative_prompt=hat"; of several that fit the
            first, unless "row=2" says which.

    Raises:
        ValueError: There is no such table, column or row.
    """
    if table == "evaluation":
        return _from_evaluation(column)
    rows, place = measured(table).rows, 1
    columns = rows[0].keys()
    for pick in filter(None, re.split(r",\s+(?=\w+=)", picks.strip())):
        key, _, wanted = pick.partition("=")
        if key == "row":
            place = int(wanted)
            continue
        if key not in columns:
            raise ValueError(f"{table} has no column {key!r}; there are {', '.join(columns)}")
        rows = [row for row in rows if _is(row[key], wanted)]
    if not 1 <= place <= len(rows) or column not in columns:
        raise ValueError(f"{{{table}.{column} {picks.strip()}}} is nowhere in the table {table!r}")
    found = rows[place - 1][column]
    if isinstance(found, float | int):
        return Figure(table, found, found, found, 0, is_share=False)
    is_share = isinstance(found, Share) or column in AS_PERCENT
    return Figure(table, found.value, found.low, found.high, found.n, is_share)


def filled_in(text: str) -> str:
    """Put figures in the places of their references, with the decimal point of code and lessons."""

    def write(reference: re.Match[str]) -> str:
        found = figure(*reference.groups("")[1:])
        if reference[1] == "n of ":
            return _written(found.n, False)
        if reference[1]:
            low, high = (_written(end, found.is_share) for end in (found.low, found.high))
            return f"{low.removesuffix('%')}–{high}"
        return _written(found.value, found.is_share)

    return REFERENCE.sub(write, text)


def tables_in(text: str) -> list[str]:
    """The names of the tables that a text reads, each once."""
    return list(dict.fromkeys(reference[1] for reference in _references(text)))


def table_file(name: str) -> Path:
    """Where a table lies."""
    return EVALUATION_FILE if name == "evaluation" else MEASURED_FOLDER / f"{name}.json"


def described(name: str) -> str:
    """How a table was made: its size and its date."""
    if name == "evaluation":
        evaluation = json.loads(EVALUATION_FILE.read_text(encoding="utf-8"))
        counts = [row["n"] for row in evaluation.values() if "n" in row]
        return f"n = {min(counts)}–{max(counts)}, {evaluation['settings']['date']}"
    table = measured(name)
    return f"n = {table.n}, {table.date}"


def holds(claim: str) -> bool:
    """Whether `{a} > {b} by 0.1` is what the tables say; a side may be a plain number.

    Raises:
        ValueError: It is no such comparison.
    """
    parts = _CLAIM.fullmatch(claim)
    if not parts:
        raise ValueError(f"{claim!r} is no claim; write {{a}} > {{b}} by 0.1")
    left, right, margin = _number(parts[1]), _number(parts[3]), float(parts[4] or 0)
    return left > right + margin if parts[2] == ">" else left < right - margin


def _references(text: str) -> list[tuple[str, str, str]]:
    return [reference.groups("") for reference in REFERENCE.finditer(text)]


def _number(side: str) -> float:
    reference = REFERENCE.fullmatch(side.strip())
    return figure(*reference.groups("")[1:]).value if reference else float(side)


def _from_evaluation(column: str) -> Figure:
    evaluation = json.loads(EVALUATION_FILE.read_text(encoding="utf-8"))
    found = evaluation.get(column)
    if not isinstance(found, dict) or "value" not in found:
        known = [key for key, entry in evaluation.items() if "value" in entry]
        raise ValueError(f"the evaluation has no figure {column!r}; there are {', '.join(known)}")
    value = found["value"]
    return Figure(
        "evaluation",
        value,
        found.get("low", value),
        found.get("high", value),
        found.get("n", 0),
        is_share="ceiling" in found,
    )


def _is(value: object, wanted: str) -> bool:
    return f"{value:g}" == wanted if isinstance(value, float | int) else str(value) == wanted


def _written(value: float, is_share: bool) -> str:
    if is_share:
        near_an_end = 0 < value < 0.01 or 0.99 < value < 1
        return f"{100 * value:.1f}%" if near_an_end else f"{100 * value:.0f}%"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
