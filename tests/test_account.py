import getpass
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import Empty
from types import ModuleType, SimpleNamespace

import huggingface_hub
import pytest
from jupyter_client.manager import start_new_kernel

import sdlesson
from hub_server import HubServer, closed_url, point_the_client_at, user
from sdlesson import account
from sdlesson.language import set_language

TOKEN = "hf_" + "onlyForTests" * 3
OTHER = "hf_" + "anotherToken" * 3
WHOAMI = "api/whoami-v2"
ANA = "You are ana on the Hugging Face Hub, with a read token.\n"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    monkeypatch.setenv("HF_TOKEN", "")  # so that what login sets is undone
    with HubServer() as server:
        point_the_client_at(server.url, tmp_path / "home", monkeypatch)
        server.users |= {TOKEN: user("ana", "read"), OTHER: user("luis", "write")}
        yield server


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a reader at a terminal answers; the prompt takes it from here without showing it."""
    answers: list[str] = []
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(getpass, "getpass", lambda prompt: answers.pop(0))
    return answers


def in_colab_with(secret: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for Colab's own package, whose secret is a text or an error."""

    def get(name: str) -> object:
        assert name == "HF_TOKEN"
        if isinstance(secret, Exception):
            raise secret
        return secret

    colab = ModuleType("google.colab")
    colab.userdata = SimpleNamespace(get=get)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "google", ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", colab)


# Where a token is found.


