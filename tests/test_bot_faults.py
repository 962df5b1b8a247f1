"""What goes wrong between the bot and Telegram: each survived, and nothing sent twice unmarked."""

import time
from collections.abc import Iterator

import pytest
from PIL import Image

from fixtures_bot import Painter
from fixtures_talk import Talk, answer, is_picture, picture, talking, wait_until

TIMEOUT_S = 0.5
UNCONFIRMED = "Telegram did not confirm"


@pytest.fixture(autouse=True)
def _short_farewell(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bot that is told to wait for long stops all the same."""
    monkeypatch.setattr("sdlesson.bot.bot_run.SHUTDOWN_STEP_S", 0.3)


@pytest.fixture
def talk() -> Iterator[Talk]:
    with talking(timeout_s=TIMEOUT_S) as talk:
        yield talk


@pytest.fixture
def slow_talk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Talk]:
    """Ten steps take a second, and a status is edited twice in that time."""
    monkeypatch.setattr("sdlesson.bot.request_service.EDIT_EVERY_S", 0.5)
    with talking(Painter(step_s=0.1), timeout_s=TIMEOUT_S) as talk:
        yield talk


def calls(talk: Talk, method: str, after_s: float = 0.0) -> list:
    return [call for call in talk.server.calls if call.method == method and call.at > after_s]


def assert_lives(talk: Talk) -> None:
    """The bot still draws, for somebody new and for who was there before."""
    assert picture(talk.person("Zoe"), "a dog")
    assert "Traceback" not in str(talk.server.messages(talk.server.user("Yann").id))


@pytest.mark.parametrize("method", ["sendMessage", "sendPhoto"])
def test_a_bot_told_to_wait_waits_that_long_and_then_sends_once(talk: Talk, method: str) -> None:
    ana = talk.person()
    talk.server.fail(method, status=429, retry_after=1)
    asked_s = time.monotonic()
    question = ana.says("/help" if method == "sendMessage" else "a cat")
    ana.waits_for("yours:" if method == "sendMessage" else is_picture, after=question)
    refused, *later = calls(talk, method, asked_s)
    assert later[0].at - refused.at >= 1.0
    time.sleep(0.2)
    assert len(calls(talk, method, asked_s)) == 2
    assert_lives(talk)


def test_a_chat_told_to_wait_holds_up_no_other(talk: Talk) -> None:
    ana, ben = talk.person("Ana"), talk.person("Ben")
    talk.server.fail("sendMessage", status=429, retry_after=60, chat_id=ana.id)
    ana.says("/help")
    wait_until(lambda: any(call.status == 429 for call in calls(talk, "sendMessage")))
    asked_s = time.monotonic()
    assert picture(ben, "a cat")
    assert time.monotonic() - asked_s < 5


def test_an_edit_told_to_wait_is_dropped(slow_talk: Talk) -> None:
    ana = slow_talk.person()
    slow_talk.server.fail("editMessageMedia", status=429, retry_after=2)
    ana.says("a cat --steps 15")
    ana.waits_for(is_picture)
    assert len(calls(slow_talk, "editMessageMedia")) == 1


FAULTS = {
    "502, and it did not arrive": {"status": 502},
    "502, and it arrived": {"status": 502, "after": True},
    "dropped, and it did not arrive": {"drop": True},
    "dropped, and it arrived": {"drop": True, "after": True},
    "slow, and it arrived": {"delay_s": 3 * TIMEOUT_S, "after": True},
}


@pytest.mark.parametrize("how", FAULTS)
def test_a_picture_that_may_have_arrived_is_not_sent_again_but_named(talk: Talk, how: str) -> None:
    ana = talk.person()
    talk.server.fail("sendPhoto", **FAULTS[how])
    question = ana.says("a cat --seed 3")
    doubt = ana.waits_for(UNCONFIRMED, after=question)
    time.sleep(0.2)
    arrived = [message for message in ana.messages if is_picture(message)]
    assert len(arrived) == how.endswith("it arrived")
    assert len(calls(talk, "sendPhoto")) == 1
    ana.presses(doubt, "↻ Draw it again")
    assert "seed 3" in ana.waits_for(is_picture, after=doubt)["caption"]


@pytest.mark.parametrize("how", FAULTS)
def test_a_text_that_may_have_arrived_is_not_sent_again(talk: Talk, how: str) -> None:
    ana = talk.person()
    asked_s = time.monotonic()
    talk.server.fail("sendMessage", **FAULTS[how])
    ana.says("/help")
    wait_until(lambda: calls(talk, "sendMessage", asked_s))
    time.sleep(0.2)
    assert len(calls(talk, "sendMessage", asked_s)) == 1
    assert_lives(talk)


def test_a_server_that_is_away_for_a_while_gets_everything_later(talk: Talk) -> None:
    ana = talk.person()
    talk.server.stop()
    time.sleep(0.5)
    talk.server.start()
    assert picture(ana, "a cat")
    assert "localhost cannot be reached" in talk.bot.snapshot().errors[0]


def test_who_blocks_the_bot_has_no_more_jobs(slow_talk: Talk) -> None:
    ana = slow_talk.person()
    for number in range(3):
        ana.says(f"cat number {number} --steps {10 + number}")
    ana.waits_for("Drawing")
    ana.blocks()
    wait_until(lambda: any(call.status == 403 for call in slow_talk.server.calls), 8)
    wait_until(lambda: slow_talk.bot.snapshot().queued + slow_talk.bot.snapshot().drawing == 0)
    ana.unblocks()
    assert_lives(slow_talk)


def test_a_deleted_status_message_is_no_trouble(slow_talk: Talk) -> None:
    ana = slow_talk.person()
    ana.says("a cat --steps 12")
    ana.deletes(ana.waits_for("Drawing"))
    assert ana.waits_for(is_picture)
    assert_lives(slow_talk)


def test_a_status_that_cannot_be_deleted_at_first_goes_at_last(slow_talk: Talk) -> None:
    ana = slow_talk.person()
    slow_talk.server.fail("deleteMessage", status=502)
    ana.says("a cat --steps 8")
    ana.waits_for(is_picture)
    wait_until(lambda: not any("Drawing" in str(message) for message in ana.messages))


def test_a_query_that_is_too_old_still_does_what_it_says(talk: Talk) -> None:
    ana = talk.person()
    first = picture(ana, "a cat")
    words = "Bad Request: query is too old and response timeout expired or query ID is invalid"
    talk.server.fail("answerCallbackQuery", status=400, description=words)
    ana.presses(first, "🎲 Another seed")
    assert ana.waits_for(is_picture, after=first)


def test_a_photo_of_a_shape_that_telegram_refuses_goes_as_a_file(talk: Talk) -> None:
    words = "Bad Request: PHOTO_INVALID_DIMENSIONS"
    talk.server.fail("sendPhoto", status=400, description=words)
    assert "document" in picture(talk.person(), "a cat")


def test_a_download_that_fails_is_told_with_a_number(talk: Talk) -> None:
    ana = talk.person()
    talk.server.fail("getFile", status=502)
    ana.says("a bear", photo=Image.new("RGB", (60, 60), "red"))
    number = ana.waits_for("Something went wrong")["text"].rpartition(" ")[2].strip(".")
    assert f"error {number} in a handler" in "\n".join(talk.bot.log)
    assert_lives(talk)


def test_another_bot_with_the_token_is_named_and_the_trying_goes_on(talk: Talk) -> None:
    ana = talk.person()
    talk.server.fail("getUpdates", status=409, times=2)
    ana.says("/help")  # ends the question that is under way
    ana.waits_for("yours:")
    wait_until(lambda: talk.bot.snapshot().errors)
    assert "Another bot runs with this token" in talk.bot.snapshot().errors[0]
    assert answer(ana, "/queue")


@pytest.mark.parametrize("status", [500, 502])
def test_a_failed_question_for_news_loses_no_message(talk: Talk, status: int) -> None:
    ana = talk.person()
    talk.server.fail("getUpdates", status=status, after=True)
    ana.says("/help")
    assert ana.waits_for("yours:")


def test_an_update_delivered_twice_is_answered_once(talk: Talk) -> None:
    ana = talk.person()
    assert picture(ana, "a cat --seed 3")
    talk.server.replay(talk.server.updates[-1])
    assert answer(ana, "/help")
    time.sleep(0.2)
    assert sum(is_picture(message) for message in ana.messages) == 1
