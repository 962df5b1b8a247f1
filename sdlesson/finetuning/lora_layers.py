"""The layers of a LoRA in a pipeline: where they belong if it fits, and there and back."""

import math
import os
import warnings
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig
from torch import nn

from sdlesson.finetuning.lora_format import Layer, Lora, LoraError, kohya_name

COMPONENTS = ("unet", "text_encoder")
FAMILIES = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 2048: "SDXL"}


def find_places(
    pipe: StableDiffusionPipeline, lora: Lora, path: str | os.PathLike[str]
) -> dict[str, dict[str, Layer]]:
    """Find for each layer of a file the module of the pipeline that it changes.

    Raises:
        LoraError: The file is for another model, has none of this one's layers, or no effect.
    """
    width = pipe.unet.config.cross_attention_dim
    for key, reading in lora.layers.items():
        if key.endswith("attn2_to_k") and reading.down.shape[1] != width:
            _refuse_width(path, reading.down.shape[1], width)
    places: dict[str, dict[str, Layer]] = {}
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


def insert(model: Any, name: str, layers: Mapping[str, Layer]) -> None:
    """Put a LoRA on a model and turn it on, alone: exactly as it is in the file, in float32."""
    with torch.random.fork_rng(), warnings.catch_warnings():  # peft draws first weights, unused
        warnings.simplefilter("ignore")  # peft: there are adapters already
        model.add_adapter(LoraConfig(**lora_config(layers)), adapter_name=name)
    for module, layer in layers.items():
        part: Any = model.get_submodule(module)
        for half, tensor in ((part.lora_A, layer.down), (part.lora_B, layer.up)):
            weight = half[name].weight
            weight.data = tensor.to(weight.device, torch.float32, copy=True)  # not the file's own


def layers_in(model: nn.Module, name: str) -> dict[str, Layer]:
    """Read the layers that a LoRA has in a model, by the model's names for them."""
    found = {}
    part: Any
    for module, part in model.named_modules():
        if name not in getattr(part, "lora_A", {}):
            continue
        if part.use_dora[name] or part.lora_bias[name]:
            raise LoraError(f"LoRA {name!r} is a DoRA or has biases; only a plain one is saved")
        alpha = part.lora_alpha[name]
        alpha = alpha * math.sqrt(part.r[name]) if part.use_rslora[name] else alpha
        down, up = (half[name].weight.detach().cpu() for half in (part.lora_A, part.lora_B))
        found[module] = Layer(down, up, alpha)
    return found


def lora_config(layers: Mapping[str, Layer]) -> dict[str, Any]:
    """Describe layers in peft's words, in no more of them than every version of it knows."""
    ranks = {module: layer.rank for module, layer in layers.items()}
    alphas = {module: layer.alpha for module, layer in layers.items()}
    rank, alpha = (Counter(found.values()).most_common(1)[0][0] for found in (ranks, alphas))
    return {
        "r": rank,
        "lora_alpha": alpha,
        "target_modules": sorted(layers),
        "rank_pattern": {module: r for module, r in ranks.items() if r != rank},
        "alpha_pattern": {module: a for module, a in alphas.items() if a != alpha},
    }


def _acts(layer: Layer) -> bool:
    return bool(layer.alpha and layer.up.any() and layer.down.any())


def _refuse_width(path: str | os.PathLike[str], found: int, width: int) -> None:
    of = f" ({FAMILIES[found]})" if found in FAMILIES else ""
    raise LoraError(
        f"{path} is for another model: it reads texts of width {found}{of}, and this model's are "
        f"of width {width}; load the model that it was trained on, or train one for this model"
    )


def _check_shape(
    path: str | os.PathLike[str], name: str, own: tuple[int, ...], layer: Layer
) -> None:
    found = (*layer.up.shape[:1], *layer.down.shape[1:])
    if found != own:
        raise LoraError(
            f"{path} is for another model: its layer {name} has shape {found}, and this model's "
            f"{own}; load the model that it was trained on"
        )
