"""What a user asks for: a text with options such as `--steps 30`, read into a checked request.

Options may stand anywhere in the text, in English or Spanish. A refusal is a reason with its
values, which whoever talks to the user puts into words.
"""

from __future__ import annotations

import dataclasses
import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sdlesson.settings import DEFAULT_STEPS, MAX_SEED

if TYPE_CHECKING:
    from PIL import Image

MAX_PROMPT_CHARS = 1000
MAX_STEPS = 50  # others are waiting too
MAX_GUIDANCE = 20.0
MIN_STRENGTH, MAX_STRENGTH = 0.1, 1.0
MAX_SHAPE = 4  # a picture that was widened is so many times as long as it is high, at most
GROWTH = 0.5  # of the short side, which is the model's own: half of what it sees is then known
WIDENING_GUIDANCE = 1.5  # more of it puts the prompt's subject once more into the new part
WIDENING_STEPS = 4  # for one of drawing: it is done in two parts, each step of them twice
MAX_SHOWN_CHARS = 20
MIN_LIKENESS = 0.7

JOINERS = "\u200c\u200d"  # invisible, but emoji such as the astronaut are made with them

# Phones turn -- into a dash. A dash with a space after it, as in "a cat -- a dog", is no option.
_OPTION = re.compile(r"(?<!\S)(-{2,}|[—–―])([^\W\d_][\w-]*)\s*[=:]?\s*")
_NUMBER = re.compile(r"[+-]?\d{1,20}(?:\.\d{1,20})?")


class Reason(StrEnum):
    """Why a request is refused, and in brackets the values that come with it."""

    EMPTY = "empty"
    TOO_LONG = "too_long"  # (chars, limit)
    UNKNOWN_OPTION = "unknown_option"  # (option, near), where near may be ""
    NO_VALUE = "no_value"  # (option)
    BAD_VALUE = "bad_value"  # (option, value, low, high, whole)
    BAD_CHOICE = "bad_choice"  # (option, value, choices)
    CONFLICT = "conflict"  # (option, other), two options that do not go together
    NEEDS_PHOTO = "needs_photo"  # (option)
    BAD_PHOTO = "bad_photo"  # (least, most), in pixels a side and in millions of pixels
    TOO_LONG_PHOTO = "too_long_photo"  # (times), the long side by the short one
    NO_CONTROL = "no_control"  # (option, model)
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

    @property
    def is_of_photo(self) -> bool:
        """Whether the same words could be drawn from another photo."""
        return self.reason in (Reason.BAD_PHOTO, Reason.TOO_LONG_PHOTO)


@dataclass(frozen=True)
class Option:
    """An option: the field of a request that it sets, its names, and what it may be set to.

    Attributes:
        low, high, whole: The range, if a number.
        choices: Each word that it takes, and what that stands for, if a word.
    """

    field: str
    names: tuple[str, ...]
    low: float = -math.inf
    high: float = math.inf
    whole: bool = False
    choices: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """How it is shown to users."""
        return f"--{self.names[0]}"

    def allows(self, value: float | str) -> bool:
        """Whether a number is in the range, or a word among the choices."""
        if self.choices or isinstance(value, str):
            return value in self.choices.values()
        return self.low <= value <= self.high and (not self.whole or value == int(value))

    def refuse(self, value: object) -> RequestError:
        """Make the error that says what came and what is allowed."""
        shown = str(value)[:MAX_SHOWN_CHARS]
        if self.choices:
            choices = tuple(dict.fromkeys(self.choices.values()))
            return RequestError(Reason.BAD_CHOICE, option=self.name, value=shown, choices=choices)
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
OUTLINE = "outline"
CONTROL = Option(
    "control", ("control",), choices={OUTLINE: OUTLINE, "contorno": OUTLINE, "outlines": OUTLINE}
)
WIDEN = Option(
    "widen",
    ("widen", "ampliar", "extend", "outpaint"),
    choices={
        **{side: side for side in ("left", "right", "top", "bottom")},
        **{"izquierda": "left", "derecha": "right", "arriba": "top", "abajo": "bottom"},
        **{"up": "top", "down": "bottom"},
    },
)
CHOICES = (CONTROL, WIDEN)
ON_PHOTOS = (STRENGTH, *CHOICES)  # each says what to do with a photo, so they exclude each other
SPANISH_OPTIONS = {  # by which name /help has them in Spanish, where it has another
    "--steps": "--pasos",
    "--guidance": "--guia",
    "--seed": "--semilla",
    NEGATIVE.name: "--sin",
    STRENGTH.name: "--fuerza",
    WIDEN.name: "--ampliar",
}
OTHER_SPANISH_NAMES = ("guía", "negativo")  # that /help does not have
OPTIONS = {name: option for option in (NEGATIVE, *NUMBERS, *CHOICES) for name in option.names}


