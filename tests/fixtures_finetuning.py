"""Small photos, and short trainings on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from torch import Tensor

from sdlesson.finetuning.adapters import trainable_parameters
from sdlesson.finetuning.training_batches import Batch
from sdlesson.finetuning.training_settings import TrainingSettings

SIZE_PX = 32


def make_photos(count: int = 4) -> list[Image.Image]:
    """Plain colours: another one in each photo."""
    return [Image.new("RGB", (SIZE_PX, SIZE_PX), (60 * n, 250 - 60 * n, 90)) for n in range(count)]


def make_settings(**changes: Any) -> TrainingSettings:
    """A training of a few steps, whose texts fit the tiny tokenizer."""
    plain = {"word": "zwx", "class_noun": "robot", "steps": 5, "batch_size": 2, "warmup": 2}
    return TrainingSettings(**plain | {"class_images": 4, "checkpoint_every": 2} | changes)


def pocket_batch(size: int, photos: int) -> Batch:
    """A batch of noise in the shapes of the pocket model."""
    return Batch(
        noisy=torch.randn(size, 4, 16, 16),
        timesteps=torch.zeros(size, dtype=torch.long),
        target=torch.randn(size, 4, 16, 16),
        embeddings=torch.randn(size, 32, 160),
        tokens=torch.zeros(size, 32, dtype=torch.long),
        photos=photos,
    )


def weights_of(pipe: StableDiffusionPipeline) -> dict[str, Tensor]:
    """A copy of what was trained."""
    return {name: weight.detach().clone() for name, weight in trainable_parameters(pipe).items()}


def assert_same_weights(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """The same to the last bit."""
    assert found.keys() == expected.keys()
    assert expected
    differing = [name for name in found if not torch.equal(found[name], expected[name])]
    assert differing == []


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file grows beyond `size` bytes, as on a disk that is nearly full.

    Around the writing alone: pytest's own output may be a file that is larger by now.
    """
    resource = pytest.importorskip("resource")  # not on Windows
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
