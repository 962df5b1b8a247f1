"""Draw a picture from a prompt: settings checked, words not read named, all recorded in the PNG."""

import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import diffusers
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline
from PIL import Image
from torch import Tensor

from sdlesson import images
from sdlesson.copies import independent_copy
from sdlesson.diffusion import decode_latents, embed
from sdlesson.language import say
from sdlesson.pipelines import LEARNED, is_pocket, load_pipeline, model_name
from sdlesson.prompts import Unknown, cut_words, read_until, unknown_words
from sdlesson.safety import flag_note
from sdlesson.settings import (
    DEFAULT_STEPS,
    check_function,
    check_guidance,
    check_negative,
    check_prompt,
    check_seed,
    check_size,
    check_steps,
    check_text,
)


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

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Drawing":
        """Read a picture that `save` wrote, with its settings.

        Raises:
            ValueError: The file is no PNG, or a setting is missing in it or out of its range.
        """
        image, found = images.open_png(path)
        if missing := [field.name for field in fields(cls)[1:] if field.name not in found]:
            raise ValueError(
                f"{path} does not say its {', '.join(missing)}; `save` wrote no such file"
            )
        try:
            return cls(
                image=image,
                prompt=check_text(prompt=found["prompt"]),
                negative_prompt=check_negative(found["negative_prompt"]),
                seed=check_seed(_number(int, found["seed"])),
                num_inference_steps=check_steps(_number(int, found["num_inference_steps"])),
                guidance_scale=check_guidance(_number(float, found["guidance_scale"])),
                scheduler=found["scheduler"],
                model=found["model"],
                flagged={"True": True, "False": False}[found["flagged"]],
            )
        except KeyError as error:
            raise ValueError(f"{path} says flagged={error}, must be True or False") from error
        except ValueError as error:
            raise ValueError(f"{path} was changed since it was saved: {error}") from error

    def _repr_png_(self) -> bytes | None:
        return self.image._repr_png_()  # a notebook shows the picture


@torch.no_grad()
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
        ValueError: The prompt is empty, a setting is outside its range, or so is the picture.
        ModelError: The pipeline cannot be loaded.
    """
    check_prompt(prompt)
    check_negative(negative_prompt)
    check_steps(num_inference_steps)
    check_guidance(guidance_scale)
    check_size(height=height, width=width)
    check_function(report=report)
    seed = secrets.randbelow(2**32) if seed is None else check_seed(seed)
    loaded = independent_copy(pipe if isinstance(pipe, DiffusionPipeline) else load_pipeline(pipe))
    check_steps(num_inference_steps, loaded.scheduler.config.num_train_timesteps)
    for text in (prompt, negative_prompt):
        for note in prompt_notes(loaded, text):
            report(note)
    own_side = loaded.unet.config.sample_size * loaded.vae_scale_factor
    latents = loaded(
        prompt_embeds=embed(loaded, [prompt]),
        negative_prompt_embeds=embed(loaded, [negative_prompt]),
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        height=height or own_side,  # one without the other would be left unread
        width=width or own_side,
        generator=torch.Generator("cpu").manual_seed(seed),
        output_type="latent",
    ).images
    image, flagged = decode_and_check(loaded, latents)
    if flagged:
        report(flag_note())
    return Drawing(
        image=image,
        prompt=prompt,
        negative_prompt=negative_prompt,
        seed=seed,
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        scheduler=type(loaded.scheduler).__name__,
        model=model_name(loaded),
        flagged=flagged,
    )


def prompt_notes(pipe: StableDiffusionPipeline, prompt: str) -> Iterator[str]:
    """Say which words of a prompt the model does not know, and which it will not read."""
    unknown, cut = unread(pipe, prompt)
    if unknown:
        words = ", ".join(_describe(word) for word in unknown)
        yield say(
            f"The pocket model does not know {words}; it will guess.",
            f"El modelo de bolsillo no conoce {words}; improvisará.",
        )
    if cut:
        window = pipe.tokenizer.model_max_length
        yield say(
            f"The prompt is longer than the {window} tokens the model reads; it ignores: {cut}",
            f"El prompt pasa de los {window} tokens que lee el modelo; queda fuera: {cut}",
        )


def unread(pipe: StableDiffusionPipeline, prompt: str) -> tuple[list[Unknown], str]:
    """Find the words of a prompt that the model does not know, and the end that it will not read.

    Only the pocket model's world is small enough for the first; for others the list is empty.
    """
    cut = cut_words(pipe.tokenizer, prompt)
    if not is_pocket(pipe):
        return [], cut
    read = prompt[: read_until(pipe.tokenizer, prompt)]
    _, *taught = str(pipe.name_or_path).split(LEARNED)
    adapters = [name for names in pipe.get_list_adapters().values() for name in names]
    return unknown_words(read, taught=[*taught, *adapters]), cut


@torch.no_grad()
def decode_and_check(pipe: StableDiffusionPipeline, latents: Tensor) -> tuple[Image.Image, bool]:
    """Decode latents into a picture, black if the safety checker flags it, and say which it was."""
    pixels = decode_latents(pipe.vae, latents)
    pixels, flags = pipe.run_safety_checker(pixels, pixels.device, latents.dtype)
    flagged = bool(flags and flags[0])
    image = pipe.image_processor.postprocess(pixels, do_denormalize=[not flagged])[0]
    return image, flagged


def _number(kind: Callable[[str], Any], text: str) -> Any:
    """Read a number; any other text stays, for a check to refuse."""
    try:
        return kind(text)
    except ValueError:
        return text


def _describe(unknown: Unknown) -> str:
    if not unknown.suggestions:
        return f'"{unknown.word}"'
    near = say(" or ", " o ").join(f'"{word}"' for word in unknown.suggestions)
    return say(f'"{unknown.word}" (try {near})', f'"{unknown.word}" (prueba {near})')
