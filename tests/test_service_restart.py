"""A bot that is stopped, killed and started again: what was promised is kept, or said."""

import asyncio
import sqlite3
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from PIL import Image
from telegram import Update

from fixtures_bot import Painter
from fixtures_kills import endure, states, texts_of
from fixtures_service import ENDLESS, Nursery, agrees, serving
from fixtures_talk import album, answer, is_picture, picture, wait_until
from sdlesson.bot.queue import FairQueue
from sdlesson.bot.requests import Request
from sdlesson.bot_api import BotApiServer
from sdlesson.bot_service.service.journal import Journal
from sdlesson.bot_service.service.memory import StoreView
from sdlesson.bot_service.service.run import ServiceRun
from sdlesson.bot_service.store import NewJob, Store, StoredJobState, StoreThread
from sdlesson.bot_service.store.inbox import MAX_TRIES, Inbox

State = StoredJobState


def test_a_picture_is_on_record_from_the_request_to_its_arrival(tmp_path: Path) -> None:
    with serving(tmp_path, Painter(step_s=0.1)) as served:
        ana = served.person()
        ana.says("a cat --seed 7")
        wait_until(lambda: states(served.parts.store) == {"a cat": State.RUNNING})
        assert ana.waits_for(is_picture)["caption"].startswith("a cat\nseed 7")
        wait_until(lambda: states(served.parts.store) == {"a cat": State.SENT})
        assert served.parts.store.jobs.history(ana.id)[0].seed == 7
        assert served.parts.store.inbox.unhandled() == []


@pytest.mark.parametrize(
    ("wish", "end", "told"),
    [
        ("a volcano", State.FLAGGED, "flagged this picture"),
        ("explode", State.FAILED, "Something went wrong"),
    ],
)
def test_other_ends_are_on_record_too(tmp_path: Path, wish: str, end: State, told: str) -> None:
    with serving(tmp_path) as served:
        served.person().says(wish)
        wait_until(lambda: states(served.parts.store) == {wish: end})
        wait_until(lambda: served.parts.store.jobs.untold() == [])


def test_a_cancelled_job_is_on_record_as_that_and_stays_cancelled(tmp_path: Path) -> None:
    with serving(tmp_path, Painter(step_s=0.2)) as served:
        ana = served.person()
        for name in ("a cat", "a dog --steps 7"):
            ana.says(name)
        wait_until(lambda: len(states(served.parts.store)) == 2)
        ana.says("/cancel")
        ana.waits_for("Cancelled: a dog")
        wait_until(lambda: set(states(served.parts.store).values()) == {State.CANCELLED})
        served.stop()
        served.start()
        assert picture(ana, "a fox")["caption"].startswith("a fox")


def test_what_waits_when_the_bot_is_stopped_is_drawn_by_the_next_run(tmp_path: Path) -> None:
    with serving(tmp_path, Painter(step_s=0.3)) as served:
        ana, eva = served.person(), served.person("Eva", "es")
        ana.says("a cat --steps 20")
        ana.waits_for("Drawing")
        ana.says("a dog --steps 7")
        eva.says("un zorro --pasos 9")
        wait_until(lambda: len(states(served.parts.store)) == 3)
        served.stop()
        assert set(states(served.parts.store).values()) == {State.ACCEPTED}
        assert "This keeps its place" in "".join(texts_of(ana))
        assert "Esto conserva su sitio" in "".join(texts_of(eva))
        served.painter.step_s = 0.0
        served.start()
        assert ana.waits_for("in the queue again: 2")
        assert eva.waits_for("vuelve a estar en la cola: 1")
        for one, begins in ((ana, "a cat"), (ana, "a dog"), (eva, "un zorro")):
            one.waits_for(lambda m, b=begins: is_picture(m) and m["caption"].startswith(b))
        wait_until(lambda: set(states(served.parts.store).values()) == {State.SENT})
        wait_until(lambda: "Drawing" not in "".join(texts_of(ana)))


def test_what_was_promised_has_its_place_though_there_is_no_room_for_it(tmp_path: Path) -> None:
    with serving(tmp_path, Painter(step_s=0.3)) as served:
        ana = served.person()
        ana.says("a cat --steps 20")
        ana.waits_for("Drawing")
        for wish in ("a dog --steps 7", "a fox --steps 9"):
            ana.says(wish)
        wait_until(lambda: len(states(served.parts.store)) == 3)
        served.stop()
        served.parts = replace(served.parts, queue=partial(FairQueue, 1, 1))
        served.painter.step_s = 0.0
        served.start()
        wait_until(lambda: set(states(served.parts.store).values()) == {State.SENT}, 20)
        assert sum(map(is_picture, ana.messages)) == 3


