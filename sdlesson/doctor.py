"""What is here, what is missing, what to do about it: the command `sdlesson doctor`."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from sdlesson.files import has_file
from sdlesson.language import Text, say
from sdlesson.runtime import (
    GIB,
    best_device,
    device_name,
    free_memory_bytes,
    in_colab,
    installed_version,
    requirements,
)

# Below it peft raises, for every layer that LoRA is put on.
FIRST_TORCHAO_THAT_PEFT_ACCEPTS = Version("0.16.0")

# What Stable Diffusion 1.5 in half precision takes in the Hub's cache, rounded up.
SD15_BYTES = 3 * 10**9

# Room for the pictures, and for a lesson's small fine-tuned weights.
PICTURES_BYTES = 2 * 10**8


EXTRAS = {  # and what their packages are for
    "bot": Text("the bot's lesson", "la lección del bot"),
    "service": Text("the lesson on a bot in public", "la lección del bot en público"),
    "masks": Text("painting a mask in lesson 05", "pintar una máscara en la lección 05"),
}


@dataclass(frozen=True)
class Check:
    """One line of the report: a thing, and whether the lessons can use it."""

    good: bool
    text: str
    remedy: str = ""
    """The one command that mends it; "" where there is nothing to mend."""
    needed: bool = True
    """Whether a lesson stops without it."""

    def __str__(self) -> str:
        mark = "ok" if self.good else "!!" if self.needed else "--"
        mend = say("mend it with", "se arregla con")
        return f"[{mark}] {self.text}" + (f"\n     {mend}: {self.remedy}" if self.remedy else "")


def check() -> list[Check]:
    """Look at each thing that a lesson needs; nothing is downloaded or changed."""
    checks: list[Check] = []
    for look in CHECKS:
        with suppress(ImportError):  # the package that is not there has a line of its own
            checks.extend(look())
    return checks


def main() -> int:
    """Print the report; the exit status is 1 if something that a lesson needs is missing."""
    checks = check()
    for line in checks:
        print(line)
    missing = sum(not line.good and line.needed for line in checks)
    if missing:
        print(say(f"To be mended: {missing}.", f"Por arreglar: {missing}."))
    else:
        print(say("The lessons have all they need.", "Las lecciones tienen todo lo necesario."))
    return int(missing > 0)


def check_python() -> Iterator[Check]:
    """The course and Python itself, against the range that the course was installed with."""
    if installed_version("sdlesson") is None:
        text = say("sdlesson: not installed", "sdlesson: no está instalado")
        yield Check(False, text, _pip("install --editable ."))
        return
    allowed = SpecifierSet(metadata.metadata("sdlesson")["Requires-Python"])
    version = platform.python_version()
    if allowed.contains(version, prereleases=True):
        yield Check(True, f"Python {version}")
    else:
        text = say(f"Python {version}: needs {allowed}", f"Python {version}: hace falta {allowed}")
        yield Check(False, text, "conda env create -f environment.yml")


def check_packages() -> Iterator[Check]:
    """Each package, against the range that the course was installed with."""
    for requirement in requirements():
        yield _check_package(requirement)
    for extra, lesson in EXTRAS.items():
        yield from _check_extra(requirements(extra), only_for=say(*lesson))


def check_lora() -> Iterator[Check]:
    """An old torchao beside peft, as on a stock Colab, stops every LoRA training."""
    version = installed_version("torchao")
    if version is None or installed_version("peft") is None:
        return
    if Version(version) >= FIRST_TORCHAO_THAT_PEFT_ACCEPTS:
        yield Check(True, f"torchao {version}")
        return
    yield Check(
        False,
        say(
            f"torchao {version}: peft refuses it, and LoRA stops; the lessons do without it",
            f"torchao {version}: peft no lo admite y LoRA se detiene; las lecciones no lo usan",
        ),
        _pip("uninstall -y torchao"),
    )


def check_device() -> Iterator[Check]:
    """The GPU, its memory, and whether torch loads at all."""
    try:
        device = best_device()
        free = f"{free_memory_bytes(device) / GIB:.1f}"
    except (ImportError, OSError):  # OSError: on Windows, a library that torch needs is not there
        text = say("GPU: unknown, torch does not load", "GPU: no se sabe, torch no arranca")
        yield Check(False, text, _pip("install --force-reinstall torch"))
        return
    if device == "cpu":
        none = say("none, the pocket model is used", "no hay, se usa el modelo de bolsillo")
        yield Check(True, f"GPU: {none}")
    else:
        name = device_name(device)
        yield Check(True, say(f"GPU: {name}, {free} GB free", f"GPU: {name}, {free} GB libres"))


def check_token() -> Iterator[Check]:
    """Whether a Hugging Face token is stored; it is never read out."""
    from huggingface_hub import constants

    from sdlesson.account import TOKEN_VARIABLES

    in_environment = any(os.environ.get(name) for name in TOKEN_VARIABLES)
    if in_environment or has_file(constants.HF_TOKEN_PATH):
        yield Check(True, say("Hugging Face token: present", "token de Hugging Face: lo hay"))
    else:
        yield Check(
            True,
            say(
                "Hugging Face token: none stored, and no lesson needs one",
                "token de Hugging Face: no hay ninguno guardado, y ninguna lección lo necesita",
            ),
        )


def check_pocket_model() -> Iterator[Check]:
    """Every file of the pocket model and of its scorer, against its SHA-256."""
    from sdlesson import downloads, hub

    parts = {
        say("pocket model", "modelo de bolsillo"): hub.POCKET_FOLDER,
        say("pocket scorer", "evaluador de bolsillo"): hub.SCORER_FOLDER,
    }
    for name, folder in parts.items():
        try:
            downloads.verify_folder(folder)
        except downloads.ModelError:
            text = say(
                f"{name}: files are missing or damaged", f"{name}: faltan archivos o están dañados"
            )
            yield Check(False, text, _restore(folder))
        else:
            yield Check(True, say(f"{name}: intact", f"{name}: intacto"))


def check_disk() -> Iterator[Check]:
    """Room for what this machine would download and draw."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE).absolute()
    try:
        cache.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass  # it is made with the first download
    except OSError as error:  # too long for a name, say
        reason = error.strerror
        text = say(
            f"models' cache: no folder can be where {_cache_variable()} says ({reason})",
            f"caché de modelos: no puede haber carpeta donde dice {_cache_variable()} ({reason})",
        )
        yield Check(False, text, _unset(_cache_variable()), needed=False)
        return
    folder = next(folder for folder in (cache, *cache.parents) if folder.is_dir())
    free = shutil.disk_usage(folder).free
    gigabytes = f"{free / 10**9:.1f} GB"
    text = say(f"disk: {gigabytes} free", f"disco: {gigabytes} libres")
    if free >= SD15_BYTES + PICTURES_BYTES:
        yield Check(True, text)
        return
    text += say(
        f"; Stable Diffusion 1.5 takes {SD15_BYTES / 10**9:.0f} GB, the pocket model none",
        f"; Stable Diffusion 1.5 ocupa {SD15_BYTES / 10**9:.0f} GB, el modelo de bolsillo nada",
    )
    yield Check(False, text, "hf cache prune", needed=free < PICTURES_BYTES)


