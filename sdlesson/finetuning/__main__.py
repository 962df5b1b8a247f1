"""`accelerate launch -m sdlesson.finetuning`: the same training from a terminal, on several GPUs.

`python -m sdlesson.finetuning` does it on one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from accelerate import PartialState

from sdlesson.downloads import ModelError
from sdlesson.finetuning.dreambooth import check_model_folder, train
from sdlesson.finetuning.history import TrainingStep
from sdlesson.finetuning.training_job import load_photos
from sdlesson.finetuning.training_settings import TrainingSettings
from sdlesson.language import say
from sdlesson.pipelines import load_pipeline
from sdlesson.runtime import best_device

BAD_INPUT = 2
REPORT_EVERY = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, save the outcome in the output folder, and return the exit code."""
    options = _parser().parse_args(arguments)
    process = PartialState(cpu=best_device() == "cpu")  # as `accelerate launch` arranged it
    try:
        given = {field.name: getattr(options, field.name) for field in fields(TrainingSettings)}
        settings = TrainingSettings(**given | {"sample_prompts": tuple(options.sample_prompts)})
        pipe = load_pipeline(options.model, device=process.device)
        size = options.size or pipe.unet.config.sample_size * pipe.vae_scale_factor
        photos = load_photos(options.photos, size=size)
        path = options.output / f"{settings.word}{'.safetensors' if settings.is_lora else ''}"
        if not settings.is_lora:
            check_model_folder(path)  # before hours are spent
        training = train(
            pipe, photos, settings, options.output, prompts=options.prompts, callback=_report
        )
        if process.is_main_process:
            training.save(path)
            print(say(f"Saved {path}", f"Guardado en {path}"))
    except (ValueError, ModelError, OSError, MemoryError, FloatingPointError) as error:
        print(f"sdlesson: {error}", file=sys.stderr)
        return BAD_INPUT
    finally:
        process.destroy_process_group()
    return 0


def _report(step: TrainingStep) -> None:
    if (step.index + 1) % REPORT_EVERY == 0 or step.index + 1 == step.steps:
        of = say("step", "paso")
        print(f"{of} {step.index + 1}/{step.steps}  loss {step.loss:.4f}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sdlesson.finetuning",
        description="Teach Stable Diffusion something from a few photos.",
    )
    parser.add_argument("--photos", required=True, type=Path, help="a folder with three to five")
    parser.add_argument("--output", required=True, type=Path, help="for the outcome")
    parser.add_argument("--model", help="pocket, sd15, a Hub id or a folder")
    parser.add_argument("--size", type=int, help="of the pictures in pixels; default: the model's")
    parser.add_argument("--prompts", nargs="+", help="what each photo shows, with the word in it")
    for field in fields(TrainingSettings):
        _add_setting(parser, field)
    return parser


def _add_setting(parser: argparse.ArgumentParser, field: Field[Any]) -> None:
    """Make a setting an option of the same name and default."""
    option = f"--{field.name.replace('_', '-')}"
    if str(field.type).startswith("bool"):
        parser.add_argument(option, action=argparse.BooleanOptionalAction, default=field.default)
    elif field.default is MISSING:
        parser.add_argument(option, required=True)
    elif field.type == "tuple[str, ...]":
        parser.add_argument(option, nargs="+", default=field.default)
    else:
        default = "(default: %(default)s)"
        parser.add_argument(option, type=_reader(field), default=field.default, help=default)


def _reader(field: Field[Any]) -> Callable[[str], Any]:
    """How to read a setting's value from a word; "none" where it may be None."""
    name, _, optional = str(field.type).partition(" | ")
    read: Callable[[str], Any] = {"str": str, "int": int, "float": float}[name]
    return (lambda text: None if text == "none" else read(text)) if optional else read


if __name__ == "__main__":
    raise SystemExit(main())
