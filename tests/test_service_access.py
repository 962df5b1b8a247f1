"""Who may use the bot, and how much of it; what is kept of people, and how it goes."""

from pathlib import Path

import pytest

from fixtures_bot import Painter
from fixtures_service import agrees, serving
from fixtures_talk import answer, data_of, is_picture, picture, wait_until
from sdlesson.bot_service.limits import Limits
from sdlesson.bot_service.store import StoredJobState

ADMIN, FRIEND, STRANGER = 1_000_001, 1_000_002, 1_000_003


def test_a_burst_is_let_through_and_then_refused_in_the_users_language(tmp_path: Path) -> None:
    with serving(tmp_path, limits=Limits(burst=2, per_minute=1, daily=9)) as served:
        ana = served.person("Ana", "es")
        for name in ("un gato", "un perro"):
            picture(ana, name)
        refused = answer(ana, "un zorro")
        assert "más deprisa" in refused["text"]
        assert picture(served.person("Eva"), "a fox"), "another user's bucket is full"


def test_the_quota_of_a_day_holds_also_over_restart_and_forget(tmp_path: Path) -> None:
    with serving(tmp_path, limits=Limits(burst=99, per_minute=99, daily=2)) as served:
        ana = served.person()
        picture(ana, "a cat")
        served.stop()
        served.start()
        picture(ana, "a dog")
        assert "your 2 pictures of today" in answer(ana, "a fox")["text"]
        question = answer(ana, "/forget")
        ana.presses(question, "Delete it all")
        ana.waits_for("I keep nothing about you", after=question)
        agrees(ana)
        assert "your 2 pictures of today" in answer(ana, "a fox")["text"]


def test_forget_deletes_history_and_buttons_and_what_is_on_its_way(tmp_path: Path) -> None:
    with serving(tmp_path, Painter(step_s=0.0)) as served:
        ana = served.person()
        first = picture(ana, "a secret cat --seed 3")
        assert "a secret cat · 3 · painter · sent" in answer(ana, "/history")["text"]
        served.painter.step_s = 0.3
        ana.says("a secret dog --steps 20")
        ana.waits_for("Drawing")
        question = answer(ana, "/forget")
        ana.presses(question, "Delete it all")
        ana.waits_for("I keep nothing about you", after=question)
        served.painter.step_s = 0.0
        kept = b"".join(path.read_bytes() for path in tmp_path.glob("bot.db*"))
        assert b"secret" not in kept
        agrees(ana)
        assert "no requests of yours" in answer(ana, "/history")["text"]
        ana.presses(first, "➕ More steps")
        wait_until(lambda: "no longer works" in ana.notice.get("text", ""))
        assert not any(is_picture(one) and "dog" in one["caption"] for one in ana.messages)


def test_privacy_says_what_is_kept_in_both_languages(tmp_path: Path) -> None:
    with serving(tmp_path, retention_days=7) as served:
        assert "for 7 days" in answer(served.person(), "/privacy")["text"]
        assert "durante 7 días" in answer(served.person("Eva", "es"), "/privacy")["text"]


def test_who_is_on_no_list_is_told_so_once_and_gets_nothing(tmp_path: Path) -> None:
    with serving(tmp_path, allowed=(FRIEND,), admins=(ADMIN,)) as served:
        friend = served.person("Friend", id=FRIEND)
        assert picture(friend, "a cat")
        stranger = served.server.user("Stranger", id=STRANGER)
        refused = answer(stranger, "/start")
        assert "not for everybody" in refused["text"]
        assert str(STRANGER) in refused["text"]
        stranger.says("a cat")
        stranger.presses(refused, data="agree:")
        assert "What I keep" in answer(stranger, "/privacy")["text"]
        assert len([one for one in stranger.messages if one["from"]["is_bot"]]) == 2


def test_admins_ban_and_unban_and_nobody_else_does(tmp_path: Path) -> None:
    with serving(tmp_path, admins=(ADMIN,)) as served:
        admin, ana = served.person("Admin", id=ADMIN), served.person("Ana", id=FRIEND)
        assert "admins only" in answer(ana, f"/ban {ADMIN}")["text"]
        for wrong in ("/ban", "/ban Ana", f"/ban {ADMIN}", "/ban -5", "/ban " + "9" * 40):
            assert "Name a user's number" in answer(admin, wrong)["text"]
        assert "shut out" in answer(admin, f"/ban {FRIEND}")["text"]
        assert "has shut you out" in answer(ana, "a cat")["text"]
        served.stop()
        served.start()
        assert "has shut you out" in answer(ana, "a cat")["text"]
        assert "may come in again" in answer(admin, f"/unban {FRIEND}")["text"]
        assert "was not shut out" in answer(admin, f"/unban {FRIEND}")["text"]
        assert picture(ana, "a cat")


