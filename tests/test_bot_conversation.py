"""Whole conversations: a person on one side, the bot on the other, real HTTP between them."""

import io
from collections.abc import Iterator
from itertools import pairwise

import pytest
from PIL import Image

from fixtures_bot import Painter
from fixtures_talk import Talk, answer, is_picture, picture, talking, wait_until
from sdlesson.images import picture_difference
from sdlesson.photos import open_photo


@pytest.fixture(scope="module")
def talk() -> Iterator[Talk]:
    with talking() as talk:
        yield talk


@pytest.fixture
def slow_talk() -> Iterator[Talk]:
    """A bot that takes two seconds for a picture of 20 steps."""
    with talking(Painter(step_s=0.1)) as talk:
        yield talk


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def labels(message: dict) -> list[str]:
    return [button["text"] for row in message["reply_markup"]["inline_keyboard"] for button in row]


def test_nothing_is_drawn_for_who_has_not_agreed(talk: Talk) -> None:
    eva = talk.server.user("Eva")
    welcome = answer(eva, "a cat of eva")
    assert "What I keep" in welcome["text"]
    assert labels(welcome) == ["All right, let's draw"]
    assert not any("a cat of eva" in batch for batch in talk.painter.batches)
    eva.presses(welcome, "All right, let's draw")
    assert "/help" in eva.waits_for("Good", after=welcome)["text"]
    assert picture(eva, "a cat of eva")


@pytest.mark.parametrize("text", ["/draw a cat", "/generate a cat", "a cat", "/DRAW@{name} a cat"])
def test_every_way_to_ask_draws(talk: Talk, text: str) -> None:
    name = talk.bot.snapshot().name.removeprefix("@")
    assert picture(talk.person(), text.format(name=name))["caption"].startswith("a cat\n")


def test_a_caption_carries_prompt_seed_and_settings(talk: Talk) -> None:
    message = picture(talk.person(), "a <b>cat</b> & co --steps 7 --guidance 9 --seed 3 --no hat")
    assert message["caption"] == "a <b>cat</b> & co\nwithout: hat\nseed 3 · 7 steps · guidance 9"
    assert message["caption_entities"][0] == {"type": "bold", "offset": 0, "length": 17}


def test_spanish_telegrams_are_answered_in_spanish(talk: Talk) -> None:
    ana = talk.person(language_code="es-MX")
    message = picture(ana, "un gato --pasos 7 --guia 7,5 --sin sombrero --semilla 3")
    assert message["caption"] == "un gato\nsin: sombrero\nsemilla 3 · 7 pasos · guía 7,5"
    assert "✨ Variación" in labels(message)


def test_the_language_can_be_changed(talk: Talk) -> None:
    ana = talk.person(language_code="de")
    question = answer(ana, "/language")
    assert labels(question) == ["English", "español"]
    ana.presses(question, "español")
    ana.waits_for("A partir de ahora, en español.", after=question)
    assert "No conozco esa orden" in answer(ana, "/nonsense")["text"]


def test_another_seed_and_more_steps_draw_again(talk: Talk) -> None:
    ana = talk.person()
    first = picture(ana, "a cat --seed 3")
    ana.presses(first, "➕ More steps")
    second = ana.waits_for(is_picture, after=first)
    assert "seed 3 · 20 steps" in second["caption"]
    ana.presses(second, "🎲 Another seed")
    assert "seed 0 · 20 steps" in ana.waits_for(is_picture, after=second)["caption"]
    assert "➕ More steps" not in labels(picture(ana, "a cat --steps 50"))


def test_a_variation_starts_from_the_picture_as_telegram_keeps_it(talk: Talk) -> None:
    ana = talk.person()
    first = picture(ana, "a cat --seed 3")
    ana.presses(first, "✨ Variation")
    assert "strength 0.5" in ana.waits_for(is_picture, after=first)["caption"]


def test_a_photo_with_a_caption_is_redrawn(talk: Talk) -> None:
    photo = Image.new("RGB", (90, 60), "red")
    message = picture(talk.person(), "/draw a bear --strength 0.8", photo=photo)
    assert message["caption"].startswith("a bear\n")
    assert "strength 0.8" in message["caption"]


def test_a_photo_without_a_caption_is_asked_for_one(talk: Talk) -> None:
    photo = Image.new("RGB", (90, 60), "red")
    assert "with a caption" in answer(talk.person(), photo=photo)["text"]


@pytest.mark.parametrize(
    "data",
    [b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(50), png(Image.new("RGB", (9, 9)))],
    ids=["no picture", "damaged", "too small"],
)
def test_what_is_no_photo_is_refused_in_one_sentence(talk: Talk, data: bytes) -> None:
    message = answer(talk.person(), "a bear", file=data, file_name="photo.png")
    assert "I cannot read that picture" in message["text"]
    assert "16 pixels" in message["text"]


def test_settings_hold_for_the_next_pictures(talk: Talk) -> None:
    ana = talk.person()
    settings = answer(ana, "/settings")
    assert labels(settings)[:2] == ["➖ 5 steps", "5 steps ➕"]
    ana.presses(settings, "5 steps ➕")
    wait_until(lambda: "10 steps ➕" in str(ana.messages[-1]))
    ana.presses(settings, "➖ guidance 7.5")
    wait_until(lambda: "➖ guidance 6.5" in str(ana.messages[-1]))
    assert "10 steps · guidance 6.5" in picture(ana, "a cat")["caption"]
    assert "3 steps · guidance 6.5" in picture(ana, "a cat --steps 3")["caption"]
    assert "yours: 10" in answer(ana, "/help")["text"]


