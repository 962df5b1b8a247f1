"""What a bot logs: kept in memory for the panel, and without the token, which is in every URL."""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Callable
from typing import Any

LOGGERS = ("sdlesson.bot", "telegram")
MAX_ERRORS = 5
NOISY_LOGGERS = ("httpx", "httpcore")  # their INFO lines are the URLs, and the token is in each
LEVELS = dict.fromkeys(NOISY_LOGGERS, logging.WARNING) | {LOGGERS[0]: logging.INFO}
MAX_LINES = 500
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

# A bot's token, wherever it stands: in a URL after "bot", in quotes, alone.
TOKEN_SHAPE = re.compile(r"\d{6,}(?::|%3[Aa])[A-Za-z0-9_-]{30,}", re.ASCII)
HIDDEN = "<TOKEN>"


def redact(text: str) -> str:
    """Return a text with every bot token in it replaced."""
    return TOKEN_SHAPE.sub(HIDDEN, text)


class RingBuffer(logging.Handler):
    """Keeps the latest log lines: what a thread prints lands below whichever cell ran last.

    Attributes:
        lines: As they would stand in a file.
        errors: The messages of those that are errors, and other sentences on what is wrong.
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(logging.Formatter(FORMAT, "%H:%M:%S"))
        self.lines: deque[str] = deque(maxlen=MAX_LINES)
        self.errors: deque[str] = deque(maxlen=MAX_ERRORS)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record as a line, and the message of an error of the bot besides."""
        self.lines.append(self.format(record))
        # What python-telegram-bot calls an error may quote what users wrote; the log has it.
        if record.levelno >= logging.ERROR and record.name.startswith(LOGGERS[0]):
            self.add_error(record.getMessage())

    def add_error(self, sentence: str) -> None:
        """Keep a sentence on what is wrong, once for as long as it is the latest."""
        if sentence not in list(self.errors)[-1:]:
            self.errors.append(sentence)

    def open(self) -> None:
        """Collect from now on, and hide tokens in whatever anything in this process logs."""
        if not _open:
            _saved.save()
            logging.setLogRecordFactory(_Redacting(logging.getLogRecordFactory()))
            for name, level in LEVELS.items():
                logging.getLogger(name).setLevel(level)
        _open.add(self)
        for name in LOGGERS:
            logging.getLogger(name).addHandler(self)
            logging.getLogger(name).propagate = False  # or it would end below a cell after all

    def close(self) -> None:
        """Collect no more; the last to close leaves all loggers as they were. Lines stay."""
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(self)
        if self in _open:
            _open.remove(self)
            if not _open:
                _saved.restore()
        super().close()


class _SavedLogging:
    """How logging was before the first bot of this process."""

    def __init__(self) -> None:
        self._levels: dict[str, int] = {}
        self._propagates: dict[str, bool] = {}
        self._make: Callable[..., logging.LogRecord] = logging.LogRecord

    def save(self) -> None:
        """Remember the levels, the handlers' reach and the record factory of now."""
        self._levels = {name: logging.getLogger(name).level for name in LEVELS}
        self._propagates = {name: logging.getLogger(name).propagate for name in LOGGERS}
        self._make = logging.getLogRecordFactory()

    def restore(self) -> None:
        """Set them to what they were."""
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
        for name, propagates in self._propagates.items():
            logging.getLogger(name).propagate = propagates
        if isinstance(logging.getLogRecordFactory(), _Redacting):  # and nobody's built upon it
            logging.setLogRecordFactory(self._make)


class _Redacting:
    """Makes records without tokens: a filter on the root would not see what others log."""

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self._make = make

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self._make(*args, **kwargs)
        message = _message(record)
        if TOKEN_SHAPE.search(message):
            record.msg, record.args = redact(message), ()
        if record.exc_info:
            trace = logging.Formatter().formatException(record.exc_info)
            if TOKEN_SHAPE.search(trace):
                record.exc_info, record.exc_text = None, redact(trace)  # which formatters print
        return record


_open: set[RingBuffer] = set()
_saved = _SavedLogging()


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # a message that does not fit its arguments; logging reports it itself
        return f"{record.msg} {record.args}"
