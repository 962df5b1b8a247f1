"""Read the slides' sources: structure, formulas and pictures once, prose in both languages.

A source is a row of pages. A page begins with `=== name`, then come its settings, one a line, then
an empty line and its text. In the text a line that begins with `en:` or `es:` is of that language,
and every such line has its partner right below; any other line belongs to both. An indented line
goes on with the one above. Questions of a quiz begin with `?`, right answers with `+`, wrong ones
with `-`, each before its language, and `||` stands between an answer and what explains it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sdlesson.language import LANGUAGES, Text

KINDS = ("", "note", "?", "+", "-")
SETTINGS = {"minutes", "keep", "layout", "picture", "diagram", "source", "claim", "demo", "lesson"}
LISTED = {"source", "claim"}
LENGTHS = (90, 60, 45)
"""Minutes of a class; the shorter ones leave pages out."""

_TAGGED = re.compile(r"(?:(note|[?+-]) )?(en|es): (.*)")
_SHAPE = re.compile(r"#+ |- |\d+\. |> |\|")


@dataclass(frozen=True)
class Line:
    """One line of a page: Markdown, or a part of a quiz."""

    kind: str  # one of KINDS
    text: Text

    @property
    def answer(self) -> Text:
        """What stands before `||`."""
        return Text(*(half.split("||")[0].strip() for half in self.text))

    @property
    def explanation(self) -> Text:
        """What stands behind `||`."""
        return Text(*(half.split("||")[1].strip() for half in self.text))


@dataclass(frozen=True)
class Page:
    """One page in both languages."""

    name: str
    settings: dict[str, list[str]]
    lines: list[Line] = field(default_factory=list)

    def setting(self, name: str, default: str = "") -> str:
        """The value of a setting that stands once."""
        return self.settings.get(name, [default])[0]

    @property
    def minutes(self) -> float:
        """How long the page takes."""
        return float(self.setting("minutes", "0"))

    def kept(self, length: int) -> bool:
        """Whether the page stays in a class of so many minutes."""
        return str(length) in self.setting("keep", " ".join(map(str, LENGTHS))).split()

    def body(self, language: str) -> str:
        """The Markdown of one language."""
        return "\n".join(getattr(line.text, language) for line in self.lines if line.kind == "")

    def notes(self, language: str) -> str:
        """What the speaker says."""
        return "\n\n".join(
            getattr(line.text, language) for line in self.lines if line.kind == "note"
        )

    def title(self, language: str) -> str:
        """The first heading."""
        found = re.search(r"^# (.*)", self.body(language), re.MULTILINE)
        return found[1] if found else self.name


def read_pages(path: Path) -> list[Page]:
    """Read a source.

    Raises:
        ValueError: A setting is unknown, a name comes twice, or a line lacks its other language.
    """
    blocks = re.split(r"^=== ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    pages = [_read_page(block, path) for block in blocks]
    names = [page.name for page in pages]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"{path.name}: {sorted(twice)} come twice; give each page its own name")
    return pages


def _read_page(block: str, path: Path) -> Page:
    head, _, text = block.partition("\n\n")
    name, *rows = head.strip().splitlines()
    where = f"{path.name}, page {name!r}"
    settings: dict[str, list[str]] = {}
    for row in rows:
        key, _, value = row.partition(": ")
        if key not in SETTINGS or (key in settings and key not in LISTED):
            raise ValueError(f"{where}: {row!r} is no setting; there are {sorted(SETTINGS)}")
        settings.setdefault(key, []).append(value.strip())
    return Page(name.strip(), settings, list(_read_lines(_joined(text), where)))


def _joined(text: str) -> list[str]:
    """Append each indented line to the one above it, except in code."""
    joined: list[str] = []
    in_code = False
    for row in text.rstrip().splitlines():
        in_code ^= row.startswith("```")
        if row.startswith("  ") and joined and joined[-1] and not in_code:
            joined[-1] += " " + row.strip()
        else:
            joined.append(row.rstrip())
    return joined


def _read_lines(rows: list[str], where: str) -> Iterator[Line]:
    waiting = list(rows)
    while waiting:
        row = waiting.pop(0)
        tagged = _TAGGED.fullmatch(row)
        if not tagged:
            yield Line("", Text(row, row))
            continue
        partner = _TAGGED.fullmatch(waiting.pop(0)) if waiting else None
        if not partner or not _belong_together(tagged, partner):
            raise ValueError(
                f"{where}: below {row[:60]!r} there must be the same in {LANGUAGES['es']}, "
                "a line of the same kind that begins with `es:`"
            )
        yield Line(tagged[1] or "", Text(tagged[3], partner[3]))


def _belong_together(first: re.Match[str], second: re.Match[str]) -> bool:
    """Whether two lines are one in two languages: of one kind, and of one shape in Markdown."""
    shapes = [_SHAPE.match(line[3]) for line in (first, second)]
    marks = [shape[0] if shape else "" for shape in shapes]
    alike = marks[0] == marks[1] and first[3].count("|") == second[3].count("|")
    return first[2] == "en" and second[2] == "es" and first[1] == second[1] and alike
