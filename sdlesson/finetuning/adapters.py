"""Put a LoRA on a pipeline, switch it off, and say what is trained.

A LoRA leaves a layer's matrix W as it is and adds a product of two thin ones to it:
W + alpha / rank * B A (Hu et al. 2021, eq. 3, arXiv:2106.09685). B starts at zero, so the model
starts as it was.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig
from peft.import_utils import is_torchao_available
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from sdlesson.finetuning.hardware import uninterrupted
from sdlesson.finetuning.training_settings import TrainingSettings

# Where the picture reads the text, and itself; and a convolution of each residual block, which
# reaches the levels that have no attention.
ATTENTION_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
CONVOLUTION_TARGETS = ("conv2",)
TEXT_ENCODER_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")
# What peft's layers keep by the name of an adapter, beyond what they list themselves.
NAMED_BY_ADAPTER = ("lora_variant", "frozen_peft_weight_names")


def check_pipeline(pipe: object) -> None:
    """Refuse what is no loaded pipeline of this course's kind, such as a model's name.

    Raises:
        ValueError: Says what came, and how to get a pipeline.
    """
    parts = [getattr(pipe, name, None) for name in ("unet", "text_encoder", "text_encoder_2")]
    unet, text_encoder, second = parts
    is_whole = unet is not None and text_encoder is not None and second is None
    if isinstance(pipe, DiffusionPipeline) and is_whole:
        return
    if isinstance(pipe, str | os.PathLike):
        raise ValueError(
            f"pipe={str(pipe)!r} is the name of a model; load it first: "
            f"pipe = load_pipeline({str(pipe)!r})"
        )
    raise ValueError(
        f"pipe is of type {type(pipe).__name__}, and must be a StableDiffusionPipeline with its "
        "U-Net and text encoder; pipe = load_pipeline() gives one"
    )


def check_peft() -> None:
    """Let LoRA work beside an old torchao, such as Colab's.

    peft asks once whether torchao is here, and raises when it finds one older than it supports,
    though nothing in this course uses it. Asked while torchao cannot be found, it answers no, and
    remembers that.
    """
    try:
        is_torchao_available()
    except ImportError:
        found = sys.modules.get("torchao")
        sys.modules["torchao"] = None  # type: ignore[assignment]  # Python's own sign for "absent"
        try:
            is_torchao_available()
        finally:
            del sys.modules["torchao"]
            if found is not None:
                sys.modules["torchao"] = found


def trainable_parts(pipe: StableDiffusionPipeline, settings: TrainingSettings) -> dict[str, Any]:
    """The parts of a pipeline that a training changes, by their names in it."""
    names = ["unet", "text_encoder"] if settings.train_text_encoder else ["unet"]
    return {name: getattr(pipe, name) for name in names}


def trainable_parameters(pipe: StableDiffusionPipeline) -> dict[str, nn.Parameter]:
    """What the optimizer changes, by part and name.

    Raises:
        ValueError: What came is no pipeline.
    """
    check_pipeline(pipe)
    return {
        f"{part}.{name}": parameter
        for part in ("unet", "text_encoder")
        for name, parameter in getattr(pipe, part).named_parameters()
        if parameter.requires_grad
    }


def unet_target_modules(settings: TrainingSettings) -> tuple[str, ...]:
    """The layers of the U-Net that get a LoRA, by the ends of their names."""
    return ATTENTION_TARGETS + CONVOLUTION_TARGETS if settings.convolutions else ATTENTION_TARGETS


def check_rank(pipe: StableDiffusionPipeline, settings: TrainingSettings) -> None:
    """Refuse a rank beyond the width of every layer that gets a LoRA, which could add nothing.

    The product of two matrices has no higher rank than the narrower side of what it is added to;
    peft would make the matrices all the same, and fill the memory with them.

    Raises:
        ValueError: Says how large the rank may be.
    """
    if settings.rank is None:
        return
    widths = [
        min(layer.weight.shape[:2])
        for name, part in trainable_parts(pipe, settings).items()
        for path, module in part.named_modules()
        if path.endswith(unet_target_modules(settings) if name == "unet" else TEXT_ENCODER_TARGETS)
        and isinstance(layer := getattr(module, "base_layer", module), nn.Linear | nn.Conv2d)
    ]
    if widths and settings.rank > max(widths):
        raise ValueError(
            f"rank={settings.rank} must be at most {max(widths)}, the width of this model's widest "
            "layer that gets a LoRA; try 4"
        )


def prepare_weights(pipe: StableDiffusionPipeline, settings: TrainingSettings) -> None:
    """Freeze a pipeline but for what is to be trained, and have that in float32.

    For a LoRA, a new adapter named after the word is the one that is on; one of that name that
    was there is replaced, any others are off and stay as they are.
    """
    for module in pipe.components.values():
        if isinstance(module, nn.Module):
            module.requires_grad_(False)
    for name, part in trainable_parts(pipe, settings).items():
        if settings.is_lora:
            targets = unet_target_modules(settings) if name == "unet" else TEXT_ENCODER_TARGETS
            _add_adapter(part, settings, list(targets))
        else:
            nn.Module.to(part, torch.float32).requires_grad_(True)
    for parameter in trainable_parameters(pipe).values():
        parameter.data = parameter.data.float()


def check_adapters(pipe: StableDiffusionPipeline, settings: TrainingSettings) -> None:
    """Refuse to train a pipeline in full under adapters.

    Raises:
        ValueError: Says which there are, and how to take them off.
    """
    names = adapter_names(pipe)
    if names and not settings.is_lora:
        raise ValueError(
            f"the pipeline carries the LoRA {', '.join(sorted(names))}; "
            "call pipe.unload_lora_weights() before full DreamBooth"
        )


def start_from_base(pipe: StableDiffusionPipeline, settings: TrainingSettings) -> None:
    """Switch every adapter off, and take the one away that this training would make anew."""
    remove_adapter(pipe, settings.word)
    if adapter_names(pipe):
        pipe.disable_lora()


def remove_adapter(pipe: StableDiffusionPipeline, name: str) -> None:
    """Take an adapter off, if it is there."""
    if name in adapter_names(pipe):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # peft: the active adapter is deleted
            pipe.delete_adapters(name)


def snapshot_adapters(pipe: StableDiffusionPipeline) -> Callable[[], None]:
    """Note which adapters there are, at which scales and whether on; returns how to go back.

    Each layer keeps what belongs to its adapters in dictionaries. Copies of these hold on to the
    weights themselves, without a copy of any, also where an adapter is deleted meanwhile.
    """
    parts = [pipe.unet, pipe.text_encoder]
    configs = [dict(getattr(part, "peft_config", None) or {}) for part in parts]
    before = {
        layer: (_dictionaries(layer), list(layer.active_adapters), layer.disable_adapters)
        for part in parts
        for layer in _adapter_layers(part)
    }
    learning = {weight: weight.requires_grad for layer in before for weight in layer.parameters()}

    def restore() -> None:
        with uninterrupted():
            for part, config in zip(parts, configs, strict=True):
                layers = _adapter_layers(part)
                # A layer that has had none is on or off as its neighbours are.
                states = (before[layer][1:] for layer in layers if layer in before)
                fallback = ({}, *next(states, ([], False)))
                for layer in layers:
                    dictionaries, active, is_off = before.get(layer, fallback)
                    for name in _dictionaries(layer):
                        found = getattr(layer, name)
                        found.clear()
                        found.update(dictionaries.get(name, {}))
                    layer.enable_adapters(not is_off)
                    layer.set_adapter(active)
                if config:
                    part.peft_config = config
                elif hasattr(part, "peft_config"):
                    del part.peft_config
                part._hf_peft_config_loaded = bool(config)
            for weight, is_learning in learning.items():
                weight.requires_grad_(is_learning)

    return restore


def _adapter_layers(part: nn.Module) -> list[Any]:
    return [layer for layer in part.modules() if isinstance(layer, BaseTunerLayer)]


def _dictionaries(layer: Any) -> dict[str, dict[str, Any]]:
    """Copies of the dictionaries of a layer whose keys are the names of adapters."""
    names = {*layer.adapter_layer_names, *layer.other_param_names, *NAMED_BY_ADAPTER}
    found = vars(layer) | dict(layer.named_children())
    return {name: dict(found[name].items()) for name in sorted(names & found.keys())}


def adapter_names(pipe: StableDiffusionPipeline) -> set[str]:
    """The adapters that a pipeline carries, on or off."""
    return {name for names in pipe.get_list_adapters().values() for name in names}


@contextmanager
def training_mode(pipe: StableDiffusionPipeline, settings: TrainingSettings) -> Iterator[None]:
    """Have the trained parts in float32, learning; then as they were, but for what they learned.

    A frozen part under an adapter keeps its precision: the adapter alone is in float32.
    """
    parts = trainable_parts(pipe, settings)
    dtypes = {name: next(part.parameters()).dtype for name, part in parts.items()}
    try:
        prepare_weights(pipe, settings)
        for part in parts.values():
            part.train()
            if settings.gradient_checkpointing:
                _checkpointing(part, on=True)
        yield
    finally:
        with uninterrupted():
            for name, part in parts.items():
                part.eval()
                if settings.gradient_checkpointing:
                    _checkpointing(part, on=False)
                if not settings.is_lora:
                    nn.Module.to(part, dtypes[name])


@contextmanager
def adapters_disabled(unet: UNet2DConditionModel) -> Iterator[None]:
    """The U-Net as it was before any adapter, for a while.

    Raises:
        ValueError: What came is no U-Net.
    """
    if not hasattr(unet, "disable_adapters"):
        raise ValueError(f"unet is of type {type(unet).__name__}; give pipe.unet")
    try:
        unet.disable_adapters()
        yield
    finally:
        with uninterrupted():
            unet.enable_adapters()


def _add_adapter(part: Any, settings: TrainingSettings, targets: list[str]) -> None:
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.rank if settings.alpha is None else settings.alpha,
        init_lora_weights="gaussian",
        target_modules=targets,
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft: there are adapters already
        torch.default_generator.manual_seed(settings.seed)  # which peft draws from
        part.add_adapter(config, adapter_name=settings.word)
    part.enable_adapters()  # where others were switched off, it would be off too


def _checkpointing(part: Any, *, on: bool) -> None:
    verb = "enable" if on else "disable"
    # In diffusers, in transformers of late, and in transformers before.
    names = (f"{verb}_gradient_checkpointing", f"activation_checkpointing_{verb}")
    found = next((name for name in names if hasattr(part, name)), f"gradient_checkpointing_{verb}")
    getattr(part, found)()
