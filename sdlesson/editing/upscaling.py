"""Upscaling: a picture enlarged, then redrawn a little, tile by tile, without seams."""

from __future__ import annotations

import math

import torch
from diffusers import StableDiffusionPipeline
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from PIL import Image
from torch import Generator, Tensor

from sdlesson.copies import check_loaded
from sdlesson.diffusion import NoisePredictor
from sdlesson.editing.pictures import (
    MAX_ENLARGED,
    EditSettings,
    Report,
    check_room,
    decode_edit,
    own_size,
    picture_to_edit,
)
from sdlesson.editing.redrawing import redraw_as
from sdlesson.settings import DEFAULT_STEPS, check_strength, check_whole

OVERLAP = 0.5
"""The share of a tile's side that it has in common with the next one."""


class Tiled:
    """A U-Net that is asked tile by tile, and whose answers are averaged where tiles overlap.

    To be asked like the U-Net itself. Since the tiles agree on the noise at every step, there are
    no edges to hide at the end.

    Source: Bar-Tal et al. 2023, eq. 3, arXiv:2302.08113.
    """

    def __init__(self, unet: NoisePredictor, side: int, overlap: float = OVERLAP) -> None:
        self.unet, self.side = unet, side
        self.stride = max(1, round(side * (1 - overlap)))

    def __call__(
        self, model_input: Tensor, timestep: Tensor, *, encoder_hidden_states: Tensor
    ) -> UNet2DConditionOutput:
        """Predict the noise in latents that are larger than the U-Net was trained for."""
        height, width = model_input.shape[-2:]
        total, weights = torch.zeros_like(model_input), torch.zeros_like(model_input[:1, :1])
        for y in self._starts(height):
            for x in self._starts(width):
                tile = model_input[..., y : y + self.side, x : x + self.side]
                noise_pred = self.unet(
                    tile, timestep, encoder_hidden_states=encoder_hidden_states
                ).sample
                weight = _hill(tile)  # a tile knows least at its edges
                total[..., y : y + self.side, x : x + self.side] += weight * noise_pred
                weights[..., y : y + self.side, x : x + self.side] += weight
        return UNet2DConditionOutput(sample=total / weights)

    def _starts(self, length: int) -> list[int]:
        """Where tiles begin so that they cover a side; the last one ends where the side does."""
        last = max(0, length - self.side)
        count = math.ceil(last / self.stride) + 1
        return [round(i * last / max(1, count - 1)) for i in range(count)]


def upscale(
    pipe: StableDiffusionPipeline,
    image: Image.Image,
    prompt: str,
    *,
    factor: int = 2,
    strength: float = 0.3,
    negative_prompt: str = "",
    guidance_scale: float = 7.5,
    num_inference_steps: int = DEFAULT_STEPS,
    generator: Generator | None = None,
    report: Report = print,
) -> Image.Image:
    """Enlarge a picture and redraw it a little, so that what grew blurred grows sharp.

    Args:
        pipe: Any pipeline of Stable Diffusion's first generation.
        image: Of any mode; enlarged, a side is at most four times the model's own.
        prompt: What the picture shows.
        factor: How many times as wide and as high.
        strength: 0 enlarges and redraws nothing; too much draws other things than there were.
        negative_prompt: What to keep out.
        guidance_scale: How closely to follow the prompt; 1.0 is no guidance.
        num_inference_steps: Of the whole schedule; the strength says how many of them are taken.
        generator: By default a new one on the CPU, which makes the same noise at each call.
        report: Is told if the safety checker flags the picture, which is then black.

    Raises:
        ValueError: The picture cannot be used, or a setting is outside its range.
    """
    check_loaded(pipe)
    check_whole(1, MAX_ENLARGED, 2, factor=factor)
    settings = EditSettings(
        prompt, negative_prompt, guidance_scale, num_inference_steps, generator, report=report
    )
    picture = picture_to_edit(image)
    size = (int(factor * picture.width), int(factor * picture.height))
    check_room(pipe, size)
    enlarged = picture.resize(size, Image.Resampling.LANCZOS)
    if check_strength(strength) == 0:
        return enlarged
    tiled = Tiled(pipe.unet, own_size(pipe) // pipe.vae_scale_factor)
    *_, last = redraw_as(settings, pipe, [enlarged], strength=strength, unet=tiled)
    return decode_edit(pipe, last.latents, size, report)


def _hill(tile: Tensor) -> Tensor:
    """Weights for a tile's latents, (1, 1, h, w): high in the middle, low at the edges."""
    sides = [
        1 - (torch.linspace(-1, 1, length + 2, device=tile.device, dtype=tile.dtype)[1:-1]).abs()
        for length in tile.shape[-2:]
    ]
    return (sides[0][:, None] * sides[1][None, :])[None, None]