def test_a_photo_and_its_album_survive_a_stop(tmp_path: Path) -> None:
    with serving(tmp_path, Painter(step_s=0.3)) as served:
        ana = served.person()
        album(ana, [Image.new("RGB", (90, 90), one) for one in ("red", "blue")], ["a bear", ""])
        wait_until(lambda: len(served.parts.store.jobs.history(ana.id)) == 2)
        served.stop()
        served.painter.step_s = 0.0
        served.start()
        wait_until(lambda: sum(map(is_picture, ana.messages)) == 2, 10)
        time.sleep(0.5)
        assert sum(map(is_picture, ana.messages)) == 2


def test_what_is_on_record_is_not_refused_where_its_update_comes_again(tmp_path: Path) -> None:
    """As after a kill between the record and the word that the update is done."""
    with serving(tmp_path, Painter(step_s=0.3)) as served:
        ana = served.person()
        photos = [Image.new("RGB", (90, 90), one) for one in ("red", "green", "blue")]
        album(ana, photos, ["a bear --steps 9", "", ""])
        wait_until(lambda: len(served.parts.store.jobs.history(ana.id)) == 3)
        updates = served.server.updates[-3:]
        served.stop()
        served.parts.store.purge(30, time.time() + 86_400 * 3)  # which the inbox does not remember
        served.parts.store.inbox.add(updates)
        served.start()
        wait_until(lambda: not served.parts.store.inbox.unhandled())
        assert "waiting already" not in "".join(texts_of(ana))
        assert len(served.parts.store.jobs.history(ana.id)) == 3
        ana.says("/cancel")


def test_the_rest_of_an_album_is_drawn_once_where_some_of_it_is_on_record(tmp_path: Path) -> None:
    """As after a kill in its midst: each photo is told from the others by its own update."""
    with serving(tmp_path) as served:
        ana, store = served.person(), served.parts.store
        photos = [Image.new("RGB", (90, 90), one) for one in ("red", "green", "blue")]
        album(ana, photos, ["a bear", "a bear", "a bear"])
        wait_until(lambda: sum(map(is_picture, ana.messages)) == 3)
        updates = served.server.updates[-3:]
        served.stop()
        last = store.jobs.history(ana.id)[0]
        with store.database.begin() as connection:
            connection.exec_driver_sql(f"DELETE FROM jobs WHERE id = '{last.id}'")
            connection.exec_driver_sql("DELETE FROM inbox")
        store.inbox.add(updates[1:])
        served.start()
        wait_until(lambda: sum(map(is_picture, ana.messages)) == 4)
        wait_until(lambda: not store.inbox.unhandled())
        assert sum(map(is_picture, ana.messages)) == 4


def test_edits_that_wait_are_drawn_by_the_next_run_as_they_were_asked_for(tmp_path: Path) -> None:
    painter = Painter(step_s=0.3, has_control=True)
    with serving(tmp_path, painter) as served:
        ana = served.person()
        ana.says("a dog --steps 20")
        ana.waits_for("Drawing")
        wishes = {"a cat --control outline --seed 7": "red", "--widen left --seed 8": "blue"}
        for wish, colour in wishes.items():
            ana.says(wish, photo=Image.new("RGB", (96, 64), colour))
        wait_until(lambda: len(states(served.parts.store)) == 3)
        served.stop()
        painter.step_s, painter.requests = 0.0, []
        served.start()
        first = ana.waits_for(lambda one: is_picture(one) and "control outline" in str(one))
        second = ana.waits_for(lambda one: is_picture(one) and "widened: left" in str(one))
        drawn = {request.seed: request for request in painter.requests}
        assert (drawn[7].control, drawn[7].photo.size) == ("outline", (32, 32))
        assert drawn[7].photo.getpixel((9, 9))[0] > 200 > 60 > drawn[7].photo.getpixel((9, 9))[2]
        assert (drawn[8].widen, drawn[8].prompt, drawn[8].photo.size) == ("left", "", (48, 32))
        served.stop()
        served.start()
        ana.presses(first, "➕ More steps")
        again = ana.waits_for(is_picture, after=second)
        assert "control outline" in again["caption"]
        assert painter.requests[-1].photo.size == (32, 32)


