"""What the bot says: both languages complete, escaped, and within Telegram's limits."""

import re
from dataclasses import replace
from string import Formatter

import pytest

from fixtures_bot import Painter
from sdlesson.bot import texts
from sdlesson.bot.generator import Result
from sdlesson.bot.requests import (
    OPTIONS,
    SPANISH_OPTIONS,
    Defaults,
    Reason,
    Request,
    RequestError,
    parse_request,
)
from sdlesson.bot.texts import Localizer, shorten, supported_language
from sdlesson.bot_api.formatting import parse_html
from sdlesson.language import LANGUAGES, Text
from sdlesson.prompts import Unknown

MAX_CAPTION = 1024
MAX_TEXT = 4096


def all_texts() -> list[Text]:
    found = []
    for value in vars(texts).values():
        values = value.values() if isinstance(value, dict) else [value]
        found += [text for text in values if isinstance(text, Text)]
    return found


def fields(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name}


def result(request: Request, **facts: object) -> Result:
    drawn = Painter().draw([request], on_step=lambda *_: None, is_cancelled=lambda _: False)[0]
    assert drawn is not None
    return replace(drawn, request=replace(request, seed=7), **facts)


@pytest.mark.parametrize("text", all_texts(), ids=lambda text: text.en[:30])
def test_both_languages_name_the_same_values_and_are_good_html(text: Text) -> None:
    assert fields(text.en) == fields(text.es)
    values = dict.fromkeys(fields(text.en), "<x> & 'y'")
    for language in LANGUAGES:
        plain, _ = parse_html(Localizer(language)(text, **values))
        assert len(plain) <= MAX_TEXT
        assert ("<x> & 'y'" in plain) == bool(values)


def test_there_are_texts_and_every_reason_has_one() -> None:
    assert len(all_texts()) > 50
    assert set(texts.REFUSALS) == set(Reason)


def test_texts_tell_commands_that_exist() -> None:
    named = {name for text in all_texts() for name in re.findall(r"(?<![<\w])/([a-z]+)", text.en)}
    assert named <= {*texts.COMMANDS, "generate", "start"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_examples_in_the_help_can_be_drawn(language: str) -> None:
    (example,) = re.findall(r"<code>/draw (.*?)</code>", getattr(texts.HELP, language))
    request = parse_request(example, Defaults())
    assert (request.num_inference_steps, request.guidance_scale, request.seed) == (30, 9, 7)
    assert request.negative_prompt in ("hat", "sombrero")


def test_spanish_names_of_options_are_understood() -> None:
    for english, spanish in SPANISH_OPTIONS.items():
        assert OPTIONS[english[2:]] is OPTIONS[spanish[2:]]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "Ahí no hay nada que dibujar."),
        ("a" * 2000, "Son 2000 caracteres y admito 1000."),
        ("a --stpes 3", "No conozco la opción --stpes. ¿Querías decir --steps?"),
        ("a --guíaa 3", "No conozco la opción --guíaa. ¿Querías decir --guia?"),
        ("a --negativoo b", "No conozco la opción --negativoo. ¿Querías decir --sin?"),
        ("a --zzz 3", "No conozco la opción --zzz."),
        ("a --steps", "Falta algo después de --pasos."),
        ("a --steps 900", "--pasos admite un número entero de 1 a 50, y «900» no lo es."),
        ("a --guia 99", "--guia admite un número de 0 a 20, y «99» no lo es."),
        ("a --strength 0,5", "--fuerza es para fotos"),
    ],
)
def test_a_refusal_says_what_came_and_what_is_allowed(text: str, sentence: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_request(text, Defaults())
    assert sentence in Localizer("es").refusal(caught.value)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("sign", ["a ", "<", "&", "🧑‍🚀 ", "\u0301x"])
def test_a_caption_of_the_longest_request_fits(language: str, sign: str) -> None:
    prompt = (sign * 1000)[:1000]
    unknown = tuple(Unknown(sign * 20, (sign * 20,) * 3) for _ in range(50))
    longest = result(Request(prompt, prompt, guidance_scale=7.25), unknown=unknown, cut=prompt)
    plain, _ = parse_html(Localizer(language).caption(longest))
    assert len(plain.encode("utf-16-le")) // 2 <= MAX_CAPTION
    assert "7" in plain


def test_a_caption_names_words_that_were_guessed_or_not_read() -> None:
    facts = {"unknown": (Unknown("zorblax", ()), Unknown("katz", ("cat",))), "cut": "the end"}
    caption = Localizer("en").caption(result(Request("a zorblax katz the end"), **facts))
    assert "I do not know: zorblax; katz (try cat)" in caption
    assert "did not read: the end" in caption


def test_shortening_counts_as_telegram_does() -> None:
    assert shorten("a" * 10, 10) == "a" * 10
    assert shorten("a" * 11, 10) == "a" * 9 + "…"
    assert shorten("😀" * 6, 10) == "😀" * 4 + "…"


@pytest.mark.parametrize(
    ("code", "language"),
    [("es", "es"), ("es-MX", "es"), ("ES", "es"), ("en-GB", "en"), ("de", "en"), (None, "en")],
)
def test_a_telegram_users_language_is_the_bots(code: str | None, language: str) -> None:
    assert supported_language(code) == language


def test_waiting_and_drawing_tell_the_time_only_where_it_is_known() -> None:
    localize = Localizer("en")
    assert localize.waiting(3, None) == "In the queue: 3 before you"
    assert localize.waiting(0, 0.2) == "In the queue: you are next · about 1 s"
    assert localize.waiting(1, 200) == "In the queue: 1 before you · about 3 min"
    assert localize.drawing(5, 10, 12.4) == "Drawing ▓▓▓▓▓░░░░░ 5 of 10 · about 12 s"
