"""Where does this run? Colab or not, which device, how much memory, which versions."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from sdlesson.language import say

if TYPE_CHECKING:
    import torch

GIB = 2**30


def in_colab() -> bool:
    """Whether this is Google Colab: a notebook there, or a command started from one."""
    return "google.colab" in sys.modules or "COLAB_RELEASE_TAG" in os.environ


def best_device() -> str:
    """The fastest device that torch finds here: "cuda", "mps" or "cpu"."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def best_dtype(device: str) -> torch.dtype:
    """Half precision where it is fast and safe, which is on CUDA only."""
    import torch

    return torch.float16 if torch.device(device).type == "cuda" else torch.float32


def free_memory_bytes(device: str) -> int:
    """Memory that a model could still take on this device."""
    import psutil
    import torch

    if torch.device(device).type == "cuda":
        free, _total = torch.cuda.mem_get_info(device)
        return free
    return psutil.virtual_memory().available  # an Apple GPU shares the machine's memory


def used_memory_bytes(device: str) -> int:
    """Memory in use: by the tensors on a GPU, and elsewhere by the whole process."""
    import psutil
    import torch

    if torch.device(device).type == "cuda":
        return torch.cuda.memory_allocated(device)
    if torch.device(device).type == "mps":
        return torch.mps.current_allocated_memory()
    return psutil.Process().memory_info().rss


def release_memory() -> None:
    """Give back the memory of what is deleted: until then torch and the C library keep it."""
    import torch

    gc.collect()  # models refer to themselves in circles, which `del` alone does not break
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Load without the progress bars and notices of diffusers and transformers.

    A load of the pocket model takes a second and shows six bars; what goes wrong is an exception.
    """
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    libraries = (diffusers_logging, transformers_logging)
    levels = [library.get_verbosity() for library in libraries]
    shown = [library.is_progress_bar_enabled() for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, level, bars in zip(libraries, levels, shown, strict=True):
            library.set_verbosity(level)
            if bars:
                library.enable_progress_bar()


def device_name(device: str) -> str:
    """What the device is called by its maker, such as "Tesla T4"."""
    import torch

    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return {"mps": "Apple GPU", "cpu": "CPU"}[torch.device(device).type]


def requirements(extra: str = "") -> list[Requirement]:
    """The packages that the installed course asks for, with their ranges.

    Args:
        extra: One of the extras, to get what it adds; "" for what every lesson needs.

    Raises:
        importlib.metadata.PackageNotFoundError: sdlesson is imported but not installed.
    """
    declared = [Requirement(line) for line in metadata.requires("sdlesson") or []]
    base = [found for found in declared if not found.marker or found.marker.evaluate({"extra": ""})]
    if not extra:
        return base
    return [found for found in declared if found not in base and _applies(found, extra)]


def versions() -> dict[str, str]:
    """The version of Python, of the course and of each package it needs, where installed."""
    names = ["sdlesson", *(requirement.name for requirement in requirements())]
    found = {name: installed_version(name) for name in names}
    return {
        "python": platform.python_version(),
        **{name: version for name, version in found.items() if version},
    }


def installed_version(package: str) -> str | None:
    """The installed version of a package, without importing it; None where there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def describe() -> str:
    """One line on this machine, in the reader's language."""
    device = best_device()
    place = "Google Colab" if in_colab() else platform.system()
    free = f"{free_memory_bytes(device) / GIB:.1f}"
    python, torch = platform.python_version(), installed_version("torch")
    machine = f"{place}, {device_name(device)}"
    return say(
        f"{machine} with {free} GB free, Python {python}, torch {torch}",
        f"{machine} con {free} GB libres, Python {python}, torch {torch}",
    )


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is not None and requirement.marker.evaluate({"extra": extra})
