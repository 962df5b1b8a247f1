"""The store of the bot's service, on SQLite and on PostgreSQL."""

import asyncio
import itertools
import json
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import create_engine, inspect, text

from fixtures_servers import postgres
from sdlesson.bot.requests import Defaults, Request
from sdlesson.bot.store import UserRecord
from sdlesson.bot_service.limits import LimitError, Limits
from sdlesson.bot_service.store import NewJob, Store, StoredJobState, StoreError, StoreThread
from sdlesson.bot_service.store.jobs import NEXT
from sdlesson.bot_service.store.logins import LOCKED_S, MAX_WRONG_CODES, CodeOutcome
from sdlesson.bot_service.store.migrations import STEPS, NewerDatabaseError
from sdlesson.bot_service.store.outcomes import ModelOutcome, Refusal
from sdlesson.bot_service.store.packing import unpack
from sdlesson.bot_service.store.tables import METADATA

NOON = 1_764_331_200.0  # 2025-11-28 12:00 UTC
MANY = Limits(burst=1000, per_minute=1000, daily=1000)
State = StoredJobState


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/bot.db"
    found = request.getfixturevalue("server")
    engine = create_engine(found.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        for table in [*METADATA.tables, "migrations"]:
            connection.execute(text(f"DROP TABLE IF EXISTS {table}"))
    engine.dispose()
    return found


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store(url) as store:
        yield store


def job(name: str = "a", user_id: int = 1, prompt: str = "a cat", **named) -> NewJob:
    return NewJob(name, user_id, user_id, Request(prompt), **named)


def test_a_job_comes_back_as_it_was_with_its_photo(store: Store) -> None:
    photo = Image.effect_noise((32, 32), 90).convert("RGB")
    request = Request("un gato", "sombrero", 7, 5.5, seed=2**40, photo=photo, strength=0.5)
    new = NewJob("a", 2**40, -(2**40), request, "es", thread_id=9, update_id=2**33)
    assert store.jobs.accept(new, MANY, NOON)
    (found,) = store.jobs.waiting()
    assert (found.user_id, found.chat_id, found.thread_id) == (2**40, -(2**40), 9)
    assert (found.language, found.state, found.created_at) == ("es", State.ACCEPTED, NOON)
    assert found.request.photo.tobytes() == photo.tobytes()
    assert [getattr(found.request, one) for one in ("prompt", "negative_prompt", "seed")] == [
        "un gato",
        "sombrero",
        2**40,
    ]


@pytest.mark.parametrize("edit", [{"control": "outline"}, {"widen": "top"}])
def test_an_edit_comes_back_with_its_photo_and_what_is_to_be_done_with_it(store, edit) -> None:
    photo = Image.effect_noise((48, 32), 90).convert("RGB")
    request = Request("a cat", photo=photo, **edit)
    assert store.jobs.accept(NewJob("a", 1, 1, request, "en", None, 1), MANY, NOON)
    (found,) = store.jobs.waiting()
    assert (found.request.photo.size, found.request.photo.tobytes()) == (
        photo.size,
        photo.tobytes(),
    )
    assert replace(found.request, photo=photo) == request


def test_a_request_of_before_there_were_edits_is_read() -> None:
    packed = json.dumps({"prompt": "a cat", "strength": 0.5})
    assert unpack(packed, None) == Request("a cat", strength=0.5)


def test_one_update_makes_one_job_however_often_it_comes(store: Store) -> None:
    limits = Limits(burst=2, daily=2)
    assert store.jobs.accept(job("a", update_id=5), limits, NOON)
    assert not store.jobs.accept(job("b", update_id=5), limits, NOON)
    assert [one.id for one in store.jobs.waiting()] == ["a"]
    assert [store.jobs.has_of(number) for number in (5, 6)] == [True, False]
    assert store.jobs.accept(job("c", update_id=6), limits, NOON), "the first took one"


def test_only_what_may_follow_follows(store: Store) -> None:
    store.jobs.accept(job(), MANY, NOON)
    for before, after in itertools.product(State, State):
        with store.database.begin() as connection:
            connection.execute(text(f"UPDATE jobs SET state = '{before}'"))
        moved = store.jobs.move("a", after)
        assert moved == (["a"] if after in NEXT.get(before, ()) else [])
        assert store.jobs.find("a").state is (after if moved else before)


def test_who_asks_second_may_not_draw_or_send(store: Store) -> None:
    for name in "ab":
        store.jobs.accept(job(name), MANY, NOON)
    assert store.jobs.move("a", State.RUNNING) == ["a"]
    assert store.jobs.move(["a", "b"], State.RUNNING) == ["b"]
    assert store.jobs.move(["a", "nobody's"], State.SENDING) == ["a"]
    assert store.jobs.move("a", State.SENDING) == []


def test_after_a_kill_each_job_is_what_it_may_be(store: Store) -> None:
    for name in ("waits", "runs", "sends", "sent", "flagged"):
        store.jobs.accept(job(name), MANY, NOON)
    store.jobs.move(["runs", "sends", "sent", "flagged"], State.RUNNING)
    store.jobs.move(["sends", "sent"], State.SENDING)
    store.jobs.move("sent", State.SENT, told=True)
    store.jobs.move("flagged", State.FLAGGED)
    store.jobs.recover()
    assert [one.id for one in store.jobs.waiting()] == ["waits"]
    untold = {one.id: one.state for one in store.jobs.untold()}
    assert untold == {
        "runs": State.INTERRUPTED,
        "sends": State.UNCONFIRMED,
        "flagged": State.FLAGGED,
    }
    for name in untold:
        store.jobs.told(name)
    assert store.jobs.untold() == []


def test_the_bucket_lets_a_burst_through_and_then_one_at_a_time(store: Store) -> None:
    limits = Limits(burst=2, per_minute=6, daily=100)
    for name in "ab":
        store.jobs.accept(job(name), limits, NOON)
    with pytest.raises(LimitError) as refused:
        store.jobs.accept(job("c"), limits, NOON)
    assert (refused.value.reason, refused.value.wait_s) == ("rate", pytest.approx(10))
    assert store.jobs.accept(job("d", user_id=2), limits, NOON), "another user's bucket is full"
    assert store.jobs.accept(job("c"), limits, NOON + 10)
    with pytest.raises(LimitError):
        store.jobs.accept(job("e"), limits, NOON - 3600)  # a clock set back


def test_the_quota_counts_what_was_drawn_until_midnight(store: Store) -> None:
    limits = Limits(burst=100, per_minute=1000, daily=3)
    for name in "abc":
        store.jobs.accept(job(name), limits, NOON)
    with pytest.raises(LimitError) as refused:
        store.jobs.accept(job("d"), limits, NOON)
    assert (refused.value.reason, refused.value.wait_s) == ("quota", 12 * 3600)
    store.jobs.move("a", State.CANCELLED)  # before it was begun: free
    assert store.jobs.accept(job("e"), limits, NOON)
    store.jobs.move(["b", "c"], State.RUNNING)
    store.jobs.move("b", State.CANCELLED)  # which was begun
    store.jobs.move("c", State.FAILED)  # which is not the user's fault
    assert store.jobs.drawn_today(1, NOON) == 2
    assert store.jobs.drawn_today(1, NOON + 86_400) == 0
    assert store.jobs.accept(job("f"), limits, NOON + 12 * 3600)


def test_a_refused_request_leaves_nothing(store: Store) -> None:
    with pytest.raises(LimitError):
        store.jobs.accept(job("a", update_id=1), Limits(daily=0), NOON)
    assert store.people.count() == 0
    assert store.jobs.history(1) == []


def test_settings_and_buttons_last(url: str) -> None:
    kept = UserRecord("es", Defaults(7, 3.5, 0.4), consented=True, as_file=True)
    photo = Image.new("RGB", (32, 32), "red")
    with Store(url) as store:
        assert store.people.load_user(1) == UserRecord()
        store.people.save_user(1, kept)
        token = store.people.save_request(1, Request("a cat", seed=3, photo=photo))
    with Store(url) as store:
        assert store.people.load_user(1) == kept
        found = store.people.load_request(token)
        assert (found.user_id, found.request.prompt, found.request.seed) == (1, "a cat", 3)
        assert found.request.photo.getpixel((0, 0)) == (255, 0, 0)
        assert store.people.load_request("forged") is None


def test_a_user_has_so_many_buttons_and_the_oldest_go(store: Store, monkeypatch) -> None:
    monkeypatch.setattr("sdlesson.bot_service.store.people.MAX_BUTTONS", 2)
    theirs = store.people.save_request(2, Request("a dog"))
    tokens = [store.people.save_request(1, Request(f"cat {number}")) for number in range(3)]
    assert [bool(store.people.load_request(one)) for one in [theirs, *tokens]] == [
        True,
        False,
        True,
        True,
    ]


def test_forget_leaves_nothing_of_a_user_but_the_count_until_midnight(store: Store) -> None:
    limits = Limits(burst=9, daily=2)
    store.people.save_user(1, UserRecord("es", consented=True))
    store.people.save_request(1, Request("a secret cat"))
    store.jobs.accept(job("a"), limits, NOON)
    store.jobs.accept(job("b", user_id=2), limits, NOON)
    store.jobs.move("a", StoredJobState.RUNNING)
    assert store.people.forget(1, NOON) == 1
    assert store.people.forget(1, NOON) == 0
    with store.database.begin() as connection:
        for name in ("users", "jobs", "buttons"):
            kept = connection.execute(text(f"SELECT count(*) FROM {name} WHERE user_id = 1"))
            assert kept.scalar_one() == 0
    assert len(store.jobs.waiting()) == 1, "the other's stays"
    store.jobs.accept(job("c"), limits, NOON)
    with pytest.raises(LimitError):  # a new start does not make the day longer
        store.jobs.accept(job("d"), limits, NOON)
    store.jobs.move("c", StoredJobState.RUNNING)
    store.people.forget(1, NOON)
    assert store.jobs.drawn_today(1, NOON) == 2
    assert store.jobs.drawn_today(1, NOON + 86_400) == 0


def test_what_was_forgotten_is_in_no_file_any_more(tmp_path: Path) -> None:
    with Store(f"sqlite:///{tmp_path}/bot.db") as store:
        store.jobs.accept(job(prompt="a xylophone of my own"), MANY)
        store.inbox.add([{"update_id": 1, "text": "a xylophone of my own"}])
        assert any(b"xylophone" in path.read_bytes() for path in tmp_path.iterdir())
        store.inbox.handled([1])
        store.people.forget(1)
        assert not any(b"xylophone" in path.read_bytes() for path in tmp_path.iterdir())


def test_a_ban_outlives_forget(store: Store) -> None:
    store.people.ban(1, by=9)
    store.people.ban(1, by=9)
    store.people.forget(1)
    assert store.people.banned() == {1}
    assert store.people.unban(1)
    assert not store.people.unban(1)
    assert store.people.banned() == set()


def test_a_code_is_taken_once_and_never_an_older_one(store: Store) -> None:
    store.logins.enrol(1, "ana", "salt", NOON)
    given: list[str] = []

    def of(step: int | None):
        return lambda salt: given.append(salt) or step

    assert store.logins.try_code(1, of(100), 2, NOON).outcome is CodeOutcome.RIGHT
    assert given == ["salt"]
    assert store.logins.enrolment(1).until == NOON + 7200
    for step in (100, 99, None):
        assert store.logins.try_code(1, of(step), 2, NOON).outcome is CodeOutcome.WRONG
    assert store.logins.try_code(1, of(101), 2, NOON + 1).outcome is CodeOutcome.RIGHT
    assert store.logins.try_code(2, of(101), 2, NOON).outcome is CodeOutcome.NOT_ENROLLED


def test_wrong_codes_lock_for_a_while_and_a_right_one_starts_the_count_anew(store: Store) -> None:
    store.logins.enrol(1, "ana", "salt", NOON)
    store.logins.enrol(2, "ben", "salt", NOON)

    def tries(step: int | None, now: float, user_id: int = 1):
        return store.logins.try_code(user_id, lambda _: step, 2, now)

    left = [tries(None, NOON + second).left for second in range(MAX_WRONG_CODES)]
    assert left == [4, 3, 2, 1, 0]
    attempt = tries(7, NOON + 10)
    assert (attempt.outcome, attempt.left) == (CodeOutcome.LOCKED, 0)
    assert attempt.wait_s == LOCKED_S - 6
    assert tries(7, NOON, user_id=2).outcome is CodeOutcome.RIGHT
    assert tries(7, NOON + LOCKED_S + 3).outcome is CodeOutcome.LOCKED
    assert tries(7, NOON + LOCKED_S + 4).outcome is CodeOutcome.RIGHT
    assert tries(None, NOON + LOCKED_S + 5).left == MAX_WRONG_CODES - 1
    assert tries(None, NOON + 3 * LOCKED_S).left == MAX_WRONG_CODES - 1, "an old one is forgotten"


def test_enrolling_again_ends_the_login_and_the_lock_and_unenrolling_all(store: Store) -> None:
    store.logins.enrol(1, "ana", "salt", NOON)
    store.logins.try_code(1, lambda _: 7, 10**6, NOON)
    assert store.logins.log_out(1)
    assert not store.logins.log_out(1)
    store.logins.enrol(1, "anna", "pepper", NOON)
    found = store.logins.enrolment(1)
    assert (found.name, found.salt, found.until) == ("anna", "pepper", 0)
    assert store.logins.unenrol(1)
    assert not store.logins.unenrol(1)
    assert store.logins.enrolment(1) is None
    store.logins.enrol(1, "ana", "salt", NOON)
    store.people.forget(1)
    assert store.logins.enrolment(1) is None


def test_the_inbox_knows_an_update_again_until_it_is_handled_and_after(store: Store) -> None:
    updates = [{"update_id": number, "message": {"text": "hé"}} for number in (7, 5)]
    assert store.inbox.add(updates) == {5, 7}
    assert store.inbox.add([*updates, {"update_id": 8}]) == {8}
    store.inbox.handled([7])
    assert store.inbox.unhandled() == [updates[1], {"update_id": 8}]
    assert store.inbox.add(updates) == set()


def test_an_update_that_the_bot_dies_of_is_given_up(store: Store) -> None:
    store.inbox.add([{"update_id": 1}])
    left = []
    for _ in range(4):
        left.append((len(store.inbox.unhandled()), len(store.inbox.given_up())))
        store.inbox.begin_again(1)
    assert left == [(1, 0), (1, 0), (1, 0), (0, 1)]
    store.inbox.handled([1])
    assert store.inbox.given_up() == []


def test_what_is_old_goes_and_what_is_owed_stays(store: Store) -> None:
    for name in ("old", "owed", "waits", "new"):
        store.jobs.accept(job(name), MANY, NOON)
    store.jobs.move(["old", "owed", "new"], State.RUNNING, now=NOON)
    store.jobs.move(["old", "new"], State.SENDING)
    store.jobs.move("old", State.SENT, told=True, now=NOON)
    store.jobs.move("new", State.SENT, told=True, now=NOON + 29 * 86_400)
    store.jobs.move("owed", State.FLAGGED, now=NOON)
    store.inbox.add([{"update_id": 1}])
    store.people.forget(2, NOON)
    assert store.purge(30, now=NOON + 31 * 86_400) >= 1
    assert {one.id for one in store.jobs.history(1)} == {"owed", "waits", "new"}
    store.purge(30, now=time.time() + 3 * 86_400)
    assert store.inbox.unhandled() == []


# Models, and thumbs for what they draw.


def drawn(store: Store, name: str, model: str, end: State = State.SENT, **named) -> None:
    """Take a job to its end."""
    user_id, seconds = named.pop("user_id", 1), named.pop("seconds", None)
    chat_id = named.pop("chat_id", user_id)
    request = Request("a cat", model=model, lora=named.pop("lora", ""))
    store.jobs.accept(NewJob(name, user_id, chat_id, request, **named), MANY)
    store.jobs.move(name, State.RUNNING)
    if end is State.SENT:
        store.jobs.move(name, State.SENDING, seconds=seconds)
    store.jobs.move(name, end, told=True)


def test_outcomes_are_counted_by_model_and_for_a_comparison_only_those_by_lot(store) -> None:
    drawn(store, "a", "oil", seconds=2.0, by_lot=True)
    drawn(store, "b", "oil", seconds=4.0)
    drawn(store, "c", "oil", by_lot=True, button="seed")  # out of the cache: no seconds
    drawn(store, "d", "oil", State.FLAGGED, by_lot=True)
    drawn(store, "e", "ink", State.FAILED)
    store.jobs.accept(job("waits"), MANY)  # of a bot that knew no models
    for name, user_id in (("a", 1), ("b", 1)):
        store.outcomes.vote(name, user_id, 1, is_up=name == "a")
    ink, oil = store.outcomes.by_model()
    assert ink == ModelOutcome("ink", 0, 0, 1, 0, None, 0, 0)
    assert oil == ModelOutcome("oil", 3, 1, 0, 1, pytest.approx(3.0), 1, 2)
    (by_lot,) = store.outcomes.by_model(only_by_lot=True)
    assert by_lot == ModelOutcome("oil", 2, 1, 0, 1, pytest.approx(2.0), 1, 1)


def test_a_thumb_counts_once_a_user_and_the_latest_counts(store: Store) -> None:
    drawn(store, "mine", "oil")
    drawn(store, "ours", "oil", chat_id=-5)
    for is_up, expected in ((True, (1, 0)), (True, (1, 0)), (False, (0, 1))):
        assert store.outcomes.vote("mine", 1, 1, is_up=is_up) == ("oil", *expected)
    assert store.outcomes.vote("ours", 1, -5, is_up=True) == ("oil", 1, 0)
    assert store.outcomes.vote("ours", 2, -5, is_up=False) == ("oil", 1, 1)
    assert store.outcomes.vote("mine", 2, 1, is_up=True) is Refusal.NOT_YOURS
    assert store.outcomes.vote("mine", 2, 2, is_up=True) is Refusal.GONE, "not from that chat"
    assert store.outcomes.vote("' OR 1=1 --", 1, 1, is_up=True) is Refusal.GONE
    drawn(store, "withheld", "oil", State.FLAGGED)
    assert store.outcomes.vote("withheld", 1, 1, is_up=True) is Refusal.GONE
    assert store.outcomes.by_model()[0].votes == 3


def test_forget_and_time_take_votes_along(store: Store) -> None:
    drawn(store, "mine", "oil", chat_id=-5)
    drawn(store, "theirs", "oil", user_id=2, chat_id=-5)
    for name in ("mine", "theirs"):
        for user_id in (1, 2):
            store.outcomes.vote(name, user_id, -5, is_up=True)
    store.people.forget(1)

    def kept() -> list[tuple[str, int]]:
        with store.database.begin() as connection:
            return [
                tuple(row) for row in connection.execute(text("SELECT job_id, user_id FROM votes"))
            ]

    assert kept() == [("theirs", 2)]
    store.purge(30, now=time.time() + 31 * 86_400)
    assert kept() == []


def test_a_database_of_before_there_were_several_models_is_brought_up_to_date(
    url: str, monkeypatch
) -> None:
    before = next(n for n, one in enumerate(STEPS) if any("votes" in line for line in one))
    monkeypatch.setattr("sdlesson.bot_service.store.migrations.STEPS", STEPS[:before])
    with Store(url) as store, store.database.begin() as connection:
        connection.execute(text("INSERT INTO users VALUES (1, 'es', NULL, 1, 1, NULL, NULL)"))
        packed = '{"prompt": "a cat", "seed": 3, "num_inference_steps": 7, "strength": 0.6}'
        columns = "id, user_id, chat_id, language, request, state, told, created_at"
        connection.execute(
            text(
                f"INSERT INTO jobs ({columns}) VALUES"
                " ('old', 1, 1, 'en', :request, 'accepted', 0, 1)"
            ),
            {"request": packed},
        )
    monkeypatch.undo()
    for _ in range(2):
        with Store(url) as store:
            assert store.people.load_user(1) == UserRecord("es", consented=True, as_file=True)
            (found,) = store.jobs.waiting()
            assert (found.request.seed, found.request.model, found.request.lora) == (3, "", "")
    with Store(url) as store:
        store.jobs.change_model("old", Request("a cat", seed=3, model="oil", lora="hat"))
        store.jobs.move("old", State.RUNNING)
        store.jobs.move("old", State.SENDING, seed=3, seconds=1.5)
        store.jobs.move("old", State.SENT, told=True)
        assert store.outcomes.vote("old", 1, 1, is_up=True) == ("oil", 1, 0)
        assert store.jobs.find("old").request.lora == "hat"
        assert store.outcomes.by_model()[0].seconds == pytest.approx(1.5)
        store.people.save_user(1, UserRecord(model="oil", lora="hat"))
        assert store.people.load_user(1) == UserRecord(model="oil", lora="hat")


# The database itself.


def test_migrations_make_the_tables_that_the_code_reads(store: Store) -> None:
    found = inspect(store.database.engine)
    for name, table in METADATA.tables.items():
        assert {one["name"] for one in found.get_columns(name)} == set(table.columns.keys())


def test_an_old_database_is_brought_up_to_date_with_what_is_in_it(url: str, monkeypatch) -> None:
    with Store(url) as store:
        store.people.save_user(1, UserRecord(consented=True))
    newer = (
        *STEPS,
        ("ALTER TABLE users ADD COLUMN nickname TEXT", "UPDATE users SET nickname='x'"),
    )
    monkeypatch.setattr("sdlesson.bot_service.store.migrations.STEPS", newer)
    for _ in range(2):  # the second start finds nothing to do
        with Store(url) as store, store.database.begin() as connection:
            kept = connection.execute(text("SELECT consented, nickname FROM users")).all()
            assert kept == [(1, "x")]
            assert len(connection.execute(text("SELECT step FROM migrations")).all()) == len(newer)


@pytest.mark.parametrize("taken", range(1, len(STEPS)))
def test_every_earlier_database_gets_the_tables_of_now(url: str, taken: int, monkeypatch) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr("sdlesson.bot_service.store.migrations.STEPS", STEPS[:taken])
        with Store(url) as store:
            store.inbox.add([{"update_id": 5}])
    with Store(url) as store:
        assert store.inbox.unhandled() == [{"update_id": 5}]
        found = inspect(store.database.engine)
        for name, table in METADATA.tables.items():
            assert {one["name"] for one in found.get_columns(name)} == set(table.columns.keys())


def test_a_database_of_a_newer_bot_is_not_touched(url: str) -> None:
    with Store(url) as store, store.database.begin() as connection:
        connection.execute(text("INSERT INTO migrations VALUES (99, 0)"))
    with pytest.raises(NewerDatabaseError, match=r"at step 99, and this bot knows \d"):
        Store(url)


def test_two_bots_may_start_at_once(url: str) -> None:
    errors = []

    def start() -> None:
        try:
            Store(url).close()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_bot_waits_for_another_that_is_just_making_the_same_new_file(tmp_path: Path) -> None:
    """SQLite does not wait by itself where the file is to become one in WAL mode."""
    other = sqlite3.connect(tmp_path / "bot.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    other.execute("CREATE TABLE something (number INTEGER)")
    done = threading.Timer(0.3, lambda: other.execute("COMMIT"))
    done.start()
    Store(f"sqlite:///{tmp_path}/bot.db").close()
    done.join()

    other.execute("PRAGMA journal_mode=DELETE")
    other.execute("BEGIN IMMEDIATE")
    began_s = time.monotonic()
    with pytest.raises(StoreError, match="database is locked"):
        Store(f"sqlite:///{tmp_path}/bot.db", busy_timeout_s=0.3)
    assert 0.2 < time.monotonic() - began_s < 3, "but not for ever"
    other.close()


@pytest.mark.parametrize("url", ["mysql://u:hunter2@h/d", "hunter2", "oracle://hunter2"])
def test_an_address_of_no_database_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ValueError, match="database_url must look like") as refused:
        Store(url)
    assert "hunter2" not in str(refused.value)


def test_the_file_is_its_owners_only_and_in_wal_mode(tmp_path: Path) -> None:
    with Store(f"sqlite:///{tmp_path}/bot.db"):
        for path in tmp_path.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        assert (tmp_path / "bot.db-wal").exists()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere/bot.db cannot be opened: No such file"):
        Store(f"sqlite:///{tmp_path}/nowhere/bot.db")


def test_a_locked_database_is_waited_for_and_then_said(tmp_path: Path) -> None:
    with Store(f"sqlite:///{tmp_path}/bot.db", busy_timeout_s=0.3) as store:
        other = sqlite3.connect(tmp_path / "bot.db", isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="database is locked"):
            store.jobs.accept(job(prompt="a secret cat"), MANY)
        freed = threading.Timer(0.1, other.execute, ["ROLLBACK"])
        freed.start()
        assert store.jobs.accept(job(), MANY), "it was free again in time"
        freed.join()
        other.close()


def test_what_must_be_on_record_waits_for_the_database_and_the_loop_goes_on(tmp_path) -> None:
    async def run() -> tuple[list[str], int]:
        call, ticks = StoreThread(), 0
        other = sqlite3.connect(tmp_path / "bot.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        moving = asyncio.create_task(call.retry(store.jobs.move, "a", State.RUNNING))
        while ticks < 60:
            await asyncio.sleep(0.01)
            ticks += 1
        assert not moving.done()
        other.execute("ROLLBACK")
        other.close()
        moved = await moving
        call.close()
        return moved, ticks

    with Store(f"sqlite:///{tmp_path}/bot.db", busy_timeout_s=0.1) as store:
        store.jobs.accept(job(), MANY)
        began = time.monotonic()
        moved, ticks = asyncio.run(run())
        assert moved == ["a"]
        assert ticks == 60
        assert time.monotonic() - began < 5


FULL = """
import resource, signal, sys
from sdlesson.bot.requests import Request
from sdlesson.bot_service.limits import Limits
from sdlesson.bot_service.store import NewJob, Store, StoreError
from PIL import Image

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store, many = Store(sys.argv[1]), Limits(1000, 1000, 1000)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
photo, taken = Image.effect_noise((100, 100), 90).convert("RGB"), 0
try:
    for number in range(100):
        store.jobs.accept(NewJob(str(number), 1, 1, Request("a cat", photo=photo)), many)
        taken += 1
except StoreError as error:
    print("full after", taken, "with", error, flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert len(store.jobs.waiting()) == taken, "nothing half done"
store.jobs.accept(NewJob("after", 1, 1, Request("a cat")), many)
print("goes on")
"""


def test_a_full_disk_is_said_and_nothing_is_half_done(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL, f"sqlite:///{tmp_path}/bot.db"]
    run = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"LANG": "C"})
    assert run.returncode == 0, run.stderr
    assert "full after" in run.stdout
    assert "goes on" in run.stdout


KILLED = """
import sys, time
from sdlesson.bot.requests import Request
from sdlesson.bot_service.limits import Limits
from sdlesson.bot_service.store import NewJob, Store

store, many = Store(sys.argv[1]), Limits(10**6, 1000, 10**6)
first = len(store.jobs.history(1, 10**6))
for number in range(first, 10**6):
    store.jobs.accept(NewJob(str(number), 1, 1, Request(f"cat {number}"), update_id=number), many)
    print(number, flush=True)
"""


def test_what_was_accepted_survives_kill_9(url: str) -> None:
    said = []
    for _ in range(3):
        command = [sys.executable, "-c", KILLED, url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
            assert run.stdout is not None
            said += [int(run.stdout.readline()) for _ in range(5)]
            run.kill()
            said += [int(line) for line in run.stdout.read().split()]
    with Store(url) as store:
        kept = [int(one.id) for one in store.jobs.waiting()]
    assert sorted(set(said)) == said
    assert set(said) <= set(kept) == set(range(len(kept)))
    assert len(kept) <= len(said) + 3, "at most one a kill was on record and not yet said"
    assert len(set(kept)) == len(kept)