@dataclass(frozen=True)
class Defaults:
    """What a request has where its text says nothing: a user's own settings, or the model's."""

    num_inference_steps: int = DEFAULT_STEPS
    guidance_scale: float = 7.5
    strength: float = 0.6


@dataclass(frozen=True)
class Request:
    """All that decides a picture; one with a value off its range is not made.

    Attributes:
        prompt: May be empty where a photo is redrawn or widened: that shows what it is.
        seed: None lets the generator choose one.
        photo: A picture to start from instead of noise, or to be widened or followed.
        strength: How much of the photo to redo, from 0.1 up to 1.0, all of it.
        control: "outline" draws anew along the photo's outline; "" does not.
        widen: The side at which the photo is painted on; "" for none.
        model: What draws it, where a bot has several; "" leaves that to the bot.
        lora: What is put on the model; "" for nothing.

    Raises:
        RequestError: A setting is outside its range, or the prompt is empty or too long.
    """

    prompt: str
    negative_prompt: str = ""
    num_inference_steps: int = DEFAULT_STEPS
    guidance_scale: float = 7.5
    seed: int | None = None
    photo: Image.Image | None = None
    strength: float = 0.6
    control: str = ""
    widen: str = ""
    model: str = ""
    lora: str = ""

    def __post_init__(self) -> None:
        for text in (self.prompt, self.negative_prompt):
            if len(text) > MAX_PROMPT_CHARS:
                raise RequestError(Reason.TOO_LONG, chars=len(text), limit=MAX_PROMPT_CHARS)
        if not _says_something(self.prompt) and (self.photo is None or self.control):
            raise RequestError(Reason.EMPTY)
        for option in (*NUMBERS, *CHOICES):
            value = getattr(self, option.field)
            if value not in (None, "") and not option.allows(value):
                raise option.refuse(value)
        chosen = [option.name for option in CHOICES if getattr(self, option.field)]
        if chosen and self.photo is None:
            raise RequestError(Reason.NEEDS_PHOTO, option=chosen[0])
        if len(chosen) > 1:
            raise RequestError(Reason.CONFLICT, option=chosen[0], other=chosen[1])
        if self.photo is not None and self.widen:
            short, long = sorted(self.photo.size)
            if long > (MAX_SHAPE - GROWTH) * short:
                raise RequestError(Reason.TOO_LONG_PHOTO, times=MAX_SHAPE - GROWTH)
        if self.steps_to_take < 1:
            needed = math.ceil(1 / self.strength)
            facts = {"steps": self.num_inference_steps, "strength": self.strength}
            raise RequestError(Reason.TOO_FEW_STEPS, **facts, needed=needed)

    @property
    def redraws(self) -> bool:
        """Whether it starts from its photo, with as much noise on it as the strength says."""
        return self.photo is not None and not self.control and not self.widen

    @property
    def steps_to_take(self) -> int:
        """How many steps are really taken: of a photo redrawn, only the share that is redone."""
        if self.widen:
            return self.num_inference_steps * WIDENING_STEPS
        if not self.redraws:
            return self.num_inference_steps
        return int(self.num_inference_steps * self.strength)


