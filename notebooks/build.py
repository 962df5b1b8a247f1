"""Make the course's notebooks from their sources, run them, and check them.

python notebooks/build.py build   write en/ and es/ with the glossary and the answers; outputs stay
                                  where no code changed
python notebooks/build.py run     build, then execute each notebook in a clean kernel; a claim that
                                  does not hold stops it
python notebooks/build.py check   fail when sources and notebooks disagree
python notebooks/build.py test    execute all again and compare the small outputs (nbval): English
                                  as a student gets it, where each check is given every kind of
                                  answer, Spanish with exercises solved; all claims
python notebooks/build.py soak    the same, the other way round
python notebooks/build.py replies execute all, give each check every kind of answer, and write
                                  what they reply into the page for who teaches
python notebooks/build.py demo    execute lesson 00 and write its pictures into pictures/

`build`, `run` and `replies` take numbers of lessons, such as 02, to do these alone.
"""

import argparse
import ast
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlparse

import nbformat
from nbformat import NotebookNode, v4

import glossary
import replies
from languages import LANGUAGES
from lesson import FOLD, Cell, Lesson, claim_code, read_lesson, trial_code
from outputs import clean_outputs, execute, write_pictures

NOTEBOOKS = Path(__file__).resolve().parent
ROOT = NOTEBOOKS.parent
PICTURES = ROOT / "pictures"
SET_LANGUAGE = 'sdlesson.set_language("es")'
BADGE_IMAGE = "https://colab.research.google.com/assets/colab-badge.svg"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
SOLUTION_TITLES = {"en": "A solution", "es": "Una solución"}
WRONG_TITLES = {"en": "Usual wrong answers", "es": "Respuestas equivocadas habituales"}
DISCUSS = {"en": "Think, then discuss.", "es": "Piénsalo y luego coméntalo."}
GOOD_ANSWER_TITLES = {
    "en": "What a good answer has in it",
    "es": "Qué tiene una buena respuesta",
}
ANSWERS_TITLES = {"en": "answers, for who teaches", "es": "respuestas, para quien enseña"}
REPLIES = "source/replies.json"  # what the checks were found to reply
ANSWERS = "answers"  # the folder of the answer keys, in the folder of each language
SHORT_MARK = "⏱"  # on what to read if there are only 20 minutes
SHORT_MINUTES = 20
HEAD_WORDS = {
    "en": ("Before this", "Time", "Needs", "Words", "minutes", "lesson", " and "),
    "es": ("Antes", "Tiempo", "Hace falta", "Palabras", "minutos", "lección", " y "),
}
SHORT_WAY = {
    "en": "; if you have only 20: run all cells, then read what is marked ⏱",
    "es": "; si solo tienes 20: ejecuta todas las celdas y lee lo marcado con ⏱",
}
GLOSSARY_WORDS = {"en": "each is in the [glossary]", "es": "todas están en el [glosario]"}
NUMBER_OF_LINK = re.compile(r"\]\(lesson:(\w+)\)")
CLAIM_TAG = "claim"  # on cells that are executed and not written
CELL_TIMEOUT_S = 600
WORKERS = 2  # notebooks tested at once, each with one thread of torch: two on busy cores crawl


def repository() -> str:
    """The address of the repository, from its one home in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["urls"]["Repository"]


def release() -> str:
    """The tag of the release that these notebooks belong to: a tag stays, a branch moves."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return f"v{project['version']}"


def badge(folder: str, name: str) -> str:
    """Markdown for the badge that opens one notebook in Colab."""
    owner_and_name = urlparse(repository()).path.strip("/")
    address = f"https://colab.research.google.com/github/{owner_and_name}"
    return f"[![Open in Colab]({BADGE_IMAGE})]({address}/blob/main/notebooks/{folder}/{name}.ipynb)"


