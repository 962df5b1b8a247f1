"""Groups: topics, people who write as the group or a channel, rights, and what stays private."""

import threading
import time
from collections.abc import Iterator

import pytest
from PIL import Image

from fixtures_bot import Painter
from fixtures_talk import (
    Group,
    Talk,
    answer,
    data_of,
    is_picture,
    picture,
    talking,
    wait_until,
)

CLOSED = "Bad Request: TOPIC_CLOSED"
NO_PHOTOS = "Bad Request: not enough rights to send photos to the chat"


class Gated(Painter):
    """Draws once it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def draw(self, requests, **named):
        self.gate.wait(20)
        return super().draw(requests, **named)


@pytest.fixture
def talk() -> Iterator[Talk]:
    with talking() as talk:
        yield talk


@pytest.fixture
def gated() -> Iterator[Talk]:
    with talking(Gated()) as talk:
        yield talk
        talk.painter.gate.set()


def test_everything_lands_in_the_topic_that_it_was_asked_in(gated: Talk) -> None:
    ana, group = gated.person(), Group(gated.server)
    topic = {"message_thread_id": 7, "is_topic_message": True}
    group.hears(ana, "/draw a cat", **topic)
    group.seen.waits_for("Drawing")
    group.hears(ana, "/queue", **topic)
    group.seen.waits_for("a cat")
    gated.painter.gate.set()
    group.seen.waits_for(is_picture)
    sent = group.sends("sendMessage") + group.sends("sendPhoto")
    assert len(sent) == 3
    assert {one.get("message_thread_id") for one in sent} == {"7"}


def test_a_thread_of_replies_is_no_topic(talk: Talk) -> None:
    ana, group = talk.person(), Group(talk.server)
    group.hears(ana, "/draw a cat", message_thread_id=7)  # to which nothing can be sent
    group.seen.waits_for(is_picture)
    assert not any("message_thread_id" in one for one in group.sends("sendPhoto"))


def test_where_the_bot_may_not_write_nothing_is_drawn_and_the_user_is_told(gated: Talk) -> None:
    ana, group = gated.person(), Group(gated.server, "Our <town>")
    gated.server.fail("sendMessage", status=400, description=CLOSED, chat_id=group.id, times=9)
    group.hears(ana, "/draw a cat", message_thread_id=7, is_topic_message=True)
    told = ana.waits_for("may not write")
    assert "“Our <town>”" in told["text"]
    gated.painter.gate.set()
    assert picture(ana, "a dog")
    assert not group.sends("sendPhoto")


def test_where_pictures_are_not_allowed_a_text_says_so(talk: Talk) -> None:
    ana, group = talk.person(), Group(talk.server)
    for method in ("sendPhoto", "sendDocument"):
        talk.server.fail(method, status=400, description=NO_PHOTOS, chat_id=group.id, times=9)
    group.hears(ana, "/draw a cat")
    assert "a cat" in group.seen.waits_for("does not let me send it here")["text"]


def test_where_neither_is_allowed_the_user_is_told_alone(gated: Talk) -> None:
    ana, group = gated.person(), Group(gated.server)
    group.hears(ana, "/draw a cat")
    group.seen.waits_for("Drawing")
    for method in ("sendPhoto", "sendDocument", "sendMessage"):
        gated.server.fail(method, status=400, description=CLOSED, chat_id=group.id, times=9)
    gated.painter.gate.set()
    assert ana.waits_for("may not write")


def test_nobody_to_tell_is_an_error_that_the_panel_shows(talk: Talk) -> None:
    group = Group(talk.server)
    talk.server.fail("sendMessage", status=400, description=CLOSED, chat_id=group.id, times=9)
    group.hears(group.id, "/draw a cat")
    wait_until(lambda: talk.bot.snapshot().errors)
    assert "may not write there" in talk.bot.snapshot().errors[0]


@pytest.mark.parametrize("as_whom", [-1001234567890, -1009], ids=["the group", "a channel"])
def test_who_writes_as_a_group_or_a_channel_agrees_once_and_then_has_pictures(
    talk: Talk, as_whom: int
) -> None:
    eva, group = talk.server.user("Eva"), Group(talk.server)
    group.hears(as_whom, "/draw a cat --seed 3")
    welcome = group.seen.waits_for("What I keep")
    group.presses(eva, welcome, data_of(welcome))  # whose press Telegram names, unlike her words
    group.seen.waits_for("I draw what you have asked for", after=welcome)
    first = group.seen.waits_for(is_picture)
    group.presses(eva, first, data_of(first, "steps:"))
    assert "seed 3 · 20 steps" in group.seen.waits_for(is_picture, after=first)["caption"]
    asked = group.hears(as_whom, "/settings")
    settings = group.seen.waits_for("usually want", after=asked)
    group.presses(eva, settings, data_of(settings, "set:steps+"))
    wait_until(lambda: "10 steps" in str(group.seen.messages[-1]))
    group.hears(as_whom, "/draw a dog")
    assert "10 steps" in group.seen.waits_for(is_picture, after=settings)["caption"]
    group.hears(-1010, "/draw a bird")
    assert group.seen.waits_for("What I keep", after=settings), "another channel has not agreed"


def answered(talk: Talk) -> int:
    return sum(call.method == "answerCallbackQuery" for call in talk.server.calls)


def test_what_a_channel_ordered_can_be_cancelled_below_it(gated: Talk) -> None:
    eva, group = gated.person("Eva"), Group(gated.server)
    group.hears(-1009, "/draw a cat")
    welcome = group.seen.waits_for("What I keep")
    group.presses(eva, welcome, data_of(welcome))
    group.seen.waits_for("/help", after=welcome)
    group.hears(-1009, "/draw a cat")
    running = group.seen.waits_for("Drawing")
    before = answered(gated)
    group.presses(eva, running, data_of(running))
    wait_until(lambda: answered(gated) > before)  # it is cancelled first, and then answered
    gated.painter.gate.set()
    assert group.seen.waits_for("Cancelled: a cat")


def test_nobody_agrees_for_a_group_by_a_forged_press(talk: Talk) -> None:
    ben, group = talk.person("Ben"), Group(talk.server)
    group.hears(ben, "/help")
    helped = group.seen.waits_for("yours:")
    group.presses(ben, helped, f"agree:@{group.id}")
    group.seen.waits_for("/help", after=helped)
    group.hears(group.id, "/draw a cat")
    assert group.seen.waits_for("What I keep")


def test_pictures_on_the_way_in_private_are_not_told_of_in_a_group(gated: Talk) -> None:
    ana, group = gated.person(), Group(gated.server)
    ana.says("the secret of ana")
    ana.waits_for("Drawing")
    group.hears(ana, "/queue")
    listed = group.seen.waits_for("no pictures on the way")
    group.hears(ana, "/cancel")
    group.seen.waits_for("no pictures on the way", after=listed)
    group.hears(ana, "/draw a cat for all")
    group.seen.waits_for("In the queue")
    asked = group.hears(ana, "/queue")
    listed = group.seen.waits_for("Your pictures", after=asked)
    assert "a cat for all" in listed["text"]
    assert "secret" not in str(group.seen.messages)
    assert "secret" in answer(ana, "/queue")["text"]
    gated.painter.gate.set()
    assert ana.waits_for(is_picture)["caption"].startswith("the secret")


def test_in_a_group_only_commands_to_this_bot_are_heard(talk: Talk) -> None:
    ana, group = talk.person(), Group(talk.server)
    name = talk.bot.snapshot().name
    for text in ("a cat", "/draw@other_bot a cat", "/weather", "hello /draw a cat"):
        group.hears(ana, text)
    group.hears(ana, f"/draw{name.upper()}\na dog")
    group.seen.waits_for(is_picture)
    time.sleep(0.2)
    written = [one for one in group.seen.messages if one["from"].get("username")]
    assert [one["caption"].partition("\n")[0] for one in written] == ["a dog"]


def test_a_photo_in_a_group_needs_the_command_or_an_answer_to_it(talk: Talk) -> None:
    ana, group = talk.person(), Group(talk.server)
    photo = Image.new("RGB", (90, 60), "red")
    quiet = group.hears(ana, "look", photo=photo)
    group.hears(ana, "/draw a bear --strength 0.8", photo=photo)
    assert "strength 0.8" in group.seen.waits_for(is_picture)["caption"]
    group.hears(ana, "/draw a fox --strength 0.7", reply_to=quiet)
    assert "strength 0.7" in group.seen.waits_for("a fox")["caption"]
    assert not any("A good start" in str(one) for one in group.seen.messages)


def test_a_group_that_throws_the_bot_out_has_no_more_jobs(gated: Talk) -> None:
    ana, group = gated.person(), Group(gated.server)
    ana.says("a cat")
    ana.waits_for("Drawing")
    group.hears(ana, "/draw a dog")
    group.seen.waits_for("In the queue")
    words = "Forbidden: bot was kicked from the supergroup chat"
    gated.server.fail("sendMessage", status=403, description=words, chat_id=group.id, times=9)
    group.hears(ana, "/help")
    wait_until(lambda: gated.bot.snapshot().queued == 0)
    gated.painter.gate.set()
    assert ana.waits_for(is_picture)
