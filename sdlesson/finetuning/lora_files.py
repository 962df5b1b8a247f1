"""Save a LoRA to a file, and load one: checked first, in full precision, and seen to work.

What else is done with a LoRA, diffusers' own words do: `pipe.set_adapters` scales and combines,
`pipe.fuse_lora` merges it into the weights and `pipe.unfuse_lora` takes it out again,
`pipe.delete_adapters` removes one and `pipe.unload_lora_weights` all of them.
"""

import json
import math
import os
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from torch import Generator, Tensor

from sdlesson.diffusion import draw_noise, embed
from sdlesson.finetuning.adapters import (
    adapter_names,
    check_peft,
    check_pipe,
    remember_adapters,
    remove_adapter,
)
from sdlesson.finetuning.lora_format import LoraError, kohya_name, read_lora, write_lora
from sdlesson.finetuning.lora_layers import (
    COMPONENTS,
    find_places,
    insert,
    layers_in,
    lora_config,
)
from sdlesson.finetuning.settings import is_taken
from sdlesson.language import say


@dataclass(frozen=True)
class LoadedLora:
    """What became of a LoRA that was loaded.

    Attributes:
        name: What `pipe.set_adapters` and its like call it.
        matched: How many of its layers this model has.
        unmatched: The other layers, by kohya's names; they have no effect.
        change: How much it changes a prediction of noise at scale 1, as a share of it.
        word: The word that calls what it was taught, where the file says it.
        class_noun: What kind of thing that is, likewise.
    """

    name: str
    matched: int
    unmatched: tuple[str, ...]
    change: float
    word: str | None
    class_noun: str | None

    def __str__(self) -> str:
        layers = self.matched + len(self.unmatched)
        return say(
            f"LoRA {self.name!r}: {self.matched} of its {layers} layers are in this model, "
            f"and change its prediction of noise by {self.change:.1%}.",
            f"LoRA {self.name!r}: {self.matched} de sus {layers} capas están en este modelo "
            f"y cambian su predicción del ruido un {self.change:.1%}.",
        )


def save_lora(
    pipe: StableDiffusionPipeline,
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    word: str | None = None,
    class_noun: str | None = None,
) -> Path:
    """Save a LoRA as diffusers does, with what its scale depends on, and nothing of this machine.

    Args:
        path: Ends in .safetensors; a file that is there is replaced, whole or not at all.
        name: Which LoRA of the pipeline, if there are several.
        word: The word that calls what it was taught, to be kept in the file.
        class_noun: What kind of thing that is, likewise.

    Raises:
        ValueError: What came is no pipeline.
        LoraError: There is no such LoRA, it is no plain one, or the path is none for a file.
        OSError: The disk is full, say; a file that was there before stays as it was.
    """
    check_pipe(pipe)
    name = _choose_name(pipe, name)
    tensors: dict[str, Tensor] = {}
    config: dict[str, Any] = {}
    for component in COMPONENTS:
        if layers := layers_in(getattr(pipe, component), name):
            config |= {f"{component}.{key}": value for key, value in lora_config(layers).items()}
            for module, layer in layers.items():
                tensors[f"{component}.{module}.lora_A.weight"] = layer.down
                tensors[f"{component}.{module}.lora_B.weight"] = layer.up
    metadata = {"format": "pt", LORA_ADAPTER_METADATA_KEY: json.dumps(config, sort_keys=True)}
    told = {"word": word, "class_noun": class_noun}
    return write_lora(path, tensors, metadata | {key: text for key, text in told.items() if text})


