"""What a training did, step by step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import accumulate
from numbers import Integral

from PIL import Image

from sdlesson.metrics import Mean, mean
from sdlesson.settings import NOISE_LEVELS


@dataclass(frozen=True)
class TrainingStep:
    """One step of a training, as it is reported while it runs.

    Attributes:
        index: From 0.
        steps: How many there will be.
        loss: What the optimizer lowered: photos, and the prior's share on top.
        prior_loss: The prior's loss before its weight; 0.0 without a prior.
        timesteps: The noise levels of the photos in the batch, in [0, 1000).
        errors: The squared error of each photo in the batch, before any weight.
        seconds: Since this run began.
        images: Pictures of `sample_prompts`, in the steps that draw them.
    """

    index: int
    steps: int
    loss: float
    prior_loss: float
    timesteps: tuple[int, ...]
    errors: tuple[float, ...]
    seconds: float
    images: tuple[Image.Image, ...] = ()


@dataclass
class History:
    """All steps so far, kept in the checkpoint: a resumed training has the whole of it."""

    steps: list[TrainingStep] = field(default_factory=list)

    def smooth(self, window: int = 25) -> list[float]:
        """The loss as a running mean over the last `window` steps, one value a step.

        Raises:
            ValueError: The window is no number of steps.
        """
        if not isinstance(window, Integral) or window < 1:
            raise ValueError(f"window={window!r} must be a whole number of steps from 1; try 25")
        sums = [0.0, *accumulate(step.loss for step in self.steps)]
        starts = (max(0, end - window) for end in range(1, len(sums)))
        return [
            (sums[end] - sums[start]) / (end - start) for end, start in enumerate(starts, start=1)
        ]

    def by_timestep(self, bins: int = 10, *, first: int = 0) -> list[Mean]:
        """The mean error of each of `bins` equal ranges of timesteps, from step `first` on.

        Returns:
            From the least noise to the most; NaN where a range was met less than twice.

        Raises:
            ValueError: `bins` or `first` is no such number.
        """
        if not isinstance(bins, Integral) or bins < 1:
            raise ValueError(f"bins={bins!r} must be a whole number from 1; try 10")
        if not isinstance(first, Integral) or first < 0:
            raise ValueError(f"first={first!r} must be the number of a step, from 0")
        errors: list[list[float]] = [[] for _ in range(bins)]
        for step in self.steps[first:]:
            for timestep, error in zip(step.timesteps, step.errors, strict=True):
                errors[timestep * bins // NOISE_LEVELS].append(error)
        unknown = Mean(math.nan, math.nan, math.nan, 0)
        return [mean(found) if len(found) > 1 else unknown for found in errors]
