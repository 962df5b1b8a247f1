"""From one picture to another in small steps: between two prompts, and between two seeds."""

from __future__ import annotations

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from torch import Generator, Tensor

from sdlesson.copies import check_loaded
from sdlesson.diffusion import decode, denoise_latents, draw_noise, embed, fresh_scheduler
from sdlesson.settings import (
    DEFAULT_STEPS,
    check_guidance,
    check_pair,
    check_prompt,
    check_seed,
    check_steps,
    check_whole,
    is_number,
)

BATCH = 8
MAX_FRAMES = 300  # ten seconds of film


def slerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Go from one noise to another along the sphere that both lie on.

    Noise of so many numbers has nearly always the same length. Half-way on the straight line
    between two it is shorter by the root of two: not noise as the model knows it, but less.

    Raises:
        ValueError: The noises are no tensors of one shape, or the share is none.

    Source: Shoemake 1985, doi:10.1145/325334.325242.
    """
    if not isinstance(a, Tensor) or not isinstance(b, Tensor) or a.shape != b.shape:
        raise ValueError("slerp goes between two tensors of one shape; see draw_noise")
    if not a.is_floating_point() or a.dtype != b.dtype:
        raise ValueError(
            f"slerp goes between two tensors of floats, and these are of {a.dtype} and {b.dtype}; "
            "try .float() on both"
        )
    if not is_number(share) or not 0 <= share <= 1:
        raise ValueError(f"share={share!r} must be a number from 0 to 1; try 0.5, half-way")
    share = float(share)
    cosine = torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0)
    angle = cosine.clamp(-1, 1).acos()
    if angle.sin().abs() < 1e-4:  # the same noise: no way to go
        return torch.lerp(a, b, share)
    return (((1 - share) * angle).sin() * a + (share * angle).sin() * b) / angle.sin()


@torch.no_grad()
def interpolate(
    pipe: StableDiffusionPipeline,
    prompts: tuple[str, str],
    seeds: tuple[int, int],
    *,
    frames: int = 9,
    guidance_scale: float = 7.5,
    num_inference_steps: int = DEFAULT_STEPS,
) -> list[Image.Image]:
    """Draw pictures on the way from one prompt and seed to another; the same one may stay.

    Embeddings go along a straight line, noise along the sphere. The safety checker does not look.

    Raises:
        ValueError: There are too few or too many frames, or a setting is outside its range.
    """
    check_loaded(pipe)
    frames = check_whole(2, MAX_FRAMES, 9, frames=frames)
    check_steps(num_inference_steps)
    check_guidance(guidance_scale)
    texts_of_ends = map(check_prompt, check_pair(prompts=prompts))
    first_seed, last_seed = map(check_seed, check_pair(seeds=seeds))
    first, last = (
        draw_noise(pipe, 1, Generator("cpu").manual_seed(seed)) for seed in (first_seed, last_seed)
    )
    start, end, empty = embed(pipe, [*texts_of_ends, ""])
    shares = torch.linspace(0, 1, frames).tolist()
    noise = torch.cat([slerp(first, last, share) for share in shares])
    texts = torch.stack([torch.lerp(start, end, share) for share in shares])
    images = []
    for begin in range(0, frames, BATCH):
        scheduler = fresh_scheduler(pipe)
        scheduler.set_timesteps(num_inference_steps, device=pipe._execution_device)
        part = texts[begin : begin + BATCH]
        if guidance_scale > 1:
            part = torch.cat([empty.expand_as(part), part])
        latents = noise[begin : begin + BATCH] * scheduler.init_noise_sigma
        generator = Generator("cpu").manual_seed(first_seed)
        steps = denoise_latents(pipe.unet, scheduler, latents, part, guidance_scale, generator)
        *_, step = steps
        images += decode(pipe, step.latents)
    return images
