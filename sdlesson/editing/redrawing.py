"""Image to image: the denoising loop, started half-way with a picture under the noise.

A picture with noise on it is what the loop meets on its way anyway. So it can begin there: with
much noise little is left of the picture, with little noise much. That is what `strength` says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from diffusers import DDIMScheduler, SchedulerMixin, StableDiffusionPipeline
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image
from torch import Generator, Tensor

from sdlesson.copies import check_loaded
from sdlesson.diffusion import (
    DenoisingStep,
    NoisePredictor,
    check_generator,
    denoise_latents,
    embed,
    fresh_scheduler,
)
from sdlesson.editing.pictures import (
    EditSettings,
    Report,
    check_room,
    decode_edit,
    latent_mask,
    open_mask,
    padded_pixels,
    picture_to_edit,
)
from sdlesson.settings import (
    DEFAULT_STEPS,
    check_function,
    check_strength,
    pair_prompts,
    steps_left,
)

DEFAULT_STRENGTH = 0.6


def image_to_image(
    pipe: StableDiffusionPipeline,
    image: Image.Image,
    prompt: str,
    *,
    strength: float = DEFAULT_STRENGTH,
    negative_prompt: str = "",
    guidance_scale: float = 7.5,
    num_inference_steps: int = DEFAULT_STEPS,
    generator: Generator | None = None,
    report: Report = print,
) -> Image.Image:
    """Draw a picture anew from a prompt, and keep as much of it as the strength leaves.

    Args:
        pipe: Any pipeline of Stable Diffusion's first generation.
        image: Of any mode and of any size up to four times the model's own a side.
        prompt: What the new picture shows.
        strength: 0 returns the picture as it came; 1 redraws it from the most noise there is.
        negative_prompt: What to keep out.
        guidance_scale: How closely to follow the prompt; 1.0 is no guidance.
        num_inference_steps: Of the whole schedule; the strength says how many of them are taken.
        generator: By default a new one on the CPU, which makes the same noise at each call.
        report: Is told if the safety checker flags the picture, which is then black.

    Raises:
        ValueError: The picture cannot be read, or a setting is outside its range.
    """
    check_loaded(pipe)
    settings = EditSettings(
        prompt, negative_prompt, guidance_scale, num_inference_steps, generator, report=report
    )
    picture = picture_to_edit(image)
    if check_strength(strength) == 0:
        return picture
    *_, last = redraw_as(settings, pipe, [picture], strength=strength)
    return decode_edit(pipe, last.latents, picture.size, report)


def redraw(
    pipe: StableDiffusionPipeline,
    images: Sequence[Image.Image],
    prompt: str | Sequence[str],
    *,
    mask: Image.Image | None = None,
    strength: float = DEFAULT_STRENGTH,
    negative_prompt: str | Sequence[str] = "",
    guidance_scale: float = 7.5,
    num_inference_steps: int = DEFAULT_STEPS,
    generator: Generator | list[Generator] | None = None,
    resample: int = 1,
    unet: NoisePredictor | None = None,
) -> Iterator[DenoisingStep]:
    """Begin the loop with noise on pictures, and yield each step that is left.

    Args:
        pipe: A pipeline whose U-Net predicts noise from four channels.
        images: Of one size, one for each prompt.
        prompt: A text, or a list of them for a batch.
        mask: White where all of the pictures are painted anew; without one, everywhere.
        strength: Above 0; a share of the steps.
        negative_prompt: One for all, or one for each prompt.
        guidance_scale: How closely to follow the prompt; 1.0 is no guidance.
        num_inference_steps: Of the whole schedule.
        generator: One, or one for each picture.
        resample: With a mask, take each step so many times, with noise in between: the new part
            and the known one get as many chances to agree. Needs DDIM.
        unet: What to ask for the noise instead of the pipeline's own U-Net.

    Raises:
        ValueError: A picture or a setting cannot be used, or the model is another kind.

    Source: Meng et al. 2021, arXiv:2108.01073 (image to image); Lugmayr et al. 2022, eq. 8 and
    section 4.2, arXiv:2201.09865 (the known part put back at each step, and resampling).
    """
    settings = EditSettings(
        prompt, negative_prompt, guidance_scale, num_inference_steps, generator, resample
    )
    return redraw_as(settings, pipe, images, mask=mask, strength=strength, unet=unet)


@torch.no_grad()
def redraw_as(
    settings: EditSettings,
    pipe: StableDiffusionPipeline,
    images: Sequence[Image.Image],
    *,
    mask: Image.Image | None = None,
    strength: float,
    unet: NoisePredictor | None = None,
) -> Iterator[DenoisingStep]:
    """Do what `redraw` does, as settings say.

    Raises:
        ValueError: A picture or a setting cannot be used, or the model is another kind.
    """
    _check_channels(pipe)
    pictures = [picture_to_edit(image) for image in _list(images)]
    check_room(pipe, pictures[0].size)
    prompts, negatives = pair_prompts(settings.prompt, settings.negative_prompt)
    if len(prompts) != len(pictures):
        raise ValueError(f"{len(prompts)} prompts for {len(pictures)} images; give one for each")
    predictor = pipe.unet if unet is None else unet
    check_function(unet=predictor)
    generator = check_generator(settings.generator, len(pictures))
    resample, guidance_scale = settings.resample, settings.guidance_scale
    scheduler, first_step = _scheduler_at(pipe, settings.num_inference_steps, strength)
    if resample != 1:
        _repeat_steps(scheduler, first_step, resample)
    clean = encode(pipe, padded_pixels(pictures), generator)  # (B, 4, H/8, W/8)
    if mask is not None:  # as diffusers: in another order convolutions round otherwise
        clean = clean.contiguous()
    noise = randn_tensor(clean.shape, generator, device=clean.device, dtype=clean.dtype)
    if mask is not None and strength == 1:
        latents = noise * scheduler.init_noise_sigma  # nothing of the hidden part shines through
    else:
        latents = scheduler.add_noise(clean, noise, scheduler.timesteps[first_step][None])
    amend = None
    if mask is not None:
        hole = latent_mask(open_mask(mask, pictures[0]), clean.device, clean.dtype)
        amend = _KnownPart(scheduler, clean, noise, hole, generator, resample > 1)
    embeddings = embed(pipe, prompts)
    if guidance_scale > 1:
        embeddings = torch.cat([embed(pipe, negatives), embeddings])  # (2B, tokens, channels)
    return denoise_latents(
        predictor,
        scheduler,
        latents,
        embeddings,
        guidance_scale,
        generator,
        first_step=first_step,
        amend=amend,
    )


@torch.no_grad()
def encode(
    pipe: StableDiffusionPipeline, pixels: Tensor, generator: Generator | list[Generator]
) -> Tensor:
    """Turn pixels, (B, 3, H, W), into scaled latents; the VAE's spread is drawn as diffusers does.

    Raises:
        ValueError: There is a list of generators, and not one for each.
    """
    generator = check_generator(generator, len(pixels))
    posterior = pipe.vae.encode(pixels.to(pipe._execution_device, pipe.vae.dtype)).latent_dist
    mean, std = posterior.mean, posterior.std
    spread = randn_tensor(mean.shape, generator, device=mean.device, dtype=mean.dtype)
    return ((mean + std * spread) * pipe.vae.config.scaling_factor).to(pipe.unet.dtype)


@dataclass(frozen=True, eq=False)
class _KnownPart:
    """Puts the known part back after each step, with as much noise as the next step expects."""

    scheduler: SchedulerMixin
    clean: Tensor
    noise: Tensor
    hole: Tensor  # 1 where latents are new
    generator: Generator | list[Generator]
    resamples: bool  # else a timestep that comes twice is the scheduler's own way

    def __call__(self, index: int, latents: Tensor) -> Tensor:
        timesteps = self.scheduler.timesteps
        level = timesteps[index + 1 : index + 2]  # empty after the last step
        if len(level) == 0:
            known = self.clean
        else:
            if self.resamples and level == timesteps[index]:
                latents = self._noise_again(latents, level)
            known = self.scheduler.add_noise(self.clean, self.noise, level)
        return (1 - self.hole) * known + self.hole * latents

    def _noise_again(self, latents: Tensor, level: Tensor) -> Tensor:
        """Go back up the one step that was just taken down."""
        bars = self.scheduler.alphas_cumprod
        below = int(level) - len(bars) // self.scheduler.num_inference_steps
        bar_below = bars[below] if below >= 0 else self.scheduler.final_alpha_cumprod
        ratio = bars[int(level)] / bar_below
        options = {"device": latents.device, "dtype": latents.dtype}
        fresh = randn_tensor(latents.shape, self.generator, **options)
        return ratio.sqrt() * latents + (1 - ratio).sqrt() * fresh


def _list(images: Sequence[Image.Image]) -> Sequence[Image.Image]:
    if not isinstance(images, Sequence) or isinstance(images, str | bytes) or not images:
        kind = type(images).__name__
        raise ValueError(f"images is a {kind}, must be a list of PIL images; try [image]")
    return images


def _repeat_steps(scheduler: SchedulerMixin, first_step: int, times: int) -> None:
    """Let a scheduler without memory take each of its steps several times."""
    if not isinstance(scheduler, DDIMScheduler):
        raise ValueError(
            f"resample={times} goes back up the schedule, and {type(scheduler).__name__} keeps a "
            "memory of where it was; use DDIMScheduler, or resample=1"
        )
    done, left = scheduler.timesteps[:first_step], scheduler.timesteps[first_step:]
    scheduler.timesteps = torch.cat([done, left.repeat_interleave(times)])


def _scheduler_at(
    pipe: StableDiffusionPipeline, num_inference_steps: int, strength: float
) -> tuple[SchedulerMixin, int]:
    """Copy the scheduler, ready to begin where the strength says, and say where that is."""
    count = steps_left(num_inference_steps, strength)
    if count == 0:
        raise ValueError("strength=0 leaves no step to take; try 0.6")
    scheduler = fresh_scheduler(pipe)
    scheduler.set_timesteps(num_inference_steps, device=pipe._execution_device)
    first_step = (num_inference_steps - count) * scheduler.order
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first_step)
    return scheduler, first_step


def _check_channels(pipe: StableDiffusionPipeline) -> None:
    channels = check_loaded(pipe).unet.config.in_channels
    if channels != pipe.vae.config.latent_channels:
        raise ValueError(
            f"this U-Net reads {channels} channels: it was trained for inpainting alone; use "
            "diffusers' StableDiffusionInpaintPipeline with it, or load 'sd15' here"
        )
