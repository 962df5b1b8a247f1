"""Logins: a code from the right phone, a directory that knows its owner, what goes wrong."""

import base64
import logging
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyotp
import pytest
from PIL import Image

from fixtures_bot import Painter
from fixtures_ldap import LdapServer, ldap_server
from fixtures_service import Served, agrees, serving
from fixtures_talk import Group, answer, is_picture, picture, wait_until
from sdlesson.bot.store import UserRecord
from sdlesson.bot.texts import Localizer
from sdlesson.bot_api import Person
from sdlesson.bot_api.state import BOT_USERNAME
from sdlesson.bot_service import login as logins
from sdlesson.bot_service.directory import DirectoryError, LdapDirectory
from sdlesson.bot_service.log import stop_writing, write_log
from sdlesson.bot_service.login import LoginSettings
from sdlesson.bot_service.one_time_codes import (
    STEP_S,
    enrolment_uri,
    new_salt,
    read_code,
    secret_of,
    step_of,
)
from sdlesson.bot_service.service import login_texts
from sdlesson.bot_service.store.logins import MAX_WRONG_CODES

KEY = "a-key-of-these-tests-and-nothing-else"
ADMIN, GUEST, ANA, BEN, CARLA = 1_000_001, 1_000_002, 1_000_003, 1_000_004, 1_000_005


@pytest.fixture(scope="module")
def ldap() -> Iterator[LdapServer]:
    with ldap_server() as server:
        yield server


@pytest.fixture
def served(ldap: LdapServer, tmp_path: Path, monkeypatch) -> Iterator[Served]:
    monkeypatch.setattr(logins, "AWAY_S", 0.1)
    settings = LoginSettings(LdapDirectory(ldap.settings), KEY, hours=2, check_every_s=0.2)
    named = {"admins": (ADMIN,), "allowed": (GUEST,), "login": settings}
    with serving(tmp_path, **named) as served:
        for number, name in {ANA: "ana", BEN: "ben", CARLA: "(carla)"}.items():
            served.parts.store.logins.enrol(number, name, new_salt())
        yield served


def code_of(served: Served, user_id: int, steps: int = 0) -> str:
    """What the user's phone shows, or showed that many half minutes ago."""
    salt = served.parts.store.logins.enrolment(user_id).salt
    totp = pyotp.TOTP(secret_of(KEY, salt))
    return totp.at(int(time.time()) + steps * STEP_S)


def wrong_code(served: Served, user_id: int) -> str:
    near = {code_of(served, user_id, steps) for steps in range(-3, 4)}
    return next(code for code in ("000000", "111111", "222222", "333333") if code not in near)


def seen_by(person: Person) -> str:
    return "\n".join(one.get("text") or one.get("caption") or "" for one in person.messages)


# One after the other, as a user meets it.


@pytest.mark.parametrize("how", ["/login {}", "{}", "/login@{bot} {}", " {} "])
def test_a_code_lets_a_member_in_and_does_not_stay_in_the_chat(served: Served, how: str) -> None:
    ana = served.server.user("Ana", id=ANA)
    assert "log in first" in answer(ana, "a cat")["text"]
    code = code_of(served, ANA)
    assert "logged in as ana until 20" in answer(ana, how.format(code, bot=BOT_USERNAME))["text"]
    wait_until(lambda: code not in seen_by(ana))
    agrees(ana)
    assert picture(ana, "a cat")


def test_digits_with_a_gap_are_a_code_and_of_somebody_logged_in_a_prompt(served: Served) -> None:
    ana = served.server.user("Ana", id=ANA)
    code = code_of(served, ANA)
    assert "logged in as ana" in answer(ana, f"{code[:3]} {code[3:]}")["text"]
    agrees(ana)
    assert picture(ana, "123456")["caption"].startswith("123456")


def test_all_is_said_in_spanish_too(served: Served) -> None:
    ana = served.server.user("Ana", "es", id=ANA)
    assert "Primero inicia sesión" in answer(ana, "un gato")["text"]
    assert "no es correcto o ya se usó" in answer(ana, wrong_code(served, ANA))["text"]
    assert "Has iniciado sesión como ana" in answer(ana, code_of(served, ANA))["text"]
    assert "Has cerrado la sesión" in answer(ana, "/logout")["text"]


