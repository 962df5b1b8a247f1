import subprocess
import sys
import unicodedata
from dataclasses import replace

import pytest
from PIL import Image

from fixtures_bot import FRAGMENTS, odd_texts
from sdlesson.bot.requests import (
    MAX_PROMPT_CHARS,
    NUMBERS,
    Defaults,
    Reason,
    Request,
    RequestError,
    clean_text,
    parse_request,
)

DEFAULTS = Defaults(num_inference_steps=25, guidance_scale=5.0)
PHOTO = Image.new("RGB", (32, 32))


def parse(text, photo=None):
    return parse_request(text, DEFAULTS, photo=photo)


def refusal(text, photo=None):
    with pytest.raises(RequestError) as caught:
        parse(text, photo)
    return caught.value


def test_a_text_without_options_is_the_prompt_with_the_users_own_settings():
    assert parse("a cat on the beach") == Request("a cat on the beach", "", 25, 5.0, None)


@pytest.mark.parametrize(
    "text",
    [
        "a cat --steps 30 --guidance 9 --seed 7 --no hat",
        "a cat --no hat --seed 7 --cfg 9.0 --steps 30",
        "--steps=30 --guidance=9 a cat --seed=7 --not hat",
        "a cat —steps 30 —guidance 9 —seed 7 —no hat",  # as an iPhone sends it
        "a cat –steps: 30, –scale 9, –seed 7, –negative hat",
        "a cat --pasos 30 --guía 9,0 --semilla 7 --sin hat",
        "a cat --PASOS 30 --guia 9 --Semilla +7 --negative_prompt hat",
        "  a\ncat\n--steps\n30\n--guidance 9.\n--seed 007\n--no\nhat\n",
        "a cat --steps 5 --steps 30 --guidance 9 --seed 7 --no hat",  # the last one counts
    ],
)
def test_options_are_read_however_people_write_them(text):
    assert parse(text) == Request("a cat", "hat", 30, 9.0, 7)


def test_words_after_a_number_belong_to_the_prompt_and_words_after_no_do_not():
    assert parse("a cat --seed 7 on Mars --no a hat, dogs --steps 9 at night").prompt == (
        "a cat on Mars at night"
    )


def test_things_to_leave_out_add_up():
    assert parse("a cat --no hat --no dog").negative_prompt == "hat, dog"


@pytest.mark.parametrize(
    "text", ["a cat — a dog", "a cat -- a dog", "well-known", "one—two", "a -b"]
)
def test_a_dash_in_a_sentence_is_no_option(text):
    assert parse(text).prompt == text


def test_a_large_seed_is_kept_to_the_last_digit():
    assert parse("a cat --seed 18446744073709551615").seed == 2**64 - 1


