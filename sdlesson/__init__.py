"""A course on Stable Diffusion: what its lessons import.

Importing this package is light. torch and diffusers are loaded with the first name that needs them.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

# Else transformers says in red, in a student's first cell, that torchvision is not installed. It
# reads this once, when it is first imported; who has set it keeps what they chose.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

_HOMES = {
    "decode": "diffusion",
    "denoise": "diffusion",
    "draw": "drawing",
    "image_grid": "images",
    "load_pipeline": "pipelines",
    "login": "account",
    "set_language": "language",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version(__name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {__all__}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
