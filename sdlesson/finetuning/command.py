"""The command `sdlesson finetune`: a training from a terminal, its options in both languages."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from accelerate import PartialState

from sdlesson.downloads import ModelError
from sdlesson.finetuning.dreambooth import check_model_folder, train
from sdlesson.finetuning.history import TrainingStep
from sdlesson.finetuning.training_job import load_photos
from sdlesson.finetuning.training_settings import PRIORS, TrainingSettings
from sdlesson.language import Text, say
from sdlesson.pipelines import load_pipeline
from sdlesson.runtime import best_device
from sdlesson.terminal import BAD_INPUT, number, tell_error, whole_number

REPORT_EVERY = 10

DESCRIPTION = Text(
    "Teach Stable Diffusion something from a few photos, by LoRA or by full DreamBooth.",
    "Enseña algo a Stable Diffusion con unas pocas fotos, por LoRA o con DreamBooth completo.",
)
PLACES = {
    "photos": Text(
        "a folder with three to five photos", "una carpeta con entre tres y cinco fotos"
    ),
    "output": Text("the folder for the outcome", "la carpeta para el resultado"),
    "model": Text(
        "pocket, sd15, a Hub id (owner/name) or a folder",
        "pocket, sd15, un nombre del Hub (dueño/nombre) o una carpeta",
    ),
    "size": Text(
        "width and height of the pictures in pixels; default: the model's own",
        "ancho y alto de las imágenes en píxeles; si no se indica, los del modelo",
    ),
    "prompts": Text(
        "what each photo shows, with the word in it",
        "qué muestra cada foto, con la palabra incluida",
    ),
}
# One for each of TrainingSettings, whose docstring says it in full.
SETTINGS = {
    "word": Text(
        'the rare word that will name the thing, such as "zwx"',
        'la palabra rara que dará nombre a la cosa, como "zwx"',
    ),
    "class_noun": Text(
        'what kind of thing it is, in words the model knows, such as "robot"',
        'qué clase de cosa es, con palabras que el modelo conoce, como "robot"',
    ),
    "rank": Text(
        "rank of the LoRA matrices; none trains the whole U-Net",
        "rango de las matrices de LoRA; con none se entrena toda la U-Net",
    ),
    "alpha": Text(
        "the LoRA is scaled by alpha / rank; none is the rank",
        "la LoRA se escala por alpha / rango; none es el rango",
    ),
    "convolutions": Text(
        "put the LoRA on convolutions too; if not given, for a small model",
        "pone la LoRA también en convoluciones; si no se indica, en un modelo pequeño",
    ),
    "steps": Text("steps of the optimizer", "pasos del optimizador"),
    "batch_size": Text("pictures a step", "imágenes por paso"),
    "gradient_accumulation": Text(
        "parts that a batch is worked through in, to save memory",
        "partes en que se procesa cada lote, para ahorrar memoria",
    ),
    "learning_rate": Text(
        "peak learning rate; none is one that suits the method and the model",
        "tasa de aprendizaje máxima; none es la adecuada para el método y el modelo",
    ),
    "warmup": Text(
        "steps in which that rate climbs from 0", "pasos en los que esa tasa sube desde 0"
    ),
    "prior": Text(
        f"what keeps the class as it was: {', '.join(PRIORS)}",
        f"lo que conserva la clase como era: {', '.join(PRIORS)}",
    ),
    "prior_weight": Text(
        "weight of that beside the photos", "cuánto pesa eso en comparación con las fotos"
    ),
    "class_images": Text(
        "pictures of the class that are drawn first, with that prior",
        "imágenes de la clase que se dibujan antes, con esa opción",
    ),
    "min_snr_gamma": Text(
        "cap on the weight of little noise, such as 5; none weighs all noise alike",
        "tope del peso del ruido débil, como 5; none da el mismo peso a todo el ruido",
    ),
    "ema_decay": Text(
        "keep an average of the weights with this decay, below 1; none keeps no average",
        "guarda una media de los pesos con este decaimiento, menor que 1; none no la guarda",
    ),
    "train_text_encoder": Text(
        "train the text encoder as well", "entrena también el codificador de texto"
    ),
    "gradient_checkpointing": Text(
        "compute activations twice instead of keeping them: less memory",
        "calcula las activaciones dos veces en vez de guardarlas: menos memoria",
    ),
    "use_8bit_adam": Text(
        "keep the optimizer's state in 8 bits where bitsandbytes works",
        "guarda el estado del optimizador en 8 bits donde funcione bitsandbytes",
    ),
    "checkpoint_every": Text(
        "steps between checkpoints, from which a stopped training goes on",
        "pasos entre puntos de control, desde los que sigue un entrenamiento parado",
    ),
    "sample_prompts": Text(
        "prompts to draw during the training", "prompts que se dibujan durante el entrenamiento"
    ),
    "sample_every": Text("steps between such drawings", "pasos entre esos dibujos"),
    "seed": Text("same seed, same training", "con la misma semilla, el mismo entrenamiento"),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options of a training; a setting's has its name and its default."""
    places = {name: say(*text) for name, text in PLACES.items()}
    parser.add_argument(
        "--photos", required=True, type=Path, metavar="FOLDER", help=places["photos"]
    )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="FOLDER", help=places["output"]
    )
    parser.add_argument("--model", metavar="NAME", help=places["model"])
    parser.add_argument("--size", type=whole_number, metavar="N", help=places["size"])
    parser.add_argument("--prompts", nargs="+", metavar="TEXT", help=places["prompts"])
    for field in fields(TrainingSettings):
        _add_setting(parser, field)


