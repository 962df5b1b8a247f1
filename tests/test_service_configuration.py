"""Settings of the bot's service: where they come from, and what is said of those that are wrong."""

import os
from pathlib import Path

import pytest

from sdlesson.bot_service.configuration import Configuration, ConfigurationError, load_configuration
from sdlesson.bot_service.workers.__main__ import WorkerConfiguration

TOKEN = "123456789:" + "A" * 35
LDAP = {
    "LDAP_URL": "ldaps://ldap.example.org",
    "LDAP_BASE": "dc=example,dc=org",
    "LDAP_BIND_DN": "cn=reader",
    "LDAP_BIND_PASSWORD": "hunter2",
    "LOGIN_KEY": "k" * 32,
}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [one for one in os.environ if one.startswith("SDLESSON_BOT_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("TELEGRAM_BOT_TOKEN_FILE", raising=False)
    monkeypatch.chdir(tmp_path)


def test_a_token_is_enough(monkeypatch) -> None:
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", f" {TOKEN}\n")
    found = load_configuration()
    assert found.token.get_secret_value() == TOKEN
    assert (found.daily_quota, found.models, found.generator) == (50, ("pocket",), "local")


def test_no_secret_is_shown(monkeypatch) -> None:
    monkeypatch.setenv("SDLESSON_BOT_TOKEN", TOKEN)
    monkeypatch.setenv("SDLESSON_BOT_DATABASE_URL", "postgresql://bot:hunter2@db/bot")
    shown = f"{load_configuration()!r} {load_configuration()}"
    assert TOKEN not in shown
    assert "hunter2" not in shown


def test_the_environment_counts_before_a_secrets_file_and_that_before_the_file_for_all(
    monkeypatch, tmp_path: Path
) -> None:
    (tmp_path / "sdlesson-bot.toml").write_text(
        f'token = "{TOKEN}"\ndaily_quota = 7\nburst = 2\nadmins = [1, 2]\n'
        'database_url = "sqlite:///a.db"\nredis_url = "redis://a"\n'
    )
    (tmp_path / "url").write_text("sqlite:///b.db\n")
    (tmp_path / "redis").write_text("redis://b")
    monkeypatch.setenv("SDLESSON_BOT_BURST", "3")
    monkeypatch.setenv("SDLESSON_BOT_DATABASE_URL_FILE", str(tmp_path / "url"))
    monkeypatch.setenv("SDLESSON_BOT_REDIS_URL_FILE", str(tmp_path / "redis"))
    monkeypatch.setenv("SDLESSON_BOT_REDIS_URL", "redis://c")
    found = load_configuration()
    assert (found.daily_quota, found.burst, found.admins) == (7, 3, (1, 2))
    assert found.database_url.get_secret_value() == "sqlite:///b.db"
    assert found.redis_url.get_secret_value() == "redis://c"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "token is missing: set SDLESSON_BOT_TOKEN"),
        ({"TOKEN": "hunter2"}, "token is not a bot's token"),
        ({"DAILY_QUOTA": "0"}, "daily_quota input should be greater than or equal to 1"),
        ({"DAILY_QUOTA": "many"}, "daily_quota input should be a valid integer"),
        ({"DAILY_QOUTA": "9"}, "SDLESSON_BOT_DAILY_QOUTA is no setting"),
        ({"BURST_FILE": "/x"}, "SDLESSON_BOT_BURST_FILE is no setting"),
        ({"LANGUAGE": "de"}, "language input should be 'en' or 'es'"),
        ({"MODELS": '["a", "a"]'}, "models must name one model or several different"),
        ({"CONTROLNETS": '{"sd15": "default"}'}, "controlnets has 'sd15', and models has pocket"),
        ({"WEBHOOK_URL": "http://me"}, "webhook_url must begin with https://"),
        ({"WEBHOOK_URL": "https://me"}, "webhook_url needs webhook_secret"),
        ({"WEBHOOK_URL": "https://me", "WEBHOOK_SECRET": "short"}, "needs webhook_secret"),
        ({"WEBHOOK_URL": "https://me", "WEBHOOK_SECRET": ""}, "needs webhook_secret"),
        ({"MODERATION_URL": "api.openai.com"}, "moderation_url must begin with https://"),
        ({"MODERATION_URL": "http://far.example/"}, "requests and key in the clear"),
        ({"MODERATION_THRESHOLD": "0"}, "moderation_threshold input should be greater than 0"),
        ({"MODERATION_AWAY": "shrug"}, "moderation_away input should be 'refuse' or 'let_through'"),
        (LDAP | {"LDAP_URL": "ldap.example.org"}, "ldap_url must look like ldaps://"),
        (LDAP | {"LDAP_URL": "ldaps://hunter2:x@h"}, "ldap_url must look like ldaps://"),
        (LDAP | {"LDAP_URL": "ldap://far.example"}, "would send the password in the clear"),
        (LDAP | {"LDAP_BASE": ""}, "ldap_url needs ldap_base"),
        (LDAP | {"LDAP_USER_FILTER": "(uid=*)"}, "an ldap_user_filter with {name} in it"),
        (LDAP | {"LDAP_BIND_PASSWORD": ""}, "ldap_bind_dn and ldap_bind_password go together"),
        (LDAP | {"LDAP_BIND_DN": ""}, "ldap_bind_dn and ldap_bind_password go together"),
        (LDAP | {"LDAP_CA_FILE": "/nowhere"}, "ldap_ca_file names /nowhere, which is not there"),
        (LDAP | {"LDAP_TIMEOUT_S": "0"}, "ldap_timeout_s input should be greater than or equal"),
        (LDAP | {"LOGIN_KEY": "short"}, "ldap_url needs login_key, of at least 32 characters"),
        (LDAP | {"LOGIN_HOURS": "0"}, "login_hours input should be greater than 0"),
        ({"MAX_WAITING": "2"}, "max_waiting_per_user must not be above max_waiting"),
        ({"CONFIG": "/nowhere.toml"}, "the file of settings /nowhere.toml is not there"),
        ({"TOKEN_FILE": "/nowhere"}, "SDLESSON_BOT_TOKEN_FILE names /nowhere, which cannot be"),
        ({"REDIS_URL_FILE": os.devnull}, "which is empty"),
    ],
)
def test_a_wrong_setting_is_said_in_one_line(monkeypatch, settings: dict, sentence: str) -> None:
    if not {"TOKEN", "TOKEN_FILE"} & set(settings) and settings:
        monkeypatch.setenv("SDLESSON_BOT_TOKEN", TOKEN)
    for name, value in settings.items():
        monkeypatch.setenv(f"SDLESSON_BOT_{name}", value)
    with pytest.raises(ConfigurationError) as refused:
        load_configuration()
    (line,) = str(refused.value).splitlines()
    assert sentence in line
    assert "hunter2" not in line


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"LDAP_URL": "ldap://ldap.example.org:389", "LDAP_START_TLS": "true"},
        {"LDAP_URL": "ldap://127.0.0.1:1389"},
        {"LDAP_BIND_DN": "", "LDAP_BIND_PASSWORD": ""},
        {"LDAP_USER_FILTER": "(&(sAMAccountName={name})(!(userAccountControl=2)))"},
    ],
)
def test_a_directory_may_be_set_in_these_ways_and_shows_no_secret(monkeypatch, changes) -> None:
    for name, value in ({"TOKEN": TOKEN} | LDAP | changes).items():
        monkeypatch.setenv(f"SDLESSON_BOT_{name}", value)
    found = load_configuration()
    assert "hunter2" not in repr(found)
    assert "kkkk" not in repr(found)


