"""What a photo goes through: the same results as torchvision's, by the same means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor


class InterpolationMode(Enum):
    """How pixels are resampled, by torchvision's names."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"


class Compose:
    """One transform after another."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = transforms

    def __call__(self, image: Any) -> Any:
        """Apply them all."""
        for transform in self.transforms:
            image = transform(image)
        return image


class Resize:
    """The shorter side to a size; a picture of that size is returned as it is."""

    def __init__(self, size: int, interpolation: InterpolationMode) -> None:
        self.size = size
        self.resample = Image.Resampling[interpolation.name]

    def __call__(self, image: Image.Image) -> Image.Image:
        """Resize a picture."""
        scale = self.size / min(image.size)
        width, height = (int(side * scale) for side in image.size)
        if (width, height) == image.size:
            return image
        return image.resize((width, height), self.resample)


class CenterCrop:
    """The square in the middle."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, image: Image.Image) -> Image.Image:
        """Crop a picture."""
        left, top = (round((side - self.size) / 2) for side in image.size)
        return image.crop((left, top, left + self.size, top + self.size))


class RandomCrop:
    """A square from anywhere; a picture of its size is returned as it is."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, image: Image.Image) -> Image.Image:
        """Crop a picture."""
        if image.size == (self.size, self.size):
            return image
        left, top = (int(torch.randint(side - self.size + 1, ())) for side in image.size)
        return image.crop((left, top, left + self.size, top + self.size))


class ToTensor:
    """A picture as numbers in [0, 1], (3, H, W)."""

    def __call__(self, image: Image.Image) -> Tensor:
        """Convert a picture."""
        pixels = torch.from_numpy(np.array(image, np.uint8, copy=True))
        return pixels.permute(2, 0, 1).contiguous().to(torch.float32).div(255)


class Normalize:
    """Numbers with another mean and spread."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean, self.std = mean, std

    def __call__(self, pixels: Tensor) -> Tensor:
        """Shift and scale."""
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return pixels.clone().sub_(mean).div_(std)
