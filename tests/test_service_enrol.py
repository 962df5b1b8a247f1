"""The operator enrols people, against a real OpenLDAP, and what that says."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pyotp
import pytest

from fixtures_ldap import BASE, GROUP, PASSWORD, READER, LdapServer, ldap_server
from sdlesson.bot_service.__main__ import main
from sdlesson.bot_service.one_time_codes import secret_of, step_of
from sdlesson.bot_service.store import Store

KEY, ANA = "a-key-of-these-tests-and-nothing-else", 1_000_003


@pytest.fixture(scope="module")
def ldap() -> Iterator[LdapServer]:
    with ldap_server() as server:
        yield server


@pytest.fixture(autouse=True)
def _settings(ldap: LdapServer, tmp_path: Path, monkeypatch) -> None:
    for name in [one for one in os.environ if one.startswith("SDLESSON_BOT_")]:
        monkeypatch.delenv(name)
    settings = {
        "TOKEN": "123456789:" + "A" * 35,
        "DATABASE_URL": f"sqlite:///{tmp_path}/bot.db",
        "LDAP_URL": ldap.settings.url,
        "LDAP_BASE": BASE,
        "LDAP_GROUP": GROUP,
        "LDAP_BIND_DN": READER,
        "LDAP_BIND_PASSWORD": PASSWORD,
        "LOGIN_KEY": KEY,
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"SDLESSON_BOT_{name}", value)
    monkeypatch.chdir(tmp_path)


def enrolment(tmp_path: Path):
    with Store(f"sqlite:///{tmp_path}/bot.db") as store:
        return store.logins.enrolment(ANA)


@pytest.mark.parametrize("name", ["ana", "o*hara", "(carla)", "d\\emir", "josé ñandú"])
def test_the_address_alone_is_on_the_output_and_makes_right_codes(
    capsys, tmp_path: Path, name: str
) -> None:
    assert main(["enrol", str(ANA), name]) == 0
    out, err = capsys.readouterr()
    (line,) = out.splitlines()
    totp, now = pyotp.parse_uri(line), time.time()
    assert totp.name == name
    assert f"{name} is enrolled for the user {ANA}" in err
    assert totp.secret not in err
    found = enrolment(tmp_path)
    assert found.name == name
    assert step_of(secret_of(KEY, found.salt), totp.at(int(now)), now)


def test_neither_secret_nor_key_is_in_the_database(capsys, tmp_path: Path) -> None:
    main(["enrol", str(ANA), "ana"])
    secret = pyotp.parse_uri(capsys.readouterr().out.strip()).secret
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("bot.db*"))
    assert b"ana" in kept
    assert secret.encode() not in kept
    assert KEY.encode() not in kept


def test_enrolling_again_makes_another_secret_and_unenrolling_ends_it(
    capsys, tmp_path: Path
) -> None:
    secrets = set()
    for _ in range(2):
        main(["enrol", str(ANA), "ana"])
        secrets.add(capsys.readouterr().out)
    assert len(secrets) == 2
    assert main(["unenrol", str(ANA)]) == 0
    assert "is enrolled no longer" in capsys.readouterr().out
    assert enrolment(tmp_path) is None
    assert main(["unenrol", str(ANA)]) == 1
    assert "was not enrolled" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("language", "name", "said"),
    [
        ("en", "anna", "finds nobody by the name anna"),
        ("en", "ben", "not in ldap_group"),
        ("en", "twin", "Nobody is enrolled: ldap_user_filter finds several people"),
        ("es", "anna", "no encuentra a nadie con el nombre anna"),
        ("es", "ben", "no en ldap_group"),
    ],
)
def test_who_could_not_log_in_is_not_enrolled(
    capsys, tmp_path: Path, monkeypatch, language: str, name: str, said: str
) -> None:
    monkeypatch.setenv("SDLESSON_BOT_LANGUAGE", language)
    assert main(["enrol", str(ANA), name]) == 1
    out, err = capsys.readouterr()
    assert said in err
    assert out == ""
    assert not (tmp_path / "bot.db").exists()


def test_what_stands_in_the_way_is_said(capsys, monkeypatch, ldap: LdapServer) -> None:
    with monkeypatch.context() as wrong:
        wrong.setenv("SDLESSON_BOT_LDAP_BIND_PASSWORD", "guess-of-mine")
        assert main(["enrol", str(ANA), "ana"]) == 1
        told = capsys.readouterr().err
        assert "refuses ldap_bind_dn" in told
        assert "guess-of-mine" not in told
    with monkeypatch.context() as without:
        without.setenv("SDLESSON_BOT_LDAP_URL", "")
        assert main(["enrol", str(ANA), "ana"]) == 2
        assert "No directory is set" in capsys.readouterr().err
    monkeypatch.setenv("SDLESSON_BOT_DATABASE_URL", "sqlite:////nowhere/bot.db")
    assert main(["enrol", str(ANA), "ana"]) == 1
    assert "/nowhere/bot.db cannot be opened" in capsys.readouterr().err
    monkeypatch.setenv("SDLESSON_BOT_LOGIN_KEY", "short")
    assert main(["enrol", str(ANA), "ana"]) == 2
    assert "login_key" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        *(["enrol"], ["enrol", "5"], ["enrol", "Ana", "ana"], ["enrol", "-5", "ana"]),
        *(["enrol", "0", "ana"], ["enrol", "9" * 5000, "ana"], ["enrol", "5", " "]),
        *(["enrol", "5", "a" * 300], ["enrol", "5", "a\nb"], ["unenrol", "ana"], ["start"]),
    ],
)
def test_a_wrong_command_is_refused_with_what_is_allowed(capsys, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("sdlesson: ")
    assert told.count("\n") == 1
    assert "python -m sdlesson.bot_service" in told
    assert told.endswith("--help says more\n")


def test_a_wrong_command_is_refused_in_spanish_in_a_spanish_terminal(capsys, monkeypatch) -> None:
    monkeypatch.setenv("LANG", "es_ES.UTF-8")
    for arguments, said in (
        (["enrol"], "falta number, name"),
        (["enrol", "Ana", "ana"], "'Ana' no es el número de un usuario"),
        (["start"], "'start' no es ninguno de"),
        (["enrol", "5", " "], "no es un nombre de un directorio"),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
        assert said in capsys.readouterr().err
