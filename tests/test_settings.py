import math

import numpy as np
import pytest

from sdlesson import settings


def test_what_is_in_range_comes_back_as_a_plain_number() -> None:
    found = [
        settings.check_steps(np.int64(30)),
        settings.check_seed(np.uint8(7)),
        settings.check_guidance(np.float32(7.5)),
        settings.check_guidance(3),
        settings.check_batch_size(np.int32(4)),
    ]
    assert found == [30, 7, 7.5, 3.0, 4]
    assert [type(number) for number in found] == [int, int, float, float, int]


def test_a_text_comes_back_as_it_is() -> None:
    assert settings.check_prompt(" a cat ") == " a cat "
    assert settings.check_negative("") == ""


@pytest.mark.parametrize(
    ("check", "value", "sentence"),
    [
        (settings.check_negative, None, "negative_prompt=None must be a text; try"),
        (settings.check_negative, ["a hat"], r"negative_prompt=\['a hat'\] must be a text"),
        (settings.check_batch_size, 0, "batch_size=0 must be a whole number from 1 to 256; try 4"),
        (settings.check_batch_size, 2.0, "batch_size=2.0 must be a whole number"),
        (settings.check_guidance, math.nan, "guidance_scale=nan must be a number"),
    ],
)
def test_what_is_out_of_range_is_refused_in_one_sentence(check, value, sentence) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        check(value)
    assert "\n" not in str(caught.value)
