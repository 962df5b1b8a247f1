import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
import torch

from fixtures_finetuning import largest_file
from sdlesson.files import atomic_folder, atomic_write, check_zip


def write_a_megabyte(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for _ in range(16):
            file.write(bytes(2**16))


def test_a_file_appears_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    with atomic_write(path) as partial:
        write_a_megabyte(partial)
        assert not path.exists()
    assert path.stat().st_size == 2**20
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(b"before")
    full = pytest.raises(OSError, match="File too large")
    with full, atomic_write(path) as partial, largest_file(2**17):
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
    with atomic_write(path) as partial:
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
        with atomic_write(name) as partial:
            partial.touch()
    assert {found.name for found in tmp_path.iterdir()} == {path.name, other.name}


def test_threads_that_write_one_file_leave_it_whole_at_every_moment(tmp_path: Path) -> None:
    path, contents = tmp_path / "picture.png", [bytes([n]) * 2**16 for n in range(4)]
    path.write_bytes(contents[0])
    failures: list[BaseException] = []

    def write(content: bytes) -> None:
        try:
            for _ in range(40):
                with atomic_write(path) as partial:
                    partial.write_bytes(content)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=[content]) for content in contents]
    for thread in threads:
        thread.start()
    broken = 0
    while any(thread.is_alive() for thread in threads):
        broken += path.read_bytes() not in contents
    assert (failures, broken) == ([], 0)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("letter", ["a", "ñ", "画", "🎈"])
@pytest.mark.parametrize("size", [200, 245, 251, 255])
def test_the_longest_names_are_written_and_their_leftovers_cleared(
    tmp_path: Path, size: int, letter: str
) -> None:
    path = tmp_path / (letter * (size // len(letter.encode())))
    for _ in range(2):
        with atomic_write(path) as partial:
            partial.write_bytes(b"all of it")
        partial.with_name(partial.name.replace(f".{os.getpid()}.", ".4194305.")).touch()
    with atomic_write(path) as partial:
        partial.write_bytes(b"all of it")
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_that_no_file_can_have_is_refused_at_the_first_byte(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too long"), atomic_write(tmp_path / ("a" * 256)) as partial:
        partial.touch()  # and not when the work is done


def test_what_a_link_leads_to_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "picture.png", tmp_path / "link.png"
    target.write_bytes(b"before")
    link.symlink_to(target)
    with atomic_write(link) as partial:
        partial.write_bytes(b"after")
    assert (link.is_symlink(), target.read_bytes()) == (True, b"after")


def fill(folder: Path, content: str) -> None:
    (folder / "unet").mkdir()
    (folder / "unet" / "config.json").write_text(content)


def content(folder: Path) -> str:
    return (folder / "unet" / "config.json").read_text()


def test_a_folder_takes_the_place_of_another_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "model"
    for words in ("first", "second"):
        with atomic_folder(path) as partial:
            fill(partial, words)
        assert content(path) == words
    with pytest.raises(KeyboardInterrupt), atomic_folder(path):
        raise KeyboardInterrupt
    assert content(path) == "second"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_behind_a_link_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    fill(tmp_path / "there", "old")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    with atomic_folder(tmp_path / "link") as partial:
        fill(partial, "new")
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "there") == "new"


@pytest.mark.parametrize("failing", [1, 2])
def test_a_rename_that_fails_keeps_the_old_folder_and_names_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """As Windows refuses it while a file in the folder is open."""
    path, renames, rename = tmp_path / "model", [], Path.rename
    path.mkdir()
    fill(path, "old")

    def refuse_one(self: Path, target: Path) -> Path:
        renames.append(target)
        if len(renames) == failing:
            raise PermissionError(13, "in use")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_one)
    with pytest.raises(OSError, match=r"model cannot be replaced \(in use\)") as caught:  # noqa: SIM117
        with atomic_folder(path) as partial:
            fill(partial, "new")
    assert content(path) == "old"
    (kept,) = (found for found in tmp_path.iterdir() if found != path)
    assert content(kept) == "new"
    assert str(kept) in str(caught.value)


KILLED = """
import os, signal, sys
from pathlib import Path
from sdlesson.files import atomic_folder
rename, count = Path.rename, 0
def rename_or_die(self, target):
    global count
    count += 1
    if count == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)
Path.rename = rename_or_die
with atomic_folder(Path(sys.argv[1])) as partial:
    (partial / "unet").mkdir()
    (partial / "unet" / "config.json").write_text("killed")
    if sys.argv[2] == "0":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX")
@pytest.mark.parametrize("moment", [0, 1, 2])
def test_a_folder_killed_while_it_is_replaced_is_back_at_the_next_try_and_leaves_nothing(
    tmp_path: Path, moment: int
) -> None:
    path = tmp_path / "model"
    path.mkdir()
    fill(path, "old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), str(moment)])
    assert done.returncode == -signal.SIGKILL
    assert path.exists() == (moment < 2)
    with pytest.raises(ZeroDivisionError), atomic_folder(path) as partial:
        raise ZeroDivisionError
    assert content(path) == "old"
    with atomic_folder(path) as partial:
        fill(partial, "new")
    assert content(path) == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_an_earlier_process_of_the_same_number_left_is_cleared(tmp_path: Path) -> None:
    """As in a container, where each start has the same numbers."""
    path = tmp_path / "picture.png"
    left = tmp_path / f".picture.png.{os.getpid()}.0a1b2c3d.part"
    left.touch()
    os.utime(left, (1, 1))
    os.rename(left, left)  # noqa: PTH104  # its last change is when it was written, all the same
    earlier = psutil.Process().create_time() < left.stat().st_ctime
    with atomic_write(path) as partial:
        partial.touch()
    assert left.exists() == earlier


def test_a_flipped_bit_of_what_torch_saved_is_found_wherever_it_matters(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    weights = {"weights": torch.arange(8.0), "done": 3, "text": "zwx"}
    torch.save(weights, path)
    check_zip(path)
    good, found = path.read_bytes(), 0
    for place in range(0, 8 * len(good), 5):
        damaged = bytearray(good)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            check_zip(path)
            state = torch.load(path, weights_only=True)
        except (ValueError, RuntimeError):  # of torch's own checks
            found += 1
        else:  # a date, or what fills up a gap
            assert torch.equal(state.pop("weights"), weights["weights"])
            assert state == {"done": 3, "text": "zwx"}
    assert found > 100
    path.write_bytes(good[:-30])
    with pytest.raises(ValueError, match="is damaged"):
        check_zip(path)


def test_a_file_in_a_folders_place_stays(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("my thesis")
    with (
        pytest.raises(NotADirectoryError, match="a file is in the folder's place; move it"),
        atomic_folder(tmp_path / "mine") as partial,
    ):
        (partial / "a").write_text("new")
    assert (tmp_path / "mine").read_text() == "my thesis"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
