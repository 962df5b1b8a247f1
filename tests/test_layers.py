"""Imports lead upwards only, and never in a circle: between packages, and inside each of them."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "sdlesson"

# From top to bottom; a name is a module, a package, or a folder in one, such as "pocket/world".
ROWS: tuple[tuple[str, ...], ...] = (
    ("language", "lazy", "files", "pocket"),
    (
        "runtime",
        "images",
        "photos",
        "settings",
        "downloads",
        "copies",
        "configurations",
        "terminal",
    ),
    ("hub", "account", "diffusion", "prompts", "probe", "bot_api"),
    ("pipelines", "prompting", "safety", "attention", "metrics", "figures", "pocket/world"),
    ("drawing", "editing"),
    ("experiments", "finetuning", "exercises"),
    ("bot", "pocket/training", "pocket/evaluation", "doctor"),
    ("widgets", "bot_service"),
    ("cli",),
    ("__main__",),
)
ROW_OF = {room: row for row, rooms in enumerate(ROWS) for room in rooms}

# Modules that import each other, until someone parts them. A line goes when its circle has gone,
# and none is added.
KNOWN_CIRCLES: set[frozenset[str]] = set()


def module_name(path: Path) -> str:
    """A file as imports name it; a package's `__init__.py` goes by the package's name."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
MODULES = sorted(SOURCES.keys() - {"sdlesson"})


def imported_modules(source: str, known: Mapping[str, str] = SOURCES) -> set[str]:
    """The course's modules that a source imports, at its top or late, for types or to run."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            found.add("sdlesson.(a relative import)")
        elif isinstance(node, ast.ImportFrom) and node.module:
            named = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else node.module for name in named}
    return {name for name in found if name.split(".")[0] == "sdlesson"}


def room_of(module: str) -> str:
    """What a module belongs to on the map: the longest name there that its path begins with."""
    parts = module.split(".")[1:]
    rooms = ["/".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next((room for room in rooms if room in ROW_OF), rooms[-1] if rooms else module)


def breaches(module: str, source: str) -> list[str]:
    """What a module imports that is not above it."""
    here = room_of(module)
    if here not in ROW_OF:
        return [f"{module} is on no row of the map: give it one in {Path(__file__).name}"]
    return [
        f"{module} (row {ROW_OF[here]}) imports {other} (row {ROW_OF.get(room_of(other))})"
        for other in sorted(imported_modules(source))
        if room_of(other) != here
        if room_of(other) not in ROW_OF or ROW_OF[room_of(other)] >= ROW_OF[here]
    ]


def front_doors(module: str, source: str) -> list[str]:
    """Packages that a module of theirs imports: what a package shows is made from its modules."""
    parts = module.split(".")
    above = {".".join(parts[:length]) for length in range(2, len(parts))}
    return sorted(imported_modules(source) & above)


def circles(sources: Mapping[str, str]) -> set[frozenset[str]]:
    """The largest sets of modules in which each one's imports lead to each of the others."""
    imports = {
        name: imported_modules(text, sources) & set(sources) for name, text in sources.items()
    }
    reached = {name: set(_walk(name, imports)) for name in sources}
    return {
        frozenset({name} | {other for other in reached[name] if name in reached[other]})
        for name in sources
        if name in reached[name]
    }


def _walk(start: str, imports: Mapping[str, set[str]]) -> Iterator[str]:
    """Yield every module that the imports of one lead to."""
    seen: set[str] = set()
    ahead = list(imports[start])
    while ahead:
        if (name := ahead.pop()) not in seen:
            seen.add(name)
            ahead.extend(imports[name])
            yield name


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_rows_above_its_own(module):
    assert not breaches(module, SOURCES[module])


@pytest.mark.parametrize("module", MODULES)
def test_a_module_does_not_import_the_package_that_it_is_in(module):
    assert not front_doors(module, SOURCES[module])


def test_no_modules_import_each_other_but_those_known_to():
    found = circles(SOURCES)
    new = [sorted(circle) for circle in found - KNOWN_CIRCLES]
    gone = [sorted(circle) for circle in KNOWN_CIRCLES - found]
    assert not new, f"imports run in a circle through {new}"
    assert not gone, f"no circle any more, so delete it from KNOWN_CIRCLES: {gone}"


