"""One training loop for every stage: seeded, resumable, with its curve and the time left.

Started by `torchrun`, several processes share a training: each draws its own part of every batch,
and all take the same step along the average of their gradients.
"""

from __future__ import annotations

import argparse
import copy
import csv
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from tqdm.auto import tqdm

from sdlesson.files import atomic_write, check_zip
from sdlesson.runtime import best_device

CHECKPOINT_EVERY = 500
CURVE_EVERY = 25


@dataclass(frozen=True)
class Recipe:
    """How long and how fast a stage learns.

    Attributes:
        batch: Of each process that shares the training.
        learning_rate: The peak, after `warmup` steps; a cosine takes it to a fiftieth of that.
        ema_decay: Of the averaged weights that are kept, per step.
        deadline: When to stop, on `time.monotonic`'s clock; a later run goes on from there.
    """

    steps: int
    batch: int
    learning_rate: float
    warmup: int = 200
    ema_decay: float = 0.999
    weight_decay: float = 0.01
    seed: int = 0
    deadline: float = math.inf


class OutOfTimeError(Exception):
    """A stage met its deadline; its checkpoint is written."""

    def __init__(self, name: str, step: int, steps: int) -> None:
        super().__init__(f"out of time at step {step:,} of {steps:,} of {name}")
        self.name = name


Model = TypeVar("Model", bound=nn.Module)

StepLoss = Callable[[int, torch.Generator], tuple[Tensor, dict[str, float]]]
"""(step, generator) -> (loss, figures for the curve); all chance comes from the generator."""


def fit(name: str, model: Model, step_loss: StepLoss, recipe: Recipe, folder: Path) -> Model:
    """Train `model` and return its exponential moving average, ready for use.

    The checkpoint `folder/name.pt` is written every `CHECKPOINT_EVERY` steps and at the end; a call
    that finds one goes on from it, and because each step's chance depends on (seed, step) alone, it
    goes on as the unbroken run would have. A checkpoint without "optimizer" starts a new one, and
    warms up again under it: Adam's first steps have no history to be measured by. The curve is
    `folder/name.csv`. Of several processes the first one writes, and its figures are the curve's.

    Raises:
        ValueError: The checkpoint is damaged.
        FloatingPointError: The loss is no longer finite; the last good checkpoint stays.
        OutOfTimeError: The recipe's deadline has passed; what was learned is in the checkpoint.
    """
    path = folder / f"{name}.pt"
    # What is returned is not the model that learns but its average over the last steps, which errs
    # less: single steps circle the minimum (Polyak & Juditsky 1992; Ho et al. 2020, appendix B).
    average = copy.deepcopy(model).eval().requires_grad_(False)
    optimizer = _Optimizer(model, recipe)
    first = 0
    if path.exists():
        first = _load(path, model, average, optimizer)
    bar = tqdm(
        range(first, recipe.steps),
        name,
        recipe.steps,
        initial=first,
        mininterval=5,
        disable=not is_first_process(),
    )
    # Where this optimizer began: at 0, or later if the checkpoint came without one.
    optimizer_start = first - optimizer.steps_taken()
    for step in bar:
        # Clocks differ: all processes stop at the same step, or those left would wait for ever.
        if _in_any_process(time.monotonic() >= recipe.deadline):
            if step > first:
                _save(path, step, model, average, optimizer)
            raise OutOfTimeError(name, step, recipe.steps)
        # A seed for each (recipe, step, process), with no state in between: a step after a pause
        # draws what it would have drawn without one. The prime keeps the seeds' steps apart, and
        # bits from the 40th on the processes.
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step + (_rank() << 40))
        loss, figures = step_loss(step, generator)
        # Before anything learns from it: one NaN in the weights would be in all that follow.
        if _in_any_process(not torch.isfinite(loss)):
            raise FloatingPointError(f"{name}: the loss is {loss.item()} at step {step}")
        loss.backward()
        _average_gradients(model)
        # One odd batch may have gradients a hundred times as long as others: all of them together
        # are cut to length 1 (Pascanu et al. 2013, algorithm 1, arXiv:1211.5063).
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step(recipe.learning_rate * _schedule(step, optimizer_start, recipe))
        # At first the decay is small, as in diffusers' EMAModel: else the random weights that all
        # began with would weigh for a thousand steps.
        _update_average(average, model, min(recipe.ema_decay, (1 + step) / (10 + step)))
        if step % CURVE_EVERY == 0 and is_first_process():
            figures = {"loss": loss.item(), **figures}
            _append(folder / f"{name}.csv", {"step": float(step), **figures})
            bar.set_postfix({key: f"{value:.4f}" for key, value in figures.items()}, refresh=False)
        if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == recipe.steps:
            _save(path, step + 1, model, average, optimizer)
    return average