def test_settings_and_buttons_survive(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        ana = served.person()
        ana.presses(answer(ana, "/settings"), data="set:file")
        ana.presses(answer(ana, "/language"), "español")
        ana.waits_for("A partir de ahora")
        first = picture(ana, "un gato --semilla 3")
        served.stop()
        served.start()
        assert "No conozco esa orden" in answer(ana, "/nada")["text"]
        ana.presses(first, "➕ Más pasos")
        second = ana.waits_for(is_picture, after=first)
        assert "semilla 3 · 20 pasos" in second["caption"]
        assert "document" in second


def test_an_update_delivered_twice_is_done_once_also_after_a_restart(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        ana = served.person()
        picture(ana, "a cat")
        update = served.server.updates[-1]
        served.server.replay(update)
        time.sleep(0.5)
        served.stop()
        served.start()
        served.server.replay(update)
        picture(ana, "a dog")
        assert sum(map(is_picture, ana.messages)) == 2


def test_an_update_that_was_never_handled_is_handled_at_the_next_start(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        ana = served.person()
        picture(ana, "a cat")
        update = served.server.updates[-1]
        served.stop()
        late = update | {"update_id": update["update_id"] + 1000}
        late["message"] = update["message"] | {"text": "a late dog", "message_id": 9999}
        Inbox(served.parts.store.database).add([late])
        served.start()
        assert ana.waits_for(lambda m: is_picture(m) and m["caption"].startswith("a late dog"))


def test_an_update_that_the_bot_keeps_dying_of_is_given_up_and_said(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        ana = served.person()
        picture(ana, "a cat")
        update, inbox = served.server.updates[-1], served.parts.store.inbox
        served.stop()
        inbox.add([update | {"update_id": 7}])
        for _ in range(MAX_TRIES):
            inbox.begin_again(7)
        served.start()
        assert ana.waits_for("Something went wrong")
        assert sum(map(is_picture, ana.messages)) == 1
        wait_until(lambda: inbox.given_up() == [])


def test_nobody_is_told_of_an_update_given_up_whose_request_is_on_record(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        ana = served.person()
        picture(ana, "a cat")
        update, store = served.server.updates[-1], served.parts.store
        served.stop()
        store.jobs.accept(
            NewJob("1a2b3c4d", ana.id, ana.id, Request("a fox"), update_id=7), ENDLESS
        )
        store.inbox.add([update | {"update_id": 7}])
        for _ in range(MAX_TRIES):
            store.inbox.begin_again(7)
        served.start()
        ana.waits_for(lambda one: is_picture(one) and one["caption"].startswith("a fox"))
        wait_until(lambda: store.inbox.given_up() == [])
        assert "Something went wrong" not in "".join(texts_of(ana))


def test_while_the_database_is_locked_nothing_is_lost(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        ana = served.person()
        other = sqlite3.connect(tmp_path / "bot.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        ana.says("a cat")
        time.sleep(2.0)
        assert not any(map(is_picture, ana.messages))
        other.execute("ROLLBACK")
        other.close()
        assert ana.waits_for(is_picture, timeout_s=20)
        assert sum(map(is_picture, ana.messages)) == 1


def test_a_service_that_cannot_run_says_why_to_whoever_starts_it(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        served.stop()
        wrong = ServiceRun(replace(served.parts, token="123456789:" + "A" * 35))
        with pytest.raises(RuntimeError, match="token"):
            wrong.start()
        wrong.stop()


# kill -9.


def test_an_update_that_comes_again_does_not_pass_for_the_first_which_still_waits(
    tmp_path: Path,
) -> None:
    """As after a kill: the server brings again what the store has, and the bot is killed again."""
    user = {"id": 5, "is_bot": False, "first_name": "Ana"}
    chat = {"id": 5, "type": "private"}
    message = {"message_id": 1, "date": 1, "chat": chat, "from": user, "text": "a cat"}
    first, unreadable = {"update_id": 7, "message": message}, {"update_id": 8}

    async def live(store: Store, call: StoreThread) -> None:
        journal = Journal(store.inbox, StoreView(store.people, call), call)
        assert await journal.received([first, unreadable]) == {7, 8}
        assert await journal.received([first, unreadable]) == set()
        for number in (7, 8):
            await journal.handled(Update(number))  # emptied, as it comes again
        assert store.inbox.unhandled() == [first, unreadable]
        for one in (first, unreadable):
            await journal.handled(Update.de_json(one, None))
        assert store.inbox.unhandled() == []

    with Store(f"sqlite:///{tmp_path}/bot.db") as store:
        call = StoreThread()
        asyncio.run(live(store, call))
        call.close()


def test_kill_9_loses_no_photo_of_an_album_that_was_long_on_its_way(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/bot.db"
    with BotApiServer() as server:
        child = Nursery(server, url)
        child.start()
        ana = server.user("Ana")
        agrees(ana)
        server.fail("file", delay_s=6.5)  # while the first photo is downloaded
        album(ana, [Image.new("RGB", (90, 90), one) for one in ("red", "blue")], ["a bear", ""])
        time.sleep(7)
        child.kill()
        assert Store(url).jobs.history(ana.id) == []
        child.start()
        wait_until(lambda: sum(map(is_picture, ana.messages)) == 2, 10)
        child.kill()
        child.close()


def test_kill_9_at_random_moments_loses_nothing_and_sends_nothing_twice(tmp_path: Path) -> None:
    ends = endure(tmp_path, kills=5, seed=1, daily=3)
    assert ends["sent"]
    assert ends["refused"]