def colab_cell(lesson: Lesson) -> str:
    """The first code cell: on Colab it adds what Colab lacks and nothing else; elsewhere nothing.

    Without --no-deps pip would replace the torch and the transformers that Colab ships.
    """
    requirements = [f"sdlesson @ git+{repository()}@{release()}", *lesson.colab_lacks]
    lines = [
        "import sys",
        "",
        'if "google.colab" in sys.modules:  # Colab has torch; this adds only what it lacks',
        *(f'    %pip install --quiet --no-deps "{needed}"' for needed in requirements),
    ]
    if lesson.uses_widgets:
        lines += [
            "    from google.colab import output",
            "",
            "    output.enable_custom_widget_manager()",
        ]
    return "\n".join(lines)


def make_notebook(
    lesson: Lesson,
    language: str,
    *,
    solved: bool = False,
    claims: bool = False,
    trials: bool = False,
    told: Sequence[Mapping[str, str]] = (),
    key: bool = False,
    links: Mapping[str, str] | None = None,
) -> NotebookNode:
    """Build one notebook without outputs.

    Args:
        lesson: A source, read.
        language: "en" or "es".
        solved: Put each solution in its stub's place and stop where its check is not content.
        claims: Add the claims, to be executed and taken out by `without_claims`.
        trials: Before each stub, give its check every kind of answer: only the solution may pass.
        told: What the checks must reply to these, an exercise an entry; else what they reply.
        key: The answer key: each solution in its stub's place, wrong answers folded under it.
        links: File names of the lessons and the glossary by what `lesson:` names them.

    Raises:
        ValueError: A text links to a lesson that does not exist.
    """
    exercises = iter(lesson.exercises(language))
    expected = iter(told)
    cells = []
    for index, cell in enumerate(lesson.cells):
        text = cell.sources[language]
        if cell.kind == "markdown":
            text = _with_links(text, links or {})
        if index == 0:
            text = _opening(text, lesson, language, key=key, links=links or {})
        if cell.part == "wrong" or (cell.part == "claim" and not claims):
            continue
        if cell.part == "claim":
            cells.append(_new_cell("code", claim_code(text)))
            cells[-1].metadata["tags"] = [CLAIM_TAG]
            continue
        if cell.part == "setup":
            cells.append(_new_cell("code", colab_cell(lesson)))
            text = _with_language(text, language)
        elif cell.part == "stub":
            exercise = next(exercises)
            if trials:
                cells.append(_new_cell("code", trial_code(exercise, next(expected, None))))
            text = exercise.solution if solved or key else text
        elif cell.part == "solution":
            if key:
                wrong = "\n\n\n".join(exercise.wrong_answers)
                text = _folded(WRONG_TITLES[language], _python(wrong))
            else:
                text = _folded(SOLUTION_TITLES[language], _python(text))
            cells.append(_new_cell("markdown", text, cell))
            continue
        elif cell.part == "discuss":
            question, _, answer = text.partition(FOLD)
            fold = _folded(GOOD_ANSWER_TITLES[language], answer)
            text = f"💬 **{DISCUSS[language]}** {question}\n\n{fold}"
        if cell.short:
            text = re.sub("^#+ ", rf"\g<0>{SHORT_MARK} ", text)
        cells.append(_new_cell(cell.kind, text, cell))
        if cell.part == "check" and solved:
            # Not `_`: a lesson that says `*_, last = ...` has taken that name.
            cells.append(_new_cell("code", "assert Out[max(Out)].solved, Out[max(Out)]"))
    _make_ids_unique(cells)
    return v4.new_notebook(cells=cells, metadata=METADATA)


def without_claims(notebook: NotebookNode) -> NotebookNode:
    """Take out the claims and count the rest anew, as if they had never been there."""
    cells = [cell for cell in notebook.cells if CLAIM_TAG not in cell.metadata.get("tags", [])]
    code = [cell for cell in cells if cell.cell_type == "code"]
    for count, cell in enumerate(code, start=1):
        cell.execution_count = count
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
    return v4.new_notebook(cells=cells, metadata=METADATA)