def load_lora(
    pipe: StableDiffusionPipeline,
    path: str | os.PathLike[str],
    *,
    name: str = "default",
    scale: float = 1.0,
) -> LoadedLora:
    """Load a LoRA file and turn it on, alone; one of the same name is replaced.

    Others that are loaded stay, turned off: `pipe.set_adapters` turns several on. The LoRA's
    weights are in float32 whatever the model's are.

    Args:
        path: A file of diffusers, kohya's scripts, or a trainer that writes as one of them.
        name: What to call it, without a dot.
        scale: How strongly it is applied; 0 is not at all.

    Raises:
        LoraError: The file cannot be read, is for another model, or would change nothing; or
            another LoRA is fused. What the pipeline holds stays as it was.
        ValueError: The name or the scale is none, or what came is no pipeline.
    """
    check_pipe(pipe)
    _check_name(name)
    if not isinstance(scale, Real) or isinstance(scale, bool) or not math.isfinite(scale):
        raise ValueError(f"scale={scale!r} must be a finite number; 1.0 applies all of the LoRA")
    check_peft()
    _check_unfused(pipe)
    lora = read_lora(path)
    places = find_places(pipe, lora, path)
    go_back = remember_adapters(pipe)
    try:
        remove_adapter(pipe, name)
        for component, layers in places.items():
            insert(getattr(pipe, component), name, layers)
        pipe.enable_lora()
        change = _measure_change(pipe, name, path)
        pipe.set_adapters(name, adapter_weights=float(scale))
    except BaseException:  # a stop in between, too, leaves what was there
        go_back()
        raise
    matched = {kohya_name(f"{part}.{module}") for part in places for module in places[part]}
    unmatched = tuple(layer for layer in lora.layers if layer not in matched)
    return LoadedLora(name, len(matched), unmatched, change, lora.word, lora.class_noun)


def _choose_name(pipe: StableDiffusionPipeline, name: str | None) -> str:
    names = sorted(adapter_names(pipe))
    if name is None and len(names) == 1:
        return names[0]
    if name is None or name not in names:
        there = ", ".join(map(repr, names)) or "none"
        raise LoraError(f"name={name!r} is no LoRA of this pipeline, which holds {there}")
    return name


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name or "." in name:
        raise ValueError(f"name={name!r} must be a text without a dot; try 'default'")
    if is_taken(name):
        raise ValueError(f"name={name!r} is a word of torch's own; try 'my_{name}'")


def _check_unfused(pipe: StableDiffusionPipeline) -> None:
    for component in COMPONENTS:
        if any(getattr(part, "merged", False) for part in getattr(pipe, component).modules()):
            raise LoraError(
                "a LoRA is fused into the weights, and peft ignores others meanwhile; "
                "call pipe.unfuse_lora() first"
            )


@torch.no_grad()
def _measure_change(
    pipe: StableDiffusionPipeline, name: str, path: str | os.PathLike[str]
) -> float:
    """Compare a prediction of noise with the LoRA on and off, through the text encoder too.

    Raises:
        LoraError: There is no difference, or one that is no number.
    """
    latents = draw_noise(pipe, 1, Generator("cpu").manual_seed(0))
    timestep = pipe.scheduler.config.num_train_timesteps // 2
    predictions = []
    pipe.set_adapters(name, adapter_weights=1.0)
    for switch in (pipe.disable_lora, pipe.enable_lora):  # a scale of 0 times infinity is NaN
        switch()
        embeddings = embed(pipe, [""])
        noise_pred = pipe.unet(latents, timestep, encoder_hidden_states=embeddings).sample
        predictions.append(noise_pred.float())
    off, on = predictions
    if not off.isfinite().all():
        raise LoraError(
            f"{path} cannot be tried: this model predicts NaN or infinity without it; load the "
            f"model anew{_in_full_precision(pipe)}"
        )
    change = ((on - off).norm() / off.norm()).item()
    if not math.isfinite(change):
        raise LoraError(
            f"{path} makes this model predict NaN or infinity: its numbers are too large; get it "
            f"anew or find another{_in_full_precision(pipe)}"
        )
    if change == 0:
        raise LoraError(
            f"{path} does not change what this model predicts; train it for longer, or find another"
        )
    return change


def _in_full_precision(pipe: StableDiffusionPipeline) -> str:
    return "" if pipe.unet.dtype == torch.float32 else ", or load it with dtype=torch.float32"
