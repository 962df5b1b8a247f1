"""Save a LoRA to a file: as diffusers names its layers, or as kohya's scripts do.

diffusers can write both, and what it writes has the same layers. It is not used here because its
files differ from one writing to the next, have no room for the word, and take alpha for the rank in
kohya's form; and because a full disk would leave half a file.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from safetensors.torch import save
from torch import Tensor, nn

from sdlesson.files import atomic_write
from sdlesson.finetuning.adapters import adapter_names, check_pipeline
from sdlesson.finetuning.lora_format import (
    COMPONENTS,
    SUFFIX,
    LoraError,
    LoraLayer,
    lora_config,
    read_lora,
)
from sdlesson.settings import check_letters


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
        ValueError: What came is no pipeline, or a word is no text.
        LoraError: There is no such LoRA, it is no plain one, or the path is none for a file.
        OSError: The disk is full, say; a file that was there before stays as it was.
    """
    check_pipeline(pipe)
    told = {
        "word": _check_told("word", word),
        "class_noun": _check_told("class_noun", class_noun),
    }
    name = _choose_name(pipe, name)
    tensors: dict[str, Tensor] = {}
    config: dict[str, Any] = {}
    for component in COMPONENTS:
        if layers := layers_of_adapter(getattr(pipe, component), name):
            config |= {f"{component}.{key}": value for key, value in lora_config(layers).items()}
            for module, layer in layers.items():
                tensors[f"{component}.{module}.lora_A.weight"] = layer.down
                tensors[f"{component}.{module}.lora_B.weight"] = layer.up
    metadata = {"format": "pt", LORA_ADAPTER_METADATA_KEY: json.dumps(config, sort_keys=True)}
    return write_lora(path, tensors, metadata | {key: text for key, text in told.items() if text})


def export_kohya(path: str | os.PathLike[str], to: str | os.PathLike[str]) -> Path:
    """Write a LoRA file of diffusers again, as kohya's scripts would have written it.

    Each layer gets its `.alpha`, so that it is scaled right where alpha is not the rank. Plain
    `pipe.load_lora_weights` and `load_lora` read the new file as well.

    Args:
        path: The LoRA to export, which stays as it is.
        to: The new file; ends in .safetensors.

    Raises:
        LoraError: The file cannot be read, or the new one's path is none for a file.
        OSError: The disk is full, say; a file that was there before stays as it was.
    """
    lora = read_lora(path)
    tensors = {}
    for name, layer in lora.layers.items():
        tensors[f"{name}.lora_down.weight"] = layer.down
        tensors[f"{name}.lora_up.weight"] = layer.up
        tensors[f"{name}.alpha"] = torch.tensor(float(layer.alpha))
    layers = lora.layers.values()
    told = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(max(layer.rank for layer in layers)),
        "ss_network_alpha": str(max(float(layer.alpha) for layer in layers)),
        "modelspec.trigger_phrase": " ".join(filter(None, (lora.word, lora.class_noun))),
        "word": lora.word,
        "class_noun": lora.class_noun,
    }
    return write_lora(to, tensors, {key: text for key, text in told.items() if text})


def write_lora(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> Path:
    """Write a safetensors file, whole or not at all; the same content is the same bytes.

    Raises:
        LoraError: The name does not end in .safetensors, or there is no folder for it.
        OSError: The disk is full, say; a file that was there before stays as it was.
    """
    if not isinstance(path, str | os.PathLike):
        raise LoraError(f"path={path!r} must be the name of a {SUFFIX} file")
    path = Path(path)
    try:
        os.fsencode(path)
        has_place = not path.is_dir() and path.parent.is_dir() and "\0" not in str(path)
    except (OSError, ValueError):  # a name too long, or of halves of letters
        has_place = False
    if path.suffix != SUFFIX or not has_place:
        raise LoraError(
            f"cannot write {path}: name a file that ends in {SUFFIX}, in a folder that is there"
        )
    content = _sort_metadata(save({k: v.contiguous() for k, v in tensors.items()}, dict(metadata)))
    try:
        with atomic_write(path) as partial, partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # a full disk may not say so before
    except OSError as error:
        reason = f"cannot write {path}: {error.strerror}; make room or choose another folder"
        raise OSError(error.errno, reason) from error
    return path


def layers_of_adapter(model: nn.Module, name: str) -> dict[str, LoraLayer]:
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
        found[module] = LoraLayer(down, up, alpha)
    return found


def _choose_name(pipe: StableDiffusionPipeline, name: str | None) -> str:
    names = sorted(adapter_names(pipe))
    if name is None and len(names) == 1:
        return names[0]
    if name is None or name not in names:
        there = ", ".join(map(repr, names)) or "none"
        raise LoraError(f"name={name!r} is no LoRA of this pipeline, which holds {there}")
    return name


def _check_told(name: str, text: object) -> str:
    """A text for the file's metadata, which holds no others; "" for None."""
    if text is None:
        return ""
    if not isinstance(text, str):
        raise ValueError(f"{name}={text!r} must be a text, such as 'zwx', or left out")
    return check_letters(**{name: text})


def _sort_metadata(content: bytes) -> bytes:
    """Bring the metadata in a safetensors file into order, which the library leaves to chance.

    Such a file is the length of its header in 8 bytes, a header in JSON, and the numbers.
    """
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the numbers begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text + content[start:]
