"""Watch a bot: whether it runs and where, its queue, its latest pictures, what went wrong.

The panel is an ordinary output that is replaced as it changes, so a saved notebook keeps the last.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable
from inspect import ismethod
from threading import RLock
from typing import TYPE_CHECKING
from weakref import WeakMethod

from IPython.display import DisplayHandle
from PIL import Image

from sdlesson.language import say
from sdlesson.photos import PhotoError, flatten
from sdlesson.widgets.parts import PollingThread, in_notebook

if TYPE_CHECKING:
    from sdlesson.bot.runner import BotSnapshot

REFRESH_S = 1.0
MAX_PICTURES = 6
MAX_ERRORS = 3
THUMBNAIL_PX = 96
JPEG_QUALITY = 80


class BotPanel:
    """Shows a bot while it runs; as the last line of a cell, `BotPanel(bot.snapshot)` shows it.

    It looks once a second, from a thread of its own that ends when the bot stops, or another panel
    of the same bot is shown.

    Raises:
        ValueError: The snapshot is no function, but a bot, or one snapshot of it.
    """

    def __init__(self, snapshot: Callable[[], BotSnapshot]) -> None:
        if not callable(snapshot):
            raise ValueError(
                "snapshot must be a function, which the panel calls once a second, not "
                f"{type(snapshot).__name__}; try BotPanel(bot.snapshot)"
            )
        self._of = id(getattr(snapshot, "__self__", snapshot))
        self._ask: Callable[[], Callable[[], BotSnapshot] | None] = lambda: snapshot
        self._last: BotSnapshot | None = None
        self._handles: list[DisplayHandle] = []
        self._shown: object = None
        self._thread: PollingThread | None = None
        self._lock = RLock()

    def __repr__(self) -> str:
        return "\n".join(_lines(self._look()))

    def _ipython_display_(self) -> None:
        """Show the bot below the running cell, and keep that up to date."""
        handle = DisplayHandle()
        with self._lock:
            handle.display(_bundle(self._look()), raw=True)
            self._handles.append(handle)
        if in_notebook() and not (self._thread and self._thread.is_alive()):
            self._thread = PollingThread(self._of, self._watch, REFRESH_S, "bot-panel")
            self._thread.start()

    def refresh(self) -> None:
        """Show the bot as it is now, if that differs from what is shown."""
        with self._lock:
            now = self._look()
            key = _key(now)
            if key == self._shown:
                return
            self._shown, bundle = key, _bundle(now)
            for handle in self._handles:
                handle.update(bundle, raw=True)

    def _look(self) -> BotSnapshot:
        """Ask for a snapshot; a bot that has stopped is not kept in memory for the panel's sake."""
        with self._lock:
            ask = self._ask()
            if ask is not None:
                self._last = ask()
                if not self._last.running and ismethod(ask):
                    self._ask = WeakMethod(ask)
            assert self._last is not None
            return self._last

    def _watch(self) -> bool:
        """Refresh, and say whether anything new can come."""
        is_running = self._look().running  # asked first, so that its end is shown
        self.refresh()
        return is_running


def thumbnail(image: Image.Image, side: int) -> str:
    """A small copy of a picture as HTML, which a saved notebook keeps; "" of a broken one."""
    try:
        copy = flatten(image, "the picture")
    except PhotoError:  # the rest can still be shown
        return ""
    copy.thumbnail((side, side))
    data = io.BytesIO()
    copy.save(data, "JPEG", quality=JPEG_QUALITY)
    source = base64.b64encode(data.getvalue()).decode()
    style = "border-radius:6px;display:block;margin:0"
    size = f'width="{copy.width}" height="{copy.height}"'
    return f'<img src="data:image/jpeg;base64,{source}" {size} style="{style}">'


def _key(snapshot: BotSnapshot) -> object:
    """What is shown, without the work of showing it; the same picture is the same object."""
    pictures = snapshot.pictures[:MAX_PICTURES]
    return _lines(snapshot), [(id(image), caption) for image, caption in pictures]


def _lines(snapshot: BotSnapshot) -> list[str]:
    """The state, the counts, and what went wrong, in the reader's language."""
    state = say("Running", "En marcha") if snapshot.running else say("Stopped", "Detenido")
    stand_in = say("a local stand-in, not Telegram", "un sustituto local, no es Telegram")
    place = snapshot.server if snapshot.server == "Telegram" else f"{snapshot.server}: {stand_in}"
    counts = say(
        f"{snapshot.queued} waiting · {snapshot.drawing} being drawn · {snapshot.done} drawn · "
        f"{snapshot.failed} failed",
        f"{snapshot.queued} en espera · {snapshot.drawing} dibujándose · "
        f"{snapshot.done} dibujadas · {snapshot.failed} fallidas",
    )
    first = " · ".join(filter(None, (state, snapshot.name, place)))
    return [first, counts, *snapshot.errors[:MAX_ERRORS]]


def _bundle(snapshot: BotSnapshot) -> dict[str, str]:
    """What a notebook shows, and what a terminal does."""
    first, counts, *errors = map(html.escape, _lines(snapshot))
    colour = "#2e9e4f" if snapshot.running else "#888"
    dot = f'<span style="color:{colour}">●</span>'
    shown = f"<div><b>{dot} {first}</b></div><div>{counts}</div>"
    cards = "".join(_card(*picture) for picture in snapshot.pictures[:MAX_PICTURES])
    if cards:
        style = "display:flex;flex-wrap:wrap;gap:10px;margin-top:10px"
        shown += f'<div style="{style}">{cards}</div>'
    shown += "".join(f'<div style="color:#c0392b">⚠ {error}</div>' for error in errors)
    return {
        "text/plain": "\n".join(_lines(snapshot)),
        "text/html": f'<div style="line-height:1.6">{shown}</div>',
    }


def _card(image: Image.Image, caption: str) -> str:
    style = f"width:{THUMBNAIL_PX}px;font-size:11px;line-height:1.3;overflow-wrap:anywhere"
    short = caption if len(caption) <= 60 else caption[:59] + "…"
    words = f'<div style="margin-top:3px">{html.escape(short)}</div>'
    picture = thumbnail(image, THUMBNAIL_PX)
    return f'<div style="{style}" title="{html.escape(caption)}">{picture}{words}</div>'