def test_a_setting_stays_in_its_range(talk: Talk) -> None:
    ana = talk.person()
    settings = answer(ana, "/settings")
    for _ in range(3):
        ana.presses(settings, data="set:steps-")
        wait_until(lambda: ana.notice)
    assert picture(ana, "a cat")["caption"].endswith("5 steps · guidance 7.5")


def test_a_file_keeps_the_settings_that_a_photo_loses(talk: Talk) -> None:
    ana = talk.person()
    settings = answer(ana, "/settings")
    ana.presses(settings, data="set:file")
    wait_until(lambda: "settings: on" in str(ana.messages[-1]))
    message = picture(ana, "a cat --seed 3")
    assert message["document"]["file_name"] == "seed-3.png"
    found = talk.server.picture(message).info
    assert found.items() >= {"prompt": "a cat", "seed": "3", "model": "painter"}.items()


def test_a_flagged_picture_is_withheld_with_a_plain_word(talk: Talk) -> None:
    ana = talk.person()
    message = answer(ana, "a volcano")
    message = ana.waits_for("withhold", after=message["message_id"] - 1)
    assert "a volcano" in message["text"]
    assert not any("photo" in one for one in ana.messages)


def test_a_failure_is_short_and_its_number_finds_the_log_line(talk: Talk) -> None:
    ana = talk.person()
    ana.says("explode")
    message = ana.waits_for("Something went wrong")
    number = message["text"].rpartition(" ")[2].strip(".")
    assert "Traceback" not in message["text"]
    assert "paint" not in message["text"]
    log = "\n".join(talk.bot.log)
    assert f"job {number} failed" in log
    assert "RuntimeError: the paint exploded" in log
    assert f"job {number} failed" in talk.bot.snapshot().errors


def test_the_menu_of_commands_is_named_in_both_languages(talk: Talk) -> None:
    calls = [call.parameters for call in talk.server.calls if call.method == "setMyCommands"]
    assert [call.get("language_code", "") for call in calls] == ["", "es"]
    assert "imagen" in calls[1]["commands"]


def test_a_status_tells_place_then_progress_with_a_preview_and_goes(slow_talk: Talk) -> None:
    ana, ben = slow_talk.person("Ana"), slow_talk.person("Ben")
    ana.says("a slow cat --steps 45")
    drawing = ana.waits_for("Drawing")
    ben.says("a dog --steps 5")
    waiting = ben.waits_for("In the queue")
    assert "1 before you" in waiting["text"]
    assert labels(waiting) == ["✖ Cancel"]
    with_preview = ana.waits_for(lambda message: "photo" in message and not is_picture(message))
    assert with_preview["message_id"] == drawing["message_id"]
    assert "▓" in with_preview["caption"]
    result = ana.waits_for(is_picture)
    assert result["message_id"] > drawing["message_id"]
    wait_until(lambda: drawing["message_id"] not in [one["message_id"] for one in ana.messages])
    edits = [
        call.at
        for call in slow_talk.server.calls
        if call.method.startswith("edit") and call.chat_id == ana.id
    ]
    assert edits
    assert all(later - earlier > 2.9 for earlier, later in pairwise(edits))


def test_a_running_picture_and_a_waiting_one_are_cancelled_by_their_owner(slow_talk: Talk) -> None:
    ana, ben = slow_talk.person("Ana"), slow_talk.person("Ben")
    ana.says("a slow cat --steps 50")
    running = ana.waits_for("Drawing")
    ben.says("a slow dog --steps 40")
    waiting = ben.waits_for("In the queue")
    data = waiting["reply_markup"]["inline_keyboard"][0][0]["callback_data"]
    ana.presses(running, data=data)
    wait_until(lambda: ana.notice.get("text") == "That belongs to somebody else.")
    listed = answer(ben, "/queue")
    assert "1. a slow dog\nIn the queue: 1 before you" in listed["text"]
    ben.presses(listed, "✖ Cancel 1")
    ben.waits_for("Cancelled: a slow dog")
    ana.says("/cancel")
    ana.waits_for("Cancelled: a slow cat")
    assert "no pictures on the way" in answer(ben, "/cancel")["text"]
    assert "no pictures on the way" in answer(ben, "/queue")["text"]


def test_who_has_too_many_waiting_is_told_so(slow_talk: Talk) -> None:
    ana = slow_talk.person()
    for number in range(6):
        last = ana.says(f"cat number {number} --steps {40 + number}")
    assert "3 pictures waiting" in ana.waits_for("pictures waiting", after=last)["text"]


def test_the_pocket_model_draws_what_a_photo_and_words_say(pocket) -> None:
    with talking(pocket) as talk:
        ana = talk.person()
        message = picture(ana, "a zorblax on the beach --seed 1 --steps 8")
        assert "I guessed, because I do not know: zorblax" in message["caption"]
        assert "guidance 5" in message["caption"]
        first = talk.server.picture(message)
        edited = picture(ana, "a robot in the snow --strength 0.3 --seed 1", photo=first)
        result = open_photo(talk.server.picture(edited), size=128, name="result")
        assert picture_difference(first.convert("RGB"), result).mean_error < 0.15