def test_the_environments_token_says_who_you_are(
    server: HubServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert sdlesson.login() == "ana"
    assert capsys.readouterr() == (ANA, "")


def test_colabs_secret_comes_before_the_environment_and_downloads_send_it(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_colab_with(TOKEN, monkeypatch)
    monkeypatch.setenv("HF_TOKEN", OTHER)
    assert sdlesson.login() == "ana"
    assert huggingface_hub.get_token() == TOKEN


@pytest.mark.parametrize("error", [KeyError("not found"), PermissionError(), TimeoutError(), None])
def test_a_colab_secret_that_cannot_be_had_is_passed_over_in_silence(
    server: HubServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception | None,
) -> None:
    in_colab_with(error, monkeypatch)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert sdlesson.login() == "ana"
    assert capsys.readouterr() == (ANA, "")


@pytest.mark.parametrize("copied", [f" {TOKEN}\n", f'"{TOKEN}"', f"'{TOKEN}'\r\n"])
def test_what_comes_along_with_a_copied_token_is_stripped_and_downloads_send_it_clean(
    server: HubServer, monkeypatch: pytest.MonkeyPatch, copied: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", copied)
    assert sdlesson.login() == "ana"
    assert huggingface_hub.get_token() == TOKEN


def test_a_pasted_token_is_stored_once_the_hub_accepts_it(
    server: HubServer, reader: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    reader.append(TOKEN)
    assert sdlesson.login() == "ana"
    assert sdlesson.login() == "ana"  # from the store: nobody answers any more
    assert huggingface_hub.get_token() == TOKEN
    assert capsys.readouterr() == (ANA * 2, "")


def test_a_pasted_token_that_the_hub_refuses_is_not_stored(
    server: HubServer, reader: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    reader.append(TOKEN + "x")
    assert sdlesson.login() is None
    assert "refuses what you pasted" in capsys.readouterr().out
    assert huggingface_hub.get_token() is None


def test_a_pasted_token_that_cannot_be_stored_holds_for_this_process(
    server: HubServer,
    reader: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "file" / "no"))
    reader.append(TOKEN)
    assert sdlesson.login() == "ana"
    assert huggingface_hub.get_token() == TOKEN
    assert "could not be stored" in capsys.readouterr().out


def test_a_stored_token_that_has_expired_gives_way_to_a_new_one(
    server: HubServer, reader: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    reader.extend([TOKEN, OTHER])
    sdlesson.login()
    server.expired.add(TOKEN)
    del server.users[TOKEN]
    capsys.readouterr()
    assert sdlesson.login() == "luis"
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("The Hub refuses the stored token, which has expired")
    assert second == "You are luis on the Hugging Face Hub, with a write token."
    assert huggingface_hub.get_token() == OTHER


@pytest.mark.parametrize("answer", ["", "  "])
def test_enter_goes_on_without_an_account(
    server: HubServer, reader: list[str], capsys: pytest.CaptureFixture[str], answer: str
) -> None:
    reader.append(answer)
    assert sdlesson.login() is None
    assert capsys.readouterr().out == "No account is needed here.\n"
    assert not server.requests


# What the Hub answers, in one sentence.


@pytest.mark.parametrize(
    ("role", "en", "es"),
    [
        ("read", "a read token", "un token de lectura"),
        ("write", "a write token", "un token de escritura"),
        ("fineGrained", "a fine-grained token", "un token de permisos detallados"),
        ("something new", "a token", "un token"),
    ],
)
def test_it_says_what_kind_of_token_it_is(
    server: HubServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    role: str,
    en: str,
    es: str,
) -> None:
    server.users[TOKEN] = user("ana", role)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    sdlesson.login()
    assert capsys.readouterr().out == f"You are ana on the Hugging Face Hub, with {en}.\n"
    set_language("es")
    sdlesson.login()
    assert capsys.readouterr().out == f"Eres ana en el Hub de Hugging Face, con {es}.\n"


FAILURES = {
    "wrong": ("is mistyped or revoked", "mal copiado o revocado", account.TOKENS_PAGE),
    "expired": ("has expired", "ha caducado", account.TOKENS_PAGE),
    "no token": ("is no token", "no es un token", account.TOKENS_PAGE),
    "slow": ("did not answer", "no ha respondido", account.STATUS_PAGE),
    "away": ("cannot be reached", "No se llega", account.STATUS_PAGE),
    "offline": ("cannot be reached", "No se llega", account.STATUS_PAGE),
    "another page": ("cannot be reached", "No se llega", account.STATUS_PAGE),
    "429": ("too often", "Demasiadas", account.LIMITS_PAGE),
    "500": ("error 500", "error 500", account.STATUS_PAGE),
    "503": ("error 503", "error 503", account.STATUS_PAGE),
}


def fail(how: str, server: HubServer, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next login fail in one of the ways of FAILURES."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    server.users.clear()
    if how == "expired":
        server.expired.add(TOKEN)
    elif how == "no token":
        monkeypatch.setenv("HF_TOKEN", f"{TOKEN} is my token, señor")
    elif how == "slow":
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_ETAG_TIMEOUT", 0.2)
        server.slow.add(WHOAMI)
    elif how == "away":
        point_the_client_at(closed_url(), home, monkeypatch)
    elif how == "offline":
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    elif how == "another page":  # such as that of a hotel's network
        server.statuses[WHOAMI] = 200
    elif how.isdigit():
        server.statuses[WHOAMI] = int(how)


@pytest.mark.parametrize("how", FAILURES)
def test_a_failure_is_one_sentence_with_a_link_in_the_readers_language(
    server: HubServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    how: str,
) -> None:
    fail(how, server, tmp_path / "home", monkeypatch)
    in_english, in_spanish, link = FAILURES[how]
    for code, reason in (("en", in_english), ("es", in_spanish)):
        set_language(code)
        assert sdlesson.login() is None
        said, logged = capsys.readouterr()
        assert reason in said
        assert said.endswith(f"{link}\n")
        assert said.count("\n") == 1
        assert not logged


# Terminals and kernels, the real ones.


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are of Unix")
def test_a_terminal_does_not_show_what_is_pasted(server: HubServer, tmp_path: Path) -> None:
    import pty

    keyboard, terminal = pty.openpty()
    command = [sys.executable, "-c", "import sdlesson; sdlesson.login()"]
    home = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path)}
    process = subprocess.Popen(
        command,
        env=os.environ | home,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,  # so that this terminal is the only one
    )
    os.close(terminal)
    shown = b""
    while b"Enter to go on" not in shown:
        shown += os.read(keyboard, 1000)
    os.write(keyboard, f"{TOKEN}\n".encode())
    while b"token." not in shown:
        shown += os.read(keyboard, 1000)
    assert process.wait(timeout=60) == 0
    os.close(keyboard)
    assert ANA.strip().encode() in shown
    assert TOKEN.encode() not in shown
    assert (tmp_path / "token").read_text() == TOKEN


def test_a_process_without_a_terminal_is_not_kept_waiting(
    server: HubServer, tmp_path: Path
) -> None:
    home = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path)}
    command = [sys.executable, "-c", "import sdlesson; print(sdlesson.login())"]
    done = subprocess.run(
        command, env=os.environ | home, stdin=subprocess.PIPE, capture_output=True, timeout=120
    )
    assert done.stdout.decode().split("\n")[:2] == ["No account is needed here.", "None"]


def test_a_notebook_asks_with_a_password_field_or_not_at_all(
    server: HubServer, tmp_path: Path
) -> None:
    home = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path)}
    manager, client = start_new_kernel(env=os.environ | home)
    said: list[str] = []

    def hear(message: dict) -> None:
        said.append(json.dumps(message["content"]))

    def answer(request: dict) -> None:
        assert request["content"]["password"]
        client.input(TOKEN)

    code = "import sdlesson; sdlesson.login()"
    try:
        client.execute_interactive(code, allow_stdin=False, output_hook=hear, timeout=120)
        assert any("No account is needed here." in line for line in said)
        client.execute_interactive(
            code, allow_stdin=True, stdin_hook=answer, output_hook=hear, timeout=120
        )
    except Empty:
        pytest.fail("login kept the kernel waiting")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert any("You are ana" in line for line in said)
    assert not any(TOKEN in line for line in said)
