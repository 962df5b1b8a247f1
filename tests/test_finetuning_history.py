import math

import pytest

from sdlesson.finetuning.history import History, TrainingStep
from sdlesson.metrics import mean


def make_step(index: int, loss: float, **pictures: tuple[float, ...]) -> TrainingStep:
    timesteps = tuple(int(t) for t in pictures.get("timesteps", ()))
    return TrainingStep(index, 9, loss, 0.0, timesteps, pictures.get("errors", ()), float(index))


def test_smooth_is_the_mean_of_the_last_steps() -> None:
    history = History([make_step(index, loss) for index, loss in enumerate([4.0, 2.0, 6.0, 1.0])])
    assert history.smooth(2) == [4.0, 3.0, 4.0, 3.5]
    assert history.smooth(99) == [4.0, 3.0, 4.0, 3.25]
    assert History().smooth() == []


def test_errors_are_averaged_by_range_of_timesteps() -> None:
    history = History(
        [
            make_step(0, 1.0, timesteps=(0, 999), errors=(9.0, 3.0)),
            make_step(1, 1.0, timesteps=(499, 500), errors=(5.0, 1.0)),
        ]
    )
    assert history.by_timestep(2) == [mean([9.0, 5.0]), mean([3.0, 1.0])]


def test_a_range_that_was_met_less_than_twice_is_unknown() -> None:
    history = History([make_step(0, 1.0, timesteps=(0, 1, 700), errors=(1.0, 3.0, 8.0))])
    low, high = history.by_timestep(2)
    assert low == mean([1.0, 3.0])
    assert math.isnan(high.value)
    assert math.isnan(history.by_timestep(2, first=1)[0].value)


@pytest.mark.parametrize("window", [0, -1, 2.5, "5", None])
def test_a_window_that_is_no_number_of_steps_is_refused(window: int) -> None:
    with pytest.raises(ValueError, match=r"window=.* must be a whole number of steps from 1"):
        History([make_step(0, 1.0)]).smooth(window)


@pytest.mark.parametrize("wrong", [{"bins": 0}, {"bins": -3}, {"bins": 2.5}, {"first": -1}])
def test_bins_that_are_none_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}=.* must be"):
        History([make_step(0, 1.0)]).by_timestep(**wrong)
