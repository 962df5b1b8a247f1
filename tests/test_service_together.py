"""Where features meet: forgetting and bans with requests half taken, groups, waiting edits."""

import asyncio
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import text

from fixtures_bot import Painter
from fixtures_service import Served, agrees, serving
from fixtures_talk import Group, album, answer, data_of, is_picture, picture, wait_until
from sdlesson.bot_service.limits import Limits
from sdlesson.bot_service.models.catalogue import Catalogue
from sdlesson.bot_service.moderation import Moderation
from sdlesson.bot_service.store import StoredJobState
from test_service_models import BOTH, offering

ADMIN, CHANNEL = 4001, -1009
RED = Image.new("RGB", (64, 64), "red")


class SlowModerator:
    """Lets everything pass, once it is let."""

    def __init__(self) -> None:
        self.asked, self.gate = threading.Event(), threading.Event()

    async def refuses(self, _text: str) -> bool:
        self.asked.set()
        await asyncio.to_thread(self.gate.wait, 20)
        return False


def command(text: str) -> list[dict]:
    """What Telegram says of a command that a message begins with."""
    return [{"type": "bot_command", "offset": 0, "length": len(text)}]


def rows(served: Served, table: str, user_id: int) -> int:
    """How much of a user a table holds."""
    with served.parts.store.database.begin() as connection:
        mine = text(f"SELECT count(*) FROM {table} WHERE user_id = {user_id}")
        return connection.execute(mine).scalar_one()


def joined(served: Served, name: str = "Eva") -> tuple:
    """A person, and a group in which a channel writes that has agreed."""
    eva, group = served.person(name), Group(served.server)
    group.hears(CHANNEL, "/start")
    welcome = group.seen.waits_for("What I keep")
    group.presses(eva, welcome, data_of(welcome))
    group.seen.waits_for("/help", after=welcome)
    return eva, group


def test_an_album_that_is_being_looked_at_when_its_owner_is_forgotten_is_not_drawn(
    tmp_path: Path,
) -> None:
    moderator = SlowModerator()
    with serving(tmp_path, moderation=Moderation((), moderator)) as served:
        ana = served.person()
        album(ana, [RED] * 2, ["a secret cat", ""])
        assert moderator.asked.wait(5)
        question = ana.waits_for("Shall I delete", after=ana.says("/forget"))
        ana.presses(question, "Delete it all")
        ana.waits_for("I keep nothing about you", after=question)
        moderator.gate.set()
        ana.waits_for("Cancelled: a secret cat", after=question)
        assert rows(served, "jobs", ana.id) == rows(served, "users", ana.id) == 0
        assert not any(map(is_picture, ana.messages))


@pytest.mark.parametrize(
    ("caption", "said", "language"),
    [
        ("/model", "This bot has one model", "en"),
        ("/lora none", "There is no LoRA for the model", "en"),
        ("/history", "no requests of yours on record", "en"),
        ("/historia", "No conozco esa orden", "es"),
        ("/privacy", "Qué guardo de ti", "es"),
        ("/forget", "Shall I delete", "en"),
        ("/stats", "for admins only", "en"),
    ],
)
def test_an_album_with_a_command_of_the_service_below_it_is_answered_once(
    tmp_path: Path, caption: str, said: str, language: str
) -> None:
    with serving(tmp_path) as served:
        ana = served.person("Ana", language)
        before = len(ana.messages)
        album(ana, [RED] * 3, ["", caption, ""])
        ana.waits_for(said)
        wait_until(lambda: not served.parts.store.inbox.unhandled())
        assert len(ana.messages) == before + 3 + 1
        assert not served.painter.batches


def test_a_picture_that_is_being_sent_while_its_owner_is_forgotten_is_told_of(
    tmp_path: Path,
) -> None:
    with serving(tmp_path) as served:
        ana, store = served.person(), served.parts.store
        served.server.fail("sendPhoto", delay_s=1.5)
        ana.says("a cat")
        wait_until(lambda: store.counts() == {StoredJobState.SENDING: 1})
        question = ana.waits_for("unless I am sending them already", after=ana.says("/forget"))
        ana.presses(question, "Delete it all")
        done = ana.waits_for("I keep nothing about you", after=question)
        assert "was just being sent and may still arrive" in done["text"]
        wait_until(lambda: any(map(is_picture, ana.messages)))
        time.sleep(2)  # until Telegram has said that the picture is there
        assert rows(served, "buttons", ana.id) == 0, "nor is anything kept for its buttons"
        agrees(ana)
        question = ana.waits_for("Shall I delete", after=ana.says("/forget"))
        ana.presses(question, "Delete it all")
        done = ana.waits_for("I keep nothing about you", after=question)
        assert "still arrive" not in done["text"], "nothing is on its way now"


