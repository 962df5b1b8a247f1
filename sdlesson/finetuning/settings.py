"""Everything that a training can be told, checked before anything is loaded or spent."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from numbers import Integral, Real

PRIORS = ("none", "class_images", "own_prediction")
LORA_LEARNING_RATE = 1e-3
FULL_LEARNING_RATE = 1e-4


@dataclass(frozen=True)
class TrainingSettings:
    """How one new thing is taught, by LoRA or, with `rank=None`, by full DreamBooth.

    Attributes:
        word: The rare word that will name the thing: one word, without spaces, such as "zwx".
        class_noun: What kind of thing it is, in words the model knows, such as "robot".
        rank: Rank of the LoRA matrices, from 1; None trains all of the U-Net (full DreamBooth).
        alpha: The LoRA is scaled by alpha / rank; None is the rank, a scale of 1.
        steps: Steps of the optimizer.
        batch_size: Pictures a step on all devices together; the prior's come on top.
        gradient_accumulation: Parts that a batch is worked through in, to save memory.
        learning_rate: Peak rate of AdamW; None is one that suits the method.
        warmup: Steps in which the rate climbs from 0; after them it is constant.
        prior: What keeps the class as it was: "none", "class_images" (pictures of the class that
            the model draws first) or "own_prediction" (the model's own prediction with the
            adapter off; needs a LoRA).
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
    """

    word: str
    class_noun: str
    rank: int | None = 4
    alpha: float | None = None
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
