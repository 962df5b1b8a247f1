"""The options a request's text may have, their ranges, and why a request is refused.

A refusal is a reason with its values, which whoever talks to the user puts into words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sdlesson.settings import MAX_SEED

MAX_STEPS = 50  # others are waiting too
MAX_GUIDANCE = 20.0
MIN_STRENGTH, MAX_STRENGTH = 0.1, 1.0
MAX_SHOWN_CHARS = 20


class Reason(StrEnum):
    """Why a request is refused, and in brackets the values that come with it."""

    EMPTY = "empty"
    TOO_LONG = "too_long"  # (chars, limit)
    UNKNOWN_OPTION = "unknown_option"  # (option, near), where near may be ""
    NO_VALUE = "no_value"  # (option)
    BAD_VALUE = "bad_value"  # (option, value, low, high, whole)
    NEEDS_PHOTO = "needs_photo"  # (option)
    BAD_PHOTO = "bad_photo"  # (least, most), in pixels a side and in millions of pixels
    TOO_FEW_STEPS = "too_few_steps"  # (steps, strength, needed)


class RequestError(ValueError):
    """A request that cannot be drawn.

    Attributes:
        reason: Which of the reasons.
        values: What the sentence for the user needs to name; options come as "--steps".
    """

    def __init__(self, reason: Reason, **values: Any) -> None:
        details = ", ".join(f"{name}={value!r}" for name, value in values.items())
        super().__init__(f"the request is refused: {reason} ({details})")
        self.reason = reason
        self.values = values


@dataclass(frozen=True)
class Option:
    """An option: the field of a request that it sets, its names, and its range if a number."""

    field: str
    names: tuple[str, ...]
    low: float = -math.inf
    high: float = math.inf
    whole: bool = False

    @property
    def name(self) -> str:
        """How it is shown to users."""
        return f"--{self.names[0]}"

    def allows(self, value: float) -> bool:
        """Whether a number is in the range."""
        return self.low <= value <= self.high and (not self.whole or value == int(value))

    def refuse(self, value: object) -> RequestError:
        """Make the error that says what came and what is allowed."""
        shown = str(value)[:MAX_SHOWN_CHARS]
        limits = {"low": self.low, "high": self.high, "whole": self.whole}
        return RequestError(Reason.BAD_VALUE, option=self.name, value=shown, **limits)


NEGATIVE = Option(
    "negative_prompt", ("no", "not", "without", "negative", "negative-prompt", "sin", "negativo")
)
STRENGTH = Option("strength", ("strength", "fuerza"), MIN_STRENGTH, MAX_STRENGTH)
NUMBERS = (
    Option("num_inference_steps", ("steps", "step", "pasos"), 1, MAX_STEPS, whole=True),
    Option("guidance_scale", ("guidance", "cfg", "scale", "guia", "guía"), 0, MAX_GUIDANCE),
    Option("seed", ("seed", "semilla"), 0, MAX_SEED, whole=True),
    STRENGTH,
)
OPTIONS = {name: option for option in (NEGATIVE, *NUMBERS) for name in option.names}
