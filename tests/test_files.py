import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from fixtures_finetuning import largest_file

from sdlesson.files import whole


def write_a_megabyte(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for _ in range(16):
            file.write(bytes(2**16))


def test_a_file_appears_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    with whole(path) as partial:
        write_a_megabyte(partial)
        assert not path.exists()
    assert path.stat().st_size == 2**20
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(b"before")
    full = pytest.raises(OSError, match="File too large")
    with full, whole(path) as partial, largest_file(2**17):
        write_a_megabyte(partial)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_goes_with_the_next_and_a_living_ones_stays(
    tmp_path: Path,
) -> None:
    path, writer = tmp_path / "scenes [1].npy", "import os; print(os.getpid())"
    done = subprocess.run(
        [sys.executable, "-c", writer], capture_output=True, text=True, check=True
    )
    dead, living = int(done.stdout), os.getppid()
    assert psutil.pid_exists(living)
    left, kept = (tmp_path / f".{path.name}.{number}.part" for number in (dead, living))
    for partial in (left, kept, tmp_path / ".other.npy.1.part", tmp_path / f".{path.name}.x.part"):
        partial.touch()
    with whole(path) as partial:
        partial.touch()
    assert not left.exists()
    assert len(list(tmp_path.iterdir())) == 4  # the file, and the three that are not its leftovers
    assert kept.exists()


@pytest.mark.parametrize("size", [160, 161, 245, 250, 255])
@pytest.mark.parametrize("letter", ["a", "é"])
def test_a_name_as_long_as_they_may_be_is_written_and_cleared_up(
    tmp_path: Path, size: int, letter: str
) -> None:
    length = (size - len(".png")) // len(letter.encode())
    path = tmp_path / (letter * length + ".png")
    other = path.with_name("x" + path.name[1:])
    for name in (path, other):
        with whole(name) as partial:
            partial.touch()
    assert {found.name for found in tmp_path.iterdir()} == {path.name, other.name}