def test_a_worker_shares_the_settings_and_needs_none_of_the_secrets(monkeypatch) -> None:
    shared = {"WEBHOOK_URL": "https://me"} | LDAP
    for name in set(shared) - {"LDAP_BIND_PASSWORD", "LOGIN_KEY"}:
        monkeypatch.setenv(f"SDLESSON_BOT_{name}", shared[name])
    assert load_configuration(kind=WorkerConfiguration).ldap_url == shared["LDAP_URL"]


def test_all_that_is_wrong_is_said_at_once(monkeypatch) -> None:
    for name, value in {"BURST": "0", "LOG_LEVEL": "LOUD", "METRICS_PORT": "99999"}.items():
        monkeypatch.setenv(f"SDLESSON_BOT_{name}", value)
    with pytest.raises(ConfigurationError) as refused:
        load_configuration()
    assert len(str(refused.value).splitlines()) == 4


def test_a_wrong_name_in_the_file_and_a_file_that_is_no_toml_are_said(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'token = "{TOKEN}"\nquota = 3\n')
    with pytest.raises(ConfigurationError, match="quota is no setting"):
        load_configuration(path)
    path.write_text("token 3")
    with pytest.raises(ConfigurationError, match=r"mine\.toml is no TOML"):
        load_configuration(path)


def test_every_setting_has_a_field_that_cannot_be_changed(monkeypatch) -> None:
    monkeypatch.setenv("SDLESSON_BOT_TOKEN", TOKEN)
    with pytest.raises(ValueError, match="frozen"):
        load_configuration().burst = 9  # type: ignore[misc]
    assert set(Configuration.model_fields) >= {"redis_url", "metrics_port", "log_format"}
