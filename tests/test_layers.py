"""A module imports only from rows above its own."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "sdlesson"

ROWS: tuple[tuple[str, ...], ...] = (
    ("language", "files"),
    ("runtime", "images", "photos", "settings", "downloads", "copies"),
    ("hub", "account", "diffusion", "prompts", "probe", "bot_api"),
    ("pipelines", "prompting", "safety", "attention", "metrics", "figures"),
    ("drawing", "editing"),
    ("experiments", "finetuning", "exercises", "widgets"),
    ("bot", "pocket", "doctor"),
    ("bot_service",),
    ("cli",),
    ("__main__",),
)
ROW_OF = {module: row for row, modules in enumerate(ROWS) for module in modules}


def module_of(path: Path) -> str:
    """The module's name on the map; all of a subpackage is one entry there."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(source: str) -> set[str]:
    """The modules of the course that a source imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            names = ["sdlesson.(a relative import)"]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("sdlesson.")}
        found |= {"(the package itself)" for name in names if name == "sdlesson"}
    return found


def breaches(module: str, source: str) -> list[str]:
    if module not in ROW_OF:
        return [f"{module} is on no row of the map: give it one in {Path(__file__).name}"]
    return [
        f"{module} (row {ROW_OF[module]}) imports {other} (row {ROW_OF.get(other)})"
        for other in sorted(imported_modules(source) - {module})
        if other not in ROW_OF or ROW_OF[other] >= ROW_OF[module]
    ]


@pytest.mark.parametrize(
    "path",
    sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"),
    ids=lambda path: path.relative_to(PACKAGE).as_posix(),
)
def test_a_module_imports_only_from_rows_above_its_own(path):
    assert not breaches(module_of(path), path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("hub", "from sdlesson.pipelines import load_pipeline"),
        ("hub", "import sdlesson.pipelines"),
        ("hub", "def late():\n    from sdlesson import figures"),
        ("hub", "from sdlesson.probe import Probe"),  # beside it, not above
        ("hub", "from . import language"),
        ("hub", "import sdlesson"),
        ("hub", "from sdlesson import load_pipeline"),
        ("hub", "from sdlesson.no_such_module import something"),
        ("pipelines", "from sdlesson.pocket.world import SUBJECTS"),
        ("helpers", "import os"),
    ],
)
def test_a_breach_is_found(module, source):
    assert breaches(module, source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("hub", "from sdlesson.language import say"),
        ("pocket", "from sdlesson.pocket.world import SUBJECTS"),
        ("cli", "def main():\n    from sdlesson import doctor"),
        ("cli", "import torch"),
    ],
)
def test_what_is_allowed_is_not_called_a_breach(module, source):
    assert not breaches(module, source)
