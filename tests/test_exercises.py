from functools import wraps

import numpy as np
import pytest
import torch
from PIL import Image

from sdlesson.exercises import Case, Mistake, Verdict, check, check_function, checking, difference
from sdlesson.language import set_language

RED, BLUE = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (3, 4),
        (0.5, 0.6),
        (True, False),
        ("a cat", "a dog"),
        ([], ["unicorn"]),
        ([1, 2], [2, 1]),
        (np.arange(3), np.arange(3) + 1),
        (torch.eye(2), torch.ones(2, 2)),
        (torch.eye(2), torch.eye(3)),
        (torch.eye(2), "torch.eye(2)"),
        (RED, BLUE),
        (RED, Image.new("RGB", (4, 4), "red")),
        ([RED, BLUE], [RED, RED]),
        ([RED, BLUE], [RED]),
    ],
)
def test_a_right_answer_is_solved_and_a_wrong_one_is_not(right, wrong):
    assert check(right, right).solved
    assert not check(wrong, right).solved


@pytest.mark.parametrize("unfilled", [None, ..., [1, ...], lambda: None, lambda: ...])
def test_an_unfilled_stub_is_not_yet_even_where_a_condition_would_fail(unfilled):
    verdict = check(unfilled, lambda value: value.strip(), hint="Count.")
    assert not verdict.solved
    assert verdict.message == "Not yet. Fill in the cell above.\nHint: Count."


def test_a_stub_that_raises_not_implemented_is_unfilled():
    def stub():
        raise NotImplementedError

    assert "Fill in" in check(stub, 1).message


def test_an_error_in_the_answer_becomes_feedback():
    assert "ZeroDivisionError: division by zero" in check(lambda: 1 / 0, 1).message


def test_an_error_in_the_condition_becomes_feedback():
    assert "AttributeError" in check(7, lambda words: words.strip()).message


def test_numbers_within_the_tolerance_are_solved_and_beyond_it_are_measured():
    ours = torch.zeros(3)
    assert check(ours + 5e-5, ours).solved
    assert check(ours + 0.25, ours, tolerance=0.5).solved
    assert "up to 0.25" in check(ours + 0.25, ours).message


def test_nan_is_never_solved():
    assert not check(float("nan"), 1.0).solved
    assert not check(torch.tensor([float("nan")]), torch.zeros(1)).solved


def test_half_precision_and_grad_and_integers_compare_with_floats():
    assert check(torch.ones(2, dtype=torch.float16, requires_grad=True), np.ones(2)).solved
    assert check(np.float32(2), 2).solved


def test_pictures_say_by_how_much_they_differ():
    assert "in 100.0% of its pixels" in difference(RED, BLUE)
    assert "[1]" in difference([RED, RED], [RED, BLUE])


def test_a_condition_decides():
    assert check("a cat", lambda words: "cat" in words).solved
    assert not check("a dog", lambda words: "cat" in words).solved


def test_the_hint_is_left_out_once_solved():
    assert "Count" not in check(1, 1, hint="Count.").message


def test_verdicts_speak_the_language_set():
    set_language("es")
    assert check(1, 1).message == "¡Resuelto!"
    assert check(..., 1, hint="Cuenta.").message.startswith("Todavía no.")
    assert "Pista: Cuenta." in check(2, 1, hint="Cuenta.").message


def test_what_a_student_wrote_cannot_become_html():
    page = Verdict(False, "<script>alert(1)</script>")._repr_html_()
    assert "<script>" not in page


def halve(number):
    return number / 2


CASES = [Case("number=0", (0.0,)), Case("number=8", (8.0,))]
MISTAKES = [
    Mistake(lambda number: number * 2, "Doubled."),
    Mistake(lambda number: number * (1 + number), "Never."),
]


def test_a_function_is_told_the_input_what_came_what_was_expected_and_its_mistake():
    assert check_function(lambda number: number * 0.5, halve, CASES).solved
    verdict = check_function(lambda number: 2 * number, halve, CASES, mistakes=MISTAKES)
    assert not verdict.solved
    assert "With number=8: 16 came, 4 was expected." in verdict.message
    assert verdict.message.endswith("Doubled.")
    other = check_function(lambda number: number, halve, CASES, mistakes=MISTAKES)
    assert "8 came" in other.message
    assert "Doubled" not in other.message


@pytest.mark.parametrize("unfilled", [lambda number: None, lambda number: ...])
def test_an_unfilled_function_is_not_yet(unfilled):
    assert "Fill in" in check_function(unfilled, halve, CASES, hints=["a", "b"]).message


