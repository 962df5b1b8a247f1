"""One training step run without memory, while every tensor is counted from birth to end.

On PyTorch's "meta" device a tensor has a shape but no content. So a step of any size takes seconds
and no memory, and what it would hold at its fullest is exact.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
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

from sdlesson.finetuning.adapters import prepare
from sdlesson.finetuning.batches import Batch
from sdlesson.finetuning.run import Learner, step_loss
from sdlesson.finetuning.settings import TrainingSettings

# What autocast computes in half precision on CUDA, and what in full: those that a U-Net has.
HALVED = (functional.linear, functional.conv2d, functional.scaled_dot_product_attention)
WHOLE = (functional.group_norm, functional.layer_norm)


@dataclass(frozen=True)
class Footprint:
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


def run_dry(
    pipe: StableDiffusionPipeline, settings: TrainingSettings, *, height: int, width: int
) -> Footprint:
    """Run the trainer's own step, on photos of this size in pixels, without memory."""
    copy, mode = _copy(pipe), AsTrained(pipe.unet.dtype)
    prepare(copy, settings)
    if settings.gradient_checkpointing:
        copy.unet.enable_gradient_checkpointing(mode.checkpoint)  # a text encoder's saves little
    batch = _batch(pipe, settings, height, width)
    alphas_cumprod = torch.empty(pipe.scheduler.config.num_train_timesteps, device="meta")
    learner = Learner(copy, settings)
    weights = list(learner.parameters())
    ledger = Ledger(weights)
    for _ in range(min(2, settings.gradient_accumulation)):  # the second finds gradients there
        with ledger:
            with mode:
                loss, errors = step_loss(learner, batch, settings, alphas_cumprod)
            loss.backward()
            del loss, errors
    return Footprint(
        weights=sum(weight.nbytes for weight in weights),
        trained=sum(weight.numel() for weight in weights if weight.requires_grad),
        gradients=ledger.gradients,
        activations=ledger.activations,
        peak=ledger.peak,
    )


class Ledger(TorchDispatchMode):
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


class AsTrained(TorchFunctionMode):
    """Runs on "meta" as on a GPU or CPU: attention fused and, in half precision, autocast.

    The meta device knows neither. Autocast on CUDA multiplies in half precision, normalizes in
    full, and keeps a half copy of each trained weight until the forward pass ends.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.copies: dict[nn.Parameter, Tensor] = {}

    def __exit__(self, *error: Any) -> None:
        """End a forward pass."""
        self.copies.clear()
        super().__exit__(*error)

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Run a function of torch, in the precision that autocast would choose for it."""
        inputs = (args, kwargs or {})
        if self.dtype != torch.float32 and func in HALVED:
            inputs = tree_map_only(Tensor, self._halve, inputs)
        if self.dtype != torch.float32 and func in WHOLE:
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
