"""One training loop for every stage: seeded, resumable, with its curve and the time left."""

from __future__ import annotations

import copy
import csv
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from sdlesson.files import whole

CHECKPOINT_EVERY = 500
CURVE_EVERY = 25


@dataclass(frozen=True)
class Recipe:
    """How long and how fast a stage learns.

    Attributes:
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
    `folder/name.csv`.

    Raises:
        FloatingPointError: The loss is no longer finite; the last good checkpoint stays.
        OutOfTimeError: The recipe's deadline has passed; what was learned is in the checkpoint.
    """
    path = folder / f"{name}.pt"
    average = copy.deepcopy(model).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(
        model.parameters(), recipe.learning_rate, (0.9, 0.99), weight_decay=recipe.weight_decay
    )
    first = 0
    if path.exists():
        first = _load(path, model, average, optimizer)
    bar = tqdm(range(first, recipe.steps), name, recipe.steps, initial=first, mininterval=5)
    fresh = first - _age(optimizer)
    for step in bar:
        if time.monotonic() >= recipe.deadline:
            if step > first:
                _save(path, step, model, average, optimizer)
            raise OutOfTimeError(name, step, recipe.steps)
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * _schedule(step, fresh, recipe)
        loss, figures = step_loss(step, generator)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"{name}: the loss is {loss.item()} at step {step}")
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        _update_average(average, model, min(recipe.ema_decay, (1 + step) / (10 + step)))
        if step % CURVE_EVERY == 0:
            figures = {"loss": loss.item(), **figures}
            _append(folder / f"{name}.csv", {"step": float(step), **figures})
            bar.set_postfix({key: f"{value:.4f}" for key, value in figures.items()}, refresh=False)
        if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == recipe.steps:
            _save(path, step + 1, model, average, optimizer)
    return average


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write "step", "model", "average" and, unless it is to start anew, "optimizer"; or nothing."""
    with whole(path) as partial:
        torch.save(state, partial)


def _schedule(step: int, fresh: int, recipe: Recipe) -> float:
    """Half a cosine from `warmup` steps on, down to 2%; linear warm-up since step `fresh`."""
    t = max(0, step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    warm = min(1.0, (step + 1 - fresh) / max(1, recipe.warmup))
    return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * t)))


def _age(optimizer: torch.optim.Optimizer) -> int:
    """How many steps the optimizer has taken; kept in its own state, so checkpoints hold it."""
    return max((int(state["step"]) for state in optimizer.state.values()), default=0)


@torch.no_grad()
def _update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    pairs = zip(average.parameters(), model.parameters(), strict=True)
    for averaged, current in pairs:
        averaged.lerp_(current, 1 - decay)
    for kept, buffer in zip(average.buffers(), model.buffers(), strict=True):
        kept.copy_(buffer)


def _save(
    path: Path, step: int, model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    state = {"step": step, "model": model.state_dict(), "average": average.state_dict()}
    write_checkpoint(path, {**state, "optimizer": optimizer.state_dict()})


def _load(
    path: Path, model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer
) -> int:
    state = torch.load(path, map_location="cpu", weights_only=True)
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
