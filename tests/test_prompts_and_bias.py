"""What lesson 04 says of its large-sample tables, held to the tables as they are committed."""

from typing import Any

import pytest

from sdlesson.metrics import Share, measured
from sdlesson.pocket.world import COLOURS


def rows(name: str) -> dict[str, dict[str, Any]]:
    return {row["prompt"]: row for row in measured(name).rows}


def figures(prompt: str, negative_prompt: str) -> dict[str, Any]:
    """A row about hats; of the plain prompts, which both languages have, the English one."""
    return next(
        row
        for row in measured("hats").rows
        if (row["prompt"], row["negative_prompt"]) == (prompt, negative_prompt)
    )


def hats(prompt: str, negative_prompt: str) -> Share:
    return figures(prompt, negative_prompt)["hat"]


@pytest.mark.parametrize("words", ["with a hat", "wearing a hat", "con sombrero"])
def test_a_negative_prompt_in_the_words_of_captions_takes_hats_off(words: str) -> None:
    assert hats("…", words).value < hats("…", "").value / 2


@pytest.mark.parametrize("words", ["sombrero", "without a hat", "with no hat", "sin sombrero"])
def test_sombrero_alone_or_a_denial_as_negative_prompt_hardly_takes_hats_off(words: str) -> None:
    assert hats("…", words).value > hats("…", "").value / 2


@pytest.mark.parametrize(
    ("asked", "denied"), [("wearing a hat", "without a hat"), ("con sombrero", "sin sombrero")]
)
def test_the_prompt_itself_puts_hats_on_and_leaves_fewer(asked: str, denied: str) -> None:
    assert hats(f"… {asked}", "").value > 0.8
    assert hats(f"… {denied}", "").value < hats("…", "").value - 0.15


@pytest.mark.parametrize("control", ["an umbrella", "un paraguas"])
def test_a_negative_prompt_on_something_else_costs_subjects_rather_than_hats(control: str) -> None:
    assert abs(hats("…", control).value - hats("…", "").value) < 0.1
    lost = figures("…", "")["subject"].value - figures("…", control)["subject"].value
    assert 0.03 < lost < 0.15


def test_the_model_counts_to_three_and_draws_one_for_more() -> None:
    table = rows("counting")
    assert table["two …"]["counted_2"].value > 0.6
    assert table["three …"]["counted_3"].value > 0.6
    assert table["four …"]["counted_1"].value > 0.5
    assert table["five …"]["counted_1"].value > 0.5


def test_what_was_never_shown_comes_out_about_as_often_as_what_was() -> None:
    table = rows("held_out")
    never_shown, shown = table["never shown"]["right"], table["shown"]["right"]
    assert never_shown.high > shown.low - 0.1
    assert list(table)[:2] == ["never shown", "shown"]  # the rows that the lesson shows


@pytest.mark.parametrize("figure", ["subject", "place", "style"])
def test_both_languages_are_right_as_often(figure: str) -> None:
    english, spanish = (row[figure] for row in measured("languages").rows)
    assert abs(english.value - spanish.value) < 0.1


def test_flowers_are_yellow_unless_a_colour_is_named() -> None:
    table = rows("bias")
    assert table["(training)"]["yellow"].value > 0.8
    assert table["a flower"]["yellow"].value > 0.8
    assert all(table[f"a {colour} flower"][colour].value > 0.85 for colour in COLOURS)


def test_a_place_takes_away_far_more_diversity_than_a_style() -> None:
    spread = {prompt: row["diversity"].value for prompt, row in rows("details").items()}
    lost_to_place = spread["…"] - spread["… on the beach"]
    assert lost_to_place > 2 * (spread["…"] - spread["…, pixel art"])
    assert lost_to_place > spread["…"] / 3
