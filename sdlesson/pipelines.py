"""Load a pipeline and draw with it: the two calls in which everything else is composed."""

import math
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import diffusers
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from packaging.version import Version
from PIL import Image
from torch import Tensor

from sdlesson import hub, images
from sdlesson.language import say
from sdlesson.prompts import Unknown, cut_words, unknown_words
from sdlesson.runtime import best_device, best_dtype

MODEL_VARIABLE = "SDLESSON_MODEL"
DEFAULT_STEPS = 25
MAX_STEPS = 1000  # a schedule of Stable Diffusion has no more levels of noise than this
MAX_SEED = 2**64 - 1
SIZE_FACTOR = 8  # one latent stands for 8 x 8 pixels
DTYPES = (torch.float32, torch.float16, torch.bfloat16)

# diffusers renamed the argument: the new name is not read before 0.42, the old one warns since.
_DTYPE_ARGUMENT = "dtype" if Version(diffusers.__version__) >= Version("0.42") else "torch_dtype"


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


def load_pipeline(
    model: str | os.PathLike[str] | None = None,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> StableDiffusionPipeline:
    """Load a Stable Diffusion pipeline onto the device.

    Args:
        model: "pocket", "sd15", a Hub id ("owner/name") or a folder. The default is the
            environment's SDLESSON_MODEL, else "sd15" on a CUDA GPU and "pocket" elsewhere.
        device: "cuda", "mps" or "cpu"; the best there is by default.
        dtype: By default torch.float16 on CUDA and torch.float32 elsewhere.

    Raises:
        ValueError: The device is not there, or the dtype is none or does not run on it.
        ModelError: The model cannot be had, is damaged, is no pipeline, or needs a GPU.
    """
    place = _choose_device(device)
    number_type = _choose_dtype(dtype, place)
    default = "sd15" if place.startswith("cuda") else "pocket"
    wanted = model or os.environ.get(MODEL_VARIABLE) or default
    if wanted in hub.MODELS and place == "cpu":
        _check_patience(str(wanted), insists=device is not None)
    folder, name = hub.find_model(wanted, half=number_type == torch.float16)
    pipe = _load_folder(folder, number_type)
    pipe.register_to_config(_name_or_path=name)
    if os.environ.get("TQDM_DISABLE"):  # tqdm's own switch, which diffusers overrules
        pipe.set_progress_bar_config(disable=True)
    return pipe.to(place)


def draw(
    prompt: str,
    *,
    pipe: StableDiffusionPipeline | str | None = None,
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
    loaded = load_pipeline(pipe) if pipe is None or isinstance(pipe, str) else pipe
    for text in (prompt, negative_prompt):
        for note in _prompt_notes(loaded, text):
            report(note)
    seed = secrets.randbelow(2**32) if seed is None else seed
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


def _choose_device(device: str | torch.device | None) -> str:
    if device is None:
        return best_device()
    here = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not here.get(str(device).partition(":")[0]):
        names = ", ".join(name for name, is_here in here.items() if is_here)
        raise ValueError(
            f"device={str(device)!r} is not on this machine, which has {names}; "
            "in Colab, choose a GPU under Runtime > Change runtime type"
        )
    return str(device)


def _choose_dtype(dtype: torch.dtype | None, device: str) -> torch.dtype:
    if dtype is None:
        return best_dtype(device.partition(":")[0])
    # diffusers would take a string as float32 without a word.
    if dtype not in DTYPES:
        raise ValueError(f"dtype={dtype!r} must be one of {', '.join(map(str, DTYPES))}")
    if dtype == torch.float16 and not device.startswith("cuda"):
        raise ValueError(f"dtype=torch.float16 needs device='cuda', not {device!r}; leave it out")
    return dtype


def _check_patience(model: str, *, insists: bool) -> None:
    """Refuse a large model on a CPU, unless the caller asked for the CPU by name."""
    if not insists:
        raise hub.ModelError(
            f"{model} needs a GPU and this machine has none: use the model 'pocket', or in Colab "
            "choose a GPU under Runtime > Change runtime type (device='cpu' works, in minutes)"
        )
    print(
        say(
            f"{model} on a CPU takes minutes for each picture; the model 'pocket' takes a second.",
            f"{model} en CPU tarda minutos por imagen; el modelo 'pocket' tarda un segundo.",
        )
    )


def _load_folder(folder: Path, dtype: torch.dtype) -> StableDiffusionPipeline:
    try:
        return StableDiffusionPipeline.from_pretrained(
            folder,
            variant=hub.weights_variant(folder, half=dtype == torch.float16),
            use_safetensors=True,
            local_files_only=True,
            **{_DTYPE_ARGUMENT: dtype},
        )
    except Exception as error:  # three libraries read these files, each with errors of its own
        reason = str(error).strip().split("\n")[0]
        raise hub.ModelError(
            f"{folder} does not load: a file in it is missing or damaged ({reason}); "
            "delete the folder and download or save the model again"
        ) from error


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
    if not math.isfinite(guidance_scale) or guidance_scale < 0:
        raise ValueError(
            f"guidance_scale={guidance_scale!r} must be a number from 0 up, where 1.0 is "
            "no guidance; try 7.5"
        )


def _check_size(**sides: int | None) -> None:
    for name, side in sides.items():
        if side is not None and (not _is_whole(side, 1, math.inf) or side % SIZE_FACTOR):
            nearest = SIZE_FACTOR * max(1, round(side / SIZE_FACTOR))
            raise ValueError(f"{name}={side!r} must be a multiple of {SIZE_FACTOR}; try {nearest}")


def _is_whole(value: object, low: float, high: float) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _prompt_notes(pipe: StableDiffusionPipeline, prompt: str) -> Iterator[str]:
    """Say which words of a prompt the model has never seen, and which it will not read."""
    is_pocket = str(pipe.name_or_path) in ("pocket", str(hub.POCKET_FOLDER))
    unknown = unknown_words(prompt) if is_pocket else []
    if unknown:
        words = ", ".join(_describe(word) for word in unknown)
        yield say(
            f"The pocket model has never seen: {words}.",
            f"El modelo de bolsillo nunca ha visto: {words}.",
        )
    cut = cut_words(pipe.tokenizer, prompt)
    if cut:
        window = pipe.tokenizer.model_max_length
        yield say(
            f"The prompt is longer than the {window} tokens the model reads; it ignores: {cut}",
            f"El prompt supera los {window} tokens que lee el modelo; no leerá: {cut}",
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
