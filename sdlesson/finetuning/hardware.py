"""What a training asks of the machine: a device, room, an optimizer, and not to be cut off."""

from __future__ import annotations

import importlib
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from diffusers import StableDiffusionPipeline

from sdlesson.finetuning.training_settings import TrainingSettings
from sdlesson.language import say
from sdlesson.runtime import release_memory

WEIGHT_DECAY = 0.01
STATE_BYTES = 8
"""What AdamW keeps of each weight: the means of its gradient and of the square, in fp32."""
STATE_BYTES_8BIT = 2
MIXED_PRECISION = {torch.float32: "no", torch.float16: "fp16", torch.bfloat16: "bf16"}


def make_accelerator(pipe: StableDiffusionPipeline) -> Accelerator:
    """An accelerator for the pipeline's device, which computes in the pipeline's precision.

    accelerate keeps one state for the whole process, and refuses an accelerator that differs from
    the first; in a notebook the next training may well be of another pipeline.
    """
    precision = MIXED_PRECISION[next(pipe.unet.parameters()).dtype]
    launched = torch.distributed.is_available() and torch.distributed.is_initialized()
    AcceleratorState._reset_state(reset_partial_state=not launched)
    return Accelerator(mixed_precision=precision, cpu=pipe.device.type == "cpu")


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
            return adamw(weights, lr=settings.peak_learning_rate, weight_decay=WEIGHT_DECAY)
        print(_why_not_8bit(device))
    # Fused makes no temporary copy of all weights, as the default does on a GPU.
    return torch.optim.AdamW(
        weights, lr=settings.peak_learning_rate, weight_decay=WEIGHT_DECAY, fused=True
    )


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


def unused_parts(pipe: StableDiffusionPipeline, settings: TrainingSettings) -> list[Any]:
    """The parts of a pipeline that rest while its latents and embeddings are trained on."""
    parts = [pipe.vae, pipe.safety_checker]
    if not settings.train_text_encoder:
        parts.append(pipe.text_encoder)
    return [part for part in parts if part is not None]


@contextmanager
def moved_to(parts: list[Any], device: torch.device) -> Iterator[None]:
    """Have parts on another device for a while, and free the memory that they and others left."""
    homes = [part.device for part in parts]
    try:
        for part in parts:
            part.to(device)
        release_memory()
        yield
    finally:
        with uninterrupted():
            for part, home in zip(parts, homes, strict=True):
                part.to(home)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let an interrupt wait until the end of what must not be done by half."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python interrupts its main thread alone
        return
    waiting: list[tuple[int, FrameType | None]] = []
    usual = signal.signal(signal.SIGINT, lambda number, frame: waiting.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if waiting and callable(usual):
        usual(*waiting[0])


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
