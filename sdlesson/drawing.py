"""Draw a picture from a prompt: settings checked, words not read named, all recorded in the PNG."""

import math
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from numbers import Integral, Real

import diffusers
import torch
from diffusers import AutoencoderKL, DiffusionPipeline, StableDiffusionPipeline
from PIL import Image
from torch import Tensor

from sdlesson import hub, images
from sdlesson.language import say
from sdlesson.pipelines import load_pipeline
from sdlesson.prompts import Unknown, cut_words, unknown_words

DEFAULT_STEPS = 25
MAX_STEPS = 1000  # a schedule of Stable Diffusion has no more levels of noise than this
MAX_SEED = 2**64 - 1
SIZE_FACTOR = 8  # one latent stands for 8 x 8 pixels


@dataclass(frozen=True)
class Drawing:
    """A picture, and all that is needed to draw it again."""

    image: Image.Image
    prompt: str
    negative_prompt: str
    seed: int
    num_inference_steps: int
    guidance_scale: float
    scheduler: str
    model: str
    flagged: bool

    @property
    def settings(self) -> dict[str, str]:
        """Everything but the picture, as text for its file."""
        names = [field.name for field in fields(self) if field.name != "image"]
        width, height = self.image.size
        return {name: str(getattr(self, name)) for name in names} | {
            "height": str(height),
            "width": str(width),
            "diffusers": diffusers.__version__,
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a PNG that carries its settings; see `images.save_png`."""
        images.save_png(self.image, path, self.settings)

    def _repr_png_(self) -> bytes | None:
        return self.image._repr_png_()  # a notebook shows the picture


def draw(
    prompt: str,
    *,
    pipe: StableDiffusionPipeline | str | os.PathLike[str] | None = None,
    negative_prompt: str = "",
    seed: int | None = None,
    num_inference_steps: int = DEFAULT_STEPS,
    guidance_scale: float = 7.5,
    height: int | None = None,
    width: int | None = None,
    report: Callable[[str], object] = print,
) -> Drawing:
    """Draw one picture from a prompt, from noise that is the same on every device.

    Args:
        prompt: What to draw.
        pipe: A loaded pipeline, or what `load_pipeline` takes.
        negative_prompt: What to keep out of the picture.
        seed: The same seed draws the same picture; one is chosen by default.
        num_inference_steps: How many times noise is removed.
        guidance_scale: How closely to follow the prompt; 1.0 is no guidance.
        height: In pixels; the size the model was trained for by default.
        width: In pixels, likewise.
        report: Takes each sentence on what the reader should know: words not read, a flag.

    Raises:
        ValueError: The prompt is empty, or a setting is outside its range.
        ModelError: The pipeline cannot be loaded, or what it computes is no picture.
    """
    _check_prompt(prompt)
    _check_settings(seed, num_inference_steps, guidance_scale)
    _check_size(height=height, width=width)
    loaded = pipe if isinstance(pipe, DiffusionPipeline) else load_pipeline(pipe)
    for text in (prompt, negative_prompt):
        for note in _prompt_notes(loaded, text):
            report(note)
    seed = secrets.randbelow(2**32) if seed is None else int(seed)  # torch refuses numpy's
    latents = loaded(
        prompt,
        negative_prompt=negative_prompt,
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        height=height,
        width=width,
        generator=torch.Generator("cpu").manual_seed(seed),
        output_type="latent",
    ).images
    image, flagged = _develop(loaded, latents)
    if flagged:
        report(_flag_note())
    return Drawing(
        image=image,
        prompt=prompt,
        negative_prompt=negative_prompt,
        seed=seed,
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        scheduler=type(loaded.scheduler).__name__,
        model=str(loaded.name_or_path),
        flagged=flagged,
    )


def _check_prompt(prompt: str) -> None:
    if not isinstance(prompt, str) or not prompt.strip():
        raise ValueError(
            f"prompt={prompt!r} must be a text that says what to draw, such as 'a cat on the beach'"
        )


def _check_settings(seed: int | None, num_inference_steps: int, guidance_scale: float) -> None:
    if seed is not None and not _is_whole(seed, 0, MAX_SEED):
        raise ValueError(f"seed={seed!r} must be a whole number from 0 to {MAX_SEED}; try 0")
    if not _is_whole(num_inference_steps, 1, MAX_STEPS):
        raise ValueError(
            f"num_inference_steps={num_inference_steps!r} must be a whole number "
            f"from 1 to {MAX_STEPS}; try {DEFAULT_STEPS}"
        )
    if not isinstance(guidance_scale, Real) or not 0 <= guidance_scale < math.inf:  # nor NaN
        raise ValueError(
            f"guidance_scale={guidance_scale!r} must be a number from 0 up, where 1.0 is "
            "no guidance; try 7.5"
        )


def _check_size(**sides: int | None) -> None:
    for name, side in sides.items():
        if side is None or (_is_whole(side, SIZE_FACTOR) and side % SIZE_FACTOR == 0):
            continue
        nearest = SIZE_FACTOR * max(1, round(side / SIZE_FACTOR)) if _is_whole(side) else None
        advice = f"try {nearest}" if nearest else "leave it out for the model's own size"
        raise ValueError(f"{name}={side!r} must be a multiple of {SIZE_FACTOR}; {advice}")


def _is_whole(value: object, low: float = -math.inf, high: float = math.inf) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and low <= int(value) <= high


def _prompt_notes(pipe: StableDiffusionPipeline, prompt: str) -> Iterator[str]:
    """Say which words of a prompt the model does not know, and which it will not read."""
    is_pocket = str(pipe.name_or_path) in ("pocket", str(hub.POCKET_FOLDER))
    unknown = unknown_words(prompt) if is_pocket else []
    if unknown:
        words = ", ".join(_describe(word) for word in unknown)
        yield say(
            f"The pocket model does not know {words}; it will guess.",
            f"El modelo de bolsillo no conoce {words}; improvisará.",
        )
    cut = cut_words(pipe.tokenizer, prompt)
    if cut:
        window = pipe.tokenizer.model_max_length
        yield say(
            f"The prompt is longer than the {window} tokens the model reads; it ignores: {cut}",
            f"El prompt pasa de los {window} tokens que lee el modelo; queda fuera: {cut}",
        )


def _describe(unknown: Unknown) -> str:
    if not unknown.suggestions:
        return f'"{unknown.word}"'
    near = say(" or ", " o ").join(f'"{word}"' for word in unknown.suggestions)
    return say(f'"{unknown.word}" (try {near})', f'"{unknown.word}" (prueba {near})')


def _flag_note() -> str:
    return say(
        "The safety checker flagged this picture and blacked it out; it often errs: "
        "try another seed or other words.",
        "El filtro de seguridad marcó esta imagen y la dejó en negro; se equivoca a menudo: "
        "prueba otra semilla u otras palabras.",
    )


@torch.no_grad()
def _develop(pipe: StableDiffusionPipeline, latents: Tensor) -> tuple[Image.Image, bool]:
    """Turn latents into a picture and say whether it was flagged, as a pipeline's call ends."""
    pixels = _decode_finite(pipe.vae, latents)
    pixels, flags = pipe.run_safety_checker(pixels, pixels.device, latents.dtype)
    flagged = bool(flags and flags[0])
    image = pipe.image_processor.postprocess(pixels, do_denormalize=[not flagged])[0]
    return image, flagged


def _decode_finite(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Decode latents, in float32 where half precision overflows; NaN would turn black unseen."""
    pixels = vae.decode(latents / vae.config.scaling_factor).sample
    if not pixels.isfinite().all() and vae.dtype != torch.float32:
        half = vae.dtype
        vae.to(torch.float32)
        pixels = vae.decode(latents.float() / vae.config.scaling_factor).sample
        vae.to(half)
    if not pixels.isfinite().all():
        raise hub.ModelError(
            "the picture came out as NaN: lower guidance_scale, or load with dtype=torch.float32"
        )
    return pixels