def test_a_function_that_returns_nothing_for_some_cases_hears_which_and_not_that_it_is_empty():
    cases = [Case(f"number={number}", (number,)) for number in (1, 2)]
    verdict = check_function(
        lambda number: "odd" if number % 2 else None,
        lambda number: "odd" if number % 2 else "even",
        cases,
    )
    assert verdict.message.startswith("Not yet. With number=2: None came, 'even' was expected.")


def nothing_back(number):
    number / 2


def sorted_in_place(numbers):
    return numbers.sort()


def test_a_function_with_lines_that_gives_nothing_back_is_told_so_and_a_stub_is_not():
    def stub(number):
        """Return the half."""
        ...

    assert "Fill in" in check_function(stub, halve, CASES).message
    assert "gives back None" in check_function(nothing_back, halve, CASES).message
    assert "gives back None" in check(wraps(nothing_back)(lambda: nothing_back(2)), 1).message
    assert "Fill in" in check(wraps(stub)(lambda: stub(2)), 1).message
    cases = [Case("numbers", ([2, 1],))]
    assert ".sort()" in check_function(sorted_in_place, sorted, cases).message
    set_language("es")
    assert "devuelve None" in check_function(nothing_back, halve, CASES).message


def first_of_all(items):
    """Empties what it was given: `items.pop()` and `image.paste()` do such things."""
    found = max(items)
    items.clear()
    return found


def painted(image):
    image.paste((0, 0, 255), (0, 0, *image.size))
    return image


def doubled(tensor):
    tensor *= 2
    return tensor


@pytest.mark.parametrize(
    ("answer", "reference", "argument"),
    [
        (first_of_all, max, [1, 3]),
        (painted, lambda image: BLUE if image == RED else RED, RED.copy()),
        (doubled, lambda tensor: 2 * tensor, torch.ones(2)),
        (doubled, lambda array: 2 * array, np.ones(2)),
    ],
)
def test_a_function_may_change_what_it_was_given(answer, reference, argument):
    assert check_function(answer, reference, [Case("it", (argument,))]).solved


def test_code_that_stops_is_told_what_usually_stops_it():
    stops = [Mistake(lambda number: 8 / number, "By zero."), Mistake(KeyError("no"), "No key.")]
    told = check_function(lambda number: 8 / number, halve, CASES, mistakes=stops).message
    assert told.endswith("division by zero\nBy zero.")
    other = check_function(lambda number: number / "a", halve, CASES, mistakes=stops).message
    assert "By zero" not in other
    missing = check(lambda: {}["no"], 1, mistakes=stops).message
    assert missing.endswith("No key.")
    assert "No key" not in check(lambda: {}["yes"], 1, mistakes=stops).message


def test_an_answer_that_changes_from_time_to_time_is_told_of_its_chance():
    chance = np.random.default_rng(0)
    told = check_function(lambda number: chance.random(), halve, CASES).message
    assert "fresh random numbers" in told
    assert "random" not in check_function(lambda number: number, halve, CASES).message


@pytest.mark.parametrize("answer", ["halve", 3, [halve], {"halve": halve}])
def test_what_is_no_function_is_told_so(answer):
    told = check_function(answer, halve, CASES, hints=["Divide."]).message
    assert told.startswith("Not yet. A function was expected, and ")
    assert told.endswith("Hint: Divide.")


def test_an_odd_value_is_not_taken_for_code_that_stops():
    told = check(7, lambda words: words.strip(), asked="a text").message
    assert "7 came. It does not fit here: AttributeError" in told
    assert "Expected: a text" in told


def test_without_tolerance_pictures_agree_to_the_last_bit():
    nearly = RED.copy()
    nearly.putpixel((3, 3), (254, 0, 0))
    assert check(nearly, RED).solved
    assert not check(nearly, RED, tolerance=0).solved
    assert check(RED.copy(), RED, tolerance=0).solved


def test_a_function_that_stops_is_told_with_what():
    verdict = check_function(lambda number: 8 / number, halve, CASES)
    assert "With number=0: The code stops: ZeroDivisionError" in verdict.message


def test_a_value_is_told_what_came_what_was_asked_and_its_mistake():
    mistakes = [Mistake(lambda words: words.isupper(), "Shouted."), Mistake(3, "Counted.")]
    verdict = check("HI", "hello", asked="a greeting", mistakes=mistakes)
    assert verdict.message.split("\n")[1:] == ["Expected: a greeting", "Shouted."]
    assert "Not yet. 'HI' came." in verdict.message
    assert check(3, 4, mistakes=mistakes).message.endswith("Counted.")


