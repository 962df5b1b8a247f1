"""No token in any notebook, log, error or `repr`; each way of looking is shown to find one."""

import io
import logging
import random
import re
import shutil
import string
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import nbformat
import pytest
from nbformat import v4

import sdlesson
from hub_server import HubServer, closed_url, point_the_client_at, user
from sdlesson import hub
from sdlesson.account import FoundToken
from sdlesson.downloads import ModelError

ROOT = Path(__file__).parent.parent
FOLDERS = (".github", "benchmarks", "notebooks", "sdlesson", "slides", "tests")
TEXTS = {".ipynb", ".json", ".md", ".py", ".toml", ".txt", ".yml"}
NOTEBOOKS = sorted((ROOT / "notebooks").glob("e[ns]/*.ipynb"))

# A Hugging Face token, and a Telegram bot's.
# The second also stands in addresses, right after a letter: /bot123456789:AB...
TOKEN_SHAPE = re.compile(r"hf_[A-Za-z0-9]{30,}|(?<!\d)\d{8,10}(?::|%3[Aa])[\w-]{35,}", re.ASCII)

UNET = "unet/diffusion_pytorch_model.safetensors"
WHOAMI = "api/whoami-v2"


def made_up(length: int) -> str:
    return "".join(random.Random(0).choices(string.ascii_letters + string.digits, k=length))


HF_TOKEN = "hf_" + made_up(34)
BOT_TOKEN = "7123456789:AA" + made_up(33)


def tokens_in(path: Path) -> list[str]:
    return TOKEN_SHAPE.findall(path.read_text(encoding="utf-8"))


def course_files() -> Iterator[Path]:
    yield from (path for path in ROOT.iterdir() if path.is_file())
    for name in FOLDERS:
        yield from (path for path in (ROOT / name).rglob("*") if path.is_file())


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what caused it, and what it was raised in the midst of."""
    if error is not None:
        yield error
        yield from chain_of(error.__cause__)
        yield from chain_of(error.__context__)


def all_that_an_error_tells(error: BaseException) -> str:
    parts = [*traceback.format_exception(error)]
    for link in chain_of(error):
        parts += [str(link), repr(link), repr(link.args), repr(vars(link))]
    return "\n".join(parts)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    monkeypatch.setenv("HF_TOKEN", HF_TOKEN)
    monkeypatch.setattr("time.sleep", lambda _: None)  # what the client does between attempts
    with HubServer() as server:
        point_the_client_at(server.url, tmp_path / "home", monkeypatch)
        yield server


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """All that the course and the libraries under it log, with every switch on."""
    monkeypatch.setattr("huggingface_hub.constants.HF_DEBUG", True)
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    heard = [logging.getLogger(name) for name in (None, "huggingface_hub")]
    loggers = [*heard, *(logging.getLogger(name) for name in ("httpx", "httpcore"))]
    levels = [logger.level for logger in loggers]
    for logger in heard:
        logger.addHandler(handler)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    yield stream
    for logger in heard:
        logger.removeHandler(handler)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


# Files.


def test_no_file_of_the_course_holds_a_token() -> None:
    texts = [path for path in course_files() if path.suffix in TEXTS]
    assert {path.parent.name for path in texts} >= {"source", "en", "es", "tests", "sdlesson"}
    assert not {path: tokens_in(path) for path in texts if tokens_in(path)}


@pytest.mark.parametrize("token", [HF_TOKEN, BOT_TOKEN])
@pytest.mark.parametrize("place", ["output", "error", "code", "text", "metadata"])
def test_a_token_planted_in_a_notebook_is_found(tmp_path: Path, token: str, place: str) -> None:
    notebook = nbformat.read(NOTEBOOKS[0], as_version=4)
    output = v4.new_output("stream", text=f"Logged in with {token}.\n")
    trace = [f"\x1b[0;31mValueError\x1b[0m: {token}"]
    error = v4.new_output("error", ename="ValueError", evalue="", traceback=trace)
    planted = {
        "output": v4.new_code_cell("login()", outputs=[output]),
        "error": v4.new_code_cell("login()", outputs=[error]),
        "code": v4.new_code_cell(f'token = "{token}"'),
        "text": v4.new_markdown_cell(f"Paste `{token}` here."),
        "metadata": v4.new_markdown_cell("", metadata={"widgets": token}),
    }
    notebook.cells.append(planted[place])
    path = tmp_path / "planted.ipynb"
    nbformat.write(notebook, path)
    assert tokens_in(path) == [token]


@pytest.mark.parametrize("token", [HF_TOKEN, BOT_TOKEN])
def test_a_token_planted_in_a_source_is_found(tmp_path: Path, token: str) -> None:
    source = next((ROOT / "notebooks" / "source").glob("*.py"))
    path = tmp_path / source.name
    path.write_text(source.read_text(encoding="utf-8") + f"# {token}\n", encoding="utf-8")
    assert tokens_in(path) == [token]


@pytest.mark.parametrize(
    "text",
    [
        f"http://127.0.0.1:8081/bot{BOT_TOKEN}/getMe",
        f"/file/bot{BOT_TOKEN}/photos/1.jpg",
        f"/bot{BOT_TOKEN.replace(':', '%3A')}/getMe",
        f"_{BOT_TOKEN}_",
        f"token_{HF_TOKEN}",
    ],
)
def test_a_token_in_an_address_or_a_name_is_found(tmp_path: Path, text: str) -> None:
    path = tmp_path / "address.txt"
    path.write_text(text, encoding="utf-8")
    assert len(tokens_in(path)) == 1


# Logging in.


def test_a_found_token_is_not_in_its_repr() -> None:
    found = FoundToken(HF_TOKEN, "the stored token")
    assert HF_TOKEN not in f"{found} {found!r} {[found]} {found.called}"


def test_what_is_logged_is_heard(log: io.StringIO) -> None:
    """The control: the libraries' own loggers end here, and so would a token."""
    for name in ("huggingface_hub.utils", "httpx", "httpcore", "httpx2", "httpcore2", "sdlesson"):
        logging.getLogger(name).debug("%s %s", name, HF_TOKEN)
        assert f"{name} {HF_TOKEN}" in log.getvalue()