def test_every_row_has_a_module_and_every_name_on_it_is_one():
    assert all(ROWS)
    named = [room for row in ROWS for room in row]
    assert sorted(set(named)) == sorted(named), "a name stands on two rows"
    there = {room_of(module) for module in MODULES}
    assert set(named) <= there, f"no such module any more: {sorted(set(named) - there)}"


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("sdlesson.hub", "from sdlesson.pipelines import load_pipeline"),
        ("sdlesson.hub", "import sdlesson.pipelines"),
        ("sdlesson.hub", "def late():\n    from sdlesson import figures"),
        ("sdlesson.hub", "from sdlesson.probe import Probe"),  # beside it, not above
        ("sdlesson.hub", "from . import language"),
        ("sdlesson.hub", "import sdlesson"),
        ("sdlesson.hub", "from sdlesson import load_pipeline"),
        ("sdlesson.hub", "from sdlesson.no_such_module import something"),
        ("sdlesson.metrics.tables", "if TYPE_CHECKING:\n    from sdlesson.bot import worker"),
        ("sdlesson.pipelines", "from sdlesson.pocket.world import SUBJECTS"),
        ("sdlesson.pocket.evaluation.card", "from sdlesson.pocket.training import loop"),
        ("sdlesson.pocket.paths", "from sdlesson import hub"),
        ("sdlesson.helpers", "import os"),
    ],
)
def test_a_breach_is_found(module, source):
    assert breaches(module, source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("sdlesson.hub", "from sdlesson.language import say"),
        ("sdlesson.pocket.evaluation.card", "from sdlesson.pocket.world import SUBJECTS"),
        ("sdlesson.cli", "def main():\n    from sdlesson import doctor"),
        ("sdlesson.cli", "import torch"),
    ],
)
def test_what_is_allowed_is_not_called_a_breach(module, source):
    assert not breaches(module, source)


@pytest.mark.parametrize(
    "planted",
    [
        "from sdlesson.metrics.tables import Table",
        "def late():\n    import sdlesson.metrics.tables as tables",
        "if TYPE_CHECKING:\n    from sdlesson.metrics import tables",
        "from sdlesson import metrics",  # which imports what it shows
        "import sdlesson.metrics.pixels",
    ],
)
def test_a_planted_circle_is_found(planted):
    sources = {
        "sdlesson.metrics": "from sdlesson.metrics import tables",
        "sdlesson.metrics.tables": "from sdlesson.metrics.pixels import brightness",
        "sdlesson.metrics.pixels": "import numpy",
    }
    assert not circles(sources)
    (found,) = circles(sources | {"sdlesson.metrics.pixels": planted})
    assert "sdlesson.metrics.pixels" in found


def test_a_long_circle_is_one_and_what_hangs_on_it_is_not_in_it():
    chain = {f"sdlesson.{one}": f"import sdlesson.{other}" for one, other in ("ab", "bc", "ca")}
    chain |= {"sdlesson.d": "import sdlesson.a", "sdlesson.e": ""}
    chain["sdlesson.c"] += "\nimport sdlesson.e"
    assert circles(chain) == {frozenset({"sdlesson.a", "sdlesson.b", "sdlesson.c"})}


def test_a_module_that_imports_its_own_package_is_found():
    assert front_doors("sdlesson.bot_api.web", "from sdlesson.bot_api import BotApiServer")
    assert not front_doors("sdlesson.bot_api.web", "from sdlesson.bot_api import errors")
    assert not front_doors("sdlesson.bot_api.web", "from sdlesson.bot import Bot")


def test_a_folder_in_a_package_may_have_a_row_of_its_own():
    assert room_of("sdlesson.pocket.world.places") == "pocket/world"
    assert room_of("sdlesson.pocket.paths") == "pocket"
    assert breaches("sdlesson.pocket.paths", "import sdlesson.pocket.world.places")
    assert not breaches("sdlesson.pocket.world.places", "import sdlesson.pocket.paths")
