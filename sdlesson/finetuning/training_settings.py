"""Everything that a training can be told, checked before anything is loaded or spent."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from numbers import Integral, Real

import numpy as np
from torch import nn

from sdlesson.settings import check_letters, check_seed

WHOLE_NUMBERS = (
    "steps",
    "batch_size",
    "gradient_accumulation",
    "class_images",
    "checkpoint_every",
    "sample_every",
)
SWITCHES = ("convolutions", "train_text_encoder", "gradient_checkpointing", "use_8bit_adam")
PRIORS = ("none", "class_images", "own_prediction")

# Peak rates. A LoRA starts from nothing and takes larger ones; so does a small model.
LORA_LEARNING_RATE, FULL_LEARNING_RATE = 1e-4, 5e-6
SMALL_LORA_LEARNING_RATE, SMALL_FULL_LEARNING_RATE = 3e-3, 3e-4
SMALL_MODEL_WEIGHTS = 50_000_000
MAX_WHOLE = 2**31 - 1


@dataclass(frozen=True)
class TrainingSettings:
    """How one new thing is taught, by LoRA or, with `rank=None`, by full DreamBooth.

    Attributes:
        word: The rare word that will name the thing: one word, without spaces, such as "zwx".
        class_noun: What kind of thing it is, in words the model knows, such as "robot".
        rank: Rank of the LoRA matrices, from 1; None trains all of the U-Net (full DreamBooth).
        alpha: The LoRA is scaled by alpha / rank; None is the rank, a scale of 1.
        convolutions: Whether the LoRA is on a convolution of each residual block as well as on the
            attention; None is yes for a small model, whose finest level has no attention.
        steps: Steps of the optimizer.
        batch_size: Pictures a step on all devices together; the prior's come on top.
        gradient_accumulation: Parts that a batch is worked through in, to save memory.
        learning_rate: Peak rate of AdamW; None is one that suits the method and the model.
        warmup: Steps in which the rate climbs from 0; after them it is constant.
        prior: What keeps the class as it was: "none", "class_images" (pictures of the class that
            the model draws first) or "own_prediction" (the model's own prediction, with the
            adapter off, of the photos' texts without the word; needs a LoRA).
        prior_weight: Weight of the prior's loss beside that of the photos.
        class_images: How many pictures of the class "class_images" draws.
        min_snr_gamma: Cap of the signal-to-noise ratio in the weights of the loss (Hang et al.
            2023, arXiv:2303.09556), such as 5.0; None weighs every noise level alike.
        ema_decay: Keep an average of the trained weights with this decay a step, in (0, 1).
        train_text_encoder: Train the text encoder as well, by the same method.
        gradient_checkpointing: Compute activations twice instead of keeping them: less memory.
        use_8bit_adam: Keep the optimizer's state in 8 bits where bitsandbytes works.
        checkpoint_every: Steps between checkpoints, which an interrupted training goes on from.
        sample_prompts: Prompts to draw during training.
        sample_every: Steps between such drawings.
        seed: Seed of everything that is left to chance.

    Raises:
        ValueError: A setting is outside its range, or two of them do not go together.
    """

    word: str
    class_noun: str
    rank: int | None = 4
    alpha: float | None = None
    convolutions: bool | None = None
    steps: int = 400
    batch_size: int = 4
    gradient_accumulation: int = 1
    learning_rate: float | None = None
    warmup: int = 20
    prior: str = "own_prediction"
    prior_weight: float = 1.0
    class_images: int = 32
    min_snr_gamma: float | None = None
    ema_decay: float | None = None
    train_text_encoder: bool = False
    gradient_checkpointing: bool = False
    use_8bit_adam: bool = False
    checkpoint_every: int = 50
    sample_prompts: tuple[str, ...] = ()
    sample_every: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every setting, and keep it as a plain Python value, which a checkpoint can hold."""
        _check_words(self.word, self.class_noun)
        self._keep("word", str(self.word))
        self._keep("class_noun", str(self.class_noun))
        for name in WHOLE_NUMBERS:
            self._keep(name, _check_whole(name, getattr(self, name)))
        self._keep("warmup", _check_whole("warmup", self.warmup, low=0))
        self._keep("seed", check_seed(self.seed))
        if self.rank is not None:
            advice = "try 4, or None for full DreamBooth"
            self._keep("rank", _check_whole("rank", self.rank, advice=advice))
        for name in ("alpha", "learning_rate", "min_snr_gamma", "ema_decay", "prior_weight"):
            value = getattr(self, name)
            if value is not None or name == "prior_weight":
                high = 1.0 if name == "ema_decay" else math.inf
                self._keep(name, _check_number(name, value, high=high))
        for name in SWITCHES:
            value = getattr(self, name)
            if isinstance(value, bool | np.bool_):
                self._keep(name, bool(value))
            elif value is not None or name != "convolutions":
                raise ValueError(f"{name}={value!r} must be True or False")
        self._check_prior()
        self._keep("prior", str(self.prior))
        self._keep("sample_prompts", _check_texts(sample_prompts=self.sample_prompts))
        if self.batch_size % self.gradient_accumulation:
            raise ValueError(
                f"gradient_accumulation={self.gradient_accumulation} must divide "
                f"batch_size={self.batch_size}, which is worked through in equal parts"
            )

    @property
    def instance_prompt(self) -> str:
        """The text that names the new thing."""
        return f"a {self.word} {self.class_noun}"

    @property
    def class_prompt(self) -> str:
        """The text that names any other thing of its kind."""
        return f"a {self.class_noun}"

    @property
    def is_lora(self) -> bool:
        """Whether an adapter is trained, and not the model itself."""
        return self.rank is not None

    @property
    def scale(self) -> float:
        """What the LoRA's product of matrices is multiplied with: alpha / rank."""
        if self.rank is None or self.alpha is None:
            return 1.0
        return self.alpha / self.rank

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate after the warm-up."""
        if self.learning_rate is not None:
            return self.learning_rate
        return LORA_LEARNING_RATE if self.is_lora else FULL_LEARNING_RATE

    def for_model(self, weights: int) -> TrainingSettings:
        """The same, with what is left open chosen for a U-Net of so many weights."""
        is_small, rate = weights < SMALL_MODEL_WEIGHTS, self.peak_learning_rate
        if is_small and self.learning_rate is None:
            rate = SMALL_LORA_LEARNING_RATE if self.is_lora else SMALL_FULL_LEARNING_RATE
        wide = is_small if self.convolutions is None else self.convolutions
        return replace(self, learning_rate=rate, convolutions=wide)

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of a step, which does not depend on how many steps there will be."""
        return self.peak_learning_rate * min(1.0, (step + 1) / max(1, self.warmup))

    def _keep(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _check_prior(self) -> None:
        if not isinstance(self.prior, str) or self.prior not in PRIORS:
            raise ValueError(f"prior={self.prior!r} must be one of {', '.join(PRIORS)}")
        if self.prior == "own_prediction" and not self.is_lora:
            raise ValueError(
                'prior="own_prediction" asks the base model, which full DreamBooth overwrites: '
                'set a rank, or prior="class_images", or "none"'
            )


def check_settings(settings: object) -> None:
    """Refuse what is not `TrainingSettings`, such as a dictionary of them.

    Raises:
        ValueError: Says how to make some.
    """
    if not isinstance(settings, TrainingSettings):
        raise ValueError(
            f"settings={settings!r} must be TrainingSettings, such as "
            "TrainingSettings(word='zwx', class_noun='robot')"
        )


def shown(value: object) -> str:
    """A value as an error shows it: Python itself refuses to write numbers of 4300 digits."""
    try:
        return repr(value)
    except ValueError:
        return "(a number of thousands of digits)"


def is_torch_attribute(name: str) -> bool:
    """Whether a name is one of torch's own: a LoRA's becomes a key of its module dictionaries."""
    return hasattr(nn.ModuleDict(), name) or hasattr(nn.ParameterDict(), name)


def _check_words(word: str, class_noun: str) -> None:
    if not isinstance(word, str) or not re.fullmatch(r"\w[\w-]*", word):
        raise ValueError(f"word={word!r} must be one word of letters and digits; try 'zwx'")
    if is_torch_attribute(word):
        raise ValueError(f"word={word!r} is a word of torch's own; choose another, such as 'zwx'")
    if not isinstance(class_noun, str) or not class_noun.strip():
        raise ValueError(f"class_noun={class_noun!r} must say what the thing is; try 'robot'")
    check_letters(class_noun=class_noun)
    if word.casefold() in class_noun.casefold().split():
        raise ValueError(f"word={word!r} is the class itself; choose a word that nothing is called")


def _check_whole(name: str, value: object, *, low: int = 1, advice: str = "") -> int:
    whole = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else low - 1
    if low <= whole <= MAX_WHOLE:
        return whole
    most = f" to {MAX_WHOLE}" if whole > MAX_WHOLE else ""
    hint = f"; {advice}" if advice else ""
    raise ValueError(f"{name}={shown(value)} must be a whole number from {low}{most}{hint}")


def _check_number(name: str, value: object, *, high: float = math.inf) -> float:
    if isinstance(value, Real) and not isinstance(value, bool):
        with suppress(OverflowError):  # of a whole number that no float can hold
            if 0 < float(value) < high:  # nor NaN
                return float(value)
    most = "" if high == math.inf else f" and below {high:g}"
    raise ValueError(f"{name}={shown(value)} must be a number above 0{most}")


def _check_texts(**named: object) -> tuple[str, ...]:
    ((name, value),) = named.items()
    if isinstance(value, list | tuple) and all(isinstance(text, str) for text in value):
        return tuple(check_letters(**{name: str(text)}) for text in value)
    example = (value,) if isinstance(value, str) else ("a zwx robot",)
    raise ValueError(f"{name}={value!r} must be a tuple of texts, such as {example!r}")
