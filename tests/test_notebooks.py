import ast
import base64
import importlib
import io
import re
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat import v4
from packaging.requirements import Requirement
from PIL import Image

from sdlesson import figures

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "notebooks"))  # a script's folder, as when build.py is run
build = importlib.import_module("build")
languages = importlib.import_module("languages")
lesson_reader = importlib.import_module("lesson")
outputs = importlib.import_module("outputs")
replies = importlib.import_module("replies")

SOURCES = sorted((ROOT / "notebooks" / "source").glob("*.py"))
BUILT = sorted((ROOT / "notebooks").glob("e[ns]/[0-9]*.ipynb"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MAX_CODE_LINES = 25
MAX_FILE_BYTES = 768 * 1024  # pictures at the size that a projector needs
MAX_WORDS = 55  # of sentences in one text cell; the aim is 40
PER_LINE = re.MULTILINE | re.DOTALL
NO_MISTAKES = ("Hint", "Pista", "Expected: ", "Se esperaba: ")  # what else a reply's lines say

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
#     minutes: 45
#     after: ["00"]
#     knows: {en: how to add, es: sumar}
#     needs: {en: any computer, es: cualquier equipo}
# ---

# %% [markdown] lang="en"
# # A toy
#
# Goals.

# %% [markdown] lang="es"
# # Un juguete
#
# Metas.

# %% [markdown] lang="en" short=true
# ## Sums
#
# As in [lesson 00](lesson:00).

# %% [markdown] lang="es" short=true
# ## Sumas
#
# Como en la [lección 00](lesson:00).

# %% part="setup"
import sys

import sdlesson
from sdlesson import exercises
from sdlesson.language import say

seed = 0

# %% tags=["nbval-check-output"]
print(seed)

# %% part="claim"
nothing = 0
assert seed == nothing, "the seed is nothing"

# %% [markdown] lang="en" part="discuss"
# Is it?
#
# ---
#
# It is.

# %% [markdown] lang="es" part="discuss"
# ¿Lo es?
#
# ---
#
# Lo es.

# %%
print(say("añada one", "añade una"), say("two", "dos"))

# %%
print("progress", file=sys.stderr)

# %% [markdown] lang="en" part="goal"
# Add.

# %% [markdown] lang="es" part="goal"
# Suma.

# %% part="stub"
total = ...  # how many?
# es: ¿cuántos?

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


WRONG = 'total = "a wrong answer"\n'


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


LINKS = {"00": "00_toy.ipynb", "glossary": "glossary.ipynb"}


def make(toy, language="en", **options):
    return build.make_notebook(toy, language, **{"links": LINKS, **options})


class WithoutTexts(ast.NodeTransformer):
    """Forgets what strings say, and the line that sets the language."""

    def visit_Constant(self, node):
        return ast.Constant("") if isinstance(node.value, str) else node

    def visit_Expr(self, node):
        return None if "set_language" in ast.unparse(node) else self.generic_visit(node)


def shape(source):
    lines = [line for line in source.split("\n") if not line.lstrip().startswith("%")]
    return ast.dump(WithoutTexts().visit(ast.parse("\n".join(lines))))


def test_languages_differ_in_their_texts_and_in_the_line_that_sets_them(toy):
    english, spanish = (make(toy(), language) for language in ("en", "es"))
    assert spanish.cells[0].source.startswith("# Un juguete")
    assert [shape(source) for source in code(english)] == [
        shape(source) for source in code(spanish)
    ]
    assert code(english)[2:4] == ["print(seed)", 'print("añada one", "two")']
    assert code(spanish)[2:4] == ["print(seed)", 'print("añade una", "dos")']
    assert "total = ...  # ¿cuántos?" in code(spanish)
    assert "total = ...  # how many?" in code(english)
    assert "say" not in code(english)[1] + code(spanish)[1]


@pytest.mark.parametrize(
    ("source", "english", "spanish"),
    [
        ('f(say("a", "b"), say("c", "d"))', 'f("a", "c")', 'f("b", "d")'),
        ('say(f"{x} ñ", f"{x} ó").upper()', 'f"{x} ñ".upper()', 'f"{x} ó".upper()'),
        ('x = say(\n    "a"\n    "b",\n    "c",\n)', 'x = ("a"\n    "b")', 'x = "c"'),
        ("f\"{say('a', 'b')} {n}\"", 'f"a {n}"', 'f"b {n}"'),
        ("say(a or b, c) + 1", "(a or b) + 1", "c + 1"),
        ('"""A."""\n# es: Una.', '"""A."""', '"""Una."""'),
        ("x = 1  # one\n# es: uno", "x = 1  # one", "x = 1  # uno"),
        ('from sdlesson.language import say\nsay("a", "b")', '"a"', '"b"'),
        ("await ready()", "await ready()", "await ready()"),
    ],
)
def test_each_language_gets_its_own_words(source, english, spanish):
    assert languages.in_language(source, "en") == english
    assert languages.in_language(source, "es") == spanish


@pytest.mark.parametrize(
    "source", ['f"{say(a, b)}"', 'say("a")', "map(say, texts)", "x = 1\n# es: uno"]
)
def test_words_that_cannot_be_resolved_are_refused(source):
    with pytest.raises(ValueError, match=r"say\(...\) is left|no comment to translate"):
        languages.in_language(source, "es")


def test_a_lesson_opens_with_what_it_asks_for(toy):
    opening = make(toy()).cells[0].source
    assert "| **Before this** | [lesson 00](00_toy.ipynb) and how to add |" in opening
    assert "45 minutes; if you have only 20" in opening
    assert "(glossary.ipynb)" in opening
    assert make(toy()).cells[1].source.startswith("## ⏱ Sums")
    assert "(00_toy.ipynb)" in make(toy()).cells[1].source


def test_a_link_to_a_lesson_that_does_not_exist_cannot_be_built(toy):
    with pytest.raises(ValueError, match="links to lesson:05"):
        make(toy(TOY.replace("lesson:00", "lesson:05")))


def test_a_question_folds_what_a_good_answer_has_in_it(toy):
    (question,) = [cell.source for cell in make(toy()).cells if "Is it?" in cell.source]
    assert question.startswith("💬 **Think, then discuss.** Is it?\n\n<details>")
    assert question.endswith("It is.\n\n</details>")


def test_an_answer_key_has_the_solution_in_place_and_wrong_answers_folded(toy):
    key = make(toy(), "es", key=True)
    assert "total = 1 + 1" in code(key)
    assert key.cells[0].source.startswith("# Un juguete · respuestas")
    assert "/notebooks/es/answers/00_juguete.ipynb" in key.cells[0].source
    (folded,) = [cell.source for cell in key.cells if "a wrong answer" in cell.source]
    assert folded.startswith("<details>")


def test_claims_never_reach_a_notebook(toy):
    for options in ({}, {"solved": True}, {"key": True}):
        assert "the seed is nothing" not in nbformat.writes(make(toy(), **options))
    assert "the seed is nothing" in nbformat.writes(make(toy(), claims=True))


@pytest.fixture
def toy_course(tmp_path, monkeypatch):
    """A course of one lesson in a folder of its own; returns how to write its source."""
    monkeypatch.setattr(build, "NOTEBOOKS", tmp_path)
    (tmp_path / "source").mkdir()

    def write(text=TOY):
        (tmp_path / "source" / "00_toy.py").write_text(text, encoding="utf-8")
        return tmp_path

    write()
    return write


def test_a_false_claim_cannot_be_built(toy_course):
    path = toy_course() / "en" / "00_toy.ipynb"
    build.run(["00"])
    counts = [cell.execution_count for cell in read_built(path).cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    before = path.read_text(encoding="utf-8")
    toy_course(TOY.replace("nothing = 0", "nothing = 1"))
    with pytest.raises(CellExecutionError, match="the seed is nothing"):
        build.run(["00"])
    assert path.read_text(encoding="utf-8") == before


def test_a_false_claim_and_a_check_that_errs_fail_the_test_of_the_notebooks(toy_course, capfd):
    build.run()
    false = TOY.replace("nothing = 0", "nothing = 1")
    toy_course(false)
    build.check()  # claims are not in what is built
    toy_course(false.replace(WRONG, "total = 2\n"))
    build.build()
    with pytest.raises(SystemExit) as end:
        build.test()
    assert end.value.code == 1
    report = capfd.readouterr().out
    assert "3 failed" in report  # the claim in both languages, the check in one
    assert "try_answers" in report
    assert "the seed is nothing" in report


@pytest.mark.parametrize(
    ("old", "new", "blamed"),
    [
        (WRONG, "total = 2\n", "total = 2"),
        ("total = ...  # how many?\n", "total = 2  # how many?\n", "total = 2"),
        ("total = 1 + 1\n", "total = 1 + 2\n", "total = 1 \\+ 2"),
    ],
    ids=["a wrong answer that passes", "a stub that passes", "a solution that is refused"],
)
@pytest.mark.long
def test_a_check_that_errs_is_found(toy, tmp_path, old, new, blamed):
    assert old in TOY
    notebook = make(toy(TOY.replace(old, new)), trials=True)
    with pytest.raises(CellExecutionError, match=blamed):
        outputs.execute(notebook, tmp_path, build.CELL_TIMEOUT_S)


@pytest.mark.long
def test_answers_may_await_and_leave_no_name_behind(toy, tmp_path):
    solution = "import asyncio\n\ntotal = await asyncio.sleep(0, 2)\n"
    text = TOY.replace("total = 1 + 1\n", solution) + '\n# %%\nprint("asyncio" in dir())\n'
    notebook = make(toy(text), trials=True)
    trial = next(cell for cell in notebook.cells if "try_answers" in cell.source)
    assert "await asyncio.sleep" in trial.source
    outputs.execute(notebook, tmp_path, build.CELL_TIMEOUT_S)
    assert notebook.cells[-1].outputs[0].text == "False\n"


def told(toy, verdict="✓ Solved!"):
    answers = [answer for answer, _ in toy.exercises("en")[0].answers]
    return [dict.fromkeys(answers, "○ 1 came.") | {answers[-1]: verdict}]


@pytest.mark.long
def test_a_trial_tells_each_reply_and_stops_where_one_has_become_another(toy, tmp_path):
    notebook = make(toy(), trials=True)
    outputs.execute(notebook, tmp_path, build.CELL_TIMEOUT_S)
    (found,) = replies.told_by(notebook)
    assert list(found) == [answer for answer, _ in toy().exercises("en")[0].answers]
    assert [reply[0] for reply in found.values()] == ["○", "○", "✓"]
    same = make(toy(), trials=True, told=[found])
    outputs.execute(same, tmp_path, build.CELL_TIMEOUT_S)
    other = make(toy(), trials=True, told=[found | {"total = 1 + 1": "✓ Well done!"}])
    with pytest.raises(CellExecutionError, match="Well done"):
        outputs.execute(other, tmp_path, build.CELL_TIMEOUT_S)


def test_numbers_and_addresses_are_no_other_reply():
    one, other = ("at 0x7F01A0E ... 17.9/255, {'red': 1}", "at 0x55DB3FA ... 8.25/255, {'blue': 2}")
    masked = {re.sub(lesson_reader.NUMBERS, "#", text) for text in (one, other)}
    assert len(masked) == 1, masked
    lists = ("['a fox', 'a cow'] came.", "['a fox', 'a teddy bear on the be ... came.")
    assert {re.sub(lesson_reader.NUMBERS, "#", text) for text in lists} == {"# came."}


def test_only_what_trials_build_on_is_kept():
    trial = v4.new_code_cell("async def try_answers():\n    for answer in ['f(b)']: ...")
    sources = [
        "import os",
        "a = [1]",
        "c = 5",
        "a.append(2)",
        "b = a[0]",
        "os.getcwd()",
        "b",
        trial,
    ]
    cells = [one if one is trial else v4.new_code_cell(one) for one in sources]
    cells.insert(1, v4.new_code_cell("def f(x):\n    c = os\n    return c, x"))
    notebook = v4.new_notebook(cells=[*cells, v4.new_code_cell("b = 9")])
    replies.only_for_trials(notebook)
    kept = [cell.source.partition("\n")[0] for cell in notebook.cells]
    wanted = ["import os", "def f(x):", "a = [1]", "a.append(2)", "b = a[0]"]
    assert kept == [*wanted, "async def try_answers():"]


def test_the_page_of_replies_shows_each_answer_with_what_it_is_told(toy):
    page = replies.make_table({"00": told(toy(), "✓ <b> *So* $x$!")}, [toy()], "es")
    text = page.cells[1].source
    assert page.cells[0].source.startswith("# Qué contestan")
    assert [text.count(kind) for kind in (">sin rellenar<", ">equivocada<", ">correcta<")] == [
        1
    ] * 3
    assert "✓ &lt;b&gt; &#42;So&#42; &#36;x&#36;!" in text, "as text, not as markup"
    assert len(replies.make_table({}, [toy()], "es").cells) == 1


def test_replies_to_other_answers_than_the_lesson_has_are_found(toy_course):
    folder = toy_course()
    (lesson,) = build.read_lessons()
    replies.write_replies({"en": {"00": told(lesson)}}, folder / build.REPLIES)
    build.build()
    build.check()
    toy_course(TOY.replace("total = 1 + 1", "total = 4 - 2"))
    build.build()
    with pytest.raises(SystemExit, match="en/00: replies are to other answers"):
        build.check()


def test_what_a_claim_defines_is_not_there_for_the_lesson(toy):
    names = {"seed": 0}
    exec(lesson_reader.claim_code("nothing = 0\nassert seed == nothing, 'it is'"), names)
    assert "nothing" not in names
    with pytest.raises(AssertionError, match="it is not"):
        exec(lesson_reader.claim_code("assert seed == 1, 'it is not'"), names)


def test_the_language_is_set_after_the_imports_and_before_the_rest(toy):
    setup = code(make(toy(), "es"))[1]
    assert 'import exercises\n\nsdlesson.set_language("es")\nseed = 0' in setup


def test_ids_are_the_same_in_every_build_and_language(toy):
    ids = [[cell.id for cell in make(toy(), lang).cells] for lang in ("en", "es")]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == len(ids[0])


def test_wrong_answers_never_reach_a_notebook_and_solutions_are_folded(toy):
    notebook = make(toy(), "en")
    assert "a wrong answer" not in nbformat.writes(notebook)
    assert "total = 1 + 1" not in "\n".join(code(notebook))
    (folded,) = [cell.source for cell in notebook.cells if "A solution" in cell.source]
    assert folded.startswith("<details>")
    assert "```python\ntotal = 1 + 1\n```" in folded


def test_a_solved_build_puts_the_solution_in_the_stubs_place(toy):
    solved = code(make(toy(), "es", solved=True))
    assert "total = 1 + 1" in solved
    assert "total = ..." not in solved


def test_colab_gets_what_it_lacks_and_its_widgets_enabled(toy):
    cell = code(make(toy(), "en"))[0]
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
        (', "the seed is nothing"', "", "a claim asserts"),
        ("assert seed == nothing, ", "", "a claim asserts"),
        ("#\n# ---\n#\n# It is.", "", "a discussion is"),
        ('lang="es" short=true', 'lang="es"', "same part and marks"),
        ("# ## Sums\n#\n", "", "short=true stands on a heading"),
    ],
)
def test_an_incomplete_source_is_refused(toy, old, new, message):
    assert old in TOY
    with pytest.raises(ValueError, match=message):
        toy(TOY.replace(old, new))


@pytest.mark.long
def test_a_kernel_runs_an_unsolved_lesson_and_its_outputs_come_out_clean(toy, tmp_path):
    notebook = make(toy(), "en")
    outputs.execute(notebook, tmp_path, build.CELL_TIMEOUT_S)
    outputs.clean_outputs(notebook)
    shown = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    assert [output.text for output in shown[2]] == ["0\n"]
    assert shown[4] == []  # what goes to stderr is left out
    assert "Not yet" in shown[6][0].data["text/plain"]


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


def test_a_changed_output_of_a_cell_that_asks_for_it_fails(toy_course, capfd):
    path = toy_course() / "es" / "00_juguete.ipynb"
    build.run()
    notebook = read_built(path)
    (shows_seed,) = [cell for cell in notebook.cells if cell.source == "print(seed)"]
    assert shows_seed.outputs[0].text == "0\n"
    shows_seed.outputs[0].text = "1\n"
    nbformat.write(notebook, path)
    with pytest.raises(SystemExit) as end:
        build.test()
    assert end.value.code == 1
    report = capfd.readouterr().out
    assert "1 failed" in report  # English is as it was
    assert "00_juguete.ipynb::Cell 2" in report


def test_check_sees_an_edited_notebook(toy_course):
    build.build()
    build.check()
    for path in (toy_course() / "en" / "00_toy.ipynb", toy_course() / "en/answers/00_toy.ipynb"):
        built = path.read_text(encoding="utf-8")
        path.write_text(built.replace("Goals.", "Edited."), encoding="utf-8")
        with pytest.raises(SystemExit, match="is not what its source makes"):
            build.check()
        path.write_text(built, encoding="utf-8")


def test_check_leaves_alone_what_jupyterlab_keeps_beside_the_notebooks(toy_course):
    build.build()
    copies = toy_course() / "en" / ".ipynb_checkpoints"
    copies.mkdir()
    (copies / "00_toy-checkpoint.ipynb").write_text("{}", encoding="utf-8")
    build.check()


def test_a_new_wording_keeps_the_outputs_and_new_code_drops_them(toy_course):
    built = toy_course() / "en" / "00_toy.ipynb"
    build.build()
    notebook = read_built(built)
    notebook.cells[2].execution_count = 1
    nbformat.write(notebook, built)
    toy_course(TOY.replace("Goals.", "Better goals."))
    build.build()
    assert read_built(built).cells[2].execution_count == 1
    toy_course(TOY.replace("seed = 0", "seed = 1"))
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
            said = re.sub(r"<details>.*?</details>", "", cell.source, flags=PER_LINE)
            sentences = re.sub(r"```.*?```|^(\||- |\d+\. |#).*?$", "", said, flags=PER_LINE)
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


# What every lesson owes its readers.


@pytest.mark.parametrize("language", ["en", "es"])
def test_every_lessons_checks_are_in_the_table_of_replies(language):
    told = replies.read_replies(build.NOTEBOOKS / build.REPLIES)[language]
    assert set(told) == {lesson.number for lesson in build.read_lessons()}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_a_lesson_says_what_it_asks_for_and_what_to_read_in_20_minutes(path):
    lesson = lesson_reader.read_lesson(path)
    assert lesson.head
    assert all(int(number) < int(lesson.number) for number in lesson.head.after)
    if lesson.head.minutes > build.SHORT_MINUTES:
        assert sum(cell.short for cell in lesson.cells) >= 2
    assert any(cell.part == "discuss" for cell in lesson.cells)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_a_check_is_tried_with_an_answer_half_right_and_three_wrong_ones(path):
    for language in ("en", "es"):
        for exercise in lesson_reader.read_lesson(path).exercises(language):
            kinds = [kind for _, kind in exercise.answers]
            assert kinds.count("half") == 1, exercise.title
            assert kinds.count("wrong") >= 3, exercise.title


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_every_wrong_answer_is_told_its_mistake(path, language):
    lesson = lesson_reader.read_lesson(path)
    told = replies.read_replies(build.NOTEBOOKS / build.REPLIES)[language][lesson.number]
    for exercise, replied in zip(lesson.exercises(language), told, strict=True):
        for answer, kind in exercise.answers:
            if kind in ("half", "wrong"):
                opening, *lines = replied[answer].splitlines()
                named = [line for line in lines if not line.startswith(NO_MISTAKES)]
                assert named or ".sort()" in opening, (exercise.title, answer, replied[answer])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_a_lesson_makes_claims_and_no_verdict_stands_without_one(path):
    """A cell that shows True or False is followed by a claim, which asserts it."""
    lesson = lesson_reader.read_lesson(path)
    built = read_built(build.built_path(lesson, "en"))
    shown = {cell.source: cell.outputs for cell in built.cells if cell.cell_type == "code"}
    assert any(cell.part == "claim" for cell in lesson.cells)
    for cell, following in pairwise(lesson.cells):
        printed = "".join(output.get("text", "") for output in shown.get(cell.sources["en"], ()))
        if re.search(r"\b(True|False)\b", printed):
            assert following.part == "claim", cell.sources["en"]


def test_decimals_have_a_point_in_both_languages():
    comma = re.compile(r"(?<![\d,(])\d+,\d+(?![\d,)])")
    for path in BUILT + sorted((ROOT / "notebooks").glob("e[ns]/glos*.ipynb")):
        for cell in read_built(path).cells:
            if cell.cell_type == "markdown":
                prose = re.sub(r"```.*?```|`[^`]*`|\$[^$]*\$", "", cell.source, flags=re.DOTALL)
                found = comma.search(re.sub(r"\d{1,3}(,\d{3})+", "", prose))
                assert not found, (path.name, found)


def test_words_of_the_glossary_stand_in_their_lessons():
    lessons = {lesson.number: lesson for lesson in build.read_lessons()}
    for entry in build.glossary.read_entries(ROOT / "notebooks" / "source" / "glossary.yaml"):
        for language in ("en", "es"):
            cells = lessons[entry["lesson"]].cells
            text = "\n".join(cell.sources[language] for cell in cells).casefold()
            word = re.sub(r" \(.*", "", entry[language]).casefold()
            assert word in re.sub(r"\s+", " ", text), (entry["lesson"], entry[language])


def test_an_entry_without_all_its_fields_or_a_word_twice_is_refused(tmp_path):
    path = tmp_path / "glossary.yaml"
    entry = "{lesson: '00', en: a, es: b, en_means: c, es_means: d}"
    path.write_text(f"- {entry}\n- {entry}")
    with pytest.raises(ValueError, match="more than once"):
        build.glossary.read_entries(path)
    path.write_text(f"- {entry.replace(', es_means: d', '')}")
    with pytest.raises(ValueError, match="must have the fields"):
        build.glossary.read_entries(path)


def test_the_demo_draws_the_pictures_of_the_first_lesson_and_says_where_they_are(
    toy_course, tmp_path, monkeypatch, capsys
):
    teal = '\n# %%\nfrom PIL import Image\n\nImage.new("RGB", (160, 128), "teal")\n'
    toy_course(TOY + teal)
    monkeypatch.setattr(build, "PICTURES", tmp_path / "pictures")
    (tmp_path / "en").mkdir()
    build.demo()
    (path,) = (tmp_path / "pictures").iterdir()
    with Image.open(path) as picture:
        assert picture.size == (160, 128)
        assert picture.convert("RGB").getpixel((0, 0)) == (0, 128, 128)
    said = capsys.readouterr().out
    assert "1 pictures" in said
    assert f"pictures/{path.name}" in said


def test_the_first_lesson_shows_pictures():
    """It is the lesson that `make demo` takes them from, and is executed with the others."""
    shown = [output for cell in read_built(BUILT[0]).cells for output in cell.get("outputs", [])]
    encoded = [
        output.data.get("image/jpeg") or output.data.get("image/png")
        for output in shown
        if "data" in output
    ]
    pictures = [Image.open(io.BytesIO(base64.b64decode(text))) for text in encoded if text]
    assert pictures
    assert all(min(picture.size) >= 128 for picture in pictures)
