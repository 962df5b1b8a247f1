"""Each exercise of lessons 03 to 07, 10 and 11 that needs no model: what it says to whom.

The ones that draw are tried in tests/test_notebooks.py, in their lesson.
"""

import ast
import contextlib
import importlib
import math
import operator
import re
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPTokenizer

from sdlesson import editing, hub
from sdlesson.exercises import (
    checking,
    lesson_03,
    lesson_04,
    lesson_05,
    lesson_06,
    lesson_07,
    lesson_10,
    lesson_11,
)
from sdlesson.language import LANGUAGES, set_language
from sdlesson.pocket.world import subject
from sdlesson.prompts import unknown_words

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "notebooks"))
lesson_reader = importlib.import_module("lesson")


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


AT_1, AT_3 = noise(1, 4, 8, 8), noise(1, 4, 8, 8, seed=1)
X, W, A, B = noise(3, 20), noise(16, 20), noise(4, 20), noise(16, 4)
PRED, NOISE = noise(8, 4, 8, 8), noise(8, 4, 8, 8, seed=1)
LEVELS = (np.arange(48) * 37 % 256).astype(np.uint8).reshape(4, 4, 3)
LEVELS[0, 0] = 255, 0, 9
TILES = [Image.new("RGB", (8, 8), (level, 0, 0)) for level in (0, 99, 200)]
TOKENIZER = CLIPTokenizer.from_pretrained(hub.POCKET_FOLDER / "tokenizer")
SUBJECTS, PLACES = ["a fox", "a robot"], ["on Mars", "in space"]
WORDS = ["boat", "cat", "dog", "fox"]

# What an exercise is asked with, and what its cell calls the student's answer.
EXERCISES = {
    "03.1": ("at_15", lambda given: lesson_03.guidance_without_the_model(given, AT_1, AT_3)),
    "03.2": ("only_in_each", lesson_03.only_in_each),
    "03.3": ("count_clipped", lambda given: lesson_03.count_clipped(given, LEVELS)),
    "03.4": ("enough_steps", lesson_03.enough_steps),
    "04.1": ("noise_for", lesson_04.noise_for),
    "05.1": ("first_step", lesson_05.first_step),
    "05.2": ("put_back", lesson_05.put_back),
    "05.3": ("paste", lesson_05.paste),
    "05.4": ("between", lesson_05.between),
    "06.1": (
        "rare_words",
        lambda given: lesson_06.rare_words(given, TOKENIZER.tokenize, subject.SUBJECT_WORD),
    ),
    "06.2": ("best_step", lesson_06.best_step),
    "06.3": ("dreambooth_loss", lambda given: lesson_06.dreambooth_loss(given, PRED, NOISE)),
    "07.1": (
        "lora_layer",
        lambda given: lesson_07.lora_layer(given, X, W, A, B, X @ (W + 2 * B @ A).T),
    ),
    "07.2": (
        "merge",
        lambda given: lesson_07.merge(given, (W, A, B, 8, 4), W + 2 * B @ A),
    ),
    "07.3": (
        "my_scale",
        lambda given: lesson_07.right_scale(given, lambda s: TILES[int(s == 2)], TILES[1]),
    ),
    "10.2": ("departures", lesson_10.departures),
    "10.3": ("fair_order", lesson_10.fair_order),
    "11.1": ("after_kill", lesson_11.after_kill),
    "11.2": ("at_most", lesson_11.at_most),
    "11.3": ("break_in", lesson_11.break_in),
    "11.4": ("pictures_a_minute", lesson_11.pictures_a_minute),
}
NAMES = {
    "at_1": AT_1,
    "at_3": AT_3,
    "torch": torch,
    "Image": Image,
    "editing": editing,
    "pocket": SimpleNamespace(tokenizer=TOKENIZER),
    "unknown_words": unknown_words,
}


@pytest.fixture(autouse=True)
def no_tries_yet():
    checking._tries.clear()
    yield
    checking._tries.clear()
    set_language("en")


def parts(number):
    """The exercise in its lesson's source: stub, solution and wrong answers."""
    name, check = EXERCISES[number]
    (path,) = (ROOT / "notebooks" / "source").glob(f"{number[:2]}_*.py")
    (exercise,) = [
        one
        for one in lesson_reader.read_lesson(path).exercises()
        if name in {getattr(node, "id", "") for node in ast.walk(ast.parse(one.check))}
    ]

    def verdict(code):
        names = dict(NAMES)
        exec(code, names)
        return check(names[name])

    return exercise, verdict


