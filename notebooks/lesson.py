"""Read a lesson's source: code once, prose in both languages, exercises in parts.

A source is a jupytext percent file. Text cells come in pairs, lang="en" then lang="es". One code
cell is marked part="setup". An exercise is a run of cells marked with their part, in this order:
goal (text), stub, check (one expression that gives a verdict), solution, wrong (one or more, never
shown to students), noticed (text).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jupytext

LANGUAGES = ("en", "es")
PARTS = ("goal", "stub", "check", "solution", "wrong", "noticed")


@dataclass(frozen=True)
class Cell:
    """One cell of a lesson: code that every language shares, or one text in each language."""

    kind: str  # "code" or "markdown"
    sources: Mapping[str, str]
    part: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exercise:
    """The code of one exercise: what students get, what asks, what passes and what must not."""

    stub: str
    check: str
    solution: str
    wrong_answers: tuple[str, ...]


@dataclass(frozen=True)
class Lesson:
    """A source file, read and found complete."""

    names: Mapping[str, str]  # the notebook's file name, without its ending, in each language
    colab_lacks: tuple[str, ...]  # requirements of this lesson that Colab does not ship
    uses_widgets: bool
    cells: tuple[Cell, ...]

    @property
    def exercises(self) -> list[Exercise]:
        """The lesson's exercises, in reading order."""
        return [_exercise(run) for run in exercise_runs(self.cells)]


def read_lesson(path: Path) -> Lesson:
    """Read one source file.

    Raises:
        ValueError: A text lacks a language, an exercise lacks a part, or there is no setup cell.
    """
    source = jupytext.read(path, fmt="py:percent")
    header = source.metadata["lesson"]
    cells = tuple(_paired(source.cells, path))
    if [cell.part for cell in cells].count("setup") != 1:
        raise ValueError(f'{path.name} needs exactly one code cell marked part="setup"')
    for run in exercise_runs(cells):
        _require_every_part([cell.part for cell in run], path)
    return Lesson(
        names=header["names"],
        colab_lacks=tuple(header.get("colab_lacks", ())),
        uses_widgets=header.get("widgets", False),
        cells=cells,
    )


def exercise_runs(cells: tuple[Cell, ...]) -> list[list[Cell]]:
    """Group the cells that are parts of exercises; a goal, or any gap, begins a new group."""
    runs: list[list[Cell]] = []
    inside = False
    for cell in cells:
        if cell.part in PARTS:
            if cell.part == "goal" or not inside:
                runs.append([])
            runs[-1].append(cell)
        inside = cell.part in PARTS
    return runs


def _paired(cells: list, path: Path) -> list[Cell]:
    paired = []
    waiting = list(cells)
    while waiting:
        cell = waiting.pop(0)
        part, tags = cell.metadata.get("part", ""), tuple(cell.metadata.get("tags", ()))
        if cell.cell_type == "code":
            sources = dict.fromkeys(LANGUAGES, cell.source)
        else:
            texts = [cell] + [waiting.pop(0) for _ in LANGUAGES[1:] if waiting]
            _require_each_language(texts, path)
            sources = {text.metadata["lang"]: text.source for text in texts}
        paired.append(Cell(cell.cell_type, sources, part, tags))
    return paired


def _require_each_language(texts: list, path: Path) -> None:
    found = tuple(text.metadata.get("lang") for text in texts)
    parts = {text.metadata.get("part", "") for text in texts}
    if found != LANGUAGES or len(parts) > 1 or not all(text.source.strip() for text in texts):
        raise ValueError(
            f'{path.name}: after "{texts[0].source[:60]}" the texts are lang={found}; '
            f"write each text in {LANGUAGES}, in this order, with the same part"
        )


def _require_every_part(found: list[str], path: Path) -> None:
    if tuple(dict.fromkeys(found)) != PARTS or len(found) - found.count("wrong") != len(PARTS) - 1:
        raise ValueError(f"{path.name}: an exercise has {found}; its parts in order are {PARTS}")


def _exercise(run: list[Cell]) -> Exercise:
    code = {cell.part: cell.sources["en"] for cell in run}
    wrong_answers = tuple(cell.sources["en"] for cell in run if cell.part == "wrong")
    return Exercise(code["stub"], code["check"], code["solution"], wrong_answers)
