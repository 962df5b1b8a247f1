"""Noise to latents by hand: the formulas of diffusion, the denoising loop, and the decoder.

At timestep t, latents are `sqrt(alpha_bar) * clean + sqrt(1 - alpha_bar) * noise`. The U-Net is
shown them and names the noise; a scheduler takes some of it away; and so on, down to no noise.
This is figure 3 of Rombach et al. 2022 (arXiv:2112.10752), read from the right to the left.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from diffusers import AutoencoderKL, SchedulerMixin, StableDiffusionPipeline
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image
from torch import Generator, Tensor

from sdlesson.copies import check_loaded, copy_scheduler, in_float32, own_tokenizer
from sdlesson.images import to_images
from sdlesson.settings import (
    MAX_BATCH,
    MAX_SIDE,
    SIZE_FACTOR,
    check_function,
    check_guidance,
    check_size,
    check_steps,
    check_whole,
    list_texts,
    pair_prompts,
)

NoisePredictor = Callable[..., Any]
"""A U-Net, or what is asked as one: latents, a timestep and `encoder_hidden_states=` in, and
something with the noise as its `.sample` out."""


@dataclass(frozen=True, eq=False)
class DenoisingStep:
    """One step of the loop.

    Attributes:
        index: Counts the steps from 0; PNDM takes one more than it is asked for.
        timestep: The level of noise before the step, in [0, T).
        latents: After the step, (B, 4, H/8, W/8).
        noise_pred: The noise that the U-Net saw in the latents before the step, guided.
        pred_original_sample: The clean latents if that was all of the noise; `decode` shows them.
    """

    index: int
    timestep: float
    latents: Tensor
    noise_pred: Tensor
    pred_original_sample: Tensor


@torch.no_grad()
def denoise(
    pipe: StableDiffusionPipeline,
    prompt: str | Sequence[str],
    *,
    negative_prompt: str | Sequence[str] = "",
    guidance_scale: float = 7.5,
    num_inference_steps: int = 50,
    generator: Generator | list[Generator] | None = None,
    height: int | None = None,
    width: int | None = None,
    unet: NoisePredictor | None = None,
) -> Iterator[DenoisingStep]:
    """Draw from noise as the pipeline does, and yield each step.

    Args:
        pipe: A pipeline whose U-Net predicts noise, with any scheduler for such a model.
        prompt: A text, or a list of them for a batch.
        negative_prompt: What to steer away from: one for all, or one for each prompt.
        guidance_scale: How closely to follow the prompt; up to 1.0 is no guidance.
        num_inference_steps: How many times noise is removed.
        generator: One, or one for each prompt. By default a new one on the CPU, which makes the
            same noise at each call.
        height: In pixels; the size the model was trained for by default.
        width: In pixels, likewise.
        unet: What to ask for the noise instead of the pipeline's own U-Net.

    Raises:
        ValueError: A setting is outside its range, lengths differ, or the model predicts no noise.
    """
    check_loaded(pipe)
    check_steps(num_inference_steps)
    check_guidance(guidance_scale)
    check_size(height=height, width=width)
    prompts, negatives = pair_prompts(prompt, negative_prompt)
    generator = check_generator(generator, len(prompts))
    predictor = pipe.unet if unet is None else unet
    check_function(unet=predictor)
    scheduler = fresh_scheduler(pipe)
    check_steps(num_inference_steps, scheduler.config.num_train_timesteps)
    # Training had 1000 levels of noise; this picks those to stop at, from the most to the least.
    scheduler.set_timesteps(num_inference_steps, device=pipe._execution_device)
    noise = draw_noise(pipe, len(prompts), generator, height=height, width=width)  # (B, 4, h, w)
    # At the last level nearly nothing is left of a picture, so pure noise is a fair start. Some
    # schedulers count noise in sigmas, which go up to 14.6 in SD 1.5, and start that much larger.
    latents = noise * scheduler.init_noise_sigma
    embeddings = embed(pipe, prompts)  # (B, tokens, channels)
    if guidance_scale > 1:
        # One call of the U-Net answers with the prompt and without it: they go in side by side.
        embeddings = torch.cat([embed(pipe, negatives), embeddings])  # (2B, tokens, channels)
    return denoise_latents(predictor, scheduler, latents, embeddings, guidance_scale, generator)


def fresh_scheduler(pipe: StableDiffusionPipeline, name: str | None = None) -> SchedulerMixin:
    """Copy the scheduler, which remembers steps, so that two loops can run side by side.

    Args:
        name: Another class of diffusers, to be made with the settings of the pipeline's own.

    Raises:
        ValueError: The model predicts no noise, or there is no such scheduler for it.
    """
    check_loaded(pipe)
    predicted = pipe.scheduler.config.get("prediction_type", "epsilon")
    if predicted != "epsilon":
        raise ValueError(
            f"prediction_type={predicted!r} must be 'epsilon', noise, which this loop takes away; "
            "load a model such as Stable Diffusion 1.5"
        )
    if not isinstance(name, str | None):
        raise ValueError(f"scheduler={name!r} must be the name of a class; try 'DDIMScheduler'")
    if name is None or name == type(pipe.scheduler).__name__:
        return copy_scheduler(pipe.scheduler)
    # Those that take the levels of noise the model was trained on, and lack no other library.
    classes = {
        found.__name__: found
        for found in pipe.scheduler.compatibles
        if "beta_schedule" in signature(found.__init__).parameters
    }
    if name not in classes:
        raise ValueError(f"scheduler={name!r} must be one of {', '.join(sorted(classes))}")
    # Stable Diffusion skips the costly first steps of PNDM's paper; other schedulers have none.
    return classes[name].from_config({"skip_prk_steps": True, **pipe.scheduler.config})


def check_generator(
    generator: Generator | list[Generator] | None, count: int
) -> Generator | list[Generator]:
    """Return what makes the noise of so many pictures; by default a new generator on the CPU.

    Raises:
        ValueError: It makes no noise, such as the number that a generator is to be seeded with; or
            there is a list of generators, and not one for each.
    """
    if generator is None:
        return Generator("cpu")
    each = generator if isinstance(generator, list) else [generator]
    if not all(isinstance(one, Generator) for one in each):
        raise ValueError(
            f"generator={generator!r} must be a torch.Generator, or a list with one for each "
            "prompt; try torch.Generator('cpu').manual_seed(5)"
        )
    if isinstance(generator, list) and len(generator) != count:
        raise ValueError(
            f"{len(generator)} generators for {count} prompts; give one for each, or one for all"
        )
    return generator


def draw_noise(
    pipe: StableDiffusionPipeline,
    count: int,
    generator: Generator | list[Generator],
    *,
    height: int | None = None,
    width: int | None = None,
) -> Tensor:
    """Draw the noise to start from; on the CPU the same seed is the same noise everywhere.

    Returns:
        Standard normal, (count, 4, height/8, width/8), of the model's own size by default.

    Raises:
        ValueError: There is a list of generators, and not one for each; or a side is no latents.
    """
    generator = check_generator(generator, check_whole(1, MAX_BATCH, 1, count=count))
    check_size(height=height, width=width)
    # The VAE has made 8 x 8 pixels into one place: a picture of (3, H, W) is (4, H/8, W/8) here.
    factor, own = pipe.vae_scale_factor, pipe.unet.config.sample_size
    sides = (own if side is None else side // factor for side in (height, width))
    shape = (count, pipe.unet.config.in_channels, *sides)
    # Drawn where the generator lives, the CPU by default, and then moved: the same noise anywhere.
    return randn_tensor(shape, generator, device=pipe._execution_device, dtype=pipe.unet.dtype)


@torch.no_grad()
def denoise_latents(
    unet: NoisePredictor,
    scheduler: SchedulerMixin,
    latents: Tensor,
    embeddings: Tensor,
    guidance_scale: float | Tensor,
    generator: Generator | list[Generator],
    *,
    first_step: int = 0,
    amend: Callable[[int, Tensor], Tensor] | None = None,
) -> Iterator[DenoisingStep]:
    """Walk latents down a scheduler's timesteps; `denoise` prepares what this takes.

    Args:
        first_step: Where on the timesteps to begin, with latents that are as noisy as there.
        amend: Takes the index and the latents of each step, and returns those to go on with.
    """
    # Schedulers of the "ancestral" kind put fresh noise back in each step; others draw none.
    adds_noise = "generator" in signature(scheduler.step).parameters
    options = {"generator": generator} if adds_noise else {}
    for index, timestep in list(enumerate(scheduler.timesteps))[first_step:]:
        # Where noise is counted in sigmas, latents have grown with it; the U-Net knows them only at
        # the scale of its training, where their variance is about 1.
        model_input = scheduler.scale_model_input(latents, timestep)
        noise_pred = predict_noise(unet, model_input, timestep, embeddings, guidance_scale)
        # Not needed to go on: it shows what the model sees in the noise by now.
        alpha_bar = alpha_bar_at(scheduler, index)
        pred_original_sample = predict_original_sample(model_input, noise_pred, alpha_bar)
        # "Previous" in the order of training, in which noise was added: one level less of it.
        latents = scheduler.step(noise_pred, timestep, latents, **options).prev_sample
        if amend:
            latents = amend(index, latents)
        yield DenoisingStep(index, timestep.item(), latents, noise_pred, pred_original_sample)


def embed(pipe: StableDiffusionPipeline, texts: list[str]) -> Tensor:
    """Turn texts into what the U-Net reads: (B, tokens, channels), cut or padded to one length."""
    tokenizer = own_tokenizer(pipe.tokenizer)
    # A word that was learned by textual inversion may stand for many tokens.
    texts = pipe.maybe_convert_prompt(list_texts(texts=texts), tokenizer)
    # Padded to one length even where texts are short: the U-Net was trained on texts of that many
    # tokens, and cross-attention looks at the padding as well.
    encoding = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt")
    tokens = encoding.input_ids.to(pipe._execution_device)  # (B, tokens)
    return pipe.text_encoder(tokens).last_hidden_state  # (B, tokens) -> (B, tokens, channels)


def predict_noise(
    unet: NoisePredictor,
    model_input: Tensor,
    timestep: Tensor,
    embeddings: Tensor,
    guidance_scale: float | Tensor,
) -> Tensor:
    """Ask the U-Net for the noise: of the text alone, or with guidance of both halves at once.

    Args:
        model_input: Latents as the scheduler's `scale_model_input` gives them.
        embeddings: Of the prompts, (B, ...); with guidance the negative prompts first, (2B, ...).
        guidance_scale: One for all, or one for each picture, (B, 1, 1, 1).
    """
    if len(embeddings) == len(model_input):  # no negative prompts: no guidance
        return _ask(unet, model_input, timestep, embeddings)
    twice = torch.cat([model_input, model_input])  # (2B, 4, H/8, W/8)
    noise_preds = _ask(unet, twice, timestep, embeddings)
    noise_pred_uncond, noise_pred_text = noise_preds.chunk(2)  # back to (B, 4, H/8, W/8) each
    return guide(noise_pred_uncond, noise_pred_text, guidance_scale)


def guide(
    noise_pred_uncond: Tensor, noise_pred_text: Tensor, guidance_scale: float | Tensor
) -> Tensor:
    """Go from the prediction without the text to the one with it, and on in that direction.

    Source: Ho & Salimans 2022, eq. 6, arXiv:2207.12598, where guidance_scale is 1 + w.
    """
    # Beyond the prediction with the text where the scale is above 1: an extrapolation, which no
    # training has shown the model, so too much of it burns colours.
    return noise_pred_uncond + guidance_scale * (noise_pred_text - noise_pred_uncond)


def add_noise(clean: Tensor, noise: Tensor, timesteps: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """Jump from clean data straight to step t of the forward process.

    Args:
        clean: Pixels in [-1, 1] or scaled latents, (B, C, H, W).
        noise: Standard normal, same shape.
        timesteps: Integers in [0, T), (B,).
        alphas_cumprod: (T,), decreasing.

    Raises:
        ValueError: A timestep is off the schedule; a negative one would wrap silently.

    Source: Ho et al. 2020, eq. 4, arXiv:2006.11239.
    """
    if timesteps.min() < 0 or timesteps.max() >= len(alphas_cumprod):
        raise ValueError(f"timesteps {timesteps.tolist()} leave [0, {len(alphas_cumprod)})")
    alpha_bar = alphas_cumprod.to(clean.device)[timesteps].view(-1, 1, 1, 1)  # (B,) before
    # The squares of both factors add up to 1, so variance 1 stays variance 1 at every level.
    noisy = alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * noise
    return noisy.to(clean.dtype)  # rounded last: in half precision 1 - alpha_bar would lose digits


def min_snr_weights(snr: Tensor, gamma: float) -> Tensor:
    """Weigh noise levels so that the nearly clean ones, easy and many, do not outvote the rest.

    Args:
        snr: Signal-to-noise ratios, alpha_bar / (1 - alpha_bar), positive, of any shape.
        gamma: Their cap; the paper's choice is 5.

    Returns:
        min(SNR, gamma) / SNR for each, in (0, 1].

    Source: Hang et al. 2023, eq. 5 for noise prediction, arXiv:2303.09556.
    """
    # At a level of much signal the noise hardly shows, and its error says little: SNR above gamma
    # counts as gamma does. What is noisier keeps its weight of 1.
    return snr.clamp(max=gamma) / snr


def predict_original_sample(model_input: Tensor, noise_pred: Tensor, alpha_bar: Tensor) -> Tensor:
    """Take all of the predicted noise away at once: `add_noise`, solved for `clean`.

    The latents are taken as the U-Net is shown them, and alpha_bar at their timestep.

    Source: Ho et al. 2020, eq. 15, arXiv:2006.11239.
    """
    # In the first steps alpha_bar is near 0: what is left is small and mostly error, and the
    # division blows it up. That is why early guesses are blurred or garish.
    return (model_input - (1 - alpha_bar).sqrt() * noise_pred) / alpha_bar.sqrt()


def ddim_step(
    latents: Tensor, noise_pred: Tensor, alpha_bar: Tensor, alpha_bar_previous: Tensor
) -> Tensor:
    """Take all of the noise away, and put back as much of it as the next level has.

    Source: Song et al. 2021, eq. 12 with sigma = 0, arXiv:2010.02502 (its alpha is alpha_bar).
    """
    clean = predict_original_sample(latents, noise_pred, alpha_bar)
    # The same formula as in `add_noise`, with the noise that was seen instead of fresh one.
    return alpha_bar_previous.sqrt() * clean + (1 - alpha_bar_previous).sqrt() * noise_pred


def alpha_bar_at(scheduler: SchedulerMixin, index: int) -> Tensor:
    """Look up alpha_bar at a step of the scheduler's timesteps.

    Some schedulers stop between the timesteps of training, and keep the sigma of each stop.
    Euler's kind also keeps latents as `clean + sigma * noise`; times sqrt(alpha_bar), which is
    what `scale_model_input` does, they are what the U-Net was trained on.
    """
    if hasattr(scheduler, "sigmas"):
        return 1 / (1 + scheduler.sigmas[index] ** 2)  # sigma^2 = (1 - alpha_bar) / alpha_bar
    return scheduler.alphas_cumprod[int(scheduler.timesteps[index])]


def decode(pipe: StableDiffusionPipeline, latents: Tensor) -> list[Image.Image]:
    """Turn latents, or a guess of them, into pictures; the safety checker does not look at them.

    Raises:
        ValueError: The shape is not (B, 4, H/8, W/8), or the pictures come out as NaN.
    """
    channels = check_loaded(pipe).vae.config.latent_channels
    most = MAX_SIDE // SIZE_FACTOR
    shape = tuple(getattr(latents, "shape", ()))
    if len(shape) != 4 or shape[1] != channels or not all(1 <= side <= most for side in shape[2:]):
        raise ValueError(
            f"latents have shape {shape}, must be (B, {channels}, H/8, W/8) with sides up to "
            f"{most}; try latents[None]"
        )
    if not isinstance(latents, Tensor) or not latents.is_floating_point() or not len(latents):
        kind = getattr(latents, "dtype", type(latents).__name__)
        raise ValueError(
            f"{len(latents)} latents of {kind} must be one or more of torch's floats; "
            "try latents.float()"
        )
    return to_images(decode_latents(pipe.vae, latents.to(pipe._execution_device, pipe.vae.dtype)))


@torch.no_grad()
def decode_latents(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Turn latents into pixels, in float32 where half precision overflows.

    Raises:
        ValueError: The pixels are NaN or infinite, which would turn black unseen.
    """
    # The encoder's output was multiplied by this, so that latents have variance 1 (Rombach et al.
    # 2022, appendix G, arXiv:2112.10752); the decoder expects them as they were before.
    pixels = vae.decode(latents / vae.config.scaling_factor).sample  # (B, 3, H, W) in [-1, 1]
    if not pixels.isfinite().all() and vae.dtype != torch.float32:
        pixels = in_float32(vae).decode(latents.float() / vae.config.scaling_factor).sample
    if not pixels.isfinite().all():
        in_float = {vae.dtype, latents.dtype} == {torch.float32}
        advice = "load the model again" if in_float else "load with dtype=torch.float32"
        raise ValueError(f"the picture came out as NaN: lower guidance_scale, or {advice}")
    return pixels


def _ask(unet: NoisePredictor, model_input: Tensor, timestep: Tensor, embeddings: Tensor) -> Tensor:
    answer = unet(model_input, timestep, encoder_hidden_states=embeddings)
    noise_pred = getattr(answer, "sample", None)
    if not isinstance(noise_pred, Tensor) or noise_pred.shape != model_input.shape:
        raise ValueError(
            f"unet= answers with a {type(answer).__name__}, must be something with the noise as "
            f"its .sample, a tensor of shape {tuple(model_input.shape)}"
        )
    return noise_pred
