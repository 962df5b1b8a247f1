"""A Telegram bot that draws, made to run inside a notebook.

`Bot(pipe).start()` is all of it. Importing this package is light: what needs torch or telegram is
loaded with the first name that does.
"""

from __future__ import annotations

from sdlesson.lazy import lazy_names

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
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
