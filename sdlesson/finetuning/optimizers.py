"""The optimizer: AdamW, or its 8-bit form where bitsandbytes and a CUDA GPU are there."""

from __future__ import annotations

import importlib
from collections.abc import Iterable

import torch

from sdlesson.finetuning.settings import TrainingSettings
from sdlesson.language import say

WEIGHT_DECAY = 0.01
STATE_BYTES = 8
"""What AdamW keeps of each weight: the means of its gradient and of the square, in fp32."""
STATE_BYTES_8BIT = 2


def make_optimizer(
    parameters: Iterable[torch.nn.Parameter],
    settings: TrainingSettings,
    device: str | torch.device,
) -> torch.optim.Optimizer:
    """Make AdamW for the weights to train, in 8 bits where asked for and possible.

    Where it is asked for and not possible, one printed sentence says so.

    Sources: Loshchilov and Hutter 2019, algorithm 2, arXiv:1711.05101; Dettmers et al. 2022,
    section 2, arXiv:2110.02861.
    """
    weights = list(parameters)
    if settings.use_8bit_adam:
        if has_8bit_adam(device):
            adamw = importlib.import_module("bitsandbytes.optim").AdamW8bit
            return adamw(weights, lr=settings.peak_rate, weight_decay=WEIGHT_DECAY)
        print(_why_not_8bit(device))
    # Fused makes no temporary copy of all weights, as the default does on a GPU.
    return torch.optim.AdamW(weights, lr=settings.peak_rate, weight_decay=WEIGHT_DECAY, fused=True)


def has_8bit_adam(device: str | torch.device) -> bool:
    """Whether 8-bit Adam would be used on this device."""
    if torch.device(device).type != "cuda":
        return False
    try:
        importlib.import_module("bitsandbytes.optim")
    except Exception:  # one built for another CUDA fails in ways of its own
        return False
    return True


def state_bytes(settings: TrainingSettings, device: str | torch.device) -> int:
    """Bytes that the optimizer keeps of each trained weight."""
    works = settings.use_8bit_adam and has_8bit_adam(device)
    return STATE_BYTES_8BIT if works else STATE_BYTES


def _why_not_8bit(device: str | torch.device) -> str:
    if torch.device(device).type != "cuda":
        return say(
            "8-bit Adam needs a CUDA GPU: AdamW is used, which takes four times its memory.",
            "Adam de 8 bits necesita una GPU con CUDA: se usa AdamW, que ocupa cuatro veces más.",
        )
    return say(
        "bitsandbytes does not import (try: pip install bitsandbytes): AdamW is used instead of "
        "8-bit Adam, which takes four times its memory.",
        "bitsandbytes no se puede importar (prueba: pip install bitsandbytes): se usa AdamW en "
        "lugar de Adam de 8 bits, y ocupa cuatro veces más.",
    )
