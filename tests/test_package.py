import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import conftest
import sdlesson
from sdlesson import bot_service

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "sdlesson"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
DECLARED = {
    "": PROJECT["dependencies"],
    **PROJECT["optional-dependencies"],
}

ONLY_IN = {
    "telegram": {"bot", "bot_service"},
    "nest_asyncio": {"bot"},
    "tornado": {"bot_api", "bot_service"},
    "matplotlib": {"figures"},
    "ipywidgets": {"widgets"},
    "anywidget": {"widgets"},
}
"""Packages that one module alone may import."""

COMES_WITH = {"IPython": "ipywidgets", "traitlets": "ipywidgets", "google": "Colab itself"}
"""Packages that are imported under no name of their own in pyproject, and who brings them."""

OWNERS = metadata.packages_distributions()
"""Who installs which importable name."""


def third_party_imports(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.split(".")[0])
    return found - sys.stdlib_module_names - {"sdlesson"}


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in requirements}


def pins(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    parts = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in parts}


def test_importing_the_course_loads_nothing_heavy_and_prints_nothing():
    script = "import sys, sdlesson; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "sdlesson" in loaded
    assert not loaded & {"torch", "diffusers", "transformers", "huggingface_hub", "numpy", "PIL"}
    assert done.stdout.count("\n") == 1
    assert not done.stderr


def test_the_exports_are_sorted_and_each_is_there():
    assert sdlesson.__all__ == sorted(sdlesson.__all__)
    assert {"draw", "load_pipeline", "set_language"} <= set(sdlesson.__all__)
    for name in sdlesson.__all__:
        assert callable(getattr(sdlesson, name))
    assert dir(sdlesson) == sdlesson.__all__


def test_the_service_shows_its_names_sorted_and_each_is_there():
    assert bot_service.__all__ == sorted(bot_service.__all__) == dir(bot_service)
    for name in bot_service.__all__:
        assert getattr(bot_service, name).__doc__
    with pytest.raises(AttributeError, match=r"no attribute 'Sore'; it has .*'Store'"):
        bot_service.Sore  # noqa: B018


@pytest.mark.long
def test_a_bot_that_draws_by_itself_needs_neither_celery_nor_redis():
    script = "import sys; sys.modules.update(celery=None, redis=None)\n"
    script += "import sdlesson.bot_service.__main__"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_name_that_is_not_exported_is_refused_with_those_that_are():
    with pytest.raises(AttributeError, match="load_pipeline"):
        _ = sdlesson.load_pipelin


def test_the_version_is_pyprojects():
    assert sdlesson.__version__ == PROJECT["version"]


def test_the_installed_metadata_are_those_of_pyproject():
    installed = {str(Requirement(line)) for line in metadata.requires("sdlesson")}
    assert {str(Requirement(line)) for line in PROJECT["dependencies"]} <= installed


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.name)
def test_a_module_imports_only_what_is_declared_and_only_where_it_belongs(path):
    module = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    extras = {"bot": ["bot"], "bot_api": ["bot"], "widgets": ["masks"]}
    extras["bot_service"] = ["bot", "service"]
    declared = names([line for one in ["", *extras.get(module, [])] for line in DECLARED[one]])
    imported = third_party_imports(path.read_text(encoding="utf-8"))
    for name in imported:
        assert module in ONLY_IN.get(name, {module}), f"{name} belongs in {ONLY_IN[name]}"
        owners = {canonicalize_name(owner) for owner in OWNERS.get(name, [])}
        assert owners & declared or name in COMES_WITH, f"{name} is not in pyproject.toml"


def test_imports_are_found_wherever_they_stand():
    source = "import os\nfrom telegram.ext import X\ndef late():\n    import matplotlib.pyplot as p"
    assert third_party_imports(source) == {"telegram", "matplotlib"}


def test_environment_yml_holds_only_python_pip_and_this_project():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python, pip, with_pip = environment["dependencies"]
    assert environment["name"] == PROJECT["name"]
    assert pip == "pip"
    name, version = python.split("=")
    assert name == "python"
    assert SpecifierSet(PROJECT["requires-python"]).contains(f"{version}.0")
    constraint, project = with_pip["pip"]
    assert constraint == "--constraint constraints.txt"
    extras = re.fullmatch(r"--editable \.\[([\w,]+)\]", project)[1].split(",")
    assert set(extras) == set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-colab.txt"])
def test_constraints_pin_every_declared_package_within_its_range(name):
    pinned = pins(ROOT / name)
    assert pinned["torch"] == "2.13.0"
    for line in chain.from_iterable(DECLARED.values()):
        requirement = Requirement(line)
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{line} leaves out {version}"


