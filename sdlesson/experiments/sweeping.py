"""Sweep: draw every combination of some settings, with progress, and go on after a stop."""

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice, product
from typing import Any

from diffusers import StableDiffusionPipeline
from tqdm.auto import tqdm

from sdlesson.copies import check_loaded
from sdlesson.diffusion import fresh_scheduler
from sdlesson.drawing import prompt_notes
from sdlesson.experiments.batched_drawing import PictureSettings, draw_in_batches
from sdlesson.experiments.picture_cache import Finished, PictureCache
from sdlesson.experiments.sweep_results import Sweep, listed
from sdlesson.language import say
from sdlesson.settings import (
    DEFAULT_STEPS,
    check_batch_size,
    check_function,
    check_guidance,
    check_negative,
    check_prompt,
    check_seed,
    check_size,
    check_steps,
)

MAX_PICTURES = 10_000  # which is hours of drawing, or days


def sweep(
    pipe: StableDiffusionPipeline,
    prompt: str | Iterable[str],
    *,
    negative_prompt: str | Iterable[str] = "",
    seed: int | Iterable[int] = 0,
    num_inference_steps: int | Iterable[int] = DEFAULT_STEPS,
    guidance_scale: float | Iterable[float] = 7.5,
    scheduler: str | Iterable[str | None] | None = None,
    height: int | Iterable[int | None] | None = None,
    width: int | Iterable[int | None] | None = None,
    folder: str | os.PathLike[str] | None = None,
    batch_size: int | None = None,
    report: Callable[[str], object] = print,
) -> Sweep:
    """Draw every combination of settings, each picture as `draw` would; the pipe stays as it is.

    Stop it, and the same call goes on from there: with a folder even after a restart, without one
    as long as `pipe` is the same.

    Args:
        pipe: A loaded pipeline whose U-Net predicts noise.
        prompt: What to draw; this and each setting below is one value, or a list of them.
        negative_prompt: What to keep out of the picture.
        seed: The noise to start from.
        num_inference_steps: How many times noise is removed.
        guidance_scale: How closely to follow the prompt; 1.0 is no guidance.
        scheduler: The name of a class of diffusers, such as "DDIMScheduler", to be made with the
            settings of the pipe's own; None is the pipe's own.
        height: In pixels; None is the size the model was trained for.
        width: In pixels, likewise.
        folder: Where to keep each finished picture, as a PNG that carries its settings. One that
            is there already is not drawn again, if all agrees: settings, weights, versions.
        batch_size: How many pictures to draw at once; what suits the device by default.
        report: Takes each sentence on what the reader should know: words not read, flags, a stop.

    Raises:
        ValueError: A setting is outside its range or listed twice, before anything is drawn; or a
            picture comes out as NaN.
    """
    check_loaded(pipe)
    if batch_size is not None:
        check_batch_size(batch_size)
    check_function(report=report)
    axes = (
        _axis("prompt", prompt, check_prompt),
        _axis("negative_prompt", negative_prompt, check_negative),
        _axis("scheduler", scheduler, lambda name: _scheduler_name(pipe, name)),
        _axis("num_inference_steps", num_inference_steps, check_steps),
        _axis("guidance_scale", guidance_scale, check_guidance),
        _axis("height", height, lambda side: _side(pipe, height=side)),
        _axis("width", width, lambda side: _side(pipe, width=side)),
        _axis("seed", seed, check_seed),
    )
    count = math.prod(len(values) for values in axes)
    if count > MAX_PICTURES:
        raise ValueError(
            f"these settings make {count:,} pictures, and may make {MAX_PICTURES:,}; "
            "give fewer values at a time"
        )
    asked = [PictureSettings(*values) for values in product(*axes)]
    cache = PictureCache(pipe, folder, asked)
    for text in dict.fromkeys((*axes[0], *axes[1])):
        for note in prompt_notes(pipe, text):
            report(note)
    finished = _draw_missing(pipe, asked, cache, batch_size, report)
    cache.close()
    drawings, seconds_each = zip(*(finished[settings] for settings in asked), strict=True)
    _report_flags(sum(drawing.flagged for drawing in drawings), len(drawings), report)
    return Sweep(drawings, seconds_each)


def _axis(name: str, value: Any, check: Callable[[Any], Any]) -> list[Any]:
    """List the values of one setting, each of them checked."""
    found = list(islice(listed(value), MAX_PICTURES + 1))
    if len(found) > MAX_PICTURES:
        raise ValueError(f"{name} has more than {MAX_PICTURES:,} values; give fewer at a time")
    values = [check(item) for item in found]
    if not values:
        raise ValueError(f"{name}={value!r} is empty; give one value, or a list of them")
    twice, often = Counter(values).most_common(1)[0]
    if often > 1:
        raise ValueError(f"{name} has {twice!r} more than once; give each value once")
    return values


def _scheduler_name(pipe: StableDiffusionPipeline, name: str | None) -> str:
    return type(fresh_scheduler(pipe, name)).__name__


def _side(pipe: StableDiffusionPipeline, **side: int | None) -> int:
    check_size(**side)
    (value,) = side.values()
    return int(value or pipe.unet.config.sample_size * pipe.vae_scale_factor)


def _draw_missing(
    pipe: StableDiffusionPipeline,
    asked: list[PictureSettings],
    cache: PictureCache,
    batch_size: int | None,
    report: Callable[[str], object],
) -> dict[PictureSettings, Finished]:
    """Find the pictures that are there already, and draw the others."""
    found = {settings: cache.find(settings) for settings in asked}
    finished = {settings: picture for settings, picture in found.items() if picture}
    missing = [settings for settings in asked if settings not in finished]
    if not missing:
        return finished
    total_work = sum(settings.work for settings in missing)
    try:
        with _progress_bar(total_work) as bar:
            _describe(bar, len(finished), len(asked))

            def tick(work: int) -> None:
                bar.update(min(work, total_work - bar.n))  # a batch that did not fit counts twice

            for batch in draw_in_batches(pipe, missing, batch_size=batch_size, tick=tick):
                finished |= {drawn.settings: cache.add(drawn) for drawn in batch}
                _describe(bar, len(finished), len(asked))
    except KeyboardInterrupt:
        report(_stop_note(len(finished), len(asked)))
        raise
    return finished


def _progress_bar(total_work: int) -> tqdm:
    """Make a bar that says how much of the work is done, and what time is left."""
    time_left = say("{remaining} left", "quedan {remaining}")
    return tqdm(
        total=total_work,
        bar_format="{desc} {percentage:3.0f}%|{bar}| " + time_left,
        disable=bool(os.environ.get("TQDM_DISABLE")),  # as it is now, not at the first import
    )


def _describe(bar: tqdm, done: int, total: int) -> None:
    bar.set_description_str(say(f"{done} of {total} pictures", f"{done} de {total} imágenes"))


def _stop_note(done: int, total: int) -> str:
    return say(
        f"Stopped after {done} of {total} pictures; run this again and it goes on from there.",
        f"Detenido tras {done} de {total} imágenes; ejecútalo otra vez y seguirá desde ahí.",
    )


def _report_flags(flagged: int, total: int, report: Callable[[str], object]) -> None:
    if flagged:
        report(
            say(
                f"The safety checker flagged {flagged} of {total} pictures and blacked them out; "
                "it often errs: try other seeds or other words.",
                f"El filtro de seguridad marcó {flagged} de {total} imágenes y las dejó en negro; "
                "se equivoca a menudo: prueba otras semillas u otras palabras.",
            )
        )