def test_what_was_asked_for_before_agreeing_is_drawn_after_it_and_is_no_buttons(
    tmp_path: Path,
) -> None:
    with serving(tmp_path) as served:
        ana, store = served.server.user("Ana"), served.parts.store
        welcome = answer(ana, "a cat --seed 5")
        assert store.counts() == {}
        wait_until(lambda: not store.inbox.unhandled())
        assert rows(served, "users", ana.id) == 0, "nothing is kept before"
        ana.presses(welcome, data="agree:")
        assert "seed 5" in ana.waits_for(is_picture)["caption"]
        with store.database.begin() as connection:
            assert connection.exec_driver_sql("SELECT button FROM jobs").scalar_one() is None


def test_what_is_being_looked_at_when_its_owner_is_banned_is_not_drawn(tmp_path: Path) -> None:
    moderator = SlowModerator()
    moderation = Moderation((), moderator)
    with serving(tmp_path, moderation=moderation, admins=(ADMIN,)) as served:
        admin, ana = served.person("Admin", id=ADMIN), served.person()
        ana.says("un gato")
        assert moderator.asked.wait(5)
        assert "is shut out" in answer(admin, f"/ban {ana.id}")["text"]
        moderator.gate.set()
        ana.waits_for("Cancelled: un gato")
        assert not served.painter.batches


def test_an_album_that_is_coming_in_when_its_owner_is_banned_is_not_drawn(tmp_path: Path) -> None:
    with serving(tmp_path, admins=(ADMIN,)) as served:
        admin, ana = served.person("Admin", id=ADMIN), served.person()
        album(ana, [RED] * 2, ["a bear", ""])
        assert "is shut out" in answer(admin, f"/ban {ana.id}")["text"]
        ana.waits_for("Cancelled: a bear")
        wait_until(lambda: not served.parts.store.inbox.unhandled())
        assert not served.painter.batches
        assert served.parts.store.counts() == {}


def test_forget_of_a_channel_deletes_what_is_the_channels_and_not_who_pressed(
    tmp_path: Path,
) -> None:
    with serving(tmp_path) as served:
        eva, group = joined(served)
        picture(eva, "a dog")
        group.hears(CHANNEL, "/draw a cat")
        group.seen.waits_for(is_picture)
        wait_until(lambda: served.parts.store.counts() == {StoredJobState.SENT: 2})
        asked = group.hears(CHANNEL, "/forget", entities=command("/forget"))
        question = group.seen.waits_for("Shall I delete", after=asked)
        group.presses(eva, question, data_of(question))
        group.seen.waits_for("I keep nothing about you", after=question)
        for table in ("jobs", "users", "buttons"):
            assert rows(served, table, CHANNEL) == 0, table
            assert rows(served, table, eva.id) == 1, table


def test_a_button_below_what_a_channel_asked_for_works_as_before_after_a_restart(
    tmp_path: Path,
) -> None:
    with serving(tmp_path) as served:
        eva, group = joined(served)
        asked = group.hears(CHANNEL, "/settings")
        settings = group.seen.waits_for("usually want", after=asked)
        served.stop()
        served.start()
        group.presses(eva, settings, data_of(settings, "set:steps+"))
        wait_until(lambda: "10 steps" in str(group.seen.messages[-1]))
        asked = group.hears(CHANNEL, "/draw a cat")
        assert "10 steps" in group.seen.waits_for(is_picture, after=asked)["caption"]


def test_a_channel_that_is_banned_has_no_more_pictures_by_its_old_buttons(tmp_path: Path) -> None:
    with serving(tmp_path, admins=(ADMIN,)) as served:
        _, group = joined(served)
        group.hears(CHANNEL, "/draw a cat")
        shown = group.seen.waits_for(is_picture)
        served.parts.store.people.ban(CHANNEL, by=ADMIN)
        served.stop()
        served.start()
        max_ = served.person("Max")
        group.presses(max_, shown, data_of(shown, "seed:"))
        group.seen.waits_for("has shut you out", after=shown)
        assert served.painter.batches == [["a cat"]]


