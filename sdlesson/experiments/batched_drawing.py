"""Many pictures at once: what can share a batch is drawn in one, each picture as if alone."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from torch import Generator, Tensor

from sdlesson.diffusion import denoise_latents, draw_noise, embed, fresh_scheduler
from sdlesson.drawing import decode_and_check

# Past so many pixels at once a batch is hardly faster, and *Stop* has longer to wait for its end:
# eight pictures of the pocket model on a CPU, of Stable Diffusion 1.5 on a GPU.
PIXELS_AT_ONCE = {"cpu": 8 * 128**2, "mps": 2 * 512**2, "cuda": 8 * 512**2}


@dataclass(frozen=True)
class PictureSettings:
    """All that decides one picture, but for the model; the last one changes fastest in a sweep."""

    prompt: str
    negative_prompt: str
    scheduler: str
    num_inference_steps: int
    guidance_scale: float
    height: int
    width: int
    seed: int

    @property
    def is_guided(self) -> bool:
        """Whether the U-Net is asked a second time, without the prompt."""
        return self.guidance_scale > 1

    @property
    def work(self) -> int:
        """How often the U-Net is asked, which is where the time goes."""
        return self.num_inference_steps * (2 if self.is_guided else 1)

    @property
    def shared(self) -> tuple[str, int, int, int, bool]:
        """What pictures must have in common to be drawn in one batch."""
        sides = (self.height, self.width)
        return (self.scheduler, self.num_inference_steps, *sides, self.is_guided)


class Drawn(NamedTuple):
    """One picture out of a batch."""

    settings: PictureSettings
    image: Image.Image
    flagged: bool
    seconds: float


@torch.no_grad()
def draw_in_batches(
    pipe: StableDiffusionPipeline,
    asked: Iterable[PictureSettings],
    *,
    batch_size: int | None,
    tick: Callable[[int], object],
) -> Iterator[list[Drawn]]:
    """Draw pictures batch by batch, in smaller ones once a GPU is out of memory.

    Args:
        batch_size: How many pictures to draw at once; by default what suits the device.
        tick: Takes, step by step, how much of the `work` was done.
    """
    left = list(asked)
    embeddings = _embed_each(pipe, left)
    halvings = 0
    while left:
        size = batch_size or suitable_batch_size(pipe, left[0])
        batch = _first_batch(left, max(1, size >> halvings))
        drawn = _draw_if_it_fits(pipe, batch, embeddings, tick)
        if drawn is None:
            torch.cuda.empty_cache()  # of what the batch that did not fit has left behind
            halvings += 1
            continue
        yield drawn
        done = set(batch)
        left = [settings for settings in left if settings not in done]


def suitable_batch_size(pipe: StableDiffusionPipeline, settings: PictureSettings) -> int:
    """Count the pictures that are worth drawing at once on the pipeline's device."""
    pixels_at_once = PIXELS_AT_ONCE.get(pipe._execution_device.type, PIXELS_AT_ONCE["cpu"])
    return max(1, pixels_at_once // (settings.height * settings.width))


def _embed_each(
    pipe: StableDiffusionPipeline, asked: Iterable[PictureSettings]
) -> dict[str, Tensor]:
    """Turn each text into what the U-Net reads, once."""
    texts = {settings.prompt: None for settings in asked}
    texts |= {settings.negative_prompt: None for settings in asked if settings.is_guided}
    return {text: embed(pipe, [text]) for text in texts}


def _first_batch(left: list[PictureSettings], size: int) -> list[PictureSettings]:
    """Take the first picture, and the next ones that can be drawn with it."""
    return [settings for settings in left if settings.shared == left[0].shared][:size]


def _draw_if_it_fits(
    pipe: StableDiffusionPipeline,
    batch: list[PictureSettings],
    embeddings: Mapping[str, Tensor],
    tick: Callable[[int], object],
) -> list[Drawn] | None:
    """Draw one batch; None where memory is short and the batch could be smaller."""
    try:
        return _draw_batch(pipe, batch, embeddings, tick)
    except RuntimeError as error:  # CUDA's own class of it, and a plain one from an Apple GPU
        if len(batch) == 1 or "out of memory" not in str(error):
            raise
        return None


def _draw_batch(
    pipe: StableDiffusionPipeline,
    batch: list[PictureSettings],
    embeddings: Mapping[str, Tensor],
    tick: Callable[[int], object],
) -> list[Drawn]:
    start, first = time.perf_counter(), batch[0]
    scheduler = fresh_scheduler(pipe, first.scheduler)
    scheduler.set_timesteps(first.num_inference_steps, device=pipe._execution_device)
    generators = [Generator("cpu").manual_seed(settings.seed) for settings in batch]
    noise = draw_noise(pipe, len(batch), generators, height=first.height, width=first.width)
    texts = [settings.negative_prompt for settings in batch] if first.is_guided else []
    texts += [settings.prompt for settings in batch]
    scales = torch.tensor([settings.guidance_scale for settings in batch]).to(noise)
    latents = noise * scheduler.init_noise_sigma
    work, calls = first.work * len(batch), len(scheduler.timesteps)  # may be more than the steps
    for step in denoise_latents(
        pipe.unet,
        scheduler,
        latents,
        torch.cat([embeddings[text] for text in texts]),
        scales.view(-1, 1, 1, 1),
        generators,
    ):
        latents = step.latents
        tick(work * (step.index + 1) // calls - work * step.index // calls)
    # One by one: the decoder takes far more memory than the U-Net, and a batch no less time.
    pictures = [decode_and_check(pipe, picture[None]) for picture in latents]
    seconds = (time.perf_counter() - start) / len(batch)
    return [
        Drawn(settings, *picture, seconds)
        for settings, picture in zip(batch, pictures, strict=True)
    ]
