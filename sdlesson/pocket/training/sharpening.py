"""The VAE's decoder, finished against a discriminator, so that edges and textures come out crisp.

A squared error alone is least where every detail that could lie a little further left or right is
smeared over both places. A discriminator sees that real pictures are never smeared. The encoder
stays as it is, and with it every stored latent and the U-Net.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.parametrizations import spectral_norm

from sdlesson.metrics.pixels import psnr
from sdlesson.pocket.training.autoencoder import CELL_PX, CROP_PX, EDGE_WEIGHT, edges
from sdlesson.pocket.training.dataset import to_unit_pixels
from sdlesson.pocket.training.loop import Recipe, fit

RECIPE = Recipe(steps=1_400, batch=16, learning_rate=2e-4, warmup=100, ema_decay=0.995)
LATENT_NOISE = 0.06
"""The most noise added to scaled latents, as a U-Net's small errors would."""
ADVERSARIAL_WEIGHT = 0.4
FINE_GAIN = 8.0
"""How much louder the discriminator sees what is fine: smears are faint beside colours."""
DISCRIMINATOR_ONLY_STEPS = 150
"""How long the discriminator learns before the decoder listens to it."""


class DecoderAndDiscriminator(nn.Module):
    """The decoder and its critic: one thing to train, by one loss, so that `fit` can resume it."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.post_quant_conv = vae.post_quant_conv
        self.decoder = vae.decoder
        self.discriminator = new_discriminator()

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels (B, 3, 8 H, 8 W) of unscaled latents (B, 4, H, W)."""
        return self.decoder(self.post_quant_conv(latents))

    def score_with_fixed_weights(self, pixels: Tensor) -> Tensor:
        """The critic's scores, from which the critic itself learns nothing."""
        fixed = {name: weight.detach() for name, weight in self.discriminator.named_parameters()}
        return functional_call(self.discriminator, fixed, (pixels,))


class WithFinePart(nn.Module):
    """Pixels, and beside them what a blur would take away, amplified: 3 channels become 6."""

    def forward(self, pixels: Tensor) -> Tensor:
        """Channels (B, 6, H, W) of pixels (B, 3, H, W)."""
        blurred = F.avg_pool2d(F.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        return torch.cat([pixels, FINE_GAIN * (pixels - blurred)], dim=1)


def new_discriminator() -> nn.Sequential:
    """Four convolutions that score patches, high for real ones.

    Source: Isola et al. 2017, section 3.2.2, arXiv:1611.07004.
    """
    layers: list[nn.Module] = [WithFinePart()]
    channels = 6
    for width, stride in ((32, 2), (64, 2), (128, 1)):
        layers += [spectral_norm(nn.Conv2d(channels, width, 4, stride, 1)), nn.LeakyReLU(0.2)]
        channels = width
    return nn.Sequential(*layers, spectral_norm(nn.Conv2d(channels, 1, 4, 1, 1)))


def sharpen_decoder(
    vae: AutoencoderKL,
    bank: np.ndarray,
    latents: tuple[Tensor, Tensor],
    folder: Path,
    device: str,
    recipe: Recipe = RECIPE,
) -> AutoencoderKL:
    """Finish `vae`'s decoder and return the VAE with it.

    Args:
        bank: Rendered scenes, (N, 128, 128, 3), uint8.
        latents: Means and standard deviations of their latents, unscaled, (N, 4, 16, 16).

    Source: Esser et al. 2021, section 3.1 and eq. 7 (the adaptive weight), arXiv:2012.09841.
    """
    torch.manual_seed(recipe.seed)
    model = DecoderAndDiscriminator(vae).to(device).requires_grad_(True)
    model.decoder.to(memory_format=torch.channels_last)
    scaling_factor = float(vae.config.scaling_factor)

    def step_loss(step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        pixels, crops = _batch(bank, latents, scaling_factor, recipe.batch, generator)
        pixels = pixels.to(device)
        with torch.autocast(device, torch.bfloat16):
            restored = model.decode(crops.to(device))
            score = model.score_with_fixed_weights(restored).float().mean()
            real, fake = model.discriminator(pixels), model.discriminator(restored.detach())
        error = restored.float() - pixels
        distance = error.square().mean() + EDGE_WEIGHT * edges(error)
        hinge = F.relu(1 - real.float()).mean() + F.relu(1 + fake.float()).mean()
        weight = 0.0
        if step >= DISCRIMINATOR_ONLY_STEPS:
            weight = ADVERSARIAL_WEIGHT * _adaptive_weight(
                distance, score, model.decoder.conv_out.weight
            )
        figures = {
            "psnr": psnr(restored.detach().float(), pixels),
            "hinge": hinge.item(),
            "weight": weight,
        }
        return distance - weight * score + hinge, figures

    average = fit("decoder", model, step_loss, recipe, folder)
    vae.post_quant_conv, vae.decoder = average.post_quant_conv, average.decoder
    return vae


def _adaptive_weight(distance: Tensor, score: Tensor, last_weights: Tensor) -> float:
    """How much larger the distance's gradient is than the score's, at the last layer."""
    of_distance, of_score = (
        torch.autograd.grad(loss, last_weights, retain_graph=True)[0].norm()
        for loss in (distance, score)
    )
    return float((of_distance / (of_score + 1e-6)).clamp(max=10))


def _batch(
    bank: np.ndarray,
    latents: tuple[Tensor, Tensor],
    scaling_factor: float,
    batch: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Crops of pictures, (B, 3, 64, 64), and of their noisy latents, (B, 4, 8, 8)."""
    means, stds = latents
    side = CROP_PX // CELL_PX
    index = torch.randint(len(bank), (batch,), generator=generator).tolist()
    corners = torch.randint(means.shape[-1] - side + 1, (batch, 2), generator=generator).tolist()
    crops = []
    for i, (y, x) in zip(index, corners, strict=True):
        part = (i, slice(None), slice(y, y + side), slice(x, x + side))
        crops.append((means[part].float(), stds[part].float()))
    mean, std = (torch.stack(parts) for parts in zip(*crops, strict=True))
    error = LATENT_NOISE * torch.rand(batch, 1, 1, 1, generator=generator) / scaling_factor
    noise = torch.randn(2, *mean.shape, generator=generator)
    pixels = [
        bank[i, 8 * y : 8 * y + CROP_PX, 8 * x : 8 * x + CROP_PX]
        for i, (y, x) in zip(index, corners, strict=True)
    ]
    return to_unit_pixels(np.stack(pixels)), mean + std * noise[0] + error * noise[1]
