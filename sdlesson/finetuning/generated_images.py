"""Pictures that the model draws for its training: of the class before it, samples on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from sdlesson.diffusion import denoise
from sdlesson.drawing import decode_and_check
from sdlesson.finetuning.hardware import moved_to, unused_parts
from sdlesson.finetuning.training_job import TrainingJob, is_picture_file
from sdlesson.images import read_settings, save_png
from sdlesson.pipelines import short_name
from sdlesson.settings import DEFAULT_STEPS, MAX_SEED

FOLDER_NAME = "class_images"
GUIDANCE_SCALE = 5.0
ORIGIN = frozenset({"prompt", "seed", "size", "model", "model_sha256"})
"""What a picture of the class keeps of where it comes from; see `_origin`."""
AT_ONCE = 4
MAX_TRIES = 4  # times as many seeds as pictures


def check_class_folder(job: TrainingJob) -> None:
    """Refuse pictures of someone's own where the pictures of the class are to be drawn.

    They would be overwritten, or left out without a word.

    Raises:
        ValueError: Names one of them.
    """
    folder = job.folder / FOLDER_NAME
    if job.settings.prior != "class_images" or not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if is_picture_file(path) and not _is_drawn(path):
            raise ValueError(
                f"{path} is not one of the pictures of the class that a training draws in this "
                "folder; move it to another folder"
            )


def draw_class_images(job: TrainingJob) -> list[Image.Image]:
    """Draw the pictures of the class that are not in the folder yet, and return all of them.

    Each is kept as soon as it is drawn. One that the safety checker flags is left out, and
    another seed takes its place.

    Raises:
        ValueError: Nearly all pictures of the class are flagged.
    """
    (job.folder / FOLDER_NAME).mkdir(exist_ok=True)
    wanted, first = job.settings.class_images, job.settings.seed
    images: list[Image.Image] = []
    for start in range(first, first + MAX_TRIES * wanted, AT_ONCE):
        seeds = range(start, start + AT_ONCE)
        found = [_find(job, seed) for seed in seeds]
        images += [image for image in found if image] if all(found) else _draw_class(job, seeds)
        if len(images) >= wanted:
            return images[:wanted]
    raise ValueError(
        f"the safety checker flags nearly every picture of {job.settings.class_prompt!r}; "
        'choose another class_noun, or prior="own_prediction"'
    )


def draw_samples(job: TrainingJob, device: torch.device) -> tuple[Image.Image, ...]:
    """Draw the sample prompts as the model is now, each time from the same noise."""
    prompts, first = job.settings.sample_prompts, job.settings.seed
    with moved_to(unused_parts(job.pipe, job.settings), device):
        drawn = [_draw(job, [text], [first + n])[0] for n, text in enumerate(prompts)]
    return tuple(image for image, _ in drawn)


def _find(job: TrainingJob, seed: int) -> Image.Image | None:
    """The picture of a seed, if it was drawn before, of the same words by the same model."""
    path = _path(job, seed)
    try:
        if not _origin(job, seed).items() <= read_settings(path).items():
            return None
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError):  # none yet, or a damaged one
        return None


def _is_drawn(path: Path) -> bool:
    """Whether this module drew a picture, for this training or another."""
    try:
        with Image.open(path) as image:  # not loaded: one that is damaged is ours to draw again
            return image.format == "PNG" and image.info.keys() == ORIGIN
    except (OSError, SyntaxError, ValueError):  # no picture
        return False


def _draw_class(job: TrainingJob, seeds: Sequence[int]) -> list[Image.Image]:
    """Draw and keep a picture of the class from each seed, but for those that are flagged."""
    drawn = _draw(job, [job.settings.class_prompt] * len(seeds), seeds)
    kept = [
        (seed, image) for seed, (image, flagged) in zip(seeds, drawn, strict=True) if not flagged
    ]
    for seed, image in kept:
        save_png(image, _path(job, seed), _origin(job, seed))
    return [image for _, image in kept]


def _draw(
    job: TrainingJob, prompts: Sequence[str], seeds: Sequence[int]
) -> list[tuple[Image.Image, bool]]:
    """Draw a picture of each prompt, and say whether it was flagged."""
    height, width = job.size
    *_, last = denoise(
        job.pipe,
        prompts,
        guidance_scale=GUIDANCE_SCALE,
        num_inference_steps=DEFAULT_STEPS,
        generator=[torch.Generator().manual_seed(seed % (MAX_SEED + 1)) for seed in seeds],
        height=height,
        width=width,
    )
    return [decode_and_check(job.pipe, latents[None]) for latents in last.latents]


def _origin(job: TrainingJob, seed: int) -> dict[str, str]:
    prompt, size = job.settings.class_prompt, str(job.size)
    digest = hashlib.sha256(job.model.encode()).hexdigest()  # two folders may share a name
    model = {"model": short_name(job.model), "model_sha256": digest}
    return {"prompt": prompt, "seed": str(seed), "size": size, **model}


def _path(job: TrainingJob, seed: int) -> Path:
    return job.folder / FOLDER_NAME / f"{seed}.png"