def add_training_options(parser: argparse.ArgumentParser, *, output: Path, scenes: int) -> None:
    """Add what every command that trains may be told; its own defaults are the arguments."""
    parser.add_argument("--folder", type=Path, default=Path("checkpoints"))
    parser.add_argument("--output", type=Path, default=output)
    parser.add_argument("--device", default=best_device())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenes", type=int, default=scenes)
    parser.add_argument("--scale", type=float, default=1.0, help="of the steps of every stage")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop training after this")


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values, all or nothing.

    Of a stage: "step", "model", "average" and, unless it is to start anew, "optimizer".
    """
    with atomic_write(path) as partial:
        torch.save(state, partial)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `write_checkpoint` or `torch.save` wrote.

    Raises:
        ValueError: It is damaged: a single bit that flipped would train to other weights.
    """
    check_zip(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def is_first_process() -> bool:
    """Whether this process writes: the only one, or the first of those that share a training."""
    return _rank() == 0


def process_count() -> int:
    """How many processes share the training."""
    return dist.get_world_size() if dist.is_initialized() else 1


def _rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def _in_any_process(flag: bool) -> bool:
    """Whether the flag is raised in any of the processes that share the training."""
    if not dist.is_initialized():
        return flag
    raised = torch.tensor(float(flag))  # summed over the processes: 0 only where all are down
    dist.all_reduce(raised)
    return bool(raised)


def _average_gradients(model: nn.Module) -> None:
    """Replace each gradient by its mean over the processes, all of them in one message."""
    if not dist.is_initialized():
        return
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    # One message of millions of numbers costs little more than one of a few: (number of weights,).
    message = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(message)
    message /= process_count()
    start = 0
    for gradient in gradients:
        gradient.copy_(message[start : start + gradient.numel()].view(gradient.shape))
        start += gradient.numel()


class _Optimizer:
    """Muon for matrices and kernels, AdamW for the rest.

    Muon takes a step of the same size in every direction (Jordan et al. 2024,
    https://kellerjordan.github.io/posts/muon), scaled so that AdamW's learning rates fit it (Liu
    et al. 2025, section 2.2, arXiv:2502.16982). A kernel counts as a matrix, a row to an output
    channel. Embeddings are tables, not maps: AdamW has them.
    """

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        # A row of an embedding is one word's vector: its gradient is zero unless that word came up,
        # and steps of the same size in every direction would move all the others for nothing.
        tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
        weights = list(model.parameters())
        self._kernels = [w for w in weights if w.ndim >= 2 and id(w) not in tables]
        rest = [w for w in weights if w.ndim < 2 or id(w) in tables]
        # Muon takes matrices only, so each kernel (out, in, height, width) gets a second parameter,
        # (out, in * height * width), on the same memory: a step on this one moves that one.
        self._matrices = [nn.Parameter(_as_matrix(w.detach())) for w in self._kernels]
        settings: dict[str, Any] = {
            "lr": recipe.learning_rate,
            "weight_decay": recipe.weight_decay,
        }
        self._optimizers: list[torch.optim.Optimizer] = [
            # The second mean over 100 steps instead of 1,000, as gradients change fast early on.
            torch.optim.AdamW(rest, betas=(0.9, 0.99), **settings)
        ]
        if self._matrices:
            self._optimizers.append(
                torch.optim.Muon(self._matrices, adjust_lr_fn="match_rms_adamw", **settings)
            )
        self._weights = weights

    def step(self, learning_rate: float) -> None:
        """Take a step along the gradients, and clear them."""
        # Gradients arrive at the kernels, and Muon looks for them at the matrices.
        for kernel, matrix in zip(self._kernels, self._matrices, strict=True):
            matrix.grad = None if kernel.grad is None else _as_matrix(kernel.grad)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            optimizer.step()
        for weight in (*self._weights, *self._matrices):
            weight.grad = None

    def steps_taken(self) -> int:
        """How many steps were taken; kept in AdamW's own state, so checkpoints hold it."""
        states = self._optimizers[0].state.values()
        return max((int(state["step"]) for state in states), default=0)

    def state_dict(self) -> list[dict[str, Any]]:
        return [optimizer.state_dict() for optimizer in self._optimizers]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        for optimizer, state in zip(self._optimizers, states, strict=True):
            optimizer.load_state_dict(state)


def _as_matrix(kernel: Tensor) -> Tensor:
    """A row to an output channel; of weights, a view of the same memory."""
    if kernel.ndim == 4 and kernel.is_contiguous(memory_format=torch.channels_last):
        kernel = kernel.permute(0, 2, 3, 1)  # as it lies in memory, (out, height, width, in)
    return kernel.reshape(len(kernel), -1)  # no copy, since the axes are in memory's order


def _schedule(step: int, optimizer_start: int, recipe: Recipe) -> float:
    """Half a cosine from `warmup` steps on, down to 2%; linear warm-up of each optimizer."""
    # From 0 after the warm-up to 1 at the end (Loshchilov & Hutter 2017, eq. 5, arXiv:1608.03983).
    t = max(0, step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    warm = min(1.0, (step + 1 - optimizer_start) / max(1, recipe.warmup))
    return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * t)))


@torch.no_grad()
def _update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    pairs = zip(average.parameters(), model.parameters(), strict=True)
    for averaged, current in pairs:  # average = decay * average + (1 - decay) * current
        averaged.lerp_(current, 1 - decay)
    # Buffers, such as positions, are no weights: averages of them would mean nothing.
    for kept, buffer in zip(average.buffers(), model.buffers(), strict=True):
        kept.copy_(buffer)


def _save(
    path: Path, step: int, model: nn.Module, average: nn.Module, optimizer: _Optimizer
) -> None:
    if not is_first_process():
        return
    state = {"step": step, "model": model.state_dict(), "average": average.state_dict()}
    write_checkpoint(path, {**state, "optimizer": optimizer.state_dict()})


def _load(path: Path, model: nn.Module, average: nn.Module, optimizer: _Optimizer) -> int:
    state = read_checkpoint(path)
    model.load_state_dict(state["model"])
    average.load_state_dict(state["average"])
    if "optimizer" in state:
        optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def _append(path: Path, row: dict[str, float]) -> None:
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(row))
        if is_new:
            writer.writeheader()
        writer.writerow(row)