def test_who_was_not_enrolled_is_told_the_number_and_no_code_helps(served: Served) -> None:
    eve = served.server.user("Eve", id=777_000_777)
    assert "777000777" in answer(eve, "a cat")["text"]
    assert "777000777" in answer(eve, f"/login {code_of(served, ANA)}")["text"]
    before = len(eve.messages)
    eve.says(code_of(served, ANA))
    eve.says("/privacy")
    eve.waits_for("What I keep")
    assert len(eve.messages) == before + 3, "the digits alone were no login, and nothing else"
    assert not any(map(is_picture, eve.messages))


def test_a_code_of_somebody_else_is_wrong(served: Served) -> None:
    ben = served.server.user("Ben", id=BEN)
    assert "is wrong" in answer(ben, code_of(served, ANA))["text"]


def test_a_right_code_of_who_is_in_no_group_is_told_plainly(served: Served) -> None:
    ben = served.server.user("Ben", id=BEN)
    assert "does not list you among those" in answer(ben, code_of(served, BEN))["text"]
    assert "does not list you among those" in answer(ben, "a cat")["text"]


def test_a_name_with_brackets_gets_in(served: Served) -> None:
    carla = served.server.user("Carla", id=CARLA)
    assert "logged in as (carla)" in answer(carla, code_of(served, CARLA))["text"]


def test_a_code_counts_once(served: Served) -> None:
    ana = served.server.user("Ana", id=ANA)
    code = code_of(served, ANA)
    answer(ana, f"/login {code}")
    answer(ana, "/logout")
    assert "or was used before" in answer(ana, f"/login {code}")["text"]
    assert "log in first" in answer(ana, "a cat")["text"]


def test_wrong_codes_are_counted_down_and_then_even_a_right_one_is_not_looked_at(
    served: Served,
) -> None:
    ana = served.server.user("Ana", id=ANA)
    wrong = wrong_code(served, ANA)
    for left in range(MAX_WRONG_CODES - 1, 1, -1):
        assert f"{left} more tries" in answer(ana, wrong)["text"]
    assert "one more try" in answer(ana, f"/login {wrong}")["text"]
    assert "none for 15 min" in answer(ana, wrong)["text"]
    served.stop()
    served.start()  # which is no way out either
    assert "none for 15 min" in answer(ana, code_of(served, ANA))["text"]
    assert "as (carla)" in answer(served.server.user("C", id=CARLA), code_of(served, CARLA))["text"]


@pytest.mark.parametrize("written", ["hunter2", "54321", "7654321", "１２３４５６", "54321a"])
def test_what_is_no_code_is_deleted_and_not_counted(served: Served, written: str) -> None:
    ana = served.server.user("Ana", id=ANA)
    assert "six digits" in answer(ana, f"/login {written}")["text"]
    wait_until(lambda: written not in seen_by(ana))
    assert "4 more tries" in answer(ana, wrong_code(served, ANA))["text"]


def test_a_login_ends_by_itself_and_at_logout(served: Served, monkeypatch) -> None:
    ana = served.server.user("Ana", id=ANA)
    answer(ana, code_of(served, ANA))
    assert "as ana until" in answer(ana, "/login")["text"]
    agrees(ana)
    hours = time.time() + 3 * 3600
    with monkeypatch.context() as later:
        later.setattr(logins.time, "time", lambda: hours)
        assert "log in first" in answer(ana, "a cat")["text"]
    assert picture(ana, "a cat")
    assert "You are logged out" in answer(ana, "/logout")["text"]
    assert "not logged in" in answer(ana, "/logout")["text"]


def test_a_login_outlives_a_restart(served: Served) -> None:
    ana = served.server.user("Ana", id=ANA)
    answer(ana, code_of(served, ANA))
    agrees(ana)
    served.stop()
    served.start()
    assert picture(ana, "a cat")


def test_admins_and_guests_need_no_login(served: Served, ldap: LdapServer) -> None:
    ldap.stop()
    try:
        for number in (ADMIN, GUEST):
            person = served.person("Somebody", id=number)
            assert picture(person, "a cat")
            assert "need no login" in answer(person, "/login")["text"]
            assert picture(person, "123456")
    finally:
        ldap.start()


def test_who_is_banned_cannot_log_in(served: Served) -> None:
    ana, admin = served.server.user("Ana", id=ANA), served.person("Admin", id=ADMIN)
    answer(admin, f"/ban {ANA}")
    assert "has shut you out" in answer(ana, f"/login {code_of(served, ANA)}")["text"]
    assert served.parts.store.logins.enrolment(ANA).until == 0


