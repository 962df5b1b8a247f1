"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EINVAL, EISDIR, ENOTDIR
from glob import escape
from hashlib import sha256
from pathlib import Path

import psutil

MAX_NAME_BYTES = 255  # what file systems allow
ROOM_BYTES = 60  # for what is put around a name
KEPT_CHARACTERS = 40
CLOCK_TOLERANCE_S = 2.0

_SWAPPING = threading.Lock()


def partial_path(path: Path, suffix: str = "part") -> Path:
    """Name the file next to `path` that becomes it once it is whole: another one at every call.

    A name that is too long for any file stays so, and the system refuses it at the first byte.
    """
    token = f"{os.getpid()}.{secrets.token_hex(4)}"
    return path.with_name(f".{_short(path.name)}.{token}.{suffix}")


def is_there(path: str | os.PathLike[str]) -> bool:
    """Say whether there is a file or folder of this name; one that none can have is not there."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # too long, or with a null byte
        return False


def has_file(path: str | os.PathLike[str]) -> bool:
    """Say whether there is a file of this name; see `regular_file`."""
    try:
        return regular_file(path).is_file()
    except OSError:
        return False


def regular_file(path: str | os.PathLike[str]) -> Path:
    """Return the path of a file that has an end: a pipe or a device is waited for, or never ends.

    Raises:
        OSError: There is none of this name, or it is something else.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except ValueError as error:  # of a null byte, or half a letter
        raise OSError(EINVAL, "no file can have this name", ascii(str(path))) from error
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(EISDIR, os.strerror(EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(EINVAL, "it is a pipe or a device, not a file", str(path))
    return path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Write to the file this names: it takes the place of `path` when all went well.

    Whatever goes wrong, a file that was at `path` before stays as it was. Nothing is left over, or
    where the process was killed, no longer than until the next writer of `path`. Where `path` is a
    link, what it leads to is replaced.
    """
    path = Path(os.path.realpath(path))
    partial = partial_path(path)
    _clear_up(path)
    try:
        yield partial
        partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Fill the folder this names: it takes the place of `path` when all went well.

    What was at `path` is removed once the new folder is in its place, and not before. A process
    that is killed between the two leaves both whole beside `path`, and the next writer puts the
    old one back before anything else.

    Raises:
        OSError: There is a file of this name, which stays; or the new folder cannot take its place:
            the old one is back in it, and the message says where the new one is.
    """
    path = Path(os.path.realpath(path))
    partial = partial_path(path)
    with _SWAPPING:
        _put_back(path)
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(ENOTDIR, "a file is in the folder's place; move it", str(path))
    _clear_up(path)
    try:
        partial.mkdir(parents=True)
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    with _SWAPPING:
        _swap(partial, path)


def check_zip(path: Path) -> None:
    """Compare each part of a zip with the checksum beside it; `torch.save` writes such files.

    `torch.load` does not: it would read a flipped bit as another number.

    Raises:
        ValueError: The file is cut off, damaged, or no zip.
    """
    try:
        with zipfile.ZipFile(path) as parts:
            damaged = parts.testzip()
    except Exception as error:  # it unpacks in several ways, each with errors of its own
        raise ValueError(f"{path} is damaged ({error})") from error
    if damaged:
        raise ValueError(f"{path} is damaged: the checksum of {damaged} in it is another")


def _short(name: str) -> str:
    """The start of a long name and its digest, so that there is room for what comes around it."""
    size = len(os.fsencode(name))
    if size <= MAX_NAME_BYTES - ROOM_BYTES or size > MAX_NAME_BYTES:
        return name
    digest = sha256(os.fsencode(name)).hexdigest()[:16]
    return f"{name[:KEPT_CHARACTERS]}.{digest}"


def _swap(new: Path, path: Path) -> None:
    """Put a folder in the place of another by two renames; if one fails, both are kept."""
    old = partial_path(path, "old")
    try:
        with suppress(FileNotFoundError):  # there may be none to replace
            path.rename(old)
        new.rename(path)
    except BaseException as error:
        with suppress(OSError):
            old.rename(path)
        if not isinstance(error, OSError):
            shutil.rmtree(new, ignore_errors=True)
            raise
        raise OSError(
            error.errno,
            f"{path} cannot be replaced ({error.strerror}) and is as it was; the new folder is "
            f"{_keep(new, path)}: close what uses the old one, and rename it",
        ) from error
    shutil.rmtree(old, ignore_errors=True)


def _keep(new: Path, path: Path) -> Path:
    """Give a folder that cannot have its name another, which no later writer clears up."""
    kept = path.with_name(f"{_short(path.name)}-{secrets.token_hex(4)}")
    try:
        return new.rename(kept)
    except OSError:
        return new


def _put_back(path: Path) -> None:
    """Give a folder its name again where a process was killed while it was replacing it."""
    if not os.path.lexists(path):
        replaced = [left for left in _leftovers(path) if left.suffix == ".old"]
        if replaced:
            max(replaced, key=_last_change).rename(path)


def _clear_up(path: Path) -> None:
    """Remove what processes that are no more have left beside `path`."""
    for left in _leftovers(path):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            with suppress(OSError):  # another writer was faster
                left.unlink()


def _leftovers(path: Path) -> list[Path]:
    """The files and folders beside `path` of processes that are no more."""
    name = _short(path.name)
    ours = re.compile(rf"\.{re.escape(name)}\.(\d+)(\.[0-9a-f]{{8}})?\.(part|old)")
    found = {left: ours.fullmatch(left.name) for left in path.parent.glob(f".{escape(name)}.*")}
    return [left for left, match in found.items() if match and _is_left(left, int(match[1]))]


def _is_left(partial: Path, process: int) -> bool:
    """Whether the process that wrote a file is no more; another may have its number by now."""
    try:
        started = psutil.Process(process).create_time()
        return started > _last_change(partial) + CLOCK_TOLERANCE_S
    except (psutil.NoSuchProcess, OverflowError):
        return True
    except (OSError, psutil.Error):  # gone meanwhile, or not for us to know
        return False


def _last_change(path: Path) -> float:
    found = path.stat()
    return max(found.st_mtime, found.st_ctime)
