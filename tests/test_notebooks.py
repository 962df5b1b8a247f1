import ast
import asyncio
import base64
import importlib
import io
import re
import sys
import tomllib
from pathlib import Path

import nbformat
import nest_asyncio
import pytest
from nbformat import v4
from packaging.requirements import Requirement
from PIL import Image

from sdlesson import figures

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "notebooks"))  # a script's folder, as when build.py is run
build = importlib.import_module("build")
lesson_reader = importlib.import_module("lesson")
outputs = importlib.import_module("outputs")

SOURCES = sorted((ROOT / "notebooks" / "source").glob("*.py"))
BUILT = sorted((ROOT / "notebooks").glob("e[ns]/*.ipynb"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MAX_CODE_LINES = 25
MAX_FILE_BYTES = 400 * 1024
MAX_WORDS = 55  # of sentences in one text cell; the aim is 40
PER_LINE = re.MULTILINE | re.DOTALL

# What Colab ships, of the packages this course needs: googlecolab/backend-info, 2026-08-19.
COLAB_SHIPS = {
    "accelerate": "1.14.0",
    "diffusers": "0.39.0",
    "huggingface-hub": "1.27.0",
    "ipywidgets": "7.7.1",
    "matplotlib": "3.10.0",
    "nest-asyncio": "1.6.0",
    "numpy": "2.1.3",
    "peft": "0.20.0",
    "pillow": "11.3.0",
    "safetensors": "0.8.0",
    "tokenizers": "0.22.2",
    "torch": "2.11.0",
    "tqdm": "4.67.3",
    "transformers": "5.15.0",
}
COLAB_SHIPS_UNVERSIONED = {"packaging", "psutil"}  # in the image as parts of other packages

TOY = """# ---
# jupyter:
#   lesson:
#     names:
#       en: 00_toy
#       es: 00_juguete
#     colab_lacks: ["python-telegram-bot>=22,<23"]
#     widgets: true
# ---

# %% [markdown] lang="en"
# # A toy
#
# Goals.

# %% [markdown] lang="es"
# # Un juguete
#
# Metas.

# %% part="setup"
import sys

import sdlesson
from sdlesson import exercises

seed = 0

# %% tags=["nbval-check-output"]
print(seed)

# %%
print("progress", file=sys.stderr)

# %% [markdown] lang="en" part="goal"
# Add.

# %% [markdown] lang="es" part="goal"
# Suma.

# %% part="stub"
total = ...

# %% part="check"
exercises.check(total, 2)

# %% part="solution"
total = 1 + 1

# %% part="wrong"
total = "a wrong answer"

# %% [markdown] lang="en" part="noticed"
# Two.

# %% [markdown] lang="es" part="noticed"
# Dos.
"""


@pytest.fixture
def toy(tmp_path):
    def read(text=TOY):
        path = tmp_path / "00_toy.py"
        path.write_text(text, encoding="utf-8")
        return lesson_reader.read_lesson(path)

    return read


def code(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def read_built(path):
    return nbformat.read(path, as_version=4)


# The toolchain, on a toy lesson.


def test_languages_differ_in_one_line_of_code(toy):
    english, spanish = (build.make_notebook(toy(), language) for language in ("en", "es"))
    assert spanish.cells[0].source.startswith("# Un juguete")
    lines = "\n".join(code(spanish)).split("\n")
    lines.remove('sdlesson.set_language("es")')
    assert lines == "\n".join(code(english)).split("\n")


def test_the_language_is_set_after_the_imports_and_before_the_rest(toy):
    setup = code(build.make_notebook(toy(), "es"))[1]
    assert 'import exercises\n\nsdlesson.set_language("es")\nseed = 0' in setup


def test_ids_are_the_same_in_every_build_and_language(toy):
    ids = [[cell.id for cell in build.make_notebook(toy(), lang).cells] for lang in ("en", "es")]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == len(ids[0])


def test_wrong_answers_never_reach_a_notebook_and_solutions_are_folded(toy):
    notebook = build.make_notebook(toy(), "en")
    assert "a wrong answer" not in nbformat.writes(notebook)
    assert "total = 1 + 1" not in "\n".join(code(notebook))
    folded = [cell.source for cell in notebook.cells if "<details>" in cell.source]
    assert len(folded) == 1
    assert "```python\ntotal = 1 + 1\n```" in folded[0]


def test_a_solved_build_puts_the_solution_in_the_stubs_place(toy):
    solved = code(build.make_notebook(toy(), "es", solved=True))
    assert "total = 1 + 1" in solved
    assert "total = ..." not in solved


def test_colab_gets_what_it_lacks_and_its_widgets_enabled(toy):
    cell = code(build.make_notebook(toy(), "en"))[0]
    assert '"python-telegram-bot>=22,<23"' in cell
    assert "output.enable_custom_widget_manager()" in cell


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('# %% [markdown] lang="es"\n# # Un juguete\n#\n# Metas.\n', "", "write each text in"),
        ("# # Un juguete\n#\n# Metas.\n", "", "write each text in"),
        ('# %% part="wrong"\ntotal = "a wrong answer"\n', "", "its parts in order are"),
        ('# %% part="check"\nexercises.check(total, 2)\n', "", "its parts in order are"),
        ('# %% part="setup"', "# %%", "setup"),
    ],
)
def test_an_incomplete_source_is_refused(toy, old, new, message):
    assert old in TOY
    with pytest.raises(ValueError, match=message):
        toy(TOY.replace(old, new))


def test_a_kernel_runs_an_unsolved_lesson_and_its_outputs_come_out_clean(toy, tmp_path):
    notebook = build.make_notebook(toy(), "en")
    outputs.execute(notebook, tmp_path, build.CELL_TIMEOUT_S)
    outputs.clean_outputs(notebook)
    shown = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    assert [output.text for output in shown[2]] == ["0\n"]
    assert shown[3] == []  # what goes to stderr is left out
    assert "Not yet" in shown[5][0].data["text/plain"]


def test_progress_and_widget_state_are_stripped_and_one_slim_picture_is_kept():
    bar = v4.new_output("stream", name="stderr", text="50%|#####     | 12/25")
    view = v4.new_output("display_data", data={outputs.WIDGET_VIEW: {"model_id": "1"}})
    noise = Image.effect_noise((64, 64), 90)
    encoded = {mime: _encoded(noise, mime) for mime in ("image/png", "image/jpeg")}
    shown = v4.new_output("display_data", data=dict(encoded))
    cell = v4.new_code_cell("draw()", outputs=[bar, view, shown])
    notebook = v4.new_notebook(cells=[cell], metadata={"widgets": {}})
    outputs.clean_outputs(notebook)
    (kept,) = notebook.cells[0].outputs
    assert list(kept.data) == ["image/jpeg"]  # noise is what JPEG is smaller for
    assert len(kept.data["image/jpeg"]) < len(encoded["image/png"])
    assert "widgets" not in notebook.metadata


def test_an_animation_is_kept_as_it_is():
    film = figures.animation([Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")])
    html = film._repr_html_()
    shown = v4.new_output("execute_result", data={"text/html": html, "text/plain": repr(film)})
    notebook = v4.new_notebook(cells=[v4.new_code_cell("film", outputs=[shown])])
    outputs.clean_outputs(notebook)
    (kept,) = notebook.cells[0].outputs
    assert kept.data == {"text/html": html, "text/plain": repr(film)}


def _encoded(image, mime):
    file = io.BytesIO()
    image.save(file, mime.removeprefix("image/"))
    return base64.b64encode(file.getvalue()).decode()


def test_a_changed_output_of_a_cell_that_asks_for_it_fails(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(build, "NOTEBOOKS", tmp_path)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "00_toy.py").write_text(TOY, encoding="utf-8")
    build.build()
    build.run()
    path = tmp_path / "es" / "00_juguete.ipynb"
    notebook = read_built(path)
    assert notebook.cells[3].outputs[0].text == "0\n"
    notebook.cells[3].outputs[0].text = "1\n"
    nbformat.write(notebook, path)
    with pytest.raises(SystemExit) as end:
        build.test()
    assert end.value.code == 1
    report = capfd.readouterr().out
    assert "1 failed" in report  # English is as it was
    assert "00_juguete.ipynb::Cell 2" in report


def test_check_sees_an_edited_notebook(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "NOTEBOOKS", tmp_path)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "00_toy.py").write_text(TOY, encoding="utf-8")
    build.build()
    build.check()
    path = tmp_path / "en" / "00_toy.ipynb"
    path.write_text(path.read_text(encoding="utf-8").replace("Goals.", "Edited."), encoding="utf-8")
    with pytest.raises(SystemExit, match="is not what its source makes"):
        build.check()


def test_a_new_wording_keeps_the_outputs_and_new_code_drops_them(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "NOTEBOOKS", tmp_path)
    (tmp_path / "source").mkdir()
    source, built = tmp_path / "source" / "00_toy.py", tmp_path / "en" / "00_toy.ipynb"
    source.write_text(TOY, encoding="utf-8")
    build.build()
    notebook = read_built(built)
    notebook.cells[2].execution_count = 1
    nbformat.write(notebook, built)
    source.write_text(TOY.replace("Goals.", "Better goals."), encoding="utf-8")
    build.build()
    assert read_built(built).cells[2].execution_count == 1
    source.write_text(TOY.replace("seed = 0", "seed = 1"), encoding="utf-8")
    build.build()
    assert read_built(built).cells[2].execution_count is None


# The course's own notebooks.


def test_sources_and_notebooks_agree():
    build.check()


@pytest.mark.parametrize("path", BUILT, ids=lambda path: path.stem)
def test_outputs_come_from_one_clean_run(path):
    notebook = read_built(path)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    shown = [output for cell in cells for output in cell.outputs]
    assert not [output for output in shown if output.output_type == "error"]
    assert not [output for output in shown if output.get("name") == "stderr"]
    assert "widgets" not in notebook.metadata
    assert outputs.WIDGET_VIEW not in path.read_text(encoding="utf-8")
    assert path.stat().st_size < MAX_FILE_BYTES


@pytest.mark.parametrize("path", BUILT, ids=lambda path: path.stem)
def test_a_notebook_opens_with_title_and_badge_and_has_headings(path):
    notebook = read_built(path)
    owner_and_name = PROJECT["urls"]["Repository"].removeprefix("https://github.com/")
    address = f"https://colab.research.google.com/github/{owner_and_name}/blob/main/"
    opening = notebook.cells[0].source
    assert opening.startswith("# ")
    assert f"({address}{path.relative_to(ROOT).as_posix()})" in opening
    assert sum(cell.source.startswith("## ") for cell in notebook.cells) >= 3


@pytest.mark.parametrize("path", BUILT, ids=lambda path: path.stem)
def test_cells_stay_short(path):
    for cell in read_built(path).cells:
        if cell.cell_type == "code":
            assert len(cell.source.splitlines()) <= MAX_CODE_LINES, cell.source
        else:
            sentences = re.sub(r"```.*?```|^(\||- |\d+\. |#).*?$", "", cell.source, flags=PER_LINE)
            assert len(sentences.split()) <= MAX_WORDS, cell.source


@pytest.mark.parametrize("path", BUILT, ids=lambda path: path.stem)
def test_colab_installs_only_what_it_lacks(path):
    cell = code(read_built(path))[0]
    installs = [line for line in cell.splitlines() if "pip install" in line]
    assert all("--no-deps" in line for line in installs)
    assert all(line.startswith("    ") for line in installs), "must hang under the test for Colab"
    quoted = [text for line in installs for text in re.findall(r'"([^"]+)"', line)]
    names = {Requirement(text).name for text in quoted}
    assert "sdlesson" in names
    (course,) = [text for text in quoted if Requirement(text).name == "sdlesson"]
    assert course.endswith(f"@v{PROJECT['version']}"), "a release stays as it is, a branch moves"
    assert not names & (COLAB_SHIPS.keys() | COLAB_SHIPS_UNVERSIONED)


def test_colab_ships_every_package_that_no_deps_leaves_out():
    for requirement in map(Requirement, PROJECT["dependencies"]):
        if requirement.name not in COLAB_SHIPS_UNVERSIONED:
            assert requirement.specifier.contains(COLAB_SHIPS[requirement.name]), requirement


@pytest.fixture
def run_cell(monkeypatch):
    """Runs a cell as a kernel does, which has an event loop and lets cells await."""
    # It would change asyncio for every later test; here no loop is running to nest another in.
    monkeypatch.setattr(nest_asyncio, "apply", lambda: None)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)

    def run_cell(source, names):
        code = compile(source, "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if (awaited := eval(code, names)) is not None:
            loop.run_until_complete(awaited)

    yield run_cell
    asyncio.set_event_loop(None)
    loop.close()


@pytest.mark.timeout(1200)  # a whole lesson, and all of its wrong answers
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_checks_accept_the_solutions_and_refuse_stubs_and_wrong_answers(path, run_cell):
    """Run the lesson's code here, without a kernel, with every kind of answer in turn."""
    lesson, student = lesson_reader.read_lesson(path), {}
    exercises = iter(lesson.exercises)
    for cell in lesson.cells:
        if cell.kind == "markdown" or cell.part in ("check", "solution", "wrong"):
            continue
        if cell.part != "stub":
            run_cell(cell.sources["en"], student)
            continue
        exercise = next(exercises)
        for refused in (exercise.stub, *exercise.wrong_answers):
            trial = dict(student)
            run_cell(refused, trial)
            assert not eval(exercise.check, trial).solved, refused
        run_cell(exercise.solution, student)
        verdict = eval(exercise.check, student)
        assert verdict.solved, verdict
