"""What comes in: commands with odd spaces, captions, albums, floods, updates that are broken."""

import io
import json
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image
from telegram.error import NetworkError

from fixtures_bot import Painter
from fixtures_talk import (
    Group,
    Talk,
    album,
    answer,
    data_of,
    is_picture,
    picture,
    talking,
    wait_until,
)
from sdlesson import photos
from sdlesson.bot.application import MAX_WAITING_UPDATES, without_unreadable_updates
from sdlesson.bot.handlers import prompt_text, read_command
from sdlesson.bot.store import MemoryStore, UserRecord

RED = Image.new("RGB", (90, 60), "red")


@pytest.fixture
def talk() -> Iterator[Talk]:
    with talking() as talk:
        yield talk


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def pictures(person) -> list[str]:
    """The prompts of the pictures that a person got."""
    return [one["caption"].partition("\n")[0] for one in person.messages if is_picture(one)]


# Words.


@pytest.mark.parametrize(
    "space", ["\n", "\t", "\u00a0", "\r\n", "\u2003", "\u3000", " \n ", "\u200b", ": ", ", "]
)
@pytest.mark.parametrize("command", ["/draw", "/Generate", "/draw@my_bot", "\u200b/draw"])
def test_whatever_space_follows_a_command_the_rest_is_the_wish(command: str, space: str) -> None:
    assert prompt_text(f"{command}{space}a cat\non the beach") == "a cat\non the beach"


@pytest.mark.parametrize(
    "text", ["a /draw cat", "/drawing a cat", "/dráw a cat", "drawn /draw", "/", "/ draw a cat"]
)
def test_what_is_no_command_to_draw_is_a_wish_as_a_whole(text: str) -> None:
    assert prompt_text(text) == text


def test_a_command_names_the_bot_that_is_meant() -> None:
    assert read_command("/draw@My_Bot\u00a0x") == ("draw", "my_bot", "x")
    assert read_command("/help") == ("help", "", "")
    assert read_command("—steps 3") is read_command(None) is None
    assert prompt_text("/draw —steps 3 a cat") == "—steps 3 a cat"
    assert prompt_text("/draw \u200b\u2060") == prompt_text("\ufeff") == prompt_text(None) == ""


@pytest.mark.parametrize("space", ["\n", "\t", "\u00a0"])
def test_odd_spaces_after_the_command_are_no_part_of_the_picture(talk: Talk, space: str) -> None:
    assert picture(talk.person(), f"/draw{space}a cat")["caption"].startswith("a cat\n")


# Captions, answers, albums.


def test_a_command_below_a_photo_is_obeyed(talk: Talk) -> None:
    ana = talk.person()
    assert "yours:" in answer(ana, "/help", photo=RED)["text"]
    assert "do not know that command" in answer(ana, "/weather", photo=RED)["text"]
    assert picture(ana, "/draw\n a bear", photo=RED)["caption"].startswith("a bear\n")
    assert "with a caption" in answer(ana, "/draw", photo=RED)["text"]


def test_a_command_in_answer_to_a_photo_redraws_it(talk: Talk) -> None:
    ana = talk.person()
    photo = ana.says(photo=RED)
    ana.waits_for("reply to it", after=photo)
    assert "strength 0.8" in picture(ana, "/draw a bear --strength 0.8", reply_to=photo)["caption"]
    file = ana.says("first", file=png(RED), file_name="red.png")
    ana.waits_for(is_picture, after=file)
    assert "strength 0.7" in picture(ana, "a fox --strength 0.7", reply_to=file)["caption"]
    text = ana.says("/help")
    assert "strength" not in picture(ana, "/draw a hen", reply_to=text)["caption"]


@pytest.mark.parametrize("at", [0, 2])
def test_the_caption_of_an_album_holds_for_all_its_photos(talk: Talk, at: int) -> None:
    ana = talk.person()
    captions = ["", "", ""]
    captions[at] = "/draw a bear --strength 0.8"
    album(ana, [RED] * 3, captions)
    wait_until(lambda: pictures(ana) == ["a bear"] * 3, 10)
    assert not any("A good start" in str(one) for one in ana.messages)


def test_photos_of_an_album_may_have_captions_of_their_own(talk: Talk) -> None:
    ana = talk.person()
    album(ana, [RED] * 2, ["a bear", "a fox"])
    wait_until(lambda: sorted(pictures(ana)) == ["a bear", "a fox"], 10)


