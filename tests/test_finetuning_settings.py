from fractions import Fraction

import numpy as np
import pytest

from fixtures_finetuning import make_settings
from sdlesson.finetuning.training_settings import (
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
        one.for_model(size).peak_learning_rate
        for size in (859_520_964, 8_740_000)
        for one in (lora, full)
    ]
    assert rates == [
        LORA_LEARNING_RATE,
        FULL_LEARNING_RATE,
        SMALL_LORA_LEARNING_RATE,
        SMALL_FULL_LEARNING_RATE,
    ]
    assert make_settings(learning_rate=0.5).for_model(8_740_000).peak_learning_rate == 0.5


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
    assert [short.learning_rate_at(step) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert [long.learning_rate_at(step) for step in range(6)] == [
        short.learning_rate_at(step) for step in range(6)
    ]
    assert make_settings(warmup=0, learning_rate=1.0).learning_rate_at(0) == 1.0


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
        ({"sample_prompts": (3,)}, r"sample_prompts=\(3,\) must be a tuple of texts, such as"),
        ({"sample_prompts": ("a", None)}, r"sample_prompts=\('a', None\) must be"),
        ({"sample_prompts": 5}, r"sample_prompts=5 must be"),
        ({"sample_prompts": {"a": 1}}, r"sample_prompts=.* must be"),
        ({"learning_rate": True}, r"learning_rate=True must be a number above 0"),
        ({"learning_rate": "1e-4"}, r"learning_rate='1e-4' must be"),
        ({"learning_rate": float("inf")}, r"learning_rate=inf must be"),
        ({"learning_rate": 10**400}, r"learning_rate=1000+ must be"),
        ({"learning_rate": Fraction(1, 10**400)}, r"learning_rate=Fraction.* must be"),
        ({"learning_rate": np.float32("nan")}, r"learning_rate=.*nan.* must be"),
        ({"alpha": float("nan")}, r"alpha=nan must be"),
        ({"alpha": True}, r"alpha=True must be"),
        ({"ema_decay": True}, r"ema_decay=True must be"),
        ({"ema_decay": "0.9"}, r"ema_decay='0\.9' must be"),
        ({"min_snr_gamma": float("inf")}, r"min_snr_gamma=inf must be"),
        ({"prior_weight": None}, r"prior_weight=None must be"),
        ({"prior_weight": False}, r"prior_weight=False must be"),
        ({"steps": True}, r"steps=True must be a whole number"),
        ({"steps": "400"}, r"steps='400' must be"),
        ({"steps": 5.0}, r"steps=5\.0 must be"),
        ({"steps": np.float64(5)}, r"steps=.* must be"),
        ({"rank": 10**30}, r"rank=10+ must be a whole number from 1 to 2147483647"),
        ({"seed": True}, r"seed=True must be"),
        ({"prior": None}, r"prior=None must be one of"),
        ({"prior": ["none"]}, r"prior=\['none'\] must be one of"),
        ({"convolutions": "yes"}, r"convolutions='yes' must be True or False"),
        ({"train_text_encoder": 1}, r"train_text_encoder=1 must be True or False"),
        ({"gradient_checkpointing": None}, r"gradient_checkpointing=None must be True or False"),
        ({"use_8bit_adam": "no"}, r"use_8bit_adam='no' must be True or False"),
        ({"word": 5}, r"word=5 must be one word"),
        ({"word": "type"}, r"word='type' is a word of torch's own; choose another"),
        ({"word": "forward"}, r"word='forward' is a word of torch's own"),
        ({"word": "keys"}, r"word='keys' is a word of torch's own"),
        ({"word": "__class__"}, r"word='__class__' is a word of torch's own"),
        ({"class_noun": None}, r"class_noun=None must say"),
        ({"rank": 10**5000}, r"rank=.a number of thousands of digits. must be a whole number"),
        ({"alpha": -(10**5000)}, r"alpha=.a number of thousands of digits. must be a number"),
        ({"class_noun": "rob\ud800t"}, r"class_noun='rob.*' holds '.ud800', which is no letter"),
        ({"sample_prompts": ("a", "\udcff")}, r"sample_prompts='.*' holds '.udcff', which is"),
        ({"word": "a\ud800"}, r"word='a.ud800' must be one word"),
    ],
)
def test_a_setting_out_of_its_range_is_one_sentence(
    changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        make_settings(**changes)


def test_numbers_and_texts_of_numpy_are_kept_as_pythons_own_which_a_checkpoint_can_hold() -> None:
    settings = make_settings(
        word=np.str_("zwx"),
        rank=np.int64(2),
        steps=np.uint8(7),
        seed=np.int32(3),
        warmup=np.int64(0),
        alpha=np.float32(2),
        learning_rate=Fraction(1, 2),
        ema_decay=np.float64(0.5),
        train_text_encoder=np.True_,
        sample_prompts=[np.str_("a zwx")],
    )
    kinds = {name: type(getattr(settings, name)) for name in vars(settings)}
    assert {kinds[name] for name in ("rank", "steps", "seed", "warmup")} == {int}
    assert {kinds[name] for name in ("alpha", "learning_rate", "ema_decay")} == {float}
    assert (kinds["word"], kinds["train_text_encoder"]) == (str, bool)
    assert (settings.sample_prompts, type(settings.sample_prompts[0])) == (("a zwx",), str)
