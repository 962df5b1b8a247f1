"""What each check replies to each answer, as a page in each language for who teaches.

The replies are in replies.json, by language, lesson and exercise, each under its answer. They come
from `python notebooks/build.py replies`, which gives every check every answer in the kernel of its
lesson; `build.py test` does so again, and fails where a reply has become another.
"""

import ast
import html
import json
import re
import symtable
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nbformat import NotebookNode, v4

from lesson import Exercise, Lesson

NAMES = {"en": "replies", "es": "comprobaciones"}
TITLES = {
    "en": "# What the checks reply · for who teaches\n\nEach answer that a check is tried with, "
    "in this order, and what it replies. Its hints grow from try to try.",
    "es": "# Qué contestan las comprobaciones · para quien enseña\n\nCada respuesta con la que se "
    "prueba una comprobación, en este orden, y lo que contesta. Las pistas crecen de un intento a "
    "otro.",
}
LESSON = {"en": "Lesson", "es": "Lección"}
HEADINGS = {
    "en": ("", "Answer", "Reply"),
    "es": ("", "Respuesta", "Lo que contesta"),
}
KINDS = {
    "en": {"stub": "not filled in", "half": "half right", "wrong": "wrong", "right": "right"},
    "es": {
        "stub": "sin rellenar",
        "half": "correcta a medias",
        "wrong": "equivocada",
        "right": "correcta",
    },
}

Replies = dict[str, dict[str, list[dict[str, str]]]]


def read_replies(path: Path) -> Replies:
    """Read the replies: by language, lesson's number and exercise, the reply to each answer."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write_replies(replies: Replies, path: Path) -> None:
    """Write the replies, with languages and lessons in order."""
    text = json.dumps(
        {language: dict(sorted(lessons.items())) for language, lessons in sorted(replies.items())},
        ensure_ascii=False,
        indent=1,
    )
    path.write_text(f"{text}\n", encoding="utf-8")


def told_by(notebook: NotebookNode) -> list[dict[str, str]]:
    """Collect from an executed notebook what its trials printed, one entry an exercise."""
    trials = [cell for cell in notebook.cells if "try_answers" in cell.source]
    printed = [
        "".join(output.text for output in cell.outputs if output.get("name") == "stdout")
        for cell in trials
    ]
    return [json.loads(text.splitlines()[-1]) for text in printed]


def only_for_trials(notebook: NotebookNode) -> None:
    """Keep of a notebook its trials and the cells that they build on, so that it runs sooner.

    From the last cell to the first, a cell is kept if it binds or changes a name that is needed
    below it. `build.py test` runs the whole lesson.
    """
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    modules = set[str]().union(*(_imported(cell.source) for cell in cells))
    needed: set[str] = set()
    kept: list[NotebookNode] = []
    for cell in reversed(cells):
        if "try_answers" in cell.source:
            needed |= _read_by_answers(cell.source)
        elif not needed & (_bound(cell.source) | _changed(cell.source) - modules):
            continue
        else:
            needed = needed - _bound(cell.source) | _read(cell.source)
        kept.append(cell)
    notebook.cells = kept[::-1]


def _parsed(code: str) -> ast.Module:
    try:
        return compile(code, "<cell>", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError:  # a magic, or a text that is no code
        return ast.Module([], [])


def _bound(code: str) -> set[str]:
    """Names that a cell binds at its top."""
    bound = _imported(code)
    for line in _parsed(code).body:
        if isinstance(line, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound.add(line.name)
        else:
            stored = (node for node in ast.walk(line) if isinstance(node, ast.Name))
            bound |= {node.id for node in stored if isinstance(node.ctx, ast.Store)}
    return bound


def _imported(code: str) -> set[str]:
    lines = [node for node in _parsed(code).body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [name for line in lines for name in line.names]
    return {name.asname or name.name.partition(".")[0] for name in names}


def _changed(code: str) -> set[str]:
    """Names whose objects a cell changes: `a.b = c`, `a[b] = c`, and `a.b()` as a statement."""
    changed: set[str] = set()
    for node in ast.walk(_parsed(code)):
        call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        part: ast.AST | None = node.value.func if call else None
        if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
            part = node
        while isinstance(part, ast.Attribute | ast.Subscript):
            part = part.value
            if isinstance(part, ast.Name):
                changed.add(part.id)
    return changed


def _read(code: str) -> set[str]:
    """Names that code takes from around it, in its functions too."""
    try:
        tables = [symtable.symtable(code, "<cell>", "exec")]
    except SyntaxError:  # it awaits
        return {node.id for node in ast.walk(_parsed(code)) if isinstance(node, ast.Name)}
    read = {name.get_name() for name in tables[0].get_symbols() if name.is_referenced()}
    for table in tables:
        tables += table.get_children()
        read |= {name.get_name() for name in table.get_symbols() if name.is_global()}
    return read


def _read_by_answers(trial: str) -> set[str]:
    texts = [node.value for node in ast.walk(_parsed(trial)) if isinstance(node, ast.Constant)]
    return set[str]().union(*(_read(text) for text in texts if isinstance(text, str)))


def stale(replies: Replies, lessons: Iterable[Lesson], languages: Iterable[str]) -> list[str]:
    """Name the lessons whose replies are not to the answers that they have now."""
    return [
        f"{language}/{lesson.number}"
        for language in languages
        for lesson in lessons
        if (told := replies.get(language, {}).get(lesson.number)) is not None
        and [list(one) for one in told]
        != [[answer for answer, _ in exercise.answers] for exercise in lesson.exercises(language)]
    ]


def make_table(
    replies: Mapping[str, list[dict[str, str]]], lessons: Sequence[Lesson], language: str
) -> NotebookNode:
    """Build the page: a cell a lesson whose replies are known, a table an exercise."""
    cells = [v4.new_markdown_cell(TITLES[language], id="replies")]
    for lesson in lessons:
        if (told := replies.get(lesson.number)) is None:
            continue
        parts = [f"## {LESSON[language]} {lesson.number}"]
        for number, exercise in enumerate(lesson.exercises(language)):
            replied = told[number] if number < len(told) else {}
            parts += [exercise.title, _table(exercise, replied, language)]
        cells.append(v4.new_markdown_cell("\n\n".join(parts), id=f"replies-{lesson.number}"))
    return v4.new_notebook(cells=cells)


def _table(exercise: Exercise, replied: Mapping[str, str], language: str) -> str:
    head = "".join(f"<th>{heading}</th>" for heading in HEADINGS[language])
    rows = [f"<tr>{head}</tr>"]
    for answer, kind in exercise.answers:
        reply = replied.get(answer, "…")
        cells = (KINDS[language][kind], f"<pre>{_escaped(answer)}</pre>", _escaped(reply))
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return "\n".join(["<table>", *rows, "</table>"])


def _escaped(text: str) -> str:
    """Escape what HTML, formulas and Markdown would take for theirs; no empty line ends a table."""
    text = re.sub(r"[$*_`\\]", lambda found: f"&#{ord(found[0])};", html.escape(text))
    return text.replace("\n", "<br>")
