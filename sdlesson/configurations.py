"""What the configuration of a model's part may say: values that neither crash nor fill the memory.

A folder from someone else, or one that was edited by hand, may hold any number. Libraries take most
of them without a word, and fail at the first picture, or fill the memory.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

MAX_WHOLE = 10**6
"""More than any configuration of a model of this size counts, tokens included."""


class Rule(NamedTuple):
    """What a value may be: in words for the reader, and as a test."""

    words: str
    allows: Callable[[Any], bool]


def _whole(low: int, high: int) -> Rule:
    return Rule(
        f"a whole number from {low} to {high}",
        lambda value: type(value) is int and low <= value <= high,  # True is no number here
    )


def _between(low: float, high: float) -> Rule:
    return Rule(
        f"a number above {low:g} and at most {high:g}",
        lambda value: type(value) in (int, float) and low < value <= high,  # nor NaN
    )


def _one_of(*names: str) -> Rule:
    return Rule(f"one of {', '.join(names)}", lambda value: value in names)


def _list_of(rule: Rule, *, length: int | None = None) -> Rule:
    def allows(value: Any) -> bool:
        fits = isinstance(value, list) and (length is None or len(value) == length)
        return fits and all(map(rule.allows, value))

    return Rule(f"a list{f' of {length}' if length else ''}, each {rule.words}", allows)


def _either(*rules: Rule) -> Rule:
    return Rule(
        " or ".join(rule.words for rule in rules),
        lambda value: any(rule.allows(value) for rule in rules),
    )


NOTHING = Rule("null", lambda value: value is None)
PIXELS = _whole(1, 4096)
A_SIZE = _either(PIXELS, Rule("an object with such sides", lambda value: isinstance(value, dict)))
LAYERS = _whole(1, 100)
CHANNELS = _whole(1, 16_384)

EVERYWHERE: dict[str, Rule] = {
    "block_out_channels": _list_of(CHANNELS),
    "layers_per_block": _either(LAYERS, _list_of(LAYERS)),
    "num_hidden_layers": LAYERS,
    "hidden_size": CHANNELS,
    "intermediate_size": _whole(1, 65_536),
    "projection_dim": CHANNELS,
    "max_position_embeddings": _whole(3, 8192),
    "bos_token_id": _either(NOTHING, _whole(0, MAX_WHOLE)),
    "eos_token_id": _whole(0, MAX_WHOLE),
    "image_size": PIXELS,
    "patch_size": PIXELS,
    # What makes of a picture what a CLIP is shown:
    "crop_size": A_SIZE,
    "size": A_SIZE,
    "shortest_edge": PIXELS,
    "longest_edge": PIXELS,
    "height": PIXELS,
    "width": PIXELS,
    "image_mean": _list_of(_between(-100, 100), length=3),
    "image_std": _list_of(_between(0, 100), length=3),
    "rescale_factor": _between(0, 1),
}
"""What a value may be, by its name, in any part and at any depth."""

BY_PART: dict[str, dict[str, Rule]] = {
    "unet": {
        "sample_size": _whole(1, 256),  # latents a side: 2048 pixels
        "in_channels": CHANNELS,
        "out_channels": CHANNELS,
    },
    "vae": {"scaling_factor": _between(0, 1000), "latent_channels": CHANNELS},
    "scheduler": {
        "num_train_timesteps": _whole(10, 10_000),
        "prediction_type": _one_of("epsilon", "v_prediction", "sample"),
        "timestep_spacing": _one_of("leading", "linspace", "trailing"),
        "beta_start": _between(0, 1),
        "beta_end": _between(0, 1),
        "trained_betas": _either(NOTHING, _list_of(_between(0, 1))),
        "steps_offset": _whole(0, 10),
    },
    "tokenizer": {"model_max_length": _whole(3, 8192)},
}
"""Likewise of one part alone."""

REQUIRED = {"unet": ("sample_size",)}
"""What has no default that would do."""

A_COUNT = Rule(
    f"at most {MAX_WHOLE}", lambda value: type(value) is not int or abs(value) <= MAX_WHOLE
)
"""For all other names."""


def find_fault(part: str, found: Mapping[str, Any]) -> str:
    """Say which value of a part's configuration is not to be had; "" where all of them are."""
    rules = EVERYWHERE | BY_PART.get(part, {})
    missing = {key: None for key in REQUIRED.get(part, ()) if key not in found}
    for key, value in [*missing.items(), *found.items()]:
        rule = rules.get(key, A_COUNT)
        if not rule.allows(value):
            said = "null" if value is None else repr(value)[:80]
            return f"sets {key} to {said}, which must be {rule.words}"
        inside = value if isinstance(value, list) else [value]
        for item in inside:
            if isinstance(item, dict) and (fault := find_fault("", item)):
                return f"{fault} (in {key})"
            if not A_COUNT.allows(item):
                return f"sets {key} to {repr(value)[:80]}, which must be {A_COUNT.words}"
    return ""