def test_a_code_in_a_group_is_not_taken_but_asked_for_alone(served: Served) -> None:
    ana, group = served.server.user("Ana", id=ANA), Group(served.server)
    code = code_of(served, ANA)
    said = group.hears(ana, f"/login {code}")
    assert "to me alone" in group.seen.waits_for("Others read along", after=said)["text"]
    wait_until(lambda: any(one.get("message_id") for one in group.sends("deleteMessage")))
    assert "logged in as ana" in answer(ana, code)["text"], "it was not used up"


def test_a_code_below_a_photo_is_taken_and_deleted_like_any_other(served: Served) -> None:
    ana, photo = served.server.user("Ana", id=ANA), Image.new("RGB", (64, 64), "red")
    code = code_of(served, ANA)
    assert "logged in as ana" in answer(ana, f"/login {code}", photo=photo)["text"]
    wait_until(lambda: code not in seen_by(ana))


def test_forget_takes_the_key_of_the_codes_too_and_says_so(served: Served, tmp_path: Path) -> None:
    ana = served.server.user("Ana", id=ANA)
    answer(ana, code_of(served, ANA))
    told = answer(ana, "/privacy")["text"]
    assert "the key to your codes" in told
    salt = served.parts.store.logins.enrolment(ANA).salt.encode()
    kept = lambda: b"".join(path.read_bytes() for path in tmp_path.glob("bot.db*"))  # noqa: E731
    assert salt in kept()
    question = answer(ana, "/forget")
    assert "have to be enrolled anew" in question["text"]
    ana.presses(question, "Delete it all")
    ana.waits_for("I keep nothing about you", after=question)
    assert salt not in kept()
    assert "not enrolled yet" in answer(ana, "a cat")["text"]


# The directory goes, hangs, comes back, and changes its mind.


def test_while_the_directory_is_away_nobody_is_let_in_or_thrown_out(
    served: Served, ldap: LdapServer
) -> None:
    ana = served.server.user("Ana", id=ANA)
    ldap.stop()
    try:
        assert "cannot reach the company's directory" in answer(ana, code_of(served, ANA))["text"]
        assert "cannot reach the company's directory" in answer(ana, "/start")["text"]
    finally:
        ldap.start()
    time.sleep(0.2)
    agrees(ana)  # without another code
    assert picture(ana, "a cat")
    ldap.stop()
    try:
        time.sleep(0.3)
        ana.says("a dog")  # to which the answer was given, less than a minute ago
        ana.says("/privacy")
        ana.waits_for("What I keep about you")
        assert served.painter.batches == [["a cat"]]
    finally:
        ldap.start()
    time.sleep(0.2)
    assert picture(ana, "a dog")


def test_a_directory_that_hangs_keeps_nobody_else_waiting(
    ldap: LdapServer, tmp_path: Path, monkeypatch
) -> None:
    settings = LoginSettings(LdapDirectory(replace(ldap.settings, timeout_s=1)), KEY)
    with serving(tmp_path, allowed=(GUEST,), login=settings) as served:
        guest, ana = served.person("Guest", id=GUEST), served.server.user("Ana", id=ANA)
        served.parts.store.logins.enrol(ANA, "ana", new_salt())
        with ldap.hanging():
            ana.says(code_of(served, ANA))
            began = time.monotonic()
            assert picture(guest, "a cat")
            assert time.monotonic() - began < 1
            assert "cannot reach the company's directory" in ana.waits_for("directory")["text"]
        assert "cannot reach" in answer(ana, "/login")["text"], "it is not asked again at once"


def test_a_directory_that_breaks_down_in_a_way_nobody_thought_of_lets_nobody_in(
    tmp_path: Path,
) -> None:
    class Broken:
        def find(self, name: str) -> None:
            raise KeyError(name)

    with serving(tmp_path, login=LoginSettings(Broken(), KEY)) as served:
        served.parts.store.people.save_user(ANA, UserRecord(consented=True))
        served.parts.store.logins.enrol(ANA, "ana", new_salt())
        ana = served.server.user("Ana", id=ANA)
        answer(ana, code_of(served, ANA))
        assert "went wrong" in answer(ana, "a cat")["text"]
        time.sleep(0.5)
        assert served.painter.batches == []


def test_those_who_wait_for_a_silent_directory_do_not_wait_one_by_one(tmp_path: Path) -> None:
    class Silent:
        asked = 0

        def find(self, name: str) -> None:
            self.asked += 1
            time.sleep(0.5)
            raise DirectoryError("silent")

    silent, numbers = Silent(), range(1, 25)
    with serving(tmp_path, login=LoginSettings(silent, KEY)) as served:
        for number in numbers:
            served.parts.store.logins.enrol(number, "ana", new_salt())
            served.parts.store.logins.try_code(number, lambda _: 7, 1, time.time())
        people = [served.server.user(f"P{number}", id=number) for number in numbers]
        for person in people:
            person.says("a cat")
        for person in people:
            person.waits_for("cannot reach the company's directory")
        assert silent.asked <= 4


