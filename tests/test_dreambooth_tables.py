"""What lessons 06 and 07 say of their large-sample tables, held to them as they are committed."""

from typing import Any

import pytest

from sdlesson.metrics import measured

LORA, KEPT = "LoRA, own prediction", "LoRA, class images"
FULL, ALONE = "full, class images", "full, no prior"
POINTS = 0.05
MAX_TRAINED = 0.02


def row(model: str) -> dict[str, Any]:
    return next(row for row in measured("dreambooth").rows if row["model"] == model)


def curve(model: str, figure: str) -> list[float]:
    """A figure over the steps of a training."""
    return [row[figure].value for row in measured("dreambooth_steps").rows if row["model"] == model]


@pytest.mark.parametrize("model", [LORA, KEPT])
def test_fidelity_closes_most_of_the_gap_to_the_references(model: str) -> None:
    assert row(model)["closed"].value > 0.6


def test_with_class_images_styles_stay_as_they_are_in_the_untrained_model() -> None:
    assert row(KEPT)["style"].value > row("untrained: a robot")["style"].value - POINTS


@pytest.mark.parametrize("model", [LORA, KEPT])
def test_the_new_subject_goes_where_it_is_asked_to_as_the_class_does(model: str) -> None:
    assert row(model)["place"].value > row("untrained: a robot")["place"].value - POINTS


@pytest.mark.parametrize("prior", ["own prediction", "class images"])
def test_a_prior_leaves_at_most_a_quarter_of_the_drift(prior: str) -> None:
    assert row("LoRA, no prior")["drift"].value > 0.1
    assert row(f"LoRA, {prior}")["drift"].value <= row("LoRA, no prior")["drift"].value / 4


def test_without_a_prior_full_dreambooth_makes_the_class_look_like_the_subject() -> None:
    start = row("untrained: a robot")["class_similarity"].value
    leaked = row(ALONE)["class_similarity"].value - start
    assert leaked > 0.1
    assert row(FULL)["class_similarity"].value - start < leaked / 4


def test_a_lora_of_rank_4_is_about_as_faithful_as_full_dreambooth() -> None:
    assert row(LORA)["fidelity"].value > row(FULL)["fidelity"].value - POINTS
    assert row(LORA)["parameters"] < MAX_TRAINED
    assert row(FULL)["parameters"] == 1


def test_without_a_prior_more_steps_bring_the_subject_no_closer() -> None:
    closed = curve(ALONE, "closed")
    assert max(closed[4:]) < closed[3] + POINTS  # of 0, 25, 50, 100, 200 and 400 steps


def test_without_a_prior_pictures_of_one_place_grow_alike() -> None:
    diversity = curve(ALONE, "diversity")
    assert diversity[-1] < diversity[0] / 3


def test_with_its_own_prediction_the_subject_comes_later_and_nearly_as_near() -> None:
    closed, alone = curve(LORA, "closed"), curve(ALONE, "closed")
    assert all(ours < theirs - POINTS for ours, theirs in zip(closed[1:4], alone[1:4], strict=True))
    assert max(alone) - 2 * POINTS < max(closed) < alone[3]  # after 400 steps; alone, after 100


def test_robots_stay_robots_with_a_prior_and_not_without() -> None:
    assert min(curve(ALONE, "class_right")) < 0.6
    assert min(curve(LORA, "class_right")) > 0.85