def built_path(lesson: Lesson, language: str, folder: str = ".") -> Path:
    """Where the notebook of a lesson lies, or its answer key in the folder `answers`."""
    return NOTEBOOKS / language / folder / f"{lesson.names[language]}.ipynb"


def read_lessons() -> list[Lesson]:
    """Every lesson of the course, in reading order."""
    return [read_lesson(path) for path in sorted((NOTEBOOKS / "source").glob("*.py"))]


def lesson_links(lessons: list[Lesson], language: str, above: str = "") -> dict[str, str]:
    """File names of the lessons by their number, and of the glossary, from a folder."""
    links = {lesson.number: f"{above}{lesson.names[language]}.ipynb" for lesson in lessons}
    return links | {"glossary": f"{above}{glossary.NAMES[language]}.ipynb"}


def course() -> dict[Path, NotebookNode]:
    """Every notebook of the course, without outputs, by where it lies."""
    lessons, notebooks = read_lessons(), {}
    told = replies.read_replies(NOTEBOOKS / REPLIES)
    for language in LANGUAGES:
        links = lesson_links(lessons, language)
        from_answers = lesson_links(lessons, language, "../")
        for lesson in lessons:
            path = built_path(lesson, language)
            notebooks[path] = make_notebook(lesson, language, links=links)
            path = built_path(lesson, language, ANSWERS)
            notebooks[path] = make_notebook(lesson, language, key=True, links=from_answers)
        page = replies.make_table(told.get(language, {}), lessons, language)
        page.metadata = METADATA
        notebooks[NOTEBOOKS / language / ANSWERS / f"{replies.NAMES[language]}.ipynb"] = page
        if (words := NOTEBOOKS / "source" / "glossary.yaml").exists():
            page = glossary.make_glossary(words, language, links.__getitem__)
            page.metadata = METADATA
            notebooks[NOTEBOOKS / language / f"{glossary.NAMES[language]}.ipynb"] = page
    return notebooks


def build(numbers: Collection[str] = ()) -> None:
    """Write every notebook; a new wording keeps the outputs, a change in the code drops them."""
    for path, notebook in course().items():
        if numbers and path.name[:2] not in numbers:
            continue
        if path.exists():
            old = nbformat.read(path, as_version=4)
            if _code(old) == _code(notebook):
                copy_outputs(old, notebook)
        write(notebook, path)


def run(numbers: Collection[str] = ()) -> None:
    """Build every notebook, execute it in a clean kernel and store what it shows.

    A claim that does not hold stops this before its notebook is written.
    """
    build(numbers)
    lessons = read_lessons()
    for lesson in lessons:
        if numbers and lesson.number not in numbers:
            continue
        for language in LANGUAGES:
            path = built_path(lesson, language)
            links = lesson_links(lessons, language)
            notebook = make_notebook(lesson, language, claims=True, links=links)
            execute(notebook, path.parent, CELL_TIMEOUT_S)
            notebook = without_claims(notebook)  # with our metadata, not the kernel's
            clean_outputs(notebook)
            write(notebook, path)


def try_answers(numbers: Collection[str] = ()) -> None:
    """Try every answer to every exercise, keep what the checks reply, and write the page of it."""
    path = NOTEBOOKS / REPLIES
    for lesson in read_lessons():
        if numbers and lesson.number not in numbers:
            continue
        for language in LANGUAGES:
            links = lesson_links(read_lessons(), language)
            notebook = make_notebook(lesson, language, trials=True, links=links)
            replies.only_for_trials(notebook)
            execute(notebook, built_path(lesson, language).parent, CELL_TIMEOUT_S)
            found = replies.read_replies(path)
            found.setdefault(language, {})[lesson.number] = replies.told_by(notebook)
            replies.write_replies(found, path)
            print(f"{language}/{lesson.number}: every answer tried")
    pages = {f"{name}.ipynb" for name in replies.NAMES.values()}
    for page, notebook in course().items():
        if page.name in pages:
            write(notebook, page)