def test_hints_grow_from_try_to_try_and_begin_anew_once_solved():
    hints = ["look", "count", "it is four"]
    shown = [check(3, 4, name="hints", hints=hints).message for _ in range(4)]
    assert [text.split("\n")[1] for text in shown] == [
        "Hint 1/3: look",
        "Hint 2/3: count",
        "Hint 3/3: it is four",
        "Hint 3/3: it is four",
    ]
    assert check(4, 4, name="hints", hints=hints).solved
    assert "1/3" in check(3, 4, name="hints", hints=hints).message
    assert "1/3" in check(..., 4, name="hints", hints=hints).message  # no try at all


def test_a_picture_that_differs_is_shown_beside_the_one_expected():
    verdict = check([RED, RED], [RED, BLUE])
    assert verdict.pictures == (RED, BLUE)
    assert verdict._repr_html_().count("<img") == 2
    assert check_function(lambda: RED, lambda: BLUE, [Case("", ())]).pictures == (RED, BLUE)
    assert "<img" not in check(RED, RED)._repr_html_()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.123456, "0.1235"),
        (torch.tensor([1.5, 2.0]), "[1.5, 2]"),
        (torch.zeros(2, 3), "a tensor of 2 x 3 numbers from 0 to 0"),
        ([1, "a"], "[1, 'a']"),
        (RED, "a picture of 8 x 8"),
        ("x" * 200, "'" + "x" * 75 + " ..."),
    ],
)
def test_what_came_is_shown_in_a_few_characters(value, text):
    assert checking.show(value) == text


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (np.array(["a", "b"]), "It holds <U1, not real numbers."),
        (np.array([None, "a"], dtype=object), "It holds object, not real numbers."),
        (torch.tensor([1 + 2j, 3 + 0j]), "It holds complex64, not real numbers."),
        (np.complex64(2 + 1j), "It holds complex64, not real numbers."),
        (torch.zeros(2, device="meta"), "It holds meta, not real numbers."),
        (torch.zeros(0, 4), "An empty tensor of 0 x 4 came."),
        (np.zeros((2, 0)), "An empty tensor of 2 x 0 came."),
        (torch.eye(3).to_sparse(), "A tensor of 3 x 3 numbers from 0 to 1 came."),
        (10**400, "It differs by up to inf."),
        (filter(None, [1, 2]), "It is a filter, which has not made its items yet: put list("),
    ],
)
def test_what_holds_no_numbers_is_answered_and_stops_nothing(answer, said):
    for expected in (2.0, torch.ones(2)):
        told = check(answer, expected)
        function = check_function(lambda _: answer, lambda _, wanted=expected: wanted, CASES)
        assert not told.solved
        assert not function.solved
        assert told._repr_html_()
        assert function._repr_html_()
    assert said in check(answer, 2.0).message


def test_only_the_whole_of_a_complex_number_is_right():
    assert not check(torch.tensor(1 + 2j), 1).solved
    assert not check(np.complex128(1 + 2j), 1).solved


@pytest.mark.filterwarnings("error")
def test_arrays_of_any_order_and_kind_compare():
    backwards, locked = np.arange(3)[::-1], np.asarray(RED)
    assert check(backwards, np.array([2, 1, 0])).solved
    assert check(np.longdouble(2), 2).solved
    assert check(locked, torch.tensor([255, 0, 0]).expand(8, 8, 3)).solved


def test_words_in_an_array_where_a_list_was_asked_are_told_what_they_are_in():
    told = check_function(lambda _: np.array(["a"]), lambda _: ["a"], CASES).message
    assert "Its type is ndarray, not list." in told


@pytest.mark.parametrize("answer", [lambda _: float("nan"), lambda _: [torch.tensor(torch.nan)]])
def test_nan_is_not_taken_for_chance(answer):
    for wanted in (1.0, [torch.tensor(1.0)]):
        told = check_function(answer, lambda _, wanted=wanted: wanted, CASES).message
        assert "random" not in told


@pytest.mark.parametrize("answer", [lambda n: (i for i in [n]), lambda n: map(abs, [n]), object])
def test_what_is_made_anew_each_time_is_not_taken_for_chance(answer):
    assert "random" not in check_function(answer, lambda _: [1], CASES).message
