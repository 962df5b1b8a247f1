"""Draw on other machines: the bot puts batches into Redis, and workers take them by Celery.

Read in this order: `protocol` (what the two say to each other), `remote` (the bot's side),
`drawing` (a worker's side), `process` (a worker from its start to its end), `parallel` (a bot that
has several batches drawn at once).
"""

from __future__ import annotations

from sdlesson.lazy import lazy_names

_HOMES = {
    "CeleryGenerator": "remote",
    "ParallelWorker": "parallel",
    "SmallerBatches": "memory",
    "make_generator": "remote",
    "run_worker": "process",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
