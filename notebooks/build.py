"""Make the course's notebooks from their sources, run them, and check them.

python notebooks/build.py build   write en/ and es/; outputs stay where no code changed
python notebooks/build.py run     build, then execute each notebook in a clean kernel
python notebooks/build.py check   fail when sources and notebooks disagree
python notebooks/build.py test    execute all again and compare the small outputs (nbval): English
                                  as a student gets it, Spanish with the exercises solved
python notebooks/build.py soak    the same, the other way round
python notebooks/build.py demo    execute lesson 00 and write its pictures into pictures/
"""

import argparse
import ast
import hashlib
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from urllib.parse import urlparse

import nbformat
from lesson import LANGUAGES, Cell, Lesson, read_lesson
from nbformat import NotebookNode, v4
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
CELL_TIMEOUT_S = 600


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


def make_notebook(lesson: Lesson, language: str, *, solved: bool = False) -> NotebookNode:
    """Build one notebook without outputs.

    Args:
        lesson: A source, read.
        language: "en" or "es".
        solved: Put each solution in its stub's place and stop where its check is not content.
    """
    solutions = iter(lesson.exercises)
    cells = []
    for index, cell in enumerate(lesson.cells):
        text = cell.sources[language]
        if index == 0:
            title, _, rest = text.partition("\n")
            text = f"{title}\n\n{badge(language, lesson.names[language])}\n{rest}"
        if cell.part == "wrong":
            continue
        if cell.part == "setup":
            cells.append(_new_cell("code", colab_cell(lesson)))
            text = _with_language(text, language)
        elif cell.part == "stub" and solved:
            text = next(solutions).solution
        elif cell.part == "solution":
            cells.append(_new_cell("markdown", _folded(text, language), cell))
            continue
        cells.append(_new_cell(cell.kind, text, cell))
        if cell.part == "check" and solved:
            cells.append(_new_cell("code", "assert _.solved, _"))
    _make_ids_unique(cells)
    return v4.new_notebook(cells=cells, metadata=METADATA)


def built_path(lesson: Lesson, language: str) -> Path:
    """Where the notebook of a lesson lies."""
    return NOTEBOOKS / language / f"{lesson.names[language]}.ipynb"


def read_lessons() -> list[Lesson]:
    """Every lesson of the course, in reading order."""
    return [read_lesson(path) for path in sorted((NOTEBOOKS / "source").glob("*.py"))]


def build() -> None:
    """Write every notebook; a new wording keeps the outputs, a change in the code drops them."""
    for lesson in read_lessons():
        for language in LANGUAGES:
            path = built_path(lesson, language)
            notebook = make_notebook(lesson, language)
            if path.exists():
                old = nbformat.read(path, as_version=4)
                if _code(old) == _code(notebook):
                    copy_outputs(old, notebook)
            write(notebook, path)


def run() -> None:
    """Build every notebook, execute it in a clean kernel and store what it shows."""
    for lesson in read_lessons():
        for language in LANGUAGES:
            path = built_path(lesson, language)
            notebook = make_notebook(lesson, language)
            execute(notebook, path.parent, CELL_TIMEOUT_S)
            clean_outputs(notebook)
            notebook.metadata = METADATA  # the kernel adds its own version, which would differ
            write(notebook, path)


def check() -> None:
    """Exit with a message where a notebook is not what its source makes."""
    wanted = {}
    for lesson in read_lessons():
        for language in LANGUAGES:
            wanted[built_path(lesson, language)] = make_notebook(lesson, language)
    found = {path for language in LANGUAGES for path in (NOTEBOOKS / language).glob("*.ipynb")}
    problems = [f"{path} has no source" for path in sorted(found - wanted.keys())]
    for path, notebook in wanted.items():
        if path not in found:
            problems.append(f"{path} is missing")
        elif _skeleton(nbformat.read(path, as_version=4)) != _skeleton(notebook):
            problems.append(f"{path} is not what its source makes")
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
    with tempfile.TemporaryDirectory() as folder:
        for lesson in read_lessons():
            built = built_path(lesson, solved)
            notebook = make_notebook(lesson, solved, solved=True)
            copy_outputs(nbformat.read(built, as_version=4), notebook)
            write(notebook, Path(folder) / built.name)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval-lax"]
        command += ["--nbval-current-env", f"--nbval-cell-timeout={CELL_TIMEOUT_S}"]
        command += ["-o", "addopts=", "-o", f"timeout={CELL_TIMEOUT_S}"]
        offline = os.environ | {"HF_HUB_OFFLINE": "1"}
        command += [str(NOTEBOOKS / as_students_get_it), folder]
        finished = subprocess.run(command, cwd=ROOT, env=offline)
    sys.exit(finished.returncode)


def demo() -> None:
    """Execute the first lesson and write the pictures it draws."""
    lesson = read_lessons()[0]
    notebook = make_notebook(lesson, "en")
    print("Executing lesson 00: the pocket model draws on this machine, nothing is downloaded ...")
    execute(notebook, NOTEBOOKS / "en", CELL_TIMEOUT_S)
    written = write_pictures(notebook, PICTURES, lesson.names["en"])
    print(f"{len(written)} pictures, drawn just now, are in {PICTURES}:")
    for path in written:
        print(f"  {path.relative_to(ROOT)}")
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
    path.parent.mkdir(exist_ok=True)
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


def _folded(code: str, language: str) -> str:
    title = SOLUTION_TITLES[language]
    return f"<details><summary>{title}</summary>\n\n```python\n{code}\n```\n\n</details>"


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
        "check": check,
        "test": test,
        "soak": soak,
        "demo": demo,
    }
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=commands)
    commands[parser.parse_args().command]()
