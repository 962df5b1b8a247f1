"""A Telegram bot that draws, made to run inside a notebook.

`Bot(pipe).start()` is all of it. Importing this package is light: what needs torch or telegram is
loaded with the first name that does.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Bot": "runner",
    "BotError": "runner",
    "FairQueue": "queue",
    "ImageGenerator": "generator",
    "Job": "queue",
    "MemoryStore": "store",
    "PipelineGenerator": "generator",
    "Request": "requests",
    "Worker": "worker",
    "build_application": "application",
    "draw_for": "handlers",
    "find_token": "token",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {__all__}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