@pytest.mark.parametrize("number", EXERCISES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_solution_passes_the_stub_waits_and_wrong_answers_do_not_pass(number, language):
    set_language(language)
    exercise, verdict = parts(number)
    assert verdict(exercise.solution).solved
    assert not verdict(exercise.stub).solved
    for wrong in exercise.wrong_answers:
        assert not verdict(wrong).solved, wrong


@pytest.mark.parametrize("number", EXERCISES)
def test_hints_grow_from_try_to_try(number):
    exercise, verdict = parts(number)
    wrong = exercise.wrong_answers[0]
    hints = [verdict(wrong).message.splitlines()[-1] for _ in range(4)]
    assert [hint[:8] for hint in hints] == ["Hint 1/3", "Hint 2/3", "Hint 3/3", "Hint 3/3"]
    assert len(set(hints)) == 3


@pytest.mark.parametrize("number", EXERCISES)
def test_no_hint_is_the_answer(number):
    exercise, verdict = parts(number)
    said = [verdict(exercise.wrong_answers[0]).message.splitlines()[-1] for _ in range(3)]
    for hint in said:
        text = hint.partition(": ")[2].rstrip(".")
        for copied in {text, *re.findall(r"`([^`]+)`", text)}:
            with contextlib.suppress(SyntaxError):
                code = re.sub(r"^(\s+)\.\.\.", rf"\1return {copied}", exercise.stub, flags=re.M)
                assert not verdict(code.replace("= ...", f"= {copied}")).solved, hint


ODD = {
    "a text": "abc",
    "a number": 3.5,
    "a list": [1, 2],
    "a text of the right number": "2",
    "true": True,
    "a function without return": lambda *_: None,
    "a function of a text": lambda *_: "abc",
    "a function of an empty list": lambda *_: [],
    "a function of not a number": lambda *_: float("nan"),
    "a function of a picture": lambda *_: Image.new("RGB", (16, 12)),
    "a function of any thing": lambda *_: object(),
    "a function of too few arguments": lambda: 1,
    "a function that stops": lambda *_: {}["no"],
    "a class": object,
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("number", EXERCISES)
def test_an_odd_answer_is_told_what_came(number, odd):
    _, check = EXERCISES[number]
    verdict = check(ODD[odd])
    assert not verdict.solved
    said = verdict.message.splitlines()[0]
    assert len(said) > len("Not yet. Fill in"), said
    assert "Hint 1/3" in verdict.message


def test_each_usual_mistake_of_enough_steps_is_told_from_the_others():
    exercise, verdict = parts("03.4")
    said = [verdict(wrong).message.splitlines()[1] for wrong in exercise.wrong_answers]
    assert len(set(said)) == len(said), said


def test_numbers_come_plainly_and_a_sentence_begins_with_a_capital():
    _, verdict = parts("03.3")
    assert (
        "3 came, 0.75"
        in verdict(
            "def count_clipped(levels):\n    return (levels % 255 == 0).any(axis=2).sum()"
        ).message
    )
    assert "Not yet. A tensor of 1 x 4 x 8 x 8" in parts("03.1")[1]("at_15 = 5 * at_3").message


def test_an_exercise_that_is_not_filled_in_is_told_so():
    for number in EXERCISES:
        exercise, verdict = parts(number)
        if "..." in exercise.stub:
            assert "Fill in the cell above" in verdict(exercise.stub).message, number


def changed(values):
    return lesson_07.changes(lambda: values, WORDS, "dog")


def test_the_hidden_word_must_stand_out():
    assert changed([0.01, 0.02, 0.3, 0.02]).solved
    assert "one number for each prompt" in changed([0.01, 0.3]).message
    assert "Nothing changed" in changed([0.0, 0.0, 0.0, 0.0]).message
    assert "change alike" in changed([0.2, 0.3, 0.31, 0.3]).message
    assert "Another word stands out" in changed([0.02, 0.3, 0.01, 0.02]).message
    assert "If you sorted the numbers" in changed([0.01, 0.02, 0.03, 0.3]).message
    assert "never negative" in changed([-0.01, -0.02, -0.3, -0.02]).message


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (["boat", "dog", "fox", "cat"], "Those are words"),
        ("dog", "Those are words"),
        (0.3, "one number for all"),
        ([], "one number for each"),
        ({"dog": 0.3}, "That is a dict"),
        ([True, None], "Fill in"),
        ([[0.1], [0.2]], "one number for each"),
        (object(), "does not fit here"),
    ],
)
def test_odd_changes_are_told_what_they_are(odd, said):
    verdict = changed(odd)
    assert not verdict.solved
    assert said in verdict.message