def test_who_leaves_the_group_is_out_soon_and_without_a_restart(served: Served) -> None:
    class Leaving:
        def __init__(self, directory) -> None:
            self.directory, self.has_left = directory, False

        def find(self, name):
            return None if self.has_left else self.directory.find(name)

    login = served.run._access._ask_login.__self__
    leaving = Leaving(login._settings.directory)
    login._settings = LoginSettings(leaving, KEY, check_every_s=0.2)
    ana = served.server.user("Ana", id=ANA)
    answer(ana, code_of(served, ANA))
    agrees(ana)
    leaving.has_left = True
    time.sleep(0.3)
    assert "does not list you" in answer(ana, "a cat")["text"]
    leaving.has_left = False
    assert picture(ana, "a cat")


def test_no_code_secret_name_or_number_is_logged(
    served: Served, ldap: LdapServer, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    with path.open("w") as stream:
        write_log(level="DEBUG", stream=stream)
        try:
            ana = served.server.user("Ana", id=ANA)
            wrong, right = wrong_code(served, ANA), code_of(served, ANA)
            answer(ana, wrong)
            answer(ana, "/login hunter2-of-ana")
            ldap.stop()
            answer(ana, right)
        finally:
            ldap.start()
            stop_writing()
            logging.getLogger().setLevel(logging.WARNING)
    written = path.read_text()
    assert "gave a code that does not count" in written
    assert "nobody can be looked up: the directory at ldap://" in written
    salt = served.parts.store.logins.enrolment(ANA).salt
    for secret in (salt, secret_of(KEY, salt), KEY, "hunter2", str(ANA), wrong, right):
        assert secret not in written.replace("127.0.0.1", ""), secret


# The codes themselves.


def test_a_phones_clock_may_be_off_by_half_a_minute_and_no_more() -> None:
    secret, now = secret_of(KEY, new_salt()), 1_764_331_229.0
    current = int(now // STEP_S)
    for steps in range(-4, 5):
        code = pyotp.TOTP(secret).at(int(now) + steps * STEP_S)
        assert step_of(secret, code, now) == (current + steps if abs(steps) <= 1 else None)


def test_codes_are_those_of_the_standard() -> None:
    """RFC 6238, appendix B, of whose eight digits apps show the last six."""
    secret = base64.b32encode(b"12345678901234567890").decode()
    for now, digits in ((59, "94287082"), (1111111109, "07081804"), (20000000000, "65353130")):
        assert step_of(secret, digits[-6:], now) == now // STEP_S


def test_a_secret_needs_key_and_salt_and_an_app_can_read_it() -> None:
    salt = new_salt()
    secrets = {secret_of(KEY, salt), secret_of(KEY + "x", salt), secret_of(KEY, new_salt())}
    assert len(secrets) == 3
    read = pyotp.parse_uri(enrolment_uri(secret_of(KEY, salt), "o*hara (d\\emir) & ñandú"))
    assert read.secret == secret_of(KEY, salt)
    assert read.name == "o*hara (d\\emir) & ñandú"


@pytest.mark.parametrize("text", ["", "12345", "1234567", "١٢٣٤٥٦", "12345x", "1e5000", "-12345"])
def test_other_texts_are_no_codes(text: str) -> None:
    assert read_code(text) == ""


def test_every_text_is_in_both_languages_and_names_commands_that_there_are() -> None:
    for name, text in vars(login_texts).items():
        if not isinstance(text, login_texts.Text):
            continue
        assert text.en != text.es, name
        fields = [set(re.findall(r"\{(\w+)\}", one)) for one in text]
        assert fields[0] == fields[1], name
        for language in ("en", "es"):
            values = dict.fromkeys(fields[0], "<b>")
            assert "<b>" not in Localizer(language)(text, **values)


def test_the_painter_is_asked_for_nothing_before_a_login(served: Served) -> None:
    ana = served.server.user("Ana", id=ANA)
    for words in ("a cat", "/draw a cat", "/start", "/queue", "/settings", "/history", "/stats"):
        ana.says(words)
    answer(ana, "/privacy")
    assert isinstance(served.painter, Painter)
    assert served.painter.batches == []
    assert [one["text"] for one in ana.messages if one["from"]["is_bot"]].count(
        login_texts.LOG_IN.en
    ) == 1
