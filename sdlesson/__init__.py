"""A course on Stable Diffusion: what its lessons import.

Importing this package is light. torch and diffusers are loaded with the first name that needs them.
"""

from __future__ import annotations

import os
from typing import Any

from sdlesson.lazy import lazy_names

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
_find, __dir__ = lazy_names(__name__, _HOMES)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version(__name__)
    return _find(name)
