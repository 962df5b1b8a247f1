"""What is not drawn: found however it is written, with the false alarms counted."""

import asyncio
import time
from pathlib import Path

import pytest
from PIL import Image

from fixtures_service import serving
from fixtures_talk import answer, is_picture
from sdlesson.bot.requests import Request
from sdlesson.bot_service.moderation import Moderation, ModerationError, read_words
from sdlesson.pocket.world import caption, scene_at

OURS = Moderation(read_words())


@pytest.mark.parametrize(
    "text",
    [
        *("nude", "a NUDE cat", "nudes", "a nude, please", "nude!", "(nude)", "nude_cat"),
        *("nüde", "nu\u0301de", "nu\u200bde", "n\u00adude", "n\u2060u\ufeffde", "n\u3164ude"),
        *("n u d e", "n.u.d.e", "n-u-d-e cat", "nuuuude", "𝓃𝓊𝒹ℯ", "ｎｕｄｅ", "nudе"),
        *("a n.u.d.e robot", "un robot d.e.s.n.u.d.o y un gato", "a s.3.x y"),
        *("p0rn", "p0rn0", "$exy", "s3xy", "5exy", "pörnö", "n4zi", "r@pe", "un gato d3snud0"),
        *("PORNOGRAFIA", "pornografía", "pornografi\u0301a", "violación", "violacion", "orgía"),
        *("abuso infantil", "abuso\ninfantil", "abuso   infantil", "abuso-infantil", "esvasticas"),
    ],
)
def test_a_word_is_found_however_it_is_written(text: str) -> None:
    assert OURS.blocked_word(text)


@pytest.mark.parametrize(
    "text",
    [
        *("Essex in the rain", "un sexto gato", "the sextant", "sexteto", "a sexton"),
        *(
            "grapes",
            "a drape",
            "a therapist",
            "scrape the paint",
            "penetrate",
            "un penetrante olor",
        ),
        *("denuded hills", "gorgeous", "a gorey day", "un peñasco", "una pena", "a pen", "peines"),
        *(
            "3 cats",
            "7 dogs, 1 fox",
            "a cat: 5 x 8",
            "i s o 9000",
            "a b c",
            "S u s s e x",
            "año nuevo",
            "un moño",
        ),
        *("Nazaret", "nacimiento", "violines", "un violín", "violetas", "suizos", "a desk"),
    ],
)
def test_harmless_words_that_look_like_it_pass(text: str) -> None:
    assert not OURS.blocked_word(text)


def test_an_enye_is_a_letter_and_no_accent() -> None:
    rules = Moderation(["ano", "coño"])
    assert rules.blocked_word("ANO") == "ano"
    assert not rules.blocked_word("feliz año")
    assert rules.blocked_word("con\u0303o") == "coño"
    assert not rules.blocked_word("un cono")


def test_no_caption_of_the_pocket_models_world_is_a_false_alarm() -> None:
    scenes = [scene_at(index, seed=0) for index in range(500)]
    captions = [caption(scene, language) for scene in scenes for language in ("en", "es")]
    assert [one for one in captions if OURS.blocked_word(one)] == []


@pytest.mark.parametrize(
    "text", ["nu" * 500, "n u " * 250, "$" * 1000, "s5" * 500, "a\u0301" * 500]
)
def test_a_text_made_to_take_long_does_not(text: str) -> None:
    began = time.process_time()
    OURS.blocked_word(text)
    assert time.process_time() - began < 0.5


def test_what_is_to_be_kept_out_may_be_anything() -> None:
    asyncio.run(OURS.check(Request("a cat", negative_prompt="nude")))
    with pytest.raises(ModerationError):
        asyncio.run(OURS.check(Request("a nude cat")))


class Judge:
    """A service that refuses one word, and fails at another."""

    async def refuses(self, text: str) -> bool:
        if "broken" in text:
            raise ConnectionError("away")
        return "rude" in text


@pytest.mark.parametrize(("text", "is_away"), [("a rude cat", False), ("a broken cat", True)])
def test_a_service_is_asked_too_and_without_it_nothing_is_drawn(text: str, is_away: bool) -> None:
    moderation = Moderation(moderator=Judge())
    asyncio.run(moderation.check(Request("a cat")))
    with pytest.raises(ModerationError) as refused:
        asyncio.run(moderation.check(Request(text)))
    assert refused.value.is_away is is_away


def test_a_list_may_have_notes_and_must_have_letters(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("# ours\ncat # a note\n\nun perro\n", encoding="utf-8")
    assert read_words(path) == ["cat", "un perro"]
    path.write_text("cat\n!!!\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"line 2: '!!!' is no word"):
        read_words(path)


def test_a_refusal_is_told_in_the_users_language_and_costs_nothing(tmp_path: Path) -> None:
    with serving(tmp_path, moderation=OURS) as served:
        ana, eva = served.person("Ana", "es"), served.person("Eva")
        assert "«desnudo»" in answer(ana, "un gato desnudo")["text"]
        assert "“nude”" in answer(eva, "a nude cat")["text"]
        assert served.parts.store.jobs.drawn_today(eva.id) == 0
        assert served.parts.store.jobs.history(ana.id) == []
        photo = Image.new("RGB", (90, 60), "red")
        assert "“nude”" in answer(eva, "a nude bear", photo=photo)["text"]
        eva.says("a cat")
        assert eva.waits_for(is_picture)