CHECKS: tuple[Callable[[], Iterator[Check]], ...] = (
    check_python,
    check_packages,
    check_lora,
    check_device,
    check_token,
    check_pocket_model,
    check_disk,
)


def _check_package(requirement: Requirement, *, only_for: str = "") -> Check:
    version = installed_version(requirement.name)
    if version and requirement.specifier.contains(version, prereleases=True):
        return Check(True, f"{requirement.name} {version}")
    found = version or say("not installed", "no instalado")
    text = f"{requirement.name}: {found}, "
    text += say(f"needs {requirement.specifier}", f"hace falta {requirement.specifier}")
    if only_for:
        text += say(f", only for {only_for}", f", solo para {only_for}")
    return Check(False, text, _pip(f"install {_wanted(requirement)}"), needed=not only_for)


def _check_extra(wanted: list[Requirement], only_for: str) -> Iterator[Check]:
    """The packages of an extra, the missing ones in one line: there may be a dozen."""
    missing = [one for one in wanted if installed_version(one.name) is None]
    apart = wanted if len(missing) < 2 else [one for one in wanted if one not in missing]
    for requirement in apart:
        yield _check_package(requirement, only_for=only_for)
    if len(missing) > 1:
        names = ", ".join(one.name for one in missing)
        text = say(
            f"{names}: not installed, only for {only_for}",
            f"{names}: no están instalados, solo para {only_for}",
        )
        yield Check(False, text, _pip(f"install {' '.join(map(_wanted, missing))}"), needed=False)


def _wanted(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f'"{requirement.name}{extras}{requirement.specifier}"'


def _pip(arguments: str) -> str:
    """The command as one types it here: in a cell of Colab, elsewhere in a terminal."""
    return f"%pip {arguments}" if in_colab() else f"python -m pip {arguments}"


def _cache_variable() -> str:
    """Name the variable that says where models are kept, as huggingface_hub looks for it."""
    names = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME")
    return next((name for name in names if os.environ.get(name)), "HF_HOME")


def _unset(variable: str) -> str:
    return f"set {variable}=" if platform.system() == "Windows" else f"unset {variable}"


def _restore(folder: Path) -> str:
    root = Path(__file__).parent.parent
    if (root / ".git").exists():
        return f"git checkout -- {folder.relative_to(root).as_posix()}"
    labelled = metadata.metadata("sdlesson").get_all("Project-URL", [])
    version = metadata.version("sdlesson")  # the release's tag; a branch may hold another model
    urls = dict(line.split(", ") for line in labelled)
    return _pip(f'install --force-reinstall --no-deps "git+{urls["Repository"]}@v{version}"')


if __name__ == "__main__":
    raise SystemExit(main())
