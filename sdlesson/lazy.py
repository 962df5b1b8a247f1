"""A package's public names, each loaded with its module when somebody asks for it, not before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make a package's `__getattr__` and `__dir__`, as PEP 562 has them.

    Args:
        package: Its `__name__`.
        homes: Each public name, and the module of the package that defines it.
    """

    def find(name: str) -> Any:
        if name not in homes:
            there = sorted(homes)
            raise AttributeError(f"module {package!r} has no attribute {name!r}; it has {there}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return find, lambda: sorted(homes)