def test_history_in_a_group_shows_only_what_was_asked_for_there(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        ana, group = served.person(), Group(served.server)
        picture(ana, "a secret cat")
        group.hears(ana, "/draw a dog")
        group.seen.waits_for(is_picture)
        asked = group.hears(ana, "/history", entities=command("/history"))
        told = group.seen.waits_for("Your latest requests", after=asked)["text"]
        assert "a dog" in told
        assert "secret" not in told
        own = answer(ana, "/history")["text"]
        assert "secret" in own


def test_outlines_that_waited_for_a_model_that_is_gone_are_refused_plainly(tmp_path: Path) -> None:
    with offering(tmp_path) as served:
        cards = served.painter.cards
        served.painter.cards = cards | {"ink": replace(cards["ink"], has_control=True)}
        served.painter.has_control = True
        ana = served.person()
        answer(ana, "/model ink")
        served.painter.step_s = 0.3
        ana.says("a dog --steps 20")
        ana.says("a bear --control outline --steps 5", photo=RED)
        wait_until(lambda: len(served.parts.store.jobs.history(ana.id)) == 2)
        served.stop()
        only = Catalogue({"oil": BOTH.sources["oil"]})
        served.parts = replace(served.parts, catalogue=only)
        served.painter.cards, served.painter.step_s = cards, 0.0
        served.painter.has_control = False
        restarted = len(ana.messages)
        served.start()
        ana.waits_for("I cannot follow outlines here", timeout_s=5)
        wait_until(lambda: not served.parts.store.jobs.waiting())
        assert not any("control" in one.control for one in served.painter.requests if one.control)
        assert not any("draw this with" in str(one) for one in ana.messages[restarted:][2:])


def test_a_picture_that_waited_when_its_owner_was_forgotten_is_not_charged(tmp_path: Path) -> None:
    limits = Limits(burst=99, per_minute=99, daily=2)
    with serving(tmp_path, Painter(step_s=0.3), limits=limits) as served:
        ana = served.person()
        ana.says("a cat --steps 20")
        ana.waits_for("Drawing")
        ana.says("a dog --steps 7")
        wait_until(lambda: len(served.parts.store.jobs.waiting()) == 1)
        question = ana.waits_for("Shall I delete", after=ana.says("/forget"))
        ana.presses(question, "Delete it all")
        ana.waits_for("I keep nothing about you", after=question)
        served.painter.step_s = 0.0
        agrees(ana)
        assert served.parts.store.jobs.drawn_today(ana.id) == 1
        assert picture(ana, "a bird")


def test_the_memory_keeps_no_request_of_who_was_forgotten_while_a_picture_left(
    tmp_path: Path,
) -> None:
    with serving(tmp_path) as served:
        ana = served.person()
        served.server.fail("sendPhoto", delay_s=4.0)
        ana.says("a secret cat")
        wait_until(lambda: StoredJobState.SENDING in served.parts.store.counts())
        question = ana.waits_for("Shall I delete", after=ana.says("/forget"))
        ana.presses(question, "Delete it all")
        ana.waits_for("I keep nothing about you", after=question)
        shown = ana.waits_for(is_picture)
        wait_until(lambda: not served.run._view._writes)
        agrees(ana)
        ana.presses(shown, data=data_of(shown, "seed:"))
        wait_until(lambda: "no longer works" in ana.notice.get("text", ""))
        assert not [one for one in served.run.worker.recent if one.user_id == ana.id]


@pytest.mark.parametrize("bad", [0, 1])
def test_one_photo_that_is_no_good_keeps_no_other_of_its_album_from_being_drawn(
    tmp_path: Path, bad: int
) -> None:
    with serving(tmp_path) as served:
        ana = served.person()
        photos = [RED, RED, RED]
        photos[bad] = Image.new("RGB", (4, 4), "red")
        album(ana, photos, ["a bear", "", ""])
        wait_until(lambda: sum(map(is_picture, ana.messages)) == 2, 10)


@pytest.mark.parametrize("bad", ["a volcano", "a bear --stepz 4"])
def test_words_that_are_refused_keep_no_other_words_of_an_album_from_being_drawn(
    tmp_path: Path, bad: str
) -> None:
    with serving(tmp_path, moderation=Moderation(("volcano",))) as served:
        ana = served.person()
        album(ana, [RED] * 3, [bad, "a bear", bad])
        wait_until(lambda: sum(map(is_picture, ana.messages)) == 1, 10)
        told = [one for one in ana.messages if "volcano" in str(one) or "--stepz" in str(one)]
        assert len([one for one in told if one["from"]["is_bot"]]) == 1


def test_a_command_of_the_service_may_stand_below_a_photo(tmp_path: Path) -> None:
    with offering(tmp_path) as served:
        ana = served.person()
        assert "ink" in answer(ana, "/model ink", photo=RED)["text"]
        assert served.parts.store.people.load_user(ana.id).model == "ink"
        assert "What I keep about you" in answer(ana, "/privacy", photo=RED)["text"]
        assert "no requests of yours" in answer(ana, "/history", photo=RED)["text"]
        assert picture(ana, "/draw a cat", photo=RED)["caption"].startswith("a cat")


def test_a_picture_comes_in_the_language_that_was_chosen_while_it_waited(tmp_path: Path) -> None:
    with serving(tmp_path, Painter(step_s=0.2)) as served:
        ana = served.person()
        ana.says("a cat --steps 10")
        ana.waits_for("Drawing")
        ana.presses(answer(ana, "/language"), data="language:es")
        shown = ana.waits_for(is_picture)
        assert "semilla" in shown["caption"]
