"""Checkpoints: a training on disk, whole or not at all, and only for the training that made it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sdlesson.files import atomic_write, check_zip
from sdlesson.finetuning.history import History, TrainingStep

CHECKPOINT_NAME = "checkpoint.pt"

Checkpoint = dict[str, Any]
"""What a checkpoint holds, in tensors and plain values alone."""


def read_checkpoint(folder: Path, identity: dict[str, object], steps: int) -> Checkpoint | None:
    """Read the checkpoint in a folder, if there is one.

    Raises:
        ValueError: It is damaged, of another training, or of one that took more steps than asked.
    """
    path = folder / CHECKPOINT_NAME
    if not path.exists():
        return None
    try:
        check_zip(path)
        state: Checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        made, done = state["identity"], int(state["done"])
    except Exception as error:  # torch and pickle have many, one for each kind of damage
        raise ValueError(f"{path} is damaged or no checkpoint; choose another folder") from error
    differ = sorted(name for name in identity if made.get(name) != identity[name])
    if differ:
        raise ValueError(
            f"{folder} holds a training with other {', '.join(differ)}; choose another folder, or "
            f"go on with {_describe(made, differ)}, where steps alone may grow"
        )
    if done > steps:
        raise ValueError(
            f"{folder} holds a training of {done} steps, steps={steps} is fewer; "
            f"choose another folder, or steps from {done}"
        )
    return state


def write_checkpoint(folder: Path, state: Checkpoint) -> None:
    """Put a checkpoint in the place of the one before, once it is whole.

    Raises:
        OSError: The disk is full or the folder cannot be written; the one before is kept.
    """
    try:
        with atomic_write(folder / CHECKPOINT_NAME) as partial, partial.open("wb") as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:  # torch wraps some of the system's own
        reason = str(error).strip().split("\n")[0]
        raise OSError(
            f"cannot save step {state['done']} in {folder} ({reason}): free some space or choose "
            "another folder, and call train again; the checkpoint before it is kept"
        ) from error


def pack_history(history: History) -> list[list[Any]]:
    """The history as plain lists, without its pictures."""
    return [
        [s.index, s.steps, s.loss, s.prior_loss, list(s.timesteps), list(s.errors), s.seconds]
        for s in history.steps
    ]


def unpack_history(rows: list[list[Any]]) -> History:
    """The history that `pack_history` packed."""
    return History(
        [
            TrainingStep(index, steps, loss, prior_loss, tuple(timesteps), tuple(errors), seconds)
            for index, steps, loss, prior_loss, timesteps, errors, seconds in rows
        ]
    )


def _describe(made: dict[str, object], names: list[str]) -> str:
    return ", ".join(
        "those photos" if name == "photos" else f"{name}={made.get(name)!r}" for name in names
    )