@pytest.mark.parametrize(
    ("text", "reason", "values"),
    [
        ("", Reason.EMPTY, {}),
        ("--steps 30", Reason.EMPTY, {}),
        ("\u200b\u202e \u200d", Reason.EMPTY, {}),
        ("a" * 1001, Reason.TOO_LONG, {"chars": 1001, "limit": 1000}),
        ("a --no " + "b" * 1001, Reason.TOO_LONG, {"chars": 1001, "limit": 1000}),
        ("a --ar 16:9", Reason.UNKNOWN_OPTION, {"option": "--ar", "near": ""}),
        ("a --stpes 30", Reason.UNKNOWN_OPTION, {"option": "--stpes", "near": "--steps"}),
        ("a --stepz 30", Reason.UNKNOWN_OPTION, {"option": "--stepz", "near": "--steps"}),
        ("a —semila 3", Reason.UNKNOWN_OPTION, {"option": "--semila", "near": "--semilla"}),
        ("a --seed", Reason.NO_VALUE, {"option": "--seed"}),
        ("a --pasos --seed 7", Reason.NO_VALUE, {"option": "--steps"}),
        ("a --strength 0.5", Reason.NEEDS_PHOTO, {"option": "--strength"}),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_a_reason_and_its_values(text, reason, values):
    error = refusal(text)
    assert (error.reason, error.values) == (reason, values)


@pytest.mark.parametrize("value", ["51", "0", "-3", "7.5", "many", "1e1", "nan", "9" * 400, "½"])
def test_an_absurd_number_of_steps_is_refused_with_the_range(value):
    error = refusal(f"a cat --steps {value}")
    expected = {"option": "--steps", "value": value[:20], "low": 1, "high": 50, "whole": True}
    assert (error.reason, error.values) == (Reason.BAD_VALUE, expected)


@pytest.mark.parametrize("option", NUMBERS, ids=lambda option: option.name)
def test_both_ends_of_a_range_are_allowed_and_what_lies_beyond_is_not(option):
    photo = PHOTO if option.name == "--strength" else None
    request = Request("a cat", photo=photo)
    for value in (option.low, option.high):
        replace(request, **{option.field: value})
    for value in (option.low - 0.01, option.high + 1, float("nan"), float("inf")):
        with pytest.raises(RequestError) as caught:
            replace(request, **{option.field: value})
        assert caught.value.reason == Reason.BAD_VALUE


def test_a_photo_takes_the_share_of_the_steps_that_is_redone():
    assert parse("a cat --strength 0.5 --steps 30", PHOTO).steps_to_take == 15
    assert refusal("a cat --strength 0.1 --steps 5", PHOTO).values["needed"] == 10
    assert parse("a cat --strength 0.1 --steps 10", PHOTO).steps_to_take == 1


@pytest.mark.parametrize(
    "text", ["a cat --widen right", "a cat --Ampliar: DERECHA,", "—widen right a cat"]
)
def test_a_side_is_read_in_both_languages_and_takes_guidance_of_its_own(text):
    request = parse(text, PHOTO)
    assert (request.prompt, request.widen, request.guidance_scale) == ("a cat", "right", 1.5)
    assert request.steps_to_take == 4 * 25
    assert parse(text + " --guidance 3", PHOTO).guidance_scale == 3


@pytest.mark.parametrize("text", ["a cat --control outline", "--control contorno a cat"])
def test_control_is_read_in_both_languages_and_takes_every_step(text):
    request = parse(text, PHOTO)
    assert (request.prompt, request.control, request.steps_to_take) == ("a cat", "outline", 25)
    assert not request.redraws


def test_a_word_that_an_option_does_not_take_is_refused_with_those_it_takes():
    error = refusal("a cat --widen sideways", PHOTO)
    choices = ("left", "right", "top", "bottom")
    assert error.values == {"option": "--widen", "value": "sideways", "choices": choices}
    assert refusal("a cat --control depth", PHOTO).reason == Reason.BAD_CHOICE
    assert refusal("a cat --control", PHOTO).reason == Reason.NO_VALUE
    for broken in ({"widen": "sideways"}, {"control": "depth"}):
        with pytest.raises(RequestError, match="bad_choice"):
            Request("a cat", photo=PHOTO, **broken)


@pytest.mark.parametrize("option", ["--strength 0.5", "--control outline", "--widen left"])
def test_what_is_done_to_a_photo_needs_one_and_is_one_thing(option):
    assert refusal(f"a cat {option}").reason == Reason.NEEDS_PHOTO
    for other in {"--strength 0.5", "--control outline", "--widen left"} - {option}:
        error = refusal(f"a cat {option} {other}", PHOTO)
        assert error.reason == Reason.CONFLICT
        assert {error.values["option"], error.values["other"]} == {
            option.split()[0],
            other.split()[0],
        }


def test_a_photo_may_be_redrawn_or_widened_without_words_but_not_followed():
    assert parse("--strength 0.5", PHOTO).prompt == parse("--widen left", PHOTO).prompt == ""
    assert refusal("--control outline", PHOTO).reason == Reason.EMPTY
    assert refusal("--steps 9").reason == Reason.EMPTY


def test_a_photo_is_widened_up_to_a_shape():
    assert parse("--widen left", Image.new("RGB", (112, 32))).widen == "left"
    error = refusal("--widen left", Image.new("RGB", (32, 113)))
    assert (error.reason, error.values) == (Reason.TOO_LONG_PHOTO, {"times": 3.5})
    assert parse("--strength 0.5", Image.new("RGB", (32, 113))).redraws


def test_clean_text_is_one_line_that_reads_in_the_order_it_is_stored():
    assert clean_text("a\x00cat\r\n\u202etac\u2066 \u200b\ufeff a\u0301") == "a cat tac á"


def test_emoji_that_are_joined_stay_joined():
    assert clean_text("👩🏽‍🚀") == "👩🏽‍🚀"


@pytest.mark.parametrize("photo", [None, PHOTO], ids=["text", "photo"])
def test_500_odd_texts_become_a_clean_request_or_a_refusal(photo):
    requests, refusals = [], []
    for text in odd_texts(500):
        try:
            requests.append(parse(text, photo))
        except RequestError as error:
            refusals.append(error)
    assert min(len(requests), len(refusals)) >= 50, "too few of a kind to say anything"
    for error in refusals:
        assert all(len(str(value)) <= 22 for value in error.values.values())
    for request in requests:
        assert (photo is None) <= len(request.prompt) <= MAX_PROMPT_CHARS
        for letter in request.prompt + request.negative_prompt:
            assert unicodedata.category(letter)[0] != "C" or letter in "\u200c\u200d"
        request.prompt.encode()  # no half of a surrogate pair is left


def test_every_odd_fragment_alone_is_survived_at_any_length():
    for fragment in FRAGMENTS:
        for text in (fragment, fragment * 40, f"a cat {fragment} {fragment}"):
            try:
                parse(text[:4096])
            except RequestError:
                continue


def test_the_domain_needs_neither_torch_nor_telegram():
    names = "queue", "requests", "store", "worker"
    imports = "; ".join(f"import sdlesson.bot.{name}" for name in names)
    heavy = "{'torch', 'telegram', 'diffusers', 'transformers'} & set(sys.modules)"
    code = f"import sys; {imports}; assert not {heavy}, {heavy}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
