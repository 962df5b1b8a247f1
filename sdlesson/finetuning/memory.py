"""How much memory a training will take: counted before it starts, and refused if it cannot fit.

It is counted in a dry run of one step. On PyTorch's "meta" device a tensor has a shape but no
content, so a step of any size takes seconds and no memory, while every tensor is counted from birth
to end: what the step would hold at its fullest is exact.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.checkpoint import checkpoint
from transformers import CLIPTextModel

from sdlesson.finetuning.adapters import (
    check_pipeline,
    check_rank,
    prepare_weights,
    trainable_parts,
)
from sdlesson.finetuning.hardware import has_8bit_adam, state_bytes
from sdlesson.finetuning.losses import TrainableModel, batch_loss
from sdlesson.finetuning.training_batches import Batch
from sdlesson.finetuning.training_settings import TrainingSettings, check_settings
from sdlesson.language import say
from sdlesson.runtime import GIB, device_name, free_memory_bytes, release_memory
from sdlesson.settings import check_size

MIB = 2**20
SMALL_RANK = 4
FLOAT_BYTES = 4
# What autocast computes in half precision on CUDA, and what in full: those that a U-Net has.
AUTOCAST_HALF = (functional.linear, functional.conv2d, functional.scaled_dot_product_attention)
AUTOCAST_FLOAT32 = (functional.group_norm, functional.layer_norm)


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
        ValueError: What came is no pipeline, no settings or no size, or the rank is beyond what
            the layers can use.
    """
    check_pipeline(pipe)
    check_settings(settings)
    if height is None or width is None:
        raise ValueError(f"{height=} and {width=} must be the photos' sides in pixels; try 512")
    check_size(height=height, width=width)
    settings = settings.for_model(pipe.unet.num_parameters())
    check_rank(pipe, settings)
    step = dry_run(pipe, settings, height=height, width=width)
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


@dataclass(frozen=True)
class StepMemory:
    """What one step holds.

    Attributes:
        weights: Bytes of all weights, frozen and trained.
        trained: How many numbers are trained.
        gradients: Bytes, at the end of the backward pass.
        activations: Bytes of all else at its fullest, temporary tensors included.
        peak: Bytes of gradients and activations together at their fullest.
    """

    weights: int
    trained: int
    gradients: int
    activations: int
    peak: int


def dry_run(
    pipe: StableDiffusionPipeline, settings: TrainingSettings, *, height: int, width: int
) -> StepMemory:
    """Run the trainer's own step, on photos of this size in pixels, without memory."""
    copy, mode = _copy(pipe), AutocastOnMeta(pipe.unet.dtype)
    prepare_weights(copy, settings)
    if settings.gradient_checkpointing:
        copy.unet.enable_gradient_checkpointing(mode.checkpoint)  # a text encoder's saves little
    batch = _batch(pipe, settings, height, width)
    alphas_cumprod = torch.empty(pipe.scheduler.config.num_train_timesteps, device="meta")
    model = TrainableModel(copy, settings)
    weights = list(model.parameters())
    counter = MemoryCounter(weights)
    for _ in range(min(2, settings.gradient_accumulation)):  # the second finds gradients there
        with counter:
            with mode:
                loss, errors = batch_loss(model, batch, settings, alphas_cumprod)
            loss.backward()
            del loss, errors
    return StepMemory(
        weights=sum(weight.nbytes for weight in weights),
        trained=sum(weight.numel() for weight in weights if weight.requires_grad),
        gradients=counter.gradients,
        activations=counter.activations,
        peak=counter.peak,
    )


class MemoryCounter(TorchDispatchMode):
    """Counts the bytes of every tensor made under it, storage by storage, while it lives."""

    def __init__(self, weights: Iterable[Tensor]) -> None:
        super().__init__()
        self.live = self.peak = self.activations = self.gradients = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()
        for weight in weights:
            self._known.add(weight.untyped_storage())
            if weight.requires_grad:
                weight.register_post_accumulate_grad_hook(self._note_gradient())

    def __torch_dispatch__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Run an operation and enter what it made; a view's storage is in already."""
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._enter(leaf.untyped_storage())
        return result

    def _enter(self, storage: torch.UntypedStorage) -> None:
        if storage in self._known:
            return
        self._known.add(storage)
        weakref.finalize(storage, self._leave, storage.nbytes())
        self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)
        self.activations = max(self.activations, self.live - self.gradients)

    def _leave(self, size: int) -> None:
        self.live -= size

    def _note_gradient(self) -> Callable[[Tensor], None]:
        counted = False

        def note(weight: Tensor) -> None:
            nonlocal counted
            if not counted and weight.grad is not None:
                self.gradients += weight.grad.nbytes
                counted = True

        return note


