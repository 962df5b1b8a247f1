"""When memory runs out, draw fewer pictures at once, and remember how many fit."""

from __future__ import annotations

import gc
import logging
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import torch
from PIL import Image

from sdlesson.bot.requests import Request
from sdlesson.bot_service.models.cards import cards_of

if TYPE_CHECKING:
    from sdlesson.bot.generator import ImageGenerator, IsCancelled, OnStep, Result

CPU_SENTENCE = "can't allocate memory"  # of torch, in a plain RuntimeError

log = logging.getLogger(__name__)


class SmallerBatches:
    """Draws with another generator, in as many parts as its memory asks for.

    Args:
        generator: What draws.

    Attributes:
        cards: What is known of each model.
        most: How many pictures fit at once, as far as is known; None before memory ran out.
        splits: How often a batch had to be halved.
    """

    def __init__(self, generator: ImageGenerator) -> None:
        self._generator = generator
        self.model, self.defaults, self.size = generator.model, generator.defaults, generator.size
        self.cards = cards_of(generator)
        self.has_control = generator.has_control
        self.most: int | None = None
        self.splits = 0

    def batch_key(self, request: Request) -> Hashable:
        """Requests with equal keys may be drawn in one batch."""
        return self._generator.batch_key(request)

    def draw(
        self, requests: Sequence[Request], *, on_step: OnStep, is_cancelled: IsCancelled
    ) -> Sequence[Result | None]:
        """Draw a batch, whole if it fits.

        Raises:
            Exception: What the other raises; a lack of memory only where not even one picture fits.
        """
        results: list[Result | None] = []
        while len(results) < len(requests):
            first = len(results)
            part = requests[first : first + (self.most or len(requests))]
            try:
                results += self._draw_part(part, first, len(requests), on_step, is_cancelled)
                continue
            except Exception as error:
                if len(part) == 1 or not is_out_of_memory(error):
                    raise
                log.warning("%s pictures do not fit (%s)", len(part), type(error).__name__)
            # Out of the except block: the error's traceback would hold what filled the memory.
            self.most, self.splits = len(part) // 2, self.splits + 1
            gc.collect()
            torch.cuda.empty_cache()
        return results

    def _draw_part(
        self,
        part: Sequence[Request],
        first: int,
        count: int,
        on_step: OnStep,
        is_cancelled: IsCancelled,
    ) -> Sequence[Result | None]:
        """Draw some requests of a batch, the first of them its `first`."""
        size = len(part)

        def report(step: int, steps: int, previews: dict[int, Image.Image]) -> None:
            # Of the whole batch: parts that are done, and this share of the next one.
            done = first * steps + step * size
            shown = {first + number: picture for number, picture in previews.items()}
            on_step(done // count, steps, shown)

        return self._generator.draw(
            part, on_step=report, is_cancelled=lambda number: is_cancelled(first + number)
        )


def is_out_of_memory(error: Exception) -> bool:
    """Whether a batch failed for want of memory, of the machine's or of its GPU's."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or CPU_SENTENCE in str(error)