def check() -> None:
    """Exit with a message where a notebook is not what its source makes."""
    wanted = course()
    folders = [NOTEBOOKS / language / folder for language in LANGUAGES for folder in (".", ANSWERS)]
    found = {path for folder in folders for path in folder.glob("*.ipynb")}
    problems = [f"{path} has no source" for path in sorted(found - wanted.keys())]
    for path, notebook in wanted.items():
        if path not in found:
            problems.append(f"{path} is missing")
        elif _skeleton(nbformat.read(path, as_version=4)) != _skeleton(notebook):
            problems.append(f"{path} is not what its source makes")
    told = replies.read_replies(NOTEBOOKS / REPLIES)
    problems += [
        f"{name}: replies are to other answers; python notebooks/build.py replies mends this"
        for name in replies.stale(told, read_lessons(), LANGUAGES)
    ]
    if problems:
        sys.exit("\n".join([*problems, "python notebooks/build.py run mends this"]))


def test() -> None:
    """Run nbval on English as a student gets it and on Spanish with the exercises solved."""
    _compare("en", solved="es")


def soak() -> None:
    """Run nbval on the two other combinations: Spanish as a student gets it, English solved."""
    _compare("es", solved="en")


def _compare(as_students_get_it: str, *, solved: str) -> None:
    """Execute the notebooks of both languages and exit with nbval's verdict."""
    lessons = read_lessons()
    told = replies.read_replies(NOTEBOOKS / REPLIES)
    with tempfile.TemporaryDirectory() as folder:
        for lesson in lessons:
            for language in (as_students_get_it, solved):
                built = built_path(lesson, language)
                links, is_solved = lesson_links(lessons, language), language == solved
                notebook = make_notebook(
                    lesson,
                    language,
                    solved=is_solved,
                    claims=True,
                    trials=not is_solved,
                    told=told.get(language, {}).get(lesson.number, ()),
                    links=links,
                )
                copy_outputs(nbformat.read(built, as_version=4), notebook)
                write(notebook, Path(folder) / language / built.name)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval-lax"]
        command += ["--nbval-current-env", f"--nbval-cell-timeout={CELL_TIMEOUT_S}"]
        command += ["-o", "addopts=", "-o", f"timeout={CELL_TIMEOUT_S}"]
        command += ["-n", str(WORKERS), "--dist", "loadfile"]  # a kernel a notebook
        offline = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        command += [folder]
        finished = subprocess.run(command, cwd=ROOT, env=offline)
    sys.exit(finished.returncode)


def demo() -> None:
    """Execute the first lesson and write the pictures it draws."""
    lessons = read_lessons()
    lesson = lessons[0]
    notebook = make_notebook(lesson, "en", links=lesson_links(lessons, "en"))
    print("Executing lesson 00: the pocket model draws on this machine, nothing is downloaded ...")
    execute(notebook, NOTEBOOKS / "en", CELL_TIMEOUT_S)
    written = write_pictures(notebook, PICTURES, lesson.names["en"])
    print(f"{len(written)} pictures, drawn just now, are in {PICTURES}:")
    for path in written:
        print(f"  {PICTURES.name}/{path.name}")
    print("Go on with the course: `make lab` opens it in JupyterLab; begin at notebooks/en or es.")


