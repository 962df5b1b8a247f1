"""Draw on other machines: the bot puts batches into Redis, and workers take them by Celery.

Read in this order: `protocol` (what the two say to each other), `remote` (the bot's side),
`drawing` (a worker's side), `process` (a worker from its start to its end), `parallel` (a bot that
has several batches drawn at once).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "CeleryGenerator": "remote",
    "ParallelWorker": "parallel",
    "SmallerBatches": "memory",
    "make_generator": "remote",
    "run_worker": "process",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {__all__}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