def test_a_login_leaves_no_token_in_output_and_logs(
    server: HubServer, log: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    server.users[HF_TOKEN] = user("ana", "read")
    assert sdlesson.login() == "ana"
    assert WHOAMI in log.getvalue()
    assert "<TOKEN>" in log.getvalue()  # where the client's own log hides it
    assert HF_TOKEN not in log.getvalue() + "".join(capfd.readouterr())


def test_storing_a_pasted_token_leaves_none_in_output_and_logs(
    server: HubServer,
    log: io.StringIO,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.users[HF_TOKEN] = user("ana", "read")
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setattr("sdlesson.account._ask_reader", lambda: HF_TOKEN)
    assert sdlesson.login() == "ana"
    assert huggingface_hub.get_token() == HF_TOKEN
    assert HF_TOKEN not in log.getvalue() + "".join(capfd.readouterr())


Spoil = Callable[[HubServer, pytest.MonkeyPatch, Path], object]

LOGIN_FAILURES: dict[str, Spoil] = {
    "wrong": lambda server, patch, home: None,
    "expired": lambda server, patch, home: server.expired.add(HF_TOKEN),
    "no token": lambda server, patch, home: patch.setenv("HF_TOKEN", f"{HF_TOKEN}\x0c ñ"),
    "slow": lambda server, patch, home: (
        server.slow.add(WHOAMI),
        patch.setattr("huggingface_hub.constants.HF_HUB_ETAG_TIMEOUT", 0.2),
    ),
    "away": lambda server, patch, home: point_the_client_at(closed_url(), home, patch),
    "too often": lambda server, patch, home: server.statuses.update({WHOAMI: 429}),
    "in trouble": lambda server, patch, home: server.statuses.update({WHOAMI: 500}),
}


@pytest.mark.parametrize("how", LOGIN_FAILURES)
def test_a_login_that_fails_leaves_no_token_in_output_and_logs(
    server: HubServer,
    log: io.StringIO,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    how: str,
) -> None:
    LOGIN_FAILURES[how](server, monkeypatch, tmp_path / "home")
    assert sdlesson.login() is None
    said = "".join(capfd.readouterr())
    assert "https://" in said
    assert HF_TOKEN not in said + log.getvalue()


# Downloads.


@pytest.mark.parametrize("quote", [int, lambda text: f"{text}ñ".encode("ascii")])
def test_a_token_anywhere_in_an_errors_chain_is_found(quote: Callable[[str], object]) -> None:
    """The control: an error that quotes what it was given, two errors deep and out of sight."""

    def fail() -> None:
        try:
            try:
                quote(HF_TOKEN)
            except ValueError as error:
                raise KeyError("deep") from error
        except KeyError:
            raise ModelError("high up") from None

    with pytest.raises(ModelError) as caught:
        fail()
    assert HF_TOKEN in all_that_an_error_tells(caught.value)


DOWNLOAD_FAILURES: dict[str, Spoil] = {
    "wrong token": lambda server, patch, home: server.users.clear(),
    "expired token": lambda server, patch, home: (
        server.users.clear(),
        server.expired.add(HF_TOKEN),
    ),
    "a token with a letter too many": lambda server, patch, home: patch.setenv(
        "HF_TOKEN", f"{HF_TOKEN}ñ"
    ),
    "a token that breaks a header": lambda server, patch, home: patch.setenv(
        "HF_TOKEN", f"{HF_TOKEN}\x0cx"
    ),
    "gated": lambda server, patch, home: server.gated.add("ana/tiny"),
    "gone": lambda server, patch, home: server.folders.clear(),
    "damaged": lambda server, patch, home: server.corrupted.add(UNET),
    "broken off": lambda server, patch, home: server.breaks.update({UNET: 1000}),
    "slow": lambda server, patch, home: (
        server.slow.add(UNET),
        patch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.1),
    ),
    "away": lambda server, patch, home: point_the_client_at(closed_url(), home, patch),
}


@pytest.mark.parametrize("how", DOWNLOAD_FAILURES)
def test_a_download_that_fails_leaves_no_token_in_errors_output_and_logs(
    server: HubServer,
    log: io.StringIO,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tiny_folder: Path,
    how: str,
) -> None:
    server.users[HF_TOKEN] = user("ana", "read")
    server.folders["ana/tiny"] = shutil.copytree(tiny_folder, tmp_path / "pipeline")
    DOWNLOAD_FAILURES[how](server, monkeypatch, tmp_path / "home")
    with pytest.raises(ModelError) as caught:
        hub.find_model("ana/tiny", half=False)
    told = all_that_an_error_tells(caught.value)
    assert type(caught.value).__name__ in told
    assert HF_TOKEN not in told + log.getvalue() + "".join(capfd.readouterr())
