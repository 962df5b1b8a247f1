"""What a training did, step by step."""

from __future__ import annotations

from dataclasses import dataclass, field

from PIL import Image

from sdlesson.metrics import Mean


@dataclass(frozen=True)
class Step:
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

    steps: list[Step] = field(default_factory=list)

    def smooth(self, window: int = 25) -> list[float]:
        """The loss as a running mean over the last `window` steps, one value a step."""
        raise NotImplementedError

    def by_timestep(self, bins: int = 10, *, first: int = 0) -> list[Mean]:
        """The mean error of each of `bins` equal ranges of timesteps, from step `first` on."""
        raise NotImplementedError
