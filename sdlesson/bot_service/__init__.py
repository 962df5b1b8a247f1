"""The bot in public: it keeps its promises to many people, over restarts and on several machines.

`sdlesson/bot/` is the bot itself; nothing there needs this package. Here are a store that lasts,
limits, access, moderation, webhooks, workers on other machines, and what an operator looks at.
It needs more libraries: pip install 'sdlesson[bot,service]'. Importing it is light: what needs
them is loaded with the first name that does. Lesson 11 shows the heart of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "LimitError": "limits",
    "Limits": "limits",
    "Metrics": "metrics",
    "Moderation": "moderation",
    "NewJob": "store",
    "Parts": "service.run",
    "ServiceRun": "service.run",
    "Store": "store",
    "StoredJobState": "store",
    "WebhookSettings": "webhook",
    "check_quota": "limits",
    "full_bucket": "limits",
    "plain_text": "moderation",
    "read_words": "moderation",
    "write_log": "log",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {__all__}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