class AutocastOnMeta(TorchFunctionMode):
    """Makes "meta" compute as a GPU or CPU does: attention fused and, in half precision, autocast.

    The meta device knows neither. Autocast on CUDA multiplies in half precision, normalizes in
    full, and keeps a half copy of each trained weight until the forward pass ends.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.copies: dict[nn.Parameter, Tensor] = {}

    def __exit__(self, *error: Any) -> None:
        """Let go of the half copies, as autocast does at the end of a forward pass."""
        self.copies.clear()
        super().__exit__(*error)

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Run a function of torch, in the precision that autocast would choose for it."""
        inputs = (args, kwargs or {})
        if self.dtype != torch.float32 and func in AUTOCAST_HALF:
            inputs = tree_map_only(Tensor, self._halve, inputs)
        if self.dtype != torch.float32 and func in AUTOCAST_FLOAT32:
            inputs = tree_map_only(Tensor, Tensor.float, inputs)
        run = _fused_attention if func is functional.scaled_dot_product_attention else func
        return run(*inputs[0], **inputs[1])

    def checkpoint(self, module: nn.Module, *args: Any) -> Any:
        """Run a block and keep its inputs alone; the backward pass runs it again, likewise."""
        return checkpoint(
            module.__call__,
            *args,
            use_reentrant=False,
            context_fn=lambda: (nullcontext(), self),
        )

    def _halve(self, tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        if isinstance(tensor, nn.Parameter) and tensor.requires_grad:
            if tensor not in self.copies:
                self.copies[tensor] = tensor.to(self.dtype)
            return self.copies[tensor]
        return tensor.to(self.dtype)


def _room(pipe: StableDiffusionPipeline, settings: TrainingSettings) -> int:
    """What is free, and what the weights hold that are there already and counted again."""
    release_memory()
    parts = trainable_parts(pipe, settings).values()
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


def _fused_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, **kwargs: Any
) -> Tensor:
    """Attention that keeps one number a row for the backward pass, not the table of all pairs.

    Source: Dao et al. 2022, section 3.1, arXiv:2205.14135.
    """
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value)[0]


def _copy(pipe: StableDiffusionPipeline) -> StableDiffusionPipeline:
    """A pipeline of the same U-Net and text encoder, without content and without adapters."""
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(pipe.unet.config)
        text_encoder = CLIPTextModel(pipe.text_encoder.config)
    for part, dtype in ((unet, pipe.unet.dtype), (text_encoder, pipe.text_encoder.dtype)):
        for weight in part.parameters():
            weight.data = weight.data.to(dtype)
    return StableDiffusionPipeline(
        vae=None,
        text_encoder=text_encoder,
        tokenizer=pipe.tokenizer,
        unet=unet,
        scheduler=pipe.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _batch(
    pipe: StableDiffusionPipeline, settings: TrainingSettings, height: int, width: int
) -> Batch:
    """What is worked through at once, without content."""
    photos = settings.batch_size // settings.gradient_accumulation
    size = photos if settings.prior == "none" else 2 * photos
    factor, window = pipe.vae_scale_factor, pipe.text_encoder.config.max_position_embeddings
    with torch.device("meta"):
        latents = torch.empty(size, pipe.unet.config.in_channels, height // factor, width // factor)
        return Batch(
            noisy=latents.to(pipe.unet.dtype),
            timesteps=torch.empty(size, dtype=torch.long),
            target=torch.empty_like(latents),
            embeddings=torch.empty(
                size, window, pipe.unet.config.cross_attention_dim, dtype=pipe.unet.dtype
            ),
            tokens=torch.empty(size, window, dtype=torch.long),
            photos=photos,
        )
