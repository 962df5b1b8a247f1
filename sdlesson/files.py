"""Files that are there whole or not at all."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

import psutil

MAX_KEPT_BYTES = 160
"""Of a file's name, in the name of what becomes it: a name has 255 bytes at most."""


def beside(path: Path) -> Path:
    """Name the file next to `path` that becomes it once it is whole."""
    return path.with_name(f".{_stem(path)}.{os.getpid()}.part")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Write to the file this names: it takes the place of `path` when all went well.

    Whatever goes wrong, a file that was at `path` before stays as it was. Nothing is left over, or
    where the process was killed, no longer than until the next writer of `path`.
    """
    partial = beside(path)
    _clear_up(path)
    try:
        yield partial
        partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _clear_up(path: Path) -> None:
    """Remove what processes that are no more have left beside `path`."""
    for left in path.parent.glob(f".{escape(_stem(path))}.*.part"):
        number = left.name.split(".")[-2]
        if left.is_file() and number.isdigit() and not psutil.pid_exists(int(number)):
            with suppress(OSError):  # another writer was faster
                left.unlink()


def _stem(path: Path) -> str:
    """Return a file's name, or of a very long one its beginning and a digest of all of it."""
    name = os.fsencode(path.name)
    if len(name) <= MAX_KEPT_BYTES:
        return path.name
    return os.fsdecode(name[:MAX_KEPT_BYTES]) + hashlib.sha256(name).hexdigest()[:8]
