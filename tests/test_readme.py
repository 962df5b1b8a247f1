"""The README says what the code does: its maps, its badges, its commands."""

import ast
import re
from pathlib import Path

import pytest

from sdlesson.pocket import paths
from sdlesson.pocket.evaluation import card

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def between(start: str, end: str) -> str:
    return README.split(f"<!-- {start} -->")[1].split(f"<!-- {end} -->")[0]


def test_the_module_map_lists_every_module_and_no_other():
    listed = set(re.findall(r"`([\w/]+)`", between("modules", "/modules")))
    package = ROOT / "sdlesson"
    modules = {path.stem for path in package.glob("*.py") if not path.stem.startswith("__")}
    packages = {path.parent for path in package.rglob("__init__.py")} - {package}
    modules |= {f"{path.relative_to(package).as_posix()}/" for path in packages}
    assert listed == modules


def test_the_lesson_table_opens_every_notebook():
    table = between("lessons", "/lessons")
    built = {str(path.relative_to(ROOT)) for path in (ROOT / "notebooks").glob("e[ns]/*.ipynb")}
    assert set(re.findall(r"blob/main/(notebooks/[\w/]+\.ipynb)", table)) == built


def test_every_make_command_that_is_named_is_a_target():
    named = set(re.findall(r"make ([a-z-]+)", README))
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    assert named <= targets, named - targets


def test_every_link_to_a_file_leads_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / target).exists(), target


def test_the_card_is_what_the_figures_say():
    assert paths.CARD_FILE.read_text(encoding="utf-8") == card.card_text()


@pytest.mark.parametrize("name", ["grid.jpg", "unchosen.jpg"])
def test_the_cards_pictures_are_there_and_light(name: str):
    assert 20_000 < (paths.CARD_PICTURES / name).stat().st_size < 600_000


def test_every_module_says_what_it_is_for():
    for path in (ROOT / "sdlesson").rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path
