"""Read a lesson's source: code once, prose in both languages, exercises in parts.

A source is a jupytext percent file. Text cells come in pairs, lang="en" then lang="es"; in code,
`say` and `# es:` hold both languages (see languages.py). One code cell is marked part="setup". An
exercise is a run of cells marked with their part, in this order: goal (text), stub, check (one
expression that gives a verdict), solution, wrong (several, never shown to students), noticed
(text). Besides these there are

half=true        on a wrong answer of which a half is right
part="claim"     code that asserts what the prose says; run by build and tests, never shown
part="discuss"   a question, a line ---, and what a good answer has in it, which is folded
short=true       on a text that opens with a heading: read this if you have only 20 minutes
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jupytext

from languages import LANGUAGES, formatted, in_language

PARTS = ("goal", "stub", "check", "solution", "wrong", "noticed")
NUMBERS = (
    # In a reply; what chance chose, too, in a list that may be too long to be shown to its end.
    r"\{.*?\}|\['.*?(?:'\]| \.\.\.)|0x[0-9A-Fa-f]+|-?\d[\d.,]*(e[+-]\d+)?"
)
FOLD = "\n\n---\n\n"  # between a question and what a good answer has in it


# A function, so that it leaves no name behind; answers may await, as cells may.
TRIAL = """\
async def try_answers():
    import ast
    import json
    import re

    told, expected = {{}}, {expected!r}
    for answer, is_right in {answers!r}:
        names = dict(globals())
        code = compile(answer, "<answer>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if (awaited := eval(code, names)) is not None:
            await awaited
        verdict = eval({check!r}, names)
        assert verdict.solved == is_right, f"{{answer}}\\n\\n{{verdict}}"
        told[answer] = repr(verdict)
        if expected:  # in the same words; numbers may differ a little between machines
            both = told[answer], expected[answer]
            now, before = (re.sub({numbers!r}, "#", text) for text in both)
            assert now == before, "\\n\\n".join((answer, *both))
    print(json.dumps(told))


await try_answers()
del try_answers"""


@dataclass(frozen=True)
class Cell:
    """One cell of a lesson, in each language."""

    kind: str  # "code" or "markdown"
    sources: Mapping[str, str]
    part: str = ""
    tags: tuple[str, ...] = ()
    short: bool = False
    half: bool = False


@dataclass(frozen=True)
class Exercise:
    """One exercise: its heading, what students get, what asks, what passes and what must not."""

    title: str
    stub: str
    check: str
    solution: str
    wrong_answers: tuple[str, ...]
    half_right: tuple[str, ...]  # some of the wrong answers

    @property
    def answers(self) -> list[tuple[str, str]]:
        """Every answer that the check is tried with, and its kind; the solution comes last."""
        wrong = [
            (code, "half" if code in self.half_right else "wrong") for code in self.wrong_answers
        ]
        return [(self.stub, "stub"), *wrong, (self.solution, "right")]


@dataclass(frozen=True)
class Head:
    """What a lesson asks for, at its top."""

    minutes: int
    after: tuple[str, ...]  # numbers of the lessons whose ideas it uses
    knows: Mapping[str, str]  # what else one should know
    needs: Mapping[str, str]  # the machine, the account, the download


@dataclass(frozen=True)
class Lesson:
    """A source file, read and found complete."""

    names: Mapping[str, str]  # the notebook's file name, without its ending, in each language
    colab_lacks: tuple[str, ...]  # requirements of this lesson that Colab does not ship
    uses_widgets: bool
    head: Head | None
    cells: tuple[Cell, ...]

    @property
    def number(self) -> str:
        """The number that its file's name begins with: "03"."""
        return self.names["en"].partition("_")[0]

    def exercises(self, language: str = "en") -> list[Exercise]:
        """The lesson's exercises, in reading order."""
        return [_exercise(run, language) for run in exercise_runs(self.cells)]


def read_lesson(path: Path) -> Lesson:
    """Read one source file.

    Raises:
        ValueError: A text lacks a language, an exercise lacks a part, there is no setup cell, or a
            claim asserts nothing.
    """
    source = jupytext.read(path, fmt="py:percent")
    header = source.metadata["lesson"]
    cells = tuple(_paired(source.cells, path))
    if [cell.part for cell in cells].count("setup") != 1:
        raise ValueError(f'{path.name} needs exactly one code cell marked part="setup"')
    for run in exercise_runs(cells):
        _require_every_part([cell.part for cell in run], path)
    for cell in cells:
        _require_its_form(cell, path)
    return Lesson(
        names=header["names"],
        colab_lacks=tuple(header.get("colab_lacks", ())),
        uses_widgets=header.get("widgets", False),
        head=_head(header) if "minutes" in header else None,
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


def claim_code(claim: str) -> str:
    """Code that runs a claim on copies of the lesson's names, so that no cell can lean on it."""
    return f"exec({claim!r}, dict(globals()))"


def trial_code(exercise: Exercise, replies: Mapping[str, str] | None = None) -> str:
    """Code that gives every answer to an exercise's check, each on copies of the lesson's names.

    It stops where the solution is refused, where the stub or a wrong answer is accepted, and where
    the check's reply to an answer is not the one in `replies`. It prints all replies.
    """
    answers = [(answer, kind == "right") for answer, kind in exercise.answers]
    return TRIAL.format(
        answers=answers, check=exercise.check, expected=replies or {}, numbers=NUMBERS
    )


def _head(header: dict) -> Head:
    after = tuple(header["after"])
    return Head(header["minutes"], after, header["knows"], header["needs"])


def _paired(cells: list, path: Path) -> list[Cell]:
    paired = []
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    versions = [formatted([in_language(cell, language) for cell in code]) for language in LANGUAGES]
    code_cells = iter(
        dict(zip(LANGUAGES, texts, strict=True)) for texts in zip(*versions, strict=True)
    )
    waiting = list(cells)
    while waiting:
        cell = waiting.pop(0)
        part, tags = cell.metadata.get("part", ""), tuple(cell.metadata.get("tags", ()))
        if cell.cell_type == "code":
            sources = next(code_cells)
        else:
            texts = [cell] + [waiting.pop(0) for _ in LANGUAGES[1:] if waiting]
            _require_each_language(texts, path)
            sources = {text.metadata["lang"]: text.source for text in texts}
        short, half = (bool(cell.metadata.get(mark)) for mark in ("short", "half"))
        paired.append(Cell(cell.cell_type, sources, part, tags, short, half))
    return paired


def _require_each_language(texts: list, path: Path) -> None:
    found = tuple(text.metadata.get("lang") for text in texts)
    marks = {(text.metadata.get("part", ""), text.metadata.get("short")) for text in texts}
    if found != LANGUAGES or len(marks) > 1 or not all(text.source.strip() for text in texts):
        raise ValueError(
            f'{path.name}: after "{texts[0].source[:60]}" the texts are lang={found}; '
            f"write each text in {LANGUAGES}, in this order, with the same part and marks"
        )


def _require_every_part(found: list[str], path: Path) -> None:
    if tuple(dict.fromkeys(found)) != PARTS or len(found) - found.count("wrong") != len(PARTS) - 1:
        raise ValueError(f"{path.name}: an exercise has {found}; its parts in order are {PARTS}")


def _require_its_form(cell: Cell, path: Path) -> None:
    """A claim asserts sentences, a discussion has an answer, a short way begins at a heading."""
    code = cell.sources["en"]
    if cell.part == "claim":
        asserts = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Assert)]
        if not asserts or any(node.msg is None for node in asserts):
            raise ValueError(f"{path.name}: a claim asserts, each time with a sentence:\n{code}")
    for text in cell.sources.values():
        if cell.part == "discuss" and text.count(FOLD) != 1:
            raise ValueError(f"{path.name}: a discussion is a question, ---, an answer:\n{text}")
        if cell.short and not text.startswith("#"):
            raise ValueError(f"{path.name}: short=true stands on a heading, not on\n{text}")


def _exercise(run: list[Cell], language: str) -> Exercise:
    code = {cell.part: cell.sources[language] for cell in run}
    wrong = [cell for cell in run if cell.part == "wrong"]
    return Exercise(
        title=code["goal"].partition("\n")[0],
        stub=code["stub"],
        check=code["check"],
        solution=code["solution"],
        wrong_answers=tuple(cell.sources[language] for cell in wrong),
        half_right=tuple(cell.sources[language] for cell in wrong if cell.half),
    )
