"""What a picture may be asked with: the range of each setting, and a sentence on what is off it."""

import math
from collections.abc import Sequence
from numbers import Integral, Real

DEFAULT_STEPS = 25
NOISE_LEVELS = 1000  # of the schedule that Stable Diffusion was trained with
UNUSED_LEVELS = 2  # some of diffusers' schedulers start that far from the end, and fail beyond it
MAX_SEED = 2**64 - 1
SIZE_FACTOR = 8  # one latent stands for 8 x 8 pixels
MAX_SIDE = 2048  # pixels: four times what Stable Diffusion 1.5 was trained for


def check_prompt(prompt: str) -> str:
    """Return a prompt that is a text and says something."""
    if not isinstance(prompt, str) or not prompt.strip():
        raise ValueError(
            f"prompt={prompt!r} must be a text that says what to draw, such as 'a cat on the beach'"
        )
    return check_letters(prompt=prompt)


def check_negative(negative_prompt: str) -> str:
    """Return a negative prompt that is a text; an empty one keeps nothing out."""
    if not isinstance(negative_prompt, str):
        raise ValueError(f"negative_prompt={negative_prompt!r} must be a text; try 'a hat' or ''")
    return check_letters(negative_prompt=negative_prompt)


def check_seed(seed: int) -> int:
    """Return a seed as torch takes it, which refuses numpy's whole numbers."""
    if not _is_whole(seed, 0, MAX_SEED):
        raise ValueError(f"seed={seed!r} must be a whole number from 0 to {MAX_SEED}; try 0")
    return int(seed)


def check_steps(num_inference_steps: int, levels: int = NOISE_LEVELS) -> int:
    """Return the number of steps: at least one, and no more than a schedule has room for.

    Args:
        levels: Of noise, in the schedule that the model was trained with.
    """
    most = max(1, levels - UNUSED_LEVELS)
    if not _is_whole(num_inference_steps, 1, most):
        raise ValueError(
            f"num_inference_steps={num_inference_steps!r} must be a whole number "
            f"from 1 to {most}; try {min(DEFAULT_STEPS, most)}"
        )
    return int(num_inference_steps)


def check_guidance(guidance_scale: float) -> float:
    """Return a scale that is neither negative, nor infinity, nor NaN."""
    if not _is_number(guidance_scale) or not 0 <= float(guidance_scale) < math.inf:  # nor NaN
        raise ValueError(
            f"guidance_scale={guidance_scale!r} must be a number from 0 up, where 1.0 is "
            "no guidance; try 7.5"
        )
    return float(guidance_scale)


def check_strength(strength: float) -> float:
    """Return how much of a picture to redraw: a share of the steps."""
    if isinstance(strength, bool) or not isinstance(strength, Real) or not 0 <= strength <= 1:
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
    if not _is_whole(batch_size, 1):
        raise ValueError(f"batch_size={batch_size!r} must be a whole number from 1; try 4")
    return int(batch_size)


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
    return [check_letters(**{name: text}) for text in texts]


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


def _is_whole(value: object, low: float = -math.inf, high: float = math.inf) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and low <= int(value) <= high


def _is_number(value: object) -> bool:
    """Say whether this is a number that a float can hold."""
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and float(value) == value
    except OverflowError:
        return False