def parse_request(text: str, defaults: Defaults, *, photo: Image.Image | None = None) -> Request:
    """Read a prompt and its options, such as "a cat --steps 30 --no hat".

    Args:
        text: As the user wrote it, without the command; any characters.
        defaults: For what it does not say.
        photo: A picture to start from.

    Raises:
        RequestError: Nothing is left to draw, or an option is unknown, has no sensible value, or
            does not go together with another.
    """
    prompt, found = _read_options(clean_text(text))
    on_photo = [option.name for option in ON_PHOTOS if option.field in found]
    if on_photo and photo is None:
        raise RequestError(Reason.NEEDS_PHOTO, option=on_photo[0])
    if len(on_photo) > 1:
        raise RequestError(Reason.CONFLICT, option=on_photo[0], other=on_photo[1])
    if WIDEN.field in found:
        defaults = replace(defaults, guidance_scale=WIDENING_GUIDANCE)
    return Request(prompt, photo=photo, **vars(defaults) | found)


def clean_text(text: str) -> str:
    """Put a text on one line, without characters that are invisible or turn the reading order."""
    normal = unicodedata.normalize("NFC", text)
    return " ".join("".join(_visible(letter) for letter in normal).split())


def _visible(letter: str) -> str:
    category = unicodedata.category(letter)
    if category == "Cc":
        return " "  # a line break parts words
    return "" if category.startswith("C") and letter not in JOINERS else letter


def _says_something(text: str) -> bool:
    return any(unicodedata.category(letter)[0] in "LNSP" for letter in text)


def _read_options(text: str) -> tuple[str, dict[str, Any]]:
    """Split a clean text into the prompt and the fields that its options set."""
    matches = [match for match in _OPTION.finditer(text) if _is_meant(match)]
    ends = [match.start() for match in matches[1:]] + [len(text)]
    prompt = [text[: matches[0].start()] if matches else text]
    found: dict[str, Any] = {}
    for match, end in zip(matches, ends, strict=False):
        option, value = _known(match), text[match.end() : end].strip()
        if not value:
            raise RequestError(Reason.NO_VALUE, option=option.name)
        if option is NEGATIVE:
            found[option.field] = ", ".join(filter(None, [found.get(option.field), value]))
        else:
            word, _, rest = value.partition(" ")
            found[option.field] = (_choice if option.choices else _number)(option, word)
            prompt.append(rest)
    return " ".join(" ".join(prompt).split()), found


def _is_meant(match: re.Match[str]) -> bool:
    """Whether this is an option: after two hyphens always, after a dash if the name is like one."""
    return match[1].startswith("--") or match[2].casefold() in OPTIONS or bool(_near(match[2]))


def _known(match: re.Match[str]) -> Option:
    name = match[2].casefold().replace("_", "-")
    if name not in OPTIONS:
        shown = f"--{match[2][:MAX_SHOWN_CHARS]}"
        raise RequestError(Reason.UNKNOWN_OPTION, option=shown, near=_near(name))
    return OPTIONS[name]


def _near(name: str) -> str:
    """Find the option that was perhaps meant, by the name that /help has for it."""
    near = get_close_matches(name.casefold()[:MAX_SHOWN_CHARS], OPTIONS, 1, MIN_LIKENESS)
    if not near:
        return ""
    found, name = f"--{near[0]}", OPTIONS[near[0]].name
    if near[0] in OTHER_SPANISH_NAMES:
        return SPANISH_OPTIONS[name]
    return found if found in SPANISH_OPTIONS.values() else name


def _choice(option: Option, written: str) -> str:
    """Read one of an option's words, in whatever letters."""
    word = written.rstrip(".,;").casefold()
    if word not in option.choices:
        raise option.refuse(written)
    return option.choices[word]


def _number(option: Option, written: str) -> int | float:
    """Read a number with a point or, as in Spanish, a comma."""
    bare = written.rstrip(".,;").replace(",", ".")
    if not _NUMBER.fullmatch(bare):
        raise option.refuse(written)
    number = float(bare) if "." in bare else int(bare)  # a float would round a large seed
    if not option.allows(number):
        raise option.refuse(written)
    return int(number) if option.whole else float(number)
