"""Five hundred odd inputs: no traceback to a user, no dead handler."""

from collections.abc import Iterator

import pytest
from PIL import Image

from fixtures_bot import odd_texts
from fixtures_talk import Talk, answer, is_picture, picture, talking, wait_until
from sdlesson.bot_api import Person

ODD = [
    "/",
    "//",
    "/draw",
    "/draw@somebody_else a cat",
    "/drawa cat",
    "/start start",
    "<b>",
    "</b></i>",
    "<script>alert(1)</script>",
    "&amp; &lt; &#0; &nbsp;",
    "{prompt} {0} %s %(x)s \\",
    "*_`[](http://x)",
    "a\u202ecat\u202c",
    "a\u200bcat\ufeff",
    "\u0301\u0301\u0301",
    "🧑‍🚀🏴‍☠️👩‍👩‍👧‍👦",
    "à" * 500 + "\u0301" * 500,
    "𝔞 𝔠𝔞𝔱",
    "ﷺ" * 100,
    "а кот",
    "مرحبا --steps 5",
    "a cat --steps nan --guidance inf --seed 1e9",
    "a cat --steps 99999999999999999999999999999999",
    "a cat --steps -5",
    "a cat --steps ٣",
    "a cat --seed 18446744073709551616",
    "a cat --steps= --guidance",
    "a cat —steps 3 –guidance 4",
    "--no",
    "--",
    "------ --- --",
    "a cat --no --no --no hat",
    "a cat --exec rm -rf",
    "a cat --steps 3 --steps 4 --steps 5",
    "a cat --strength 0.5",
    "' OR 1=1; --",
    "../../../etc/passwd",
    "$(reboot) `id`",
    "x" * 4096,
    "😀" * 2000,
    "a " * 2048,
    "--seed 1 " * 400,
    "\n\n\na\tcat\r\n\x0b",
    "0",
    "None",
    "agree:",
]


@pytest.fixture(scope="module")
def talk() -> Iterator[Talk]:
    with talking() as talk:
        yield talk


def answers(person: Person) -> list[dict]:
    """What the bot has written since the greetings, without what goes again."""
    written = [message for message in person.messages if message["from"]["is_bot"]]
    return [message for message in written[2:] if not is_status(message)]


def is_status(message: dict) -> bool:
    return "✖ Cancel" in str(message.get("reply_markup")) and "on the way" not in str(message)


def assert_sane(talk: Talk, person: Person) -> None:
    """What the user sees names no innards, and the log has no error."""
    seen = "\n".join(str(one) for one in person.messages if one["from"]["is_bot"])
    for innards in ("Traceback", "Error", "Exception", "sdlesson", ".py", "went wrong"):
        assert innards not in seen
    assert not talk.bot.snapshot().errors


def say(person: Person, text: str) -> int:
    """Say it if Telegram's apps can send it; how many messages that makes."""
    try:
        person.says(text)
    except ValueError:
        return 0
    return 1


@pytest.mark.parametrize("part", range(10))
def test_odd_texts_are_answered_each_once(talk: Talk, part: int) -> None:
    person = talk.person()
    texts = [text for text in ODD + odd_texts(660) if not text.startswith("/cancel")][part::10]
    said = sum(say(person, text) for text in texts)
    assert said >= 45
    wait_until(lambda: len(answers(person)) >= said, 20)
    assert picture(person, "a cat after all that")
    assert len(answers(person)) == said + 1
    assert_sane(talk, person)


def test_other_media_is_refused_in_a_sentence(talk: Talk) -> None:
    person = talk.person()
    message = answer(person, file=b"%PDF-1.4", file_name="paper.pdf")
    assert message["text"] == "I only take text, and photos with a caption."


def test_a_bomb_is_refused_before_it_is_opened(talk: Talk, tmp_path) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (10_000, 10_000)).save(path)  # 13 KB that unpack to 100 million pixels
    assert path.stat().st_size < 100_000
    person = talk.person()
    assert "I cannot read that picture" in answer(person, "a bear", file=path)["text"]
    assert_sane(talk, person)


def test_a_file_above_the_limit_is_not_fetched(talk: Talk) -> None:
    person = talk.person()
    message = answer(person, "a bear", file=bytes(21 * 2**20), file_name="huge.png")
    assert "below 20 MB" in message["text"]
    assert "getFile" not in [call.method for call in talk.server.calls[-3:]]


FORGED = [
    "",
    ":",
    "seed",
    "seed:",
    "seed:AAAAAAAAAAA",
    "again:{token}x",
    "vary:../../x",
    "cancel:00000000",
    "cancel:",
    "set:",
    "set:steps",
    "set:seed+",
    "set:__class__+",
    "language:xx",
    "language:",
    "settings:x",
    "nonsense:1",
    "x" * 64,
    "🙂" * 16,
]


@pytest.mark.parametrize("data", FORGED)
def test_a_forged_button_does_no_harm(talk: Talk, data: str) -> None:
    person = talk.person()
    message = picture(person, "a cat")
    token = message["reply_markup"]["inline_keyboard"][0][0]["callback_data"].partition(":")[2]
    person.presses(message, data=data.format(token=token) or "\0")
    if data != "settings:x":
        wait_until(lambda: "no longer works" in person.notice.get("text", ""))
    assert_sane(talk, person)


@pytest.mark.parametrize("verb", ["seed", "steps", "vary", "again"])
def test_nobody_draws_with_anothers_button(talk: Talk, verb: str) -> None:
    ana, ben = talk.person("Ana"), talk.person("Ben")
    theirs = picture(ana, "the secret of ana")
    token = theirs["reply_markup"]["inline_keyboard"][0][0]["callback_data"].partition(":")[2]
    ben.presses(picture(ben, "a dog"), data=f"{verb}:{token}")
    wait_until(lambda: ben.notice.get("text") == "That belongs to somebody else.")
    assert "secret" not in str(ben.messages)


def test_replayed_updates_do_nothing(talk: Talk) -> None:
    person = talk.person()
    message = picture(person, "a cat")
    person.presses(message, "🎲 Another seed")
    person.waits_for(is_picture, after=message)
    seen = len(answers(person))
    for update in talk.server.updates[-4:]:
        talk.server.replay(update)
    assert answer(person, "/help")["message_id"]
    assert len(answers(person)) == seen + 1
