"""Export a LoRA under the names that A1111, ComfyUI and kohya's own scripts read."""

import os
from pathlib import Path

import torch

from sdlesson.finetuning.lora_format import read_lora, write_lora


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
