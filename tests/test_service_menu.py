"""The menu, the welcome and the help: they name what there is, to those who may have it."""

import re
from pathlib import Path
from typing import Any

import pytest

from fixtures_service import Served, serving
from fixtures_talk import answer, wait_until
from sdlesson.bot import texts as bot_texts
from sdlesson.bot.handlers import Handlers
from sdlesson.bot_service.directory import DirectoryError
from sdlesson.bot_service.login import LoginSettings
from sdlesson.bot_service.models.catalogue import Catalogue
from sdlesson.bot_service.service import login_texts, texts
from sdlesson.bot_service.service.handlers import ServiceHandlers
from sdlesson.bot_service.service.menu import users_commands

ADMIN, ANA = 1_000_001, 1_000_002
# Handled, and not offered: Telegram has a button of its own for the first, and the second is
# another name of /draw.
NOT_OFFERED = {"start", "generate"}
DEFAULT = str([("type", "default")])


class Away:
    """A directory that is not there."""

    def find(self, name: str) -> None:
        raise DirectoryError("away")


CHOICE = Catalogue({"painter": "painter", "ink": "ink"})  # so there is a /model
LOGIN = LoginSettings(Away(), "k" * 32)


def menus(served: Served) -> dict[tuple[str, str], dict[str, str]]:
    """All that the bot has set: by chats and language, each command's description."""
    kept = served.server.run(lambda telegram: dict(telegram.commands))
    return {
        place: {one["command"]: one["description"] for one in commands}
        for place, commands in kept.items()
    }


def of_chat(number: int) -> str:
    return str([("chat_id", number), ("type", "chat")])


@pytest.mark.parametrize("login", [None, LOGIN])
def test_what_is_handled_is_in_the_menu_and_the_other_way_round(tmp_path: Path, login) -> None:
    with serving(tmp_path, admins=(ADMIN,), login=login, catalogue=CHOICE) as served:
        served.person("Admin", id=ADMIN)
        wait_until(lambda: len(menus(served)) == 4)
        everybodys, admins = menus(served)[DEFAULT, ""], menus(served)[of_chat(ADMIN), ""]
        bots, service = (owners(served)[one] for one in (Handlers, ServiceHandlers))
        assert bots._commands.keys() > service._commands.keys() | service._admins_commands.keys()
        handled = {*bots._commands, *(login_texts.COMMANDS if login else ())}
        assert set(everybodys) == handled - NOT_OFFERED - set(service._admins_commands)
        assert set(admins) == set(everybodys) | set(service._admins_commands)
        assert set(texts.ADMINS_COMMANDS) == set(service._admins_commands)


def test_every_command_of_the_menu_is_answered(tmp_path: Path) -> None:
    with serving(tmp_path, admins=(ADMIN,), login=LOGIN, catalogue=CHOICE) as served:
        admin = served.person("Admin", id=ADMIN)
        wait_until(lambda: len(menus(served)) == 4)
        offered = menus(served)[of_chat(ADMIN), ""]
        assert len(offered) >= 16
        for name in offered:
            assert answer(admin, f"/{name}")["text"] != bot_texts.NO_SUCH_COMMAND.en, name
        assert answer(admin, "/nonsense")["text"] == bot_texts.NO_SUCH_COMMAND.en


def test_the_menu_is_in_both_languages_and_only_admins_see_what_is_theirs(tmp_path: Path) -> None:
    with serving(tmp_path, admins=(ADMIN,)) as served:
        assert len(menus(served)) == 2, "the admin never wrote, so Telegram knows no such chat"
        served.person("Admin", id=ADMIN)
        wait_until(lambda: len(menus(served)) == 4)
        for place, spanish in (("forget", "borrar todo"), ("history", "tus últimas peticiones")):
            assert menus(served)[DEFAULT, "es"][place].startswith(spanish)
        assert menus(served)[of_chat(ADMIN), "es"]["ban"] == "cerrarle el paso a alguien"
        assert menus(served)[DEFAULT, ""].keys() == menus(served)[DEFAULT, "es"].keys()
        assert not set(texts.ADMINS_COMMANDS) & set(menus(served)[DEFAULT, ""])
        served.stop()
        served.server.run(lambda telegram: telegram.commands.clear())
        served.start()
        assert len(menus(served)) == 4, "at the next start it does"


@pytest.mark.parametrize(
    ("language", "kept"),
    [
        ("en", ["What I keep", "for 7 days", "/privacy", "/forget deletes everything"]),
        ("es", ["Qué guardo", "durante 7 días", "/privacy", "/forget lo borra todo"]),
    ],
)
def test_the_welcome_says_what_is_kept_for_how_long_and_how_it_goes(
    tmp_path: Path, language: str, kept: list[str]
) -> None:
    with serving(tmp_path, retention_days=6.2) as served:
        welcome = answer(served.server.user("Ana", language), "/start")["text"]
        for words in kept:
            assert words in welcome
        assert "until the bot is stopped" not in welcome
        assert "hasta que el bot se detenga" not in welcome


@pytest.mark.parametrize(("days", "told"), [(0.3, "for one day."), (1, "for one day.")])
def test_less_than_two_days_are_one(tmp_path: Path, days: float, told: str) -> None:
    with serving(tmp_path, retention_days=days) as served:
        assert told in answer(served.server.user("Ana"), "/start")["text"]


@pytest.mark.parametrize(("language", "has_login"), [("en", False), ("es", True)])
def test_the_help_names_the_services_commands_too(
    tmp_path: Path, language: str, has_login: bool
) -> None:
    named = {"allowed": (ANA,), "login": LOGIN} if has_login else {}
    with serving(tmp_path, **named) as served:
        told = answer(served.server.user("Ana", language, id=ANA), "/help")["text"]
        for name in {*users_commands(has_login=has_login)} - {"draw", "help"}:
            assert f"/{name} " in told, name
        assert "/draw" in told
        assert ("/login" in told) is has_login


def test_texts_name_commands_that_there_are_and_both_languages_fill_in_the_same() -> None:
    known = {*users_commands(has_login=True), *texts.ADMINS_COMMANDS, *NOT_OFFERED}
    for module in (texts, login_texts):
        for name, text in vars(module).items():
            if isinstance(text, texts.Text):
                named = [set(re.findall(r"(?<![<\w.])/([a-z]+)", one)) for one in text]
                assert named[0] == named[1], name
                assert named[0] <= known, name
                fields = [set(re.findall(r"\{(\w+)\}", one)) for one in text]
                assert fields[0] == fields[1], name


def owners(served: Served) -> dict[type, Any]:
    """What handles updates in a bot put together like this one."""
    application = served.run._application(served.run.worker)
    callbacks = (one.callback for group in application.handlers.values() for one in group)
    found = (getattr(one, "__self__", None) for one in callbacks)
    return {type(one): one for one in found}
