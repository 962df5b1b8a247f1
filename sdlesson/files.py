"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

import psutil


def beside(path: Path) -> Path:
    """Name the file next to `path` that becomes it once it is whole."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


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
    for left in path.parent.glob(f".{escape(path.name)}.*.part"):
        number = left.name.split(".")[-2]
        if left.is_file() and number.isdigit() and not psutil.pid_exists(int(number)):
            with suppress(OSError):  # another writer was faster
                left.unlink()
