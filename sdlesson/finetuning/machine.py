"""What a training needs of the machine: its devices, its memory, and not to be cut off midway."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from diffusers import StableDiffusionPipeline

from sdlesson.finetuning.settings import TrainingSettings
from sdlesson.runtime import release_memory

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


def idle_parts(pipe: StableDiffusionPipeline, settings: TrainingSettings) -> list[Any]:
    """The parts of a pipeline that rest while its latents and embeddings are trained on."""
    parts = [pipe.vae, pipe.safety_checker]
    if not settings.train_text_encoder:
        parts.append(pipe.text_encoder)
    return [part for part in parts if part is not None]


@contextmanager
def moved(parts: list[Any], device: torch.device) -> Iterator[None]:
    """Keep parts on another device for a while, and free the memory that they and others left."""
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
