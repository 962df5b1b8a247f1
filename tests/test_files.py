from pathlib import Path

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
