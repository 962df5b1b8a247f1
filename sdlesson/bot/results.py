"""What comes of a request: a picture, and all that is needed to draw it again."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from sdlesson.bot.requests import Request
from sdlesson.drawing import Drawing
from sdlesson.images import encode_png
from sdlesson.prompts import Unknown


@dataclass(frozen=True, eq=False)
class Result:
    """A picture, and all that is needed to draw it again.

    Attributes:
        drawing: The picture and its settings; black if it was flagged.
        request: What was asked, with the seed that was used.
        unknown: Words of the prompt that the model does not know.
        cut: The end of the prompt, which the model did not read.
        seconds: How long it took, its share of the batch.
    """

    drawing: Drawing
    request: Request
    unknown: tuple[Unknown, ...] = ()
    cut: str = ""
    seconds: float = 0.0

    @property
    def image(self) -> Image.Image:
        """The picture; black if it was flagged."""
        return self.drawing.image

    @property
    def flagged(self) -> bool:
        """Whether the safety checker withholds the picture."""
        return self.drawing.flagged

    @property
    def settings(self) -> dict[str, str]:
        """Everything but the pictures, as text for a file."""
        photo = {"strength": str(self.request.strength)} if self.request.photo else {}
        return self.drawing.settings | photo

    def png(self) -> bytes:
        """Pack the picture with its settings as a file; slow enough to keep off an event loop."""
        return encode_png(self.image, self.settings)
