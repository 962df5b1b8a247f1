import pytest
from fixtures_finetuning import make_settings

from sdlesson.finetuning.settings import (
    FULL_LEARNING_RATE,
    LORA_LEARNING_RATE,
    PRIORS,
    SMALL_FULL_LEARNING_RATE,
    SMALL_LORA_LEARNING_RATE,
    TrainingSettings,
)


def test_the_prompts_are_the_class_with_and_without_the_word() -> None:
    settings = TrainingSettings("zwx", "robot")
    assert (settings.instance_prompt, settings.class_prompt) == ("a zwx robot", "a robot")


def test_a_rate_suits_the_method_and_the_size_of_the_model_unless_it_is_set() -> None:
    lora, full = make_settings(), make_settings(rank=None, prior="none")
    assert (lora.is_lora, full.is_lora) == (True, False)
    rates = [
        one.for_model(size).peak_rate for size in (859_520_964, 8_740_000) for one in (lora, full)
    ]
    assert rates == [
        LORA_LEARNING_RATE,
        FULL_LEARNING_RATE,
        SMALL_LORA_LEARNING_RATE,
        SMALL_FULL_LEARNING_RATE,
    ]
    assert make_settings(learning_rate=0.5).for_model(8_740_000).peak_rate == 0.5


def test_convolutions_are_for_small_models_unless_it_is_set() -> None:
    settings = make_settings()
    assert [settings.for_model(size).convolutions for size in (859_520_964, 8_740_000)] == [
        False,
        True,
    ]
    assert make_settings(convolutions=False).for_model(8_740_000).convolutions is False
    assert make_settings(convolutions=True).for_model(859_520_964).convolutions is True


def test_the_scale_is_alpha_over_rank_and_one_by_default() -> None:
    assert make_settings(rank=4, alpha=2.0).scale == 0.5
    assert make_settings(rank=8).scale == 1.0


def test_the_rate_climbs_to_its_peak_and_does_not_depend_on_the_number_of_steps() -> None:
    short, long = (make_settings(steps=steps, warmup=4, learning_rate=1.0) for steps in (5, 500))
    assert [short.rate_at(step) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert [long.rate_at(step) for step in range(6)] == [short.rate_at(step) for step in range(6)]
    assert make_settings(warmup=0, learning_rate=1.0).rate_at(0) == 1.0


@pytest.mark.parametrize("prior", PRIORS)
def test_every_prior_goes_with_a_lora(prior: str) -> None:
    assert make_settings(prior=prior).prior == prior


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rank": 0}, r"rank=0 must be a whole number from 1; try 4, or None"),
        ({"rank": True}, r"rank=True must be"),
        ({"rank": 2.0}, r"rank=2\.0 must be"),
        ({"word": "two words"}, r"word='two words' must be one word"),
        ({"word": ""}, r"word='' must be one word"),
        ({"word": "a.b"}, r"word='a\.b' must be one word"),  # peft names modules after it
        ({"word": "robot"}, r"word='robot' is the class itself"),
        ({"class_noun": " "}, r"class_noun=' ' must say what the thing is"),
        ({"steps": 0}, r"steps=0 must be a whole number from 1"),
        ({"warmup": -1}, r"warmup=-1 must be a whole number from 0"),
        ({"seed": -1}, r"seed=-1 must be"),
        ({"seed": 2**64}, r"seed=18446744073709551616 must be"),
        ({"learning_rate": 0}, r"learning_rate=0 must be a number above 0"),
        ({"learning_rate": float("nan")}, r"learning_rate=nan must be"),
        ({"alpha": -1.0}, r"alpha=-1\.0 must be"),
        ({"ema_decay": 1.0}, r"ema_decay=1\.0 must be a number above 0 and below 1"),
        ({"prior": "mine"}, r"prior='mine' must be one of none, class_images, own_prediction"),
        ({"rank": None}, r"own_prediction.*full DreamBooth overwrites"),
        ({"gradient_accumulation": 3, "batch_size": 4}, r"must divide batch_size=4"),
        ({"sample_prompts": "a zwx robot"}, r"sample_prompts='a zwx robot' must be a tuple"),
    ],
)
def test_a_setting_out_of_its_range_is_one_sentence(
    changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        make_settings(**changes)
