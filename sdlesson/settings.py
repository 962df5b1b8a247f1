"""What a picture may be asked with: the range of each setting, and a sentence on what is off it."""

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

DEFAULT_STEPS = 25
NOISE_LEVELS = 1000  # of the schedule that Stable Diffusion was trained with
UNUSED_LEVELS = 2  # some of diffusers' schedulers start that far from the end, and fail beyond it
MAX_SEED = 2**64 - 1
SIZE_FACTOR = 8  # one latent stands for 8 x 8 pixels
MAX_SIDE = 2048  # pixels: four times what Stable Diffusion 1.5 was trained for
MAX_BATCH = 256  # pictures at once
MAX_CHARS = 10_000  # of a text: far beyond any model's window, and soon read


def check_prompt(prompt: str) -> str:
    """Return a prompt that is a text and says something."""
    if not isinstance(prompt, str) or not prompt.strip():
        raise ValueError(
            f"prompt={prompt!r} must be a text that says what to draw, such as 'a cat on the beach'"
        )
    return check_text(prompt=prompt)


def check_negative(negative_prompt: str) -> str:
    """Return a negative prompt that is a text; an empty one keeps nothing out."""
    if not isinstance(negative_prompt, str):
        raise ValueError(f"negative_prompt={negative_prompt!r} must be a text; try 'a hat' or ''")
    return check_text(negative_prompt=negative_prompt)


def check_text(**named: str) -> str:
    """Return a text, by its name, that is not endless and of whole letters; it may be empty."""
    ((name, text),) = named.items()
    if not isinstance(text, str):
        raise ValueError(f"{name}={text!r} must be a text, such as 'a cat on the beach'")
    if len(text) > MAX_CHARS:
        raise ValueError(f"{name} has {len(text):,} characters, and may have {MAX_CHARS:,}")
    return check_letters(**{name: text})


def check_letters(**named: str) -> str:
    """Return a text of whole letters: bytes that are none come in as halves of a pair."""
    ((name, text),) = named.items()
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name}={text!r} holds {text[error.start]!r}, which is no letter: type it again, in a "
            "terminal that writes UTF-8"
        ) from error
    return text


def check_whole(low: int, high: int, example: int, **named: Any) -> int:
    """Return a whole number, by its name, from low to high; torch refuses numpy's."""
    ((name, value),) = named.items()
    if not _is_whole(value, low, high):
        raise ValueError(
            f"{name}={value!r} must be a whole number from {low} to {high}; try {example}"
        )
    return int(value)


def check_function(**named: object) -> None:
    """Refuse what cannot be called, by its name."""
    for name, value in named.items():
        if not callable(value):
            raise ValueError(f"{name}={value!r} must be a function, or what is called as one")


def check_pair(**named: Sequence[Any]) -> tuple[Any, Any]:
    """Return a list of two, by its name; a text is none, though it may have two letters."""
    ((name, values),) = named.items()
    if not isinstance(values, list | tuple) or len(values) != 2:
        raise ValueError(f"{name}={values!r} must be a list of two, the first and the last")
    return values[0], values[1]


def check_seed(seed: int) -> int:
    """Return a seed as torch takes it."""
    return check_whole(0, MAX_SEED, 0, seed=seed)


def check_steps(num_inference_steps: int, levels: int = NOISE_LEVELS) -> int:
    """Return the number of steps: at least one, and no more than a schedule has room for.

    Args:
        levels: Of noise, in the schedule that the model was trained with.
    """
    most = max(1, levels - UNUSED_LEVELS)
    example = min(DEFAULT_STEPS, most)
    return check_whole(1, most, example, num_inference_steps=num_inference_steps)


def check_guidance(guidance_scale: float) -> float:
    """Return a scale that is neither negative, nor infinity, nor NaN."""
    if not is_number(guidance_scale) or not 0 <= float(guidance_scale) < math.inf:  # nor NaN
        raise ValueError(
            f"guidance_scale={guidance_scale!r} must be a number from 0 up, where 1.0 is "
            "no guidance; try 7.5"
        )
    return float(guidance_scale)


def check_strength(strength: float) -> float:
    """Return how much of a picture to redraw: a share of the steps."""
    if not is_number(strength) or not 0 <= strength <= 1:
        raise ValueError(
            f"strength={strength!r} must be a number from 0, which changes nothing, to 1, which "
            "redraws everything; try 0.6"
        )
    return float(strength)


def steps_left(num_inference_steps: int, strength: float) -> int:
    """Count the steps that a strength leaves of a schedule: its last ones, at least one."""
    count = int(num_inference_steps * check_strength(strength))
    if count < 1 and strength:
        raise ValueError(
            f"strength={strength} of num_inference_steps={num_inference_steps} is not one step; "
            f"try strength={math.ceil(100 / num_inference_steps) / 100:g} or more steps"
        )
    return count


def check_batch_size(batch_size: int) -> int:
    """Return how many pictures to draw at once, at least one."""
    return check_whole(1, MAX_BATCH, 4, batch_size=batch_size)


def check_size(**sides: int | None) -> None:
    """Refuse a side, by its name, that is no whole number of latents; None is the model's own."""
    for name, side in sides.items():
        if side is None:
            continue
        if _is_whole(side, MAX_SIDE + 1):
            raise ValueError(f"{name}={side!r} must be {MAX_SIDE} pixels at most; try {MAX_SIDE}")
        if not _is_whole(side, SIZE_FACTOR) or side % SIZE_FACTOR:
            nearest = SIZE_FACTOR * max(1, round(side / SIZE_FACTOR)) if _is_whole(side) else None
            advice = f"try {nearest}" if nearest else "leave it out for the model's own size"
            raise ValueError(f"{name}={side!r} must be a multiple of {SIZE_FACTOR}; {advice}")


def pair_prompts(
    prompt: str | Sequence[str], negative_prompt: str | Sequence[str]
) -> tuple[list[str], list[str]]:
    """List the prompts of a batch, which may be empty texts, and a negative prompt for each."""
    prompts = list_texts(prompt=prompt)
    if len(prompts) > MAX_BATCH:
        raise ValueError(f"{len(prompts)} prompts are too many at once; give {MAX_BATCH} at most")
    negatives = list_texts(negative_prompt=negative_prompt)
    if isinstance(negative_prompt, str):
        negatives *= len(prompts)
    if len(negatives) != len(prompts):
        raise ValueError(
            f"negative_prompt has {len(negatives)} texts for {len(prompts)} prompts; "
            "give one for each, or one text for all"
        )
    return prompts, negatives


def list_texts(**named: str | Sequence[str]) -> list[str]:
    """List the texts of an argument, by its name: one text counts as a list of itself."""
    ((name, value),) = named.items()
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, Sequence) or not texts or not all(isinstance(t, str) for t in texts):
        raise ValueError(f"{name}={value!r} must be a text or a list of texts, at least one")
    return [check_text(**{name: text}) for text in texts]


def _is_whole(value: object, low: float = -math.inf, high: float = math.inf) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and low <= int(value) <= high


def is_number(value: object) -> bool:
    """Say whether this is a number that a float can hold."""
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and float(value) == value
    except OverflowError:
        return False