def copy_outputs(old: NotebookNode, new: NotebookNode) -> None:
    """Copy the outputs of the cells that two builds of a notebook share."""
    outputs = {cell.id: cell for cell in old.cells if cell.cell_type == "code"}
    for cell in new.cells:
        if cell.cell_type == "code" and cell.id in outputs:
            cell.outputs = outputs[cell.id].outputs
            cell.execution_count = outputs[cell.id].execution_count


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook, found valid first."""
    nbformat.validate(notebook)
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} KB")


def _new_cell(kind: str, text: str, cell: Cell | None = None) -> NotebookNode:
    make = v4.new_code_cell if kind == "code" else v4.new_markdown_cell
    new = make(text)
    new.id = hashlib.sha256((cell.sources["en"] if cell else text).encode()).hexdigest()[:12]
    if cell and cell.tags:
        new.metadata["tags"] = list(cell.tags)
    return new


def _with_language(code: str, language: str) -> str:
    if language == "en":
        return code
    statements = ast.parse(code).body
    imports = [line for line in statements if isinstance(line, ast.Import | ast.ImportFrom)]
    lines = code.split("\n")
    lines.insert(imports[-1].end_lineno + 1, SET_LANGUAGE)  # below the blank line after the imports
    return "\n".join(lines)


def _folded(title: str, text: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>"


def _python(code: str) -> str:
    return f"```python\n{code}\n```"


def _opening(
    text: str, lesson: Lesson, language: str, *, key: bool, links: Mapping[str, str]
) -> str:
    """The first cell: title, badge, what the lesson asks for, and the text of its source."""
    title, _, rest = text.partition("\n")
    folder = f"{language}/{ANSWERS}" if key else language
    if key:
        title += f" · {ANSWERS_TITLES[language]}"
    parts = [title, badge(folder, lesson.names[language])]
    if lesson.head:
        parts.append(_head_table(lesson, language, links))
    return "\n\n".join([*parts, rest.lstrip("\n")])


def _head_table(lesson: Lesson, language: str, links: Mapping[str, str]) -> str:
    head = lesson.head
    before, time, needs, words, minutes, word_lesson, word_and = HEAD_WORDS[language]
    known = [f"[{word_lesson} {number}](lesson:{number})" for number in head.after]
    short_way = SHORT_WAY[language] if head.minutes > SHORT_MINUTES else ""
    rows = [
        ("", ""),
        ("---", "---"),
        (f"**{before}**", word_and.join([*known, head.knows[language]])),
        (f"**{time}**", f"{head.minutes} {minutes}{short_way}"),
        (f"**{needs}**", head.needs[language]),
        (f"**{words}**", f"{GLOSSARY_WORDS[language]}(lesson:glossary)"),
    ]
    return _with_links("\n".join(f"| {left} | {right} |" for left, right in rows), links)


def _with_links(text: str, links: Mapping[str, str]) -> str:
    def file_name(found: re.Match) -> str:
        if found[1] not in links:
            raise ValueError(f"a text links to lesson:{found[1]}; there are {sorted(links)}")
        return f"]({links[found[1]]})"

    return NUMBER_OF_LINK.sub(file_name, text)


def _make_ids_unique(cells: list[NotebookNode]) -> None:
    seen: dict[str, int] = {}
    for cell in cells:
        seen[cell.id] = seen.get(cell.id, 0) + 1
        if seen[cell.id] > 1:
            cell.id = f"{cell.id}-{seen[cell.id]}"


def _code(notebook: NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def _skeleton(notebook: NotebookNode) -> tuple:
    cells = [(cell.id, cell.cell_type, cell.source, cell.metadata) for cell in notebook.cells]
    return cells, notebook.metadata


if __name__ == "__main__":
    commands = {
        "build": build,
        "run": run,
        "replies": try_answers,
        "check": check,
        "test": test,
        "soak": soak,
        "demo": demo,
    }
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=commands)
    parser.add_argument("numbers", nargs="*", metavar="NUMBER", help="lessons, such as 02")
    arguments = parser.parse_args()
    takes_numbers = arguments.command in ("build", "run", "replies")
    if arguments.numbers and not takes_numbers:
        parser.error(f"{arguments.command} takes no numbers of lessons")
    commands[arguments.command](*([arguments.numbers] if takes_numbers else []))