def test_stats_count(tmp_path: Path) -> None:
    with serving(tmp_path, admins=(ADMIN,)) as served:
        admin = served.person("Admin", id=ADMIN)
        picture(admin, "a cat")
        wait_until(lambda: StoredJobState.SENT in served.parts.store.counts())
        text = answer(admin, "/stats")["text"]
        assert "Users: 1" in text
        assert "sent: 1" in text


@pytest.mark.parametrize("data", ["forget:", "again:", "again:forged", "seed:' OR 1=1 --", "ban:1"])
def test_a_forged_button_reaches_nothing_of_anybody_else(tmp_path: Path, data: str) -> None:
    with serving(tmp_path) as served:
        ana, eve = served.person(), served.person("Eve")
        first = picture(ana, "a cat")
        eve.presses(eve.messages[-1], data=data)
        eve.presses(eve.messages[-1], data=_token_of(first))
        wait_until(lambda: "somebody else" in eve.notice.get("text", ""))
        assert not any(map(is_picture, eve.messages))
        assert len(served.parts.store.jobs.history(ana.id)) == 1


def test_nobody_cancels_anothers_picture_by_its_number(tmp_path: Path) -> None:
    with serving(tmp_path, Painter(step_s=0.2)) as served:
        ana, eve = served.person(), served.person("Eve")
        ana.says("a cat --steps 20")
        data = data_of(ana.waits_for("Drawing"), "cancel:").partition("@")[0]
        for forged in (data, f"{data}@{eve.id}", f"{data}@{ana.id}", f"{data}@-1"):
            eve.presses(eve.messages[-1], data=forged)
            wait_until(lambda: "somebody else" in eve.notice.get("text", ""))
            eve.presses(eve.messages[-1], data="nonsense")
            wait_until(lambda: "no longer works" in eve.notice.get("text", ""))
        served.painter.step_s = 0.0
        assert ana.waits_for(is_picture)


@pytest.mark.parametrize(
    "data",
    ["x" * 65, "again:" + "x" * 5000, "cancel:" + "🙂" * 3000, "seed:\0", ":@:", "@", "\ufeff"],
)
def test_a_press_with_more_or_other_than_a_button_can_hold_is_answered_and_harmless(
    tmp_path: Path, data: str
) -> None:
    with serving(tmp_path) as served:
        ana = served.person()
        ana.presses(ana.messages[-1], data=data)
        wait_until(lambda: "no longer works" in ana.notice.get("text", ""))
        assert picture(ana, "a cat")


def test_a_button_shown_before_a_ban_does_nothing_after_it(tmp_path: Path) -> None:
    with serving(tmp_path, admins=(ADMIN,)) as served:
        admin, ana = served.person("Admin", id=ADMIN), served.person("Ana", id=FRIEND)
        shown = picture(ana, "a cat")
        answer(admin, f"/ban {FRIEND}")
        queries = [ana.presses(shown, data=data_of(shown, one)) for one in ("seed:", "vary:")]
        queries += [ana.presses(shown, data="agree:"), ana.presses(shown, data="settings:")]
        ana.waits_for("has shut you out")
        answered = lambda: {  # noqa: E731
            one.parameters["callback_query_id"]
            for one in served.server.calls
            if one.method == "answerCallbackQuery"
        }
        wait_until(lambda: set(queries) <= answered())  # or the buttons would turn for ever
        assert sum(map(is_picture, ana.messages)) == 1
        assert served.painter.batches == [["a cat"]]


def _token_of(message: dict) -> str:
    rows = message["reply_markup"]["inline_keyboard"]
    return next(
        one["callback_data"] for row in rows for one in row if one["callback_data"][:5] == "seed:"
    )


def test_forget_while_a_picture_leaves_keeps_no_button_of_it(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        ana = served.person()
        served.server.fail("sendPhoto", delay_s=1.5)
        ana.says("a secret cat")
        wait_until(lambda: StoredJobState.SENDING in served.parts.store.counts())
        served.parts.store.people.forget(ana.id)
        ana.waits_for(is_picture)
        kept = lambda: b"".join(path.read_bytes() for path in tmp_path.glob("bot.db*"))  # noqa: E731
        wait_until(lambda: b"secret" not in kept())