@pytest.mark.parametrize(
    ("drawn", "text"),
    [
        (["a fox on Mars"] * 4, "Everybody got the same"),
        (["a fox", "a robot"] * 2, "the place is missing"),
        ([], "Nothing was drawn"),
        (["a fox on Mars", "a cow"], ""),
    ],
)
def test_a_surprise_is_a_subject_in_a_place_by_chance(drawn, text):
    good = ["a fox on Mars", "a robot in space"]
    assert lesson_10.surprise(lambda: good, SUBJECTS, PLACES).solved
    verdict = lesson_10.surprise(lambda: drawn, SUBJECTS, PLACES)
    assert not verdict.solved
    assert text in verdict.message


def test_breaking_in_by_trying_everything_is_stopped_and_said():
    def try_everything(leak, signs, length):
        while True:
            leak(signs[:length])

    assert "too many tries" in lesson_11.break_in(try_everything).message


@pytest.mark.parametrize(
    ("check", "answer", "said"),
    [
        (lesson_11.after_kill, lambda state: "draw", "state='running'"),
        (
            lesson_11.after_kill,
            {"accepted": "draw", "running": "tell", "sending": "tell"}.get,
            "None",
        ),
        (
            lesson_11.after_kill,
            lambda state: "draw" if state == "accepted" else "tell",
            "needs no word",
        ),
        (lesson_11.at_most, lambda s, b, r, d: min(d, b + s * r / 60), "Only whole tokens"),
        (lesson_11.at_most, lambda s, b, r, d: min(d, round(b + s * r / 60)), "9 came, 8 was"),
        (lesson_11.break_in, lambda leak, signs, length: "c", "'c' came, 'cab' was expected"),
        (
            lesson_11.pictures_a_minute,
            lambda workers, draw_s, bot_s: 60 * min(workers / draw_s, 1 / bot_s),
            "waits for the bot before each picture",
        ),
    ],
)
def test_lesson_11_says_what_came_and_what_is_missing(check, answer, said):
    assert said in check(answer).message


def test_a_loss_is_measured_from_the_first_value_and_may_be_as_large_as_was_said():
    def best_step(steps, fidelity, kept, give_up, *, start=None, is_allowed=operator.le):
        start = kept[0] if start is None else start(kept)
        allowed = [i for i, value in enumerate(kept) if is_allowed(start - value, give_up)]
        return steps[max(allowed, key=lambda i: fidelity[i])]

    assert lesson_06.best_step(best_step).solved
    from_highest = lesson_06.best_step(partial(best_step, start=max))
    assert "not from the highest" in from_highest.message
    assert "<=, not <" in lesson_06.best_step(partial(best_step, is_allowed=operator.lt)).message
    by_heart = lesson_06.best_step(lambda steps, fidelity, kept, give_up: 100)
    assert "weighs both alike" not in by_heart.message


@pytest.mark.parametrize("whole", [int, round, math.ceil])
def test_pictures_a_minute_are_not_rounded(whole):
    told = lesson_11.pictures_a_minute(
        lambda workers, draw_s, bot_s: whole(60 * min(workers / (draw_s + bot_s), 1 / bot_s))
    )
    assert not told.solved
    assert "Do not round" in told.message


def test_a_scale_by_heart_does_not_merge():
    given = (W, A, B, 8, 4)
    assert lesson_07.merge(
        lambda W, A, B, alpha, rank: W + alpha / rank * B @ A, given, W + 2 * B @ A
    )
    assert not lesson_07.merge(lambda W, A, B, *_: W + 2 * B @ A, given, W + 2 * B @ A).solved


PICTURE = Image.new("RGB", (8, 8))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (dict(zip(WORDS, (0.1, 0.9, 0.1), strict=False)), "That is a dict"),
        (
            [(word, 0.1) for word in WORDS],
            "Each item is a list of its own: return one number for each prompt",
        ),
        (
            [np.array([0.1])] * len(WORDS),
            "Each item is a list of its own: return one number for each prompt",
        ),
        ([PICTURE] * len(WORDS), "Those are pictures"),
        (np.float32(0.5), "one number for all"),
        (torch.tensor(0.5), "one number for all"),
        (1, "one number for all"),
        ([0.1, float("nan")] + [0.1] * (len(WORDS) - 2), "A nan is among them"),
        (map(abs, [0.1, 0.9]), "put list(...) around it"),
    ],
)
def test_what_is_no_list_of_changes_is_told_what_it_is(values, said):
    told = changed(values).message
    assert said in told
    assert "sort" not in told
    assert "Those are words" not in told


def test_changes_that_lie_in_order_by_chance_are_not_said_to_be_sorted():
    values = [9.0] + [0.1] * (len(WORDS) - 1)
    assert "If you sorted the numbers" in changed(values).message


@pytest.mark.parametrize("scale", [[2.0], (2.0,), np.array([2.0, 2.0])])
def test_a_scale_in_brackets_is_told_so(scale):
    told = lesson_07.right_scale(scale, lambda s: TILES[int(s == 2)], TILES[1])
    assert "without brackets" in told.message
