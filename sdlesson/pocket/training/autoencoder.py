"""The pocket VAE: 128 x 128 pixels to 16 x 16 x 4 latents and back, as SD 1.x does at 512."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor
from tqdm.auto import tqdm

from sdlesson.metrics.pixels import psnr
from sdlesson.pocket.training.dataset import to_unit_pixels
from sdlesson.pocket.training.loop import Recipe, fit
from sdlesson.pocket.world.scenes import SIZE_PX

RECIPE = Recipe(steps=12_000, batch=16, learning_rate=8e-4, ema_decay=0.999)
CROP_PX = 64
CELL_PX = 8
"""What a latent stands for; crops begin where one does."""
WHOLE_PICTURES_FROM = 0.85
"""The fraction of the steps after which whole pictures replace crops."""
KL_WEIGHT = 1e-6
EDGE_WEIGHT = 1.0


def new_autoencoder() -> AutoencoderKL:
    """A VAE of SD 1.x's kind with 3.1 million random weights."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(24, 48, 96, 128),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=SIZE_PX,
        mid_block_add_attention=False,
    )


def train_autoencoder(
    bank: np.ndarray, folder: Path, device: str, recipe: Recipe = RECIPE
) -> AutoencoderKL:
    """Train on crops, then on whole pictures; loss is the squared error, its edges, and a small KL.

    Squared, because the absolute error is least at the median, and at the median a small detail
    that could be anywhere is absent.
    """
    torch.manual_seed(recipe.seed)  # diffusers draws initial weights from the global generator
    vae = new_autoencoder().to(device, memory_format=torch.channels_last)

    def step_loss(step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        whole = step >= WHOLE_PICTURES_FROM * recipe.steps
        pixels = _batch(bank, recipe.batch, whole, generator).to(device)
        with torch.autocast(device, torch.bfloat16):
            posterior = vae.encode(pixels).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=generator).to(device)
            restored: Tensor = vae.decode(posterior.mean + posterior.std * noise).sample
        error = restored.float() - pixels
        pixel_loss = error.square().mean()
        kl = posterior.kl().mean()
        loss = pixel_loss + EDGE_WEIGHT * edges(error) + KL_WEIGHT * kl
        return loss, {
            "mse": pixel_loss.item(),
            "psnr": psnr(restored.detach().float(), pixels),
            "kl": kl.item(),
        }

    average = fit("vae", vae, step_loss, recipe, folder)
    average.register_to_config(scaling_factor=1 / latents_std(average, bank, device))
    return average


@torch.no_grad()
def encode_scenes(
    vae: AutoencoderKL, bank: np.ndarray, device: str, batch: int = 64
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every picture's latents, unscaled, fp16, (N, 4, 16, 16)."""
    means, stds = [], []
    for start in tqdm(range(0, len(bank), batch), "latents", mininterval=5):
        pixels = to_unit_pixels(bank[start : start + batch], device)
        with torch.autocast(device, torch.bfloat16):
            posterior = vae.encode(pixels).latent_dist
        means.append(posterior.mean.half().cpu())
        stds.append(posterior.std.half().cpu())
    return torch.cat(means), torch.cat(stds)


def latents_std(vae: AutoencoderKL, bank: np.ndarray, device: str, count: int = 512) -> float:
    """The one number that SD's `scaling_factor` divides by, from the first `count` pictures."""
    mean, std = encode_scenes(vae, bank[:count], device)
    return float((mean.float().var() + std.float().square().mean()).sqrt())


def _batch(bank: np.ndarray, batch: int, whole: bool, generator: torch.Generator) -> Tensor:
    """`batch` random crops, or a quarter as many whole pictures: the same number of pixels."""
    count = batch // 4 if whole else batch
    index = torch.randint(len(bank), (count,), generator=generator).tolist()
    if whole:
        return to_unit_pixels(np.stack([bank[i] for i in index]))
    cells = (SIZE_PX - CROP_PX) // CELL_PX + 1
    corners = (CELL_PX * torch.randint(cells, (count, 2), generator=generator)).tolist()
    crops = [
        bank[i, y : y + CROP_PX, x : x + CROP_PX] for i, (y, x) in zip(index, corners, strict=True)
    ]
    return to_unit_pixels(np.stack(crops))


def edges(error: Tensor) -> Tensor:
    """Squared error of the differences between neighbours: what keeps outlines sharp."""
    across = F.mse_loss(error[..., 1:], error[..., :-1])
    return across + F.mse_loss(error[..., 1:, :], error[..., :-1, :])
