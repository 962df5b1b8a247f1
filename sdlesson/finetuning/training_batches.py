"""What each step trains on, made from the seed and the number of the step alone.

Photos go through the VAE once and texts through the text encoder once, before training: both are
as they were at every step, so neither has to stay in memory. All chance is drawn on the CPU, so
the batches are the same on every device and for any number of processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from torch import Tensor

from sdlesson.copies import in_float32, own_tokenizer
from sdlesson.diffusion import add_noise, embed
from sdlesson.images import to_pixels

MAX_TORCH_SEED = 2**64
STEP_STRIDE = 1_000_003  # a prime, so that neighbouring seeds do not share their steps


@dataclass(frozen=True, eq=False)
class Batch:
    """Pictures under noise: the photos first, and then the prior's, if there is one.

    Attributes:
        noisy: (B, 4, H/8, W/8).
        timesteps: (B,).
        target: What the prediction should be: the noise, or the model's own prediction.
        embeddings: Of the texts by the untrained text encoder, (B, tokens, channels).
        tokens: The texts themselves, for a text encoder that is trained, (B, tokens).
        photos: How many of the pictures are photos.
    """

    noisy: Tensor
    timesteps: Tensor
    target: Tensor
    embeddings: Tensor
    tokens: Tensor
    photos: int

    @property
    def prior(self) -> Batch:
        """The prior's pictures alone."""
        return self._pick(slice(self.photos, None), photos=0)

    def part(self, index: int, count: int) -> Batch:
        """One of `count` equal parts, with its share of the photos and of the prior's pictures."""
        # Photos and prior are split apart, so that each part has its share of both, and the loss of
        # a part weighs them as the loss of the whole batch does.
        every = torch.arange(len(self.noisy))
        chosen = [
            pictures.tensor_split(count)[index]
            for pictures in (every[: self.photos], every[self.photos :])
        ]
        return self._pick(torch.cat(chosen), photos=len(chosen[0]))

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        moved = {name: tensor.to(device) for name, tensor in self._tensors().items()}
        return Batch(**moved, photos=self.photos)

    def _pick(self, rows: Tensor | slice, *, photos: int) -> Batch:
        picked = {name: tensor[rows] for name, tensor in self._tensors().items()}
        return Batch(**picked, photos=photos)

    def _tensors(self) -> dict[str, Tensor]:
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name != "photos"
        }


@dataclass(frozen=True, eq=False)
class LatentCache:
    """Pictures with their texts, as the VAE and the text encoder leave them, on the CPU.

    Attributes:
        mean: Of each picture's posterior, scaled for the U-Net, (N, 4, H/8, W/8).
        std: Its standard deviation, likewise.
        embeddings: Of each picture's text, (N, tokens, channels).
        tokens: The text itself, (N, tokens).
    """

    mean: Tensor
    std: Tensor
    embeddings: Tensor
    tokens: Tensor


@torch.no_grad()
def cache_latents(
    pipe: StableDiffusionPipeline, images: Sequence[Image.Image], prompts: Sequence[str]
) -> LatentCache:
    """Encode pictures and their texts, one by one, which takes no more memory for many."""
    vae = in_float32(pipe.vae)  # half overflows on some pictures, and this is done once
    # (1, 3, H, W) -> a Gaussian over (1, 4, H/8, W/8) each
    posteriors = [vae.encode(to_pixels([image]).to(pipe.device)).latent_dist for image in images]
    scale = vae.config.scaling_factor
    # One text for all photos is the rule, and the text encoder need not read it for each of them.
    distinct = list(dict.fromkeys(prompts))
    embedded = {text: embed(pipe, [text]).cpu() for text in distinct}
    return LatentCache(
        mean=torch.cat([posterior.mean for posterior in posteriors]).cpu() * scale,
        std=torch.cat([posterior.std for posterior in posteriors]).cpu() * scale,
        embeddings=torch.cat([embedded[text] for text in prompts]),
        tokens=own_tokenizer(pipe.tokenizer)(
            list(prompts), padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids,
    )


@dataclass(frozen=True, eq=False)
class TrainingBatches:
    """The batches of a training, each of `size` photos and, with a prior, as many of its pictures.

    Attributes:
        photos: What is to be learned.
        prior: What is to be kept, or None.
        alphas_cumprod: Of the model's schedule, (T,).
    """

    photos: LatentCache
    prior: LatentCache | None
    alphas_cumprod: Tensor
    size: int
    seed: int

    def batch_at(self, step: int) -> Batch:
        """The batch of a step: the pictures take turns, the noise and its levels are drawn."""
        # The number of the step alone decides: a training that goes on after a pause draws what it
        # would have drawn without one, and nothing has to be kept for that.
        generator = torch.Generator().manual_seed((self.seed * STEP_STRIDE + step) % MAX_TORCH_SEED)
        caches = [cache for cache in (self.photos, self.prior) if cache is not None]
        # Photos take turns instead of being drawn: of four, chance may leave one out for long.
        turns = torch.arange(step * self.size, (step + 1) * self.size)
        picked = [(cache, turns % len(cache.mean)) for cache in caches]
        # Photos first, then the prior's: (B, 4, H/8, W/8), B twice the size where there is a prior.
        mean = torch.cat([cache.mean[rows] for cache, rows in picked])
        std = torch.cat([cache.std[rows] for cache, rows in picked])
        # The VAE gives a Gaussian for each picture; sampling it anew each time, x = mean + std * e
        # (Kingma & Welling 2013, section 2.4, arXiv:1312.6114), is a little variety for free.
        clean = mean + std * torch.randn(mean.shape, generator=generator)
        noise = torch.randn(mean.shape, generator=generator)
        # One level a picture, all equally likely (Ho et al. 2020, algorithm 1, arXiv:2006.11239).
        timesteps = torch.randint(len(self.alphas_cumprod), (len(mean),), generator=generator)
        return Batch(
            noisy=add_noise(clean, noise, timesteps, self.alphas_cumprod),
            timesteps=timesteps,
            target=noise,  # with the prior "own_prediction", half of it is replaced in the loss
            embeddings=torch.cat([cache.embeddings[rows] for cache, rows in picked]),
            tokens=torch.cat([cache.tokens[rows] for cache, rows in picked]),
            photos=self.size,
        )
