"""Checkpoints that travel: averaged weights in half precision, in files below 15 MB, no optimizer.

A machine lent for some minutes gives back little: a few files, none of them large.
`python -m tools.half_checkpoints pack CHECKPOINTS FOLDER` writes them there, and
`python -m tools.half_checkpoints unpack FOLDER CHECKPOINTS` makes them checkpoints again, from
which training goes on under a new optimizer. `lease.sh` does both, and the training between.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from sdlesson.downloads import ModelError
from sdlesson.pocket.training.loop import read_checkpoint, write_checkpoint

TRAINED_STAGES = ("vae", "probe", "clip", "decoder", "denoiser")
"""The stages that leave weights."""
MAX_SHARD_BYTES = 15_000_000
MAX_FILES = 8
LOGS_FILE = "logs.json"
"""The curves and the list of runs: {file name: text}."""

Weights = dict[str, Tensor]


def pack(checkpoints: Path, out: Path) -> None:
    """Write the half checkpoints of every stage that has a checkpoint, and the logs.

    Raises:
        ValueError: It would take more than `MAX_FILES` files.
    """
    out.mkdir(parents=True, exist_ok=True)
    for stage in TRAINED_STAGES:
        for old in _shard_paths(out, stage):
            old.unlink()
        if (checkpoints / f"{stage}.pt").exists():
            _pack_stage(checkpoints / f"{stage}.pt", out)
    logs = [*sorted(checkpoints.glob("*.csv")), *checkpoints.glob("runs.jsonl")]
    texts = {path.name: path.read_text(encoding="utf-8") for path in logs}
    (out / LOGS_FILE).write_text(json.dumps(texts), encoding="utf-8")
    count = 1 + sum(len(_shard_paths(out, stage)) for stage in TRAINED_STAGES)
    if count > MAX_FILES:
        raise ValueError(f"the half checkpoints fill {count} files, and {MAX_FILES} may travel")


def unpack(folder: Path, checkpoints: Path) -> dict[str, int]:
    """Make whole checkpoints of those in a folder; one that is as far or further already stays.

    Returns:
        The step of each checkpoint made.

    Raises:
        ModelError: Half checkpoints are missing or damaged; no checkpoint was touched.
    """
    found = {
        stage: _unpack_stage(folder, stage)
        for stage in TRAINED_STAGES
        if _shard_paths(folder, stage)
    }
    if not found:
        raise ModelError(
            f"{folder} holds no half checkpoints, such as {_shard_name(TRAINED_STAGES[0], 1, 1)}"
        )
    logs = _read_logs(folder)
    checkpoints.mkdir(parents=True, exist_ok=True)
    made = {}
    for stage, (step, average) in found.items():
        if step > _step(checkpoints / f"{stage}.pt"):
            state = {"step": step, "model": average, "average": average}
            write_checkpoint(checkpoints / f"{stage}.pt", state)
            made[stage] = step
    if "vae" in made:
        (checkpoints / "latents.pt").unlink(missing_ok=True)  # they came from another VAE
    _unpack_logs(logs, checkpoints, made)
    return made


def _pack_stage(checkpoint: Path, out: Path) -> None:
    state = read_checkpoint(checkpoint)
    shards: list[Weights] = [{}]
    room = MAX_SHARD_BYTES
    for name, value in state["average"].items():
        half = value.half() if value.is_floating_point() else value
        if half.nbytes > room:
            shards.append({})
            room = MAX_SHARD_BYTES
        shards[-1][name] = half.contiguous()
        room -= half.nbytes
    stage, step, count = checkpoint.stem, state["step"], len(shards)
    for number, shard in enumerate(shards, 1):
        about = {"stage": stage, "step": str(step), "shard": str(number), "shards": str(count)}
        save_file(shard, out / _shard_name(stage, number, count), about)


def _unpack_stage(folder: Path, stage: str) -> tuple[int, Weights]:
    """The step and the averaged weights, in single precision again."""
    average: Weights = {}
    packings = set()
    for path in _shard_paths(folder, stage):
        step, count, shard = _read_shard(path)
        packings.add((step, count))
        average |= shard
    if len(packings) > 1:
        raise ModelError(
            f"the half checkpoints of {stage} in {folder} are of several packings, at steps "
            f"{', '.join(str(step) for step, _ in sorted(packings))}; leave those of one there"
        )
    ((step, count),) = packings
    for number in range(1, count + 1):
        path = folder / _shard_name(stage, number, count)
        if not path.exists():
            raise ModelError(f"{path} is missing; copy it there too")
    return step, average


def _read_shard(path: Path) -> tuple[int, int, Weights]:
    """A shard's step, the number of shards of its stage, and its weights."""
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata()
        shard = {name: _to_single_precision(value) for name, value in load_file(path).items()}
        return int(about["step"]), int(about["shards"]), shard
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path} is damaged ({error}); copy it again") from error


def _to_single_precision(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value


def _shard_name(stage: str, number: int, count: int) -> str:
    return f"{stage}-{number}-of-{count}.safetensors"


def _shard_paths(folder: Path, stage: str) -> list[Path]:
    return sorted(folder.glob(f"{stage}-*-of-*.safetensors"))


def _read_logs(folder: Path) -> dict[str, str]:
    path = folder / LOGS_FILE
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise ModelError(f"{path} is damaged ({error}); copy it again, or remove it") from error


def _step(checkpoint: Path) -> int:
    """How far a checkpoint is; -1 if there is none."""
    if not checkpoint.exists():
        return -1
    return int(torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["step"])


def _unpack_logs(logs: dict[str, str], checkpoints: Path, stages: Iterable[str]) -> None:
    """Write the curves of these stages, and add the runs that the list does not hold yet."""
    for name in {f"{stage}.csv" for stage in stages} & set(logs):
        (checkpoints / name).write_text(logs[name], encoding="utf-8")
    runs = checkpoints / "runs.jsonl"
    known = runs.read_text(encoding="utf-8").splitlines() if runs.exists() else []
    new = [line for line in logs.get(runs.name, "").splitlines() if line not in known]
    runs.write_text("".join(f"{line}\n" for line in [*known, *new]), encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Pack or unpack, from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.half_checkpoints")
    parser.add_argument("action", choices=("pack", "unpack"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args(arguments)
    try:
        if options.action == "pack":
            pack(options.source, options.target)
            return
        for stage, step in unpack(options.source, options.target).items():
            print(f"{stage} goes on from step {step:,}")
    except (ModelError, OSError, ValueError) as error:
        sys.exit(f"{parser.prog}: {error}")


if __name__ == "__main__":
    main()