def test_the_build_backend_is_pinned_with_all_that_it_needs():
    pinned = pins(ROOT / "constraints.txt")
    backend = {Requirement(line) for line in PYPROJECT["build-system"]["requires"]}
    for requirement in backend:
        assert str(requirement.specifier) == f"=={pinned[canonicalize_name(requirement.name)]}"
    needed = {"hatchling"} | names([line for line in metadata.requires("hatchling") or []])
    needed -= {"tomli"}  # for Pythons older than the course's
    assert needed <= {canonicalize_name(requirement.name) for requirement in backend}


def test_what_ci_installs_is_pinned_by_its_bytes_and_is_what_constraints_say():
    text = (ROOT / ".ci" / "requirements.txt").read_text(encoding="utf-8")
    found = re.findall(r"^([\w.-]+)==(\S+) \\\n    --hash=sha256:[0-9a-f]{64}$", text, re.MULTILINE)
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(lines) == 2 * len(found)
    versions = {canonicalize_name(name): version.split("+")[0] for name, version in found}
    assert versions.items() >= pins(ROOT / "constraints.txt").items()


@pytest.mark.parametrize("path", sorted((ROOT / ".github/workflows").glob("*.yml")), ids=str)
def test_workflows_use_actions_by_commit_and_may_do_little(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "permissions" not in job
        used = [step for step in job["steps"] if "uses" in step]
        assert all(re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", step["uses"]) for step in used)
        checkouts = [step for step in used if step["uses"].startswith("actions/checkout@")]
        assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_the_fast_tests_are_the_same_everywhere():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (default,) = re.findall(r"^DEFAULT := (.+)$", makefile, re.MULTILINE)
    (fast,) = re.findall(r'-m "\$\(DEFAULT\) (and not long[^"]*)"', makefile)
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8"))
    (command,) = [
        s["run"] for s in workflow["jobs"]["fast"]["steps"] if "pytest" in s.get("run", "")
    ]
    assert command.endswith(f'-m "{default} {fast}"')
    tested = set(workflow["jobs"]["fast"]["strategy"]["matrix"]["python"])
    said = [name.rpartition(" :: ")[2] for name in PROJECT["classifiers"]]
    assert tested == {name for name in said if re.fullmatch(r"3\.\d+", name)}
    assert all(SpecifierSet(PROJECT["requires-python"]).contains(f"{name}.0") for name in tested)


def test_long_tests_are_named_as_their_files_are():
    named = conftest.LONG_FILES
    assert list(named) == sorted(named)
    assert all((ROOT / "tests" / f"{name}.py").is_file() for name in named)


def test_what_pre_commit_runs_is_pinned_as_constraints_say():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    needed = [
        Requirement(line) for hook in hooks for line in hook.get("additional_dependencies", [])
    ]
    assert needed
    for requirement in needed:
        pinned = pins(ROOT / "constraints.txt")[canonicalize_name(requirement.name)]
        assert str(requirement.specifier) == f"=={pinned}"


def test_the_course_is_cited_as_it_is():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert citation["repository-code"] == PROJECT["urls"]["Repository"]


def test_a_package_that_one_module_alone_may_import_belongs_to_one_that_is_there():
    modules = {path.stem for path in PACKAGE.iterdir()}
    assert all(homes <= modules for homes in ONLY_IN.values())


def test_the_lower_bounds_are_not_above_what_colab_ships():
    shipped = pins(ROOT / "constraints-colab.txt")
    assert shipped["diffusers"] == "0.39.0"
    assert shipped["transformers"] == "5.15.0"
    assert Requirement(_declared("torch")).specifier.contains("2.11.0"), "Colab's own torch"


@pytest.mark.long
def test_the_wheel_carries_the_model_the_scorer_and_all_data(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("measured", "model", "scorer"):
        files = [path for path in (PACKAGE / "pocket" / folder).rglob("*") if path.is_file()]
        assert files
        assert {path.relative_to(ROOT).as_posix() for path in files} <= packed
    assert {
        "sdlesson/py.typed",
        "sdlesson/widgets/playground.css",
        "sdlesson/pocket/vocabulary.json",
        "sdlesson/pocket/world/atlas.json",
        "sdlesson/pocket/world/atlas.png",
    } <= packed
    assert any(name.endswith("licenses/NOTICE") for name in packed)


def _declared(name: str) -> str:
    (line,) = [line for line in DECLARED[""] if Requirement(line).name == name]
    return line