def run(options: argparse.Namespace) -> int:
    """Train, save the outcome in the output folder, and return the exit code."""
    process = PartialState(cpu=best_device() == "cpu")  # as `accelerate launch` arranged it
    try:
        names = [field.name for field in fields(TrainingSettings)]
        settings = TrainingSettings(
            **{name: getattr(options, name) for name in names if name in options}
        )
        pipe = load_pipeline(options.model, device=process.device)
        own_size = pipe.unet.config.sample_size * pipe.vae_scale_factor
        photos = load_photos(
            options.photos, size=own_size if options.size is None else options.size
        )
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
        tell_error(error)
        return BAD_INPUT
    finally:
        process.destroy_process_group()
    return 0


def _report(step: TrainingStep) -> None:
    if (step.index + 1) % REPORT_EVERY == 0 or step.index + 1 == step.steps:
        of, loss = say("step", "paso"), say("loss", "pérdida")
        print(f"{of} {step.index + 1}/{step.steps}  {loss} {step.loss:.4f}", flush=True)


def _add_setting(parser: argparse.ArgumentParser, field: Field[Any]) -> None:
    """Make a setting an option; one that is not given is left to TrainingSettings."""
    option, text = f"--{field.name.replace('_', '-')}", say(*SETTINGS[field.name])
    left_open = argparse.SUPPRESS
    if str(field.type).startswith("bool"):
        parser.add_argument(
            option, action=argparse.BooleanOptionalAction, default=left_open, help=text
        )
    elif field.type == "tuple[str, ...]":
        parser.add_argument(
            option, nargs="+", metavar="TEXT", type=str, default=left_open, help=text
        )
    elif field.default is MISSING:
        parser.add_argument(option, required=True, metavar="TEXT", help=text)
    else:
        read, metavar = _reader(field)
        default = "none" if field.default is None else field.default
        text += say(f"; default: {default}", f"; si no se indica, {default}")
        parser.add_argument(option, type=read, metavar=metavar, default=left_open, help=text)


def _reader(field: Field[Any]) -> tuple[Callable[[str], Any], str]:
    """How to read a setting's value from a word, "none" where it may be None, and its sign."""
    name, _, optional = str(field.type).partition(" | ")
    readers: dict[str, tuple[Callable[[str], Any], str]] = {
        "str": (str, "TEXT"),
        "int": (whole_number, "N"),
        "float": (number, "X"),
    }
    read, sign = readers[name]
    return (lambda text: None if text == "none" else read(text)) if optional else read, sign
