"""Pictures that were drawn before: who asks for the same with the same seed gets the same at once.

In memory only, bounded, and gone with the process. A picture that the safety checker flags never
comes in, and each one goes with the user it was drawn for, should that user be forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, fields, replace

from PIL import Image

from sdlesson.bot.generator import Result
from sdlesson.bot.requests import Request

ENTRY_BYTES = 4096  # for the words and what Python needs around a picture
MB = 1_000_000


@dataclass(frozen=True)
class _Entry:
    user_id: int
    result: Result
    size: int


class PictureCache:
    """The pictures that were asked for last, as many as fit.

    Args:
        most_mb: How much memory they may take; 0 keeps none.
        on_look: Told of each look whether there was one.

    Attributes:
        size: How many bytes they take now.
    """

    def __init__(
        self, most_mb: float, *, on_look: Callable[[bool], object] = lambda _: None
    ) -> None:
        self._most, self._on_look = most_mb * MB, on_look
        self._kept: OrderedDict[Hashable, _Entry] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, request: Request, weights: str) -> Result | None:
        """Find the picture of a request, as if it had just been drawn for it."""
        key = key_of(request, weights)
        if key is None or not self._most:
            return None
        entry = self._kept.get(key)
        self._on_look(entry is not None)
        if entry is None:
            return None
        self._kept.move_to_end(key)
        # The words as this user wrote them: the same to the model, and not another user's.
        own = replace(
            entry.result.drawing,
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
        )
        return replace(entry.result, drawing=own, request=request, seconds=0.0)

    def keep(self, user_id: int, request: Request, result: Result) -> None:
        """Keep what was drawn for a user, if it was not flagged and can be asked for again."""
        key = key_of(request, result.weights)
        width, height = result.image.size
        size = width * height * len(result.image.getbands()) + ENTRY_BYTES
        if key is None or result.flagged or size > self._most:
            return
        self._drop(key)
        self._kept[key] = _Entry(user_id, result, size)
        self.size += size
        while self.size > self._most:
            self._drop(next(iter(self._kept)))

    def forget(self, user_id: int) -> None:
        """Drop all pictures that were drawn for a user."""
        for key in [key for key, one in self._kept.items() if one.user_id == user_id]:
            self._drop(key)

    def _drop(self, key: Hashable) -> None:
        entry = self._kept.pop(key, None)
        self.size -= entry.size if entry else 0


def key_of(request: Request, weights: str) -> Hashable | None:
    """Name all that decides a picture; None where chance does, or a photo.

    Every field of a request counts, also one that is added later. The tokenizer takes capitals and
    spaces for the same, so they do not.
    """
    values = {field.name: getattr(request, field.name) for field in fields(request)}
    if request.seed is None or any(isinstance(one, Image.Image) for one in values.values()):
        return None
    del values["strength"]  # of a photo, and there is none
    for name in ("prompt", "negative_prompt"):
        values[name] = " ".join(values[name].lower().split())
    return (weights, *values.items())
