"""How long will it take? Learned from the batches that were drawn, and compared with what came."""

from __future__ import annotations

from collections import deque
from statistics import median

NEWEST_SHARE = 0.3  # of a new measurement in the running mean
MAX_ERRORS = 200


class Estimates:
    """Seconds a step for each size of batch, and how far the promises were off.

    Attributes:
        errors_s: What jobs took minus what was promised when they were submitted.
    """

    def __init__(self) -> None:
        self._step_s: dict[int, float] = {}  # by pictures in the batch
        self.errors_s: deque[float] = deque(maxlen=MAX_ERRORS)

    def learn(self, pictures: int, steps: int, seconds: float) -> None:
        """Take in a batch that was drawn to its end."""
        measured = seconds / steps
        before = self._step_s.get(pictures, measured)
        self._step_s[pictures] = before + NEWEST_SHARE * (measured - before)

    def seconds(self, pictures: int, steps: int) -> float | None:
        """Estimate a batch from those of its size, else of the nearest; None before the first."""
        if not self._step_s:
            return None
        nearest = min(self._step_s, key=lambda size: (abs(size - pictures), size))
        # From one size to another: between "no slower" and "slower in proportion".
        return steps * self._step_s[nearest] * (pictures / nearest) ** 0.5

    @property
    def median_error_s(self) -> float | None:
        """The middle of how far promises were off, whichever way; None before the first."""
        return median(map(abs, self.errors_s)) if self.errors_s else None
