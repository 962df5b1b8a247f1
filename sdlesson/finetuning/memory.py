"""How much memory a training will take: counted before it starts, and refused if it cannot fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from diffusers import StableDiffusionPipeline

from sdlesson.finetuning.adapters import check_pipe, trained_parts
from sdlesson.finetuning.dry_run import run_dry
from sdlesson.finetuning.optimizers import has_8bit_adam, state_bytes
from sdlesson.finetuning.settings import TrainingSettings
from sdlesson.language import say
from sdlesson.runtime import GIB, device_name, free_memory_bytes, release_memory

MIB = 2**20
SMALL_RANK = 4
FLOAT_BYTES = 4


class DoesNotFitError(MemoryError):
    """A training that needs more memory than there is."""


@dataclass(frozen=True)
class MemoryEstimate:
    """What a training holds in memory, in bytes.

    Attributes:
        weights: Of the U-Net, of the text encoder if it is trained, and of their average if one
            is kept.
        gradients: One number for each trained weight.
        optimizer: Two numbers for each trained weight.
        activations: All else at its fullest: mostly what the forward pass keeps for the backward
            pass.
        total: The most at one moment: less than the sum where gradients come as activations go.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    total: int

    def __str__(self) -> str:
        size = {name: _readable(value) for name, value in asdict(self).items()}
        return say(
            "{total} at most: weights {weights}, optimizer {optimizer}, gradients {gradients}, "
            "activations {activations}",
            "{total} como máximo: pesos {weights}, optimizador {optimizer}, gradientes "
            "{gradients}, activaciones {activations}",
        ).format(**size)


def estimate_memory(
    pipe: StableDiffusionPipeline, settings: TrainingSettings, *, height: int, width: int
) -> MemoryEstimate:
    """Count what a training on photos of this size, in pixels, will hold in memory.

    What is counted are tensors; the libraries, CUDA's own half a gigabyte and what an allocator
    wastes come on top. Attention counts as CPUs and CUDA GPUs compute it, without a table of all
    pairs of positions. An Apple GPU may write that table, and take more.

    Raises:
        ValueError: What came is no pipeline.
    """
    check_pipe(pipe)
    settings = settings.for_model(pipe.unet.num_parameters())
    step = run_dry(pipe, settings, height=height, width=width)
    optimizer = step.trained * state_bytes(settings, pipe.device)
    average = step.trained * FLOAT_BYTES if settings.ema_decay else 0
    weights = step.weights + average
    return MemoryEstimate(
        weights=weights,
        gradients=step.gradients,
        optimizer=optimizer,
        activations=step.activations,
        total=weights + optimizer + step.peak,
    )


def check_memory(
    pipe: StableDiffusionPipeline, settings: TrainingSettings, *, height: int, width: int
) -> None:
    """Refuse a training that cannot fit, and name what would make it fit.

    Raises:
        DoesNotFitError: It needs more than there is; the message names the settings to change.
    """
    needed = estimate_memory(pipe, settings, height=height, width=width).total
    room = _room(pipe, settings)
    if needed <= room:
        return
    name = device_name(pipe.device.type)
    missing = pipe.device.type == "cuda" and not has_8bit_adam(pipe.device)
    raise DoesNotFitError(
        f"this training needs {_readable(needed)} and {name} has {_readable(room)} for it: "
        f"{_advice(pipe, settings, height, width, room)}"
        f"{'; use_8bit_adam=True saves more after pip install bitsandbytes' if missing else ''}"
    )


def _room(pipe: StableDiffusionPipeline, settings: TrainingSettings) -> int:
    """What is free, and what the weights hold that are there already and counted again."""
    release_memory()
    parts = trained_parts(pipe, settings).values()
    held = sum(weight.nbytes for part in parts for weight in part.parameters())
    return free_memory_bytes(str(pipe.device)) + held


def _advice(
    pipe: StableDiffusionPipeline, settings: TrainingSettings, height: int, width: int, room: int
) -> str:
    for change in _changes(pipe, settings):
        smaller = replace(settings, **change)
        needed = estimate_memory(pipe, smaller, height=height, width=width).total
        if needed <= room:
            names = ", ".join(f"{name}={value!r}" for name, value in change.items())
            return f"with {names} it needs {_readable(needed)}"
    larger = "a larger GPU" if pipe.device.type == "cuda" else "a GPU"
    return (
        f"no setting makes it fit; use smaller photos, free memory, or choose {larger} "
        "(in Colab: Runtime > Change runtime type)"
    )


def _changes(pipe: StableDiffusionPipeline, settings: TrainingSettings) -> Iterator[dict[str, Any]]:
    """Each change that saves memory, the least harmful first, and then it with all before it."""
    changes: list[dict[str, Any]] = []
    if not settings.use_8bit_adam and has_8bit_adam(pipe.device):
        changes.append({"use_8bit_adam": True})
    if not settings.gradient_checkpointing:
        changes.append({"gradient_checkpointing": True})
    if settings.gradient_accumulation < settings.batch_size:
        changes.append({"gradient_accumulation": settings.batch_size})
    if not settings.is_lora:
        changes.append({"rank": SMALL_RANK})
    together: dict[str, Any] = {}
    for change in changes:
        yield change
        if together:
            yield together | change
        together |= change


def _readable(size: int) -> str:
    return f"{size / GIB:.1f} GB" if size >= GIB else f"{size / MIB:.0f} MB"
