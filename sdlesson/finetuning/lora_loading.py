"""Load a LoRA file: checked first, matched to the model, in full precision, and seen to work.

What else is done with a LoRA, diffusers' own words do: `pipe.set_adapters` scales and combines,
`pipe.fuse_lora` merges it into the weights and `pipe.unfuse_lora` takes it out again,
`pipe.delete_adapters` removes one and `pipe.unload_lora_weights` all of them.
"""

import math
import os
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig
from torch import Generator, nn

from sdlesson.diffusion import draw_noise, embed
from sdlesson.finetuning.adapters import (
    check_peft,
    check_pipeline,
    remove_adapter,
    snapshot_adapters,
)
from sdlesson.finetuning.lora_format import (
    COMPONENTS,
    Lora,
    LoraError,
    LoraLayer,
    kohya_name,
    lora_config,
    read_lora,
)
from sdlesson.finetuning.training_settings import is_torch_attribute, shown
from sdlesson.language import say
from sdlesson.settings import check_letters

FAMILIES = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 2048: "SDXL"}
"""Whose model it is, by the width of the texts that it reads."""


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
    check_pipeline(pipe)
    _check_name(name)
    strength = _check_scale(scale)
    check_peft()
    _check_unfused(pipe)
    lora = read_lora(path)
    places = match_layers(pipe, lora, path)
    restore = snapshot_adapters(pipe)
    try:
        remove_adapter(pipe, name)
        for component, layers in places.items():
            insert_layers(getattr(pipe, component), name, layers)
        pipe.enable_lora()
        change = _measure_change(pipe, name, path)
        pipe.set_adapters(name, adapter_weights=strength)
    except BaseException:  # a stop in between, too, leaves what was there
        restore()
        raise
    matched = {kohya_name(f"{part}.{module}") for part in places for module in places[part]}
    unmatched = tuple(layer for layer in lora.layers if layer not in matched)
    return LoadedLora(name, len(matched), unmatched, change, lora.word, lora.class_noun)


def match_layers(
    pipe: StableDiffusionPipeline, lora: Lora, path: str | os.PathLike[str]
) -> dict[str, dict[str, LoraLayer]]:
    """Find for each layer of a file the module of the pipeline that it changes.

    Raises:
        LoraError: The file is for another model, has none of this one's layers, or no effect.
    """
    width = pipe.unet.config.cross_attention_dim
    for key, reading in lora.layers.items():
        if key.endswith("attn2_to_k") and reading.down.shape[1] != width:
            _refuse_width(path, reading.down.shape[1], width)
    places: dict[str, dict[str, LoraLayer]] = {}
    for component in COMPONENTS:
        for module, part in getattr(pipe, component).named_modules():
            own = getattr(part, "base_layer", part)  # inside peft's, where a LoRA is on already
            layer = lora.layers.get(kohya_name(f"{component}.{module}"))
            if layer and isinstance(own, nn.Linear | nn.Conv2d):
                _check_shape(path, f"{component}.{module}", tuple(own.weight.shape), layer)
                places.setdefault(component, {})[module] = layer
    if not places:
        raise LoraError(
            f"{path} is for another model: this one has none of its {len(lora.layers)} layers, "
            f"such as {next(iter(lora.layers))}"
        )
    if not any(_acts(layer) for layers in places.values() for layer in layers.values()):
        raise LoraError(
            f"{path} would change nothing: its up matrices are all zero, as they are before any "
            "training, or its alpha is; train it first"
        )
    return places


def insert_layers(model: Any, name: str, layers: Mapping[str, LoraLayer]) -> None:
    """Put a LoRA on a model and turn it on, alone: exactly as it is in the file, in float32."""
    with torch.random.fork_rng(), warnings.catch_warnings():  # peft draws first weights, unused
        warnings.simplefilter("ignore")  # peft: there are adapters already
        model.add_adapter(LoraConfig(**lora_config(layers)), adapter_name=name)
    for module, layer in layers.items():
        part: Any = model.get_submodule(module)
        for half, tensor in ((part.lora_A, layer.down), (part.lora_B, layer.up)):
            weight = half[name].weight
            weight.data = tensor.to(weight.device, torch.float32, copy=True)  # not the file's own


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name or "." in name:
        raise ValueError(f"name={name!r} must be a text without a dot; try 'default'")
    check_letters(name=name)
    if is_torch_attribute(name):
        raise ValueError(f"name={name!r} is a word of torch's own; try 'my_{name}'")


def _check_scale(scale: object) -> float:
    if isinstance(scale, Real) and not isinstance(scale, bool):
        with suppress(OverflowError):  # of a whole number that no float can hold
            if math.isfinite(scale):
                return float(scale)
    raise ValueError(f"scale={shown(scale)} must be a finite number; 1.0 applies all of the LoRA")


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


def _acts(layer: LoraLayer) -> bool:
    return bool(layer.alpha and layer.up.any() and layer.down.any())


def _refuse_width(path: str | os.PathLike[str], found: int, width: int) -> None:
    of = f" ({FAMILIES[found]})" if found in FAMILIES else ""
    raise LoraError(
        f"{path} is for another model: it reads texts of width {found}{of}, and this model's are "
        f"of width {width}; load the model that it was trained on, or train one for this model"
    )


def _check_shape(
    path: str | os.PathLike[str], name: str, own: tuple[int, ...], layer: LoraLayer
) -> None:
    found = (*layer.up.shape[:1], *layer.down.shape[1:])
    if found != own:
        raise LoraError(
            f"{path} is for another model: its layer {name} has shape {found}, and this model's "
            f"{own}; load the model that it was trained on"
        )
