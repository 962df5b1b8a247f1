"""What the service logs: one JSON object a line, with request ids, and nothing about anybody.

Whoever reads a log should be able to follow one request through the bot and its workers, and should
not learn who asked for it or what. So the numbers of users and chats come out as a name that holds
until the next start, tokens and passwords as `<TOKEN>` and `<SECRET>`, and of an error its kind and
place but not its message, which may quote what a user wrote.
"""

from __future__ import annotations

import hmac
import logging
import re
import secrets
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import structlog
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor

from sdlesson.bot.logs import LOGGERS, redact

if TYPE_CHECKING:
    from sdlesson.bot_service.configuration import Configuration

# Their INFO lines are URLs, with the bot's token in each; Celery's name what they are called with.
QUIET = ("httpx", "httpcore", "telegram", "apscheduler", "celery", "kombu", "amqp", "urllib3")
# The root, and those of which a bot's own buffer keeps the records from coming there.
WRITTEN = (None, *LOGGERS)
WRITTEN_BY = "written_by"
SPEAKING = (OSError, MemoryError)  # whose messages are the system's, and quote nobody
PLAIN = (str, bytes, bool, int, float, Path)
PLACES = 8  # of a traceback, from where the error was raised
NAME_DIGITS = 6
PERSONAL = frozenset({"prompt", "negative_prompt", "text", "caption", "username", "first_name"})
NUMBERS = frozenset({"user_id", "chat_id"})

_PERSON = re.compile(r"\b(user|chat)(?:_id)?[\s=:'\"]+(-?\d+)")
_PASSWORD = re.compile(r"(?<=://)[^/\s@]*@")
_key = secrets.token_bytes(16)  # of this start: the next one's names are others

_handler: _Handler | None = None


def set_up(configuration: Configuration) -> None:
    """Log as the configuration says, in place of what was set up before."""
    write_log(configuration.log_format, configuration.log_level)


def write_log(form: str = "json", level: str = "INFO", stream: TextIO | None = None) -> None:
    """Have all that this process logs written down.

    Args:
        form: "json" for machines, "text" for people.
        level: The least urgent that is written.
        stream: Where to; by default the standard error, which Docker and systemd collect.
    """
    global _handler
    stop_writing()
    _handler = _Handler(stream or sys.stderr)
    _handler.setFormatter(_PrivateFormatter(form))
    _handler.setLevel(level)  # a bot's own buffer sets lower ones on the loggers
    for name in WRITTEN:
        logging.getLogger(name).addHandler(_handler)
    logging.getLogger().setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def stop_writing() -> None:
    """Write nothing down any more."""
    for name in WRITTEN:
        if _handler is not None:
            logging.getLogger(name).removeHandler(_handler)


@contextmanager
def request_context(*request_ids: str) -> Iterator[None]:
    """Put the ids of requests on every line that is logged inside, in tasks begun there too."""
    with bound_contextvars(request_ids=list(request_ids)):
        yield


def pseudonym(kind: str, number: int | str) -> str:
    """Name a user or chat without telling who it is, the same until the process ends."""
    digest = hmac.digest(_key, f"{kind} {number}".encode(), "sha256").hex()
    return f"{kind}#{digest[:NAME_DIGITS]}"


class _Handler(logging.StreamHandler[TextIO]):
    """Writes each record once, however many of the loggers on its way it is a handler of."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        if record.__dict__.get(WRITTEN_BY) is not self:
            record.__dict__[WRITTEN_BY] = self
            super().emit(record)


class _PrivateFormatter(ProcessorFormatter):
    """Renders a record of any library, after everything personal was taken out."""

    def __init__(self, form: str) -> None:
        shared: list[Processor] = [
            merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso"),
        ]
        as_json = structlog.processors.JSONRenderer(ensure_ascii=False)
        as_text = structlog.dev.ConsoleRenderer(colors=False)
        super().__init__(
            foreign_pre_chain=shared,
            processors=[
                _describe_error,
                ProcessorFormatter.remove_processors_meta,
                _hide,
                as_json if form == "json" else as_text,
            ],
        )

    def format(self, record: logging.LogRecord) -> str:
        """Write one record as a line."""
        record = logging.makeLogRecord(record.__dict__)  # others may have use for it as it is
        if isinstance(record.args, tuple):
            record.args = tuple(map(_spoken, record.args))
        elif record.args:
            record.args = {name: _hidden(name, _spoken(one)) for name, one in record.args.items()}
        record.msg = _spoken(record.msg)
        return super().format(record)


def _spoken(value: object) -> object:
    """Reduce what stands in a message to its kind, unless it is plain or the system wrote it."""
    if value is None or isinstance(value, PLAIN):
        return value
    if isinstance(value, list | tuple):
        return [_spoken(one) for one in value]
    if isinstance(value, dict):
        return {name: _hidden(name, _spoken(one)) for name, one in value.items()}
    kind = type(value).__name__
    return f"{kind}: {value}" if isinstance(value, SPEAKING) else kind


def _describe_error(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Put an error's kind and where it was raised in place of its traceback."""
    info = event.pop("exc_info", None)
    event.pop("stack_info", None)
    error = sys.exc_info()[1] if info is True else info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        frames = traceback.extract_tb(error.__traceback__)[-PLACES:]
        event["error"] = _spoken(error)
        event["places"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        if error.__cause__ is not None:
            event["cause"] = _spoken(error.__cause__)
    return event


def _hide(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Take people and secrets out of every value."""
    return {name: _hidden(name, value) for name, value in event.items()}


def _hidden(name: str, value: Any) -> Any:
    if name in PERSONAL:
        return "<HIDDEN>"
    if name in NUMBERS:
        return pseudonym(name.removesuffix("_id"), value)
    if isinstance(value, list | tuple):
        return [_hidden("", one) for one in value]
    if isinstance(value, dict):
        return {key: _hidden(key, one) for key, one in value.items()}
    if not isinstance(value, str):
        return value
    value = _PASSWORD.sub("<SECRET>@", redact(value))
    return _PERSON.sub(lambda match: pseudonym(match[1], match[2]), value)
