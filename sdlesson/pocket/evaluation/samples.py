"""Scenes and pictures to judge the pocket model by: chance that training never draws from.

Pictures are drawn with one setting, chosen once, on seeds that no table uses.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from sdlesson.images import to_pixels
from sdlesson.pipelines import load_pipeline
from sdlesson.pocket.world.scenes import Scene, sample_scene

STEPS = 25
GUIDANCE_SCALE = 5.0
BATCH = 32


def evaluation_scenes(
    name: str, count: int, wanted: Callable[[Scene], bool], *, held_out: bool = False
) -> Iterator[Scene]:
    """Scenes from a stream of chance that training never draws from."""
    rng = random.Random(f"evaluation/{name}")
    while count > 0:
        scene = sample_scene(rng, held_out=held_out)
        if wanted(scene):
            count -= 1
            yield scene


def judged_pipeline(device: str) -> StableDiffusionPipeline:
    """The pocket model in fp32, without the checker that would blacken the broccoli."""
    pipe = load_pipeline("pocket", device=device, dtype=torch.float32)
    pipe.safety_checker = None
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw_scenes(
    pipe: StableDiffusionPipeline,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    negative_prompt: str = "",
    guidance_scale: float = GUIDANCE_SCALE,
    num_inference_steps: int = STEPS,
    progress: str = "",
) -> list[Image.Image]:
    """Draw one picture a prompt, in batches, each from its own seed."""
    images: list[Image.Image] = []
    starts = range(0, len(prompts), BATCH)
    for start in tqdm(starts, progress, disable=not progress, mininterval=5):
        part = slice(start, start + BATCH)
        batch = list(prompts[part])
        images += pipe(
            batch,
            negative_prompt=[negative_prompt] * len(batch),
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds[part]],
        ).images
    return images


@torch.no_grad()
def restored(pipe: StableDiffusionPipeline, image: Image.Image) -> Tensor:
    """A picture through the VAE and back, as pixels (1, 3, H, W)."""
    pixels = to_pixels([image]).to(pipe.device)
    return pipe.vae.decode(pipe.vae.encode(pixels).latent_dist.mean).sample.cpu()