@pytest.mark.parametrize(
    ("caption", "said"), [("", "A good start"), ("/help", "yours:"), ("/weather", "do not know")]
)
def test_an_album_is_answered_once(talk: Talk, caption: str, said: str) -> None:
    ana = talk.person()
    album(ana, [RED] * 4, [caption, "", "", ""])
    ana.waits_for(said)
    time.sleep(1.5)
    assert sum(said in str(one) for one in ana.messages) == 1
    assert not pictures(ana)


class Gated(Painter):
    """Draws once it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def draw(self, requests, **named):
        self.gate.wait(20)
        return super().draw(requests, **named)


@pytest.fixture
def gated() -> Iterator[Talk]:
    with talking(Gated()) as talk:
        yield talk
        talk.painter.gate.set()


def test_of_an_album_too_long_what_fits_is_drawn_and_one_word_said(gated: Talk) -> None:
    ana = gated.person()
    album(ana, [RED] * 9, ["a bear", *[""] * 8])
    ana.waits_for("pictures waiting")
    gated.painter.gate.set()
    wait_until(lambda: len(pictures(ana)) >= 3, 10)
    assert len(pictures(ana)) <= 4
    assert sum("pictures waiting" in str(one) for one in ana.messages) == 1


# Photos that are small as files.


def test_a_photo_of_too_many_pixels_is_refused_before_it_is_unpacked(talk: Talk) -> None:
    ana = talk.person()
    large = Image.new("RGBA", (4001, 4000))  # a hundred KB as a file, 250 MB unpacked
    message = answer(ana, "a bear", file=png(large), file_name="large.png")
    assert "at most 16 million pixels" in message["text"]
    assert picture(ana, "a bear", file=png(Image.new("1", (4000, 4000))), file_name="a.png")


def test_one_photo_is_unpacked_at_a_time_and_no_warning_is_turned_off(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = [talk.person() for _ in range(4)]
    now, most, filters = [], [], []
    real = photos._decode

    def watched(*arguments: Any) -> Image.Image:
        now.append(1)
        most.append(len(now))
        filters.append(list(warnings.filters))
        time.sleep(0.1)
        now.pop()
        return real(*arguments)

    monkeypatch.setattr(photos, "_decode", watched)
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda person: picture(person, "a bear", photo=RED), people))
    assert len(most) >= 4
    assert max(most) == 1
    assert all(seen == before for seen in filters)


def test_who_has_too_many_waiting_sends_photos_in_vain_and_none_is_fetched(gated: Talk) -> None:
    ana = gated.person()
    for number in range(4):
        ana.says(f"cat {number} --steps {number + 2}")
    ana.waits_for("Drawing")
    wait_until(lambda: gated.bot.snapshot().queued == 3)
    assert (
        "3 pictures waiting"
        in ana.waits_for("waiting already", after=ana.says("a bear", photo=RED))["text"]
    )
    assert "--stpes" in ana.waits_for("--stpes", after=ana.says("x --stpes 3", photo=RED))["text"]
    assert "getFile" not in {call.method for call in gated.server.calls}


# What was asked for before the agreement.


@pytest.mark.parametrize("kind", ["words", "photo", "command"])
def test_what_was_asked_for_before_agreeing_is_drawn_after_it(talk: Talk, kind: str) -> None:
    ana = talk.server.user("Ana", "es")
    text = "/draw un gato --semilla 7" if kind == "command" else "un gato --semilla 7"
    welcome = answer(ana, text, **({"photo": RED} if kind == "photo" else {}))
    assert "¿Te parece bien?" in welcome["text"]
    ana.presses(welcome, "De acuerdo, a dibujar")
    assert ana.waits_for("Dibujo lo que has pedido", after=welcome)
    found = ana.waits_for(is_picture, after=welcome)
    assert "semilla 7" in found["caption"]
    assert ("fuerza" in found["caption"]) == (kind == "photo")
    ana.presses(welcome, data="agree:")
    assert "repítelo" in ana.waits_for("Bien.", after=found)["text"], "it is drawn once"
    assert len(pictures(ana)) == 1


def test_what_cannot_be_taken_up_after_agreeing_is_to_be_asked_for_again(talk: Talk) -> None:
    """An album, and an answer to a photo: neither comes whole with the pressed button."""
    ana, ben = talk.server.user("Ana"), talk.server.user("Ben")
    album(ana, [RED] * 2, ["a bear", ""])
    shown = ben.says("", photo=RED)
    ben.says("/draw a bear", reply_to=shown)
    for person in (ana, ben):
        person.presses(person.waits_for("What I keep"), data="agree:")
        assert "once more if you had" in person.waits_for("Good.")["text"]
    time.sleep(0.3)
    assert not talk.painter.batches


def test_nobody_has_drawn_what_somebody_else_had_asked_for(talk: Talk) -> None:
    group, ana, ben = Group(talk.server), talk.server.user("Ana"), talk.server.user("Ben")
    group.hears(ana, "/draw a cat")
    welcome = group.seen.waits_for("What I keep")
    group.presses(ben, welcome, data_of(welcome))
    assert "Write me" in group.seen.waits_for("Good.", after=welcome)["text"]
    time.sleep(0.3)
    assert not talk.painter.batches


# Updates.


def broken(secret: str) -> dict:
    """A message that python-telegram-bot cannot read: it has neither a chat nor a date."""
    return {"message_id": 5, "text": secret}


def test_a_broken_update_silences_nobody_and_is_not_shown(talk: Talk) -> None:
    ana = talk.person()
    talk.server.run(lambda telegram: telegram.updates.add("message", broken("the secret of ben")))
    ana.says("/help")
    assert ana.waits_for("yours:")
    assert "cannot be read (" in talk.bot.snapshot().errors[0]
    assert "secret" not in "\n".join([*talk.bot.log, *talk.bot.snapshot().errors])


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"message_id": 1, "date": 10**30, "chat": {"id": 1, "type": "private"}},
        {"message_id": 1, "date": "soon", "chat": {"id": 1, "type": "private"}},
        {"message_id": 1, "date": 1, "chat": 5},
        {"message_id": 1, "date": 1, "chat": {"id": 1, "type": "private"}, "photo": [{}]},
    ],
    ids=["empty", "far date", "word for a date", "number for a chat", "photo of nothing"],
)
def test_what_cannot_be_read_is_emptied_and_the_rest_stays(message: dict) -> None:
    good = {"update_id": 7, "poll_answer": None}
    body = json.dumps({"ok": True, "result": [{"update_id": 6, "message": message}, good]})
    assert json.loads(without_unreadable_updates(body.encode()))["result"] == [
        {"update_id": 6},
        good,
    ]


def test_what_can_be_read_passes_as_it_is() -> None:
    body = b'{"ok":true,  "result":[{"update_id":6}]}'
    assert without_unreadable_updates(body) is body


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"ok":true}', b'{"result":5}', b"\xff"])
def test_an_answer_that_is_no_list_of_updates_is_an_error_of_the_network(body: bytes) -> None:
    with pytest.raises(NetworkError, match="no list of updates") as caught:
        without_unreadable_updates(body)
    assert caught.value.__cause__ is None


def test_bots_of_two_servers_may_share_what_they_remember() -> None:
    store = MemoryStore()
    store.save_user(77, UserRecord(consented=True))
    for _ in range(2):  # update ids begin anew with each server
        with talking(store=store) as talk:
            assert picture(talk.server.user("Ana", id=77), "a cat")


def test_a_flood_of_one_user_is_bounded_and_noticed_once() -> None:
    with talking() as talk:
        ana, ben = talk.person("Ana"), talk.person("Ben")
        talk.server.fail("sendMessage", delay_s=2, chat_id=ana.id)
        chat = talk.server.run(lambda telegram: telegram.chats[ana.id])
        talk.server.run(
            lambda telegram: (
                [telegram.receive(chat, {"text": "/help"}) for _ in range(400)] and None
            )
        )
        began_s = time.monotonic()
        assert "yours:" in answer(ben, "/help")["text"]
        assert time.monotonic() - began_s < 8
        ana.waits_for("more at once than I can answer")
        wait_until(lambda: sum("yours:" in str(one) for one in ana.messages) >= 100, 30)
        time.sleep(0.3)
        told = [one.get("text", "") for one in ana.messages]
        assert sum("more at once" in text for text in told) == 1
        assert sum("yours:" in text for text in told) == MAX_WAITING_UPDATES
        assert picture(ana, "a cat after that")
