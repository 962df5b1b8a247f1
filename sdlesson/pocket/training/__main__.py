"""`make pocket`: train everything from nothing, or go on from the last checkpoint.

Stages, in order: scenes, vae, probe, clip, decoder, denoiser, export. Each leaves its work in the
checkpoint folder and is passed over when it is done; `--help` has the options. With `--minutes` the
training stops by itself and says what is left; the same command goes on from there. Several
processes of one thread share a training, here two of them:

    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 -m sdlesson.pocket.training
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from transformers import CLIPTokenizer

from sdlesson.pocket.paths import HOME
from sdlesson.pocket.training import autoencoder, denoiser, scorer, sharpening
from sdlesson.pocket.training.dataset import render_scenes
from sdlesson.pocket.training.export import export_model
from sdlesson.pocket.training.loop import (
    OutOfTimeError,
    Recipe,
    add_training_options,
    is_first_process,
    process_count,
    read_checkpoint,
    write_checkpoint,
)
from sdlesson.pocket.training.tokenizer import train_tokenizer

SCENES = 40_000
HELD_OUT_SHARE = 10
"""One held-out scene for the probe to so many training scenes."""
STAGES = ("scenes", "vae", "probe", "clip", "decoder", "denoiser", "export")


def main(arguments: list[str] | None = None) -> None:
    """Run the stages asked for, all of them by default."""
    options = _options(arguments)
    if "RANK" in os.environ:  # started by torchrun
        dist.init_process_group("gloo", timeout=timedelta(hours=2))
    try:
        _run(options)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _run(options: argparse.Namespace) -> None:
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    started = datetime.now(UTC)
    deadline = time.monotonic() + 60 * options.minutes
    bank = _made_by_first_process(lambda: render_scenes(folder, options.scenes, options.seed))
    tokenizer = train_tokenizer(seed=options.seed)
    try:
        _train(options, bank, tokenizer, deadline)
    except OutOfTimeError as stop:
        left = [stage for stage in STAGES[STAGES.index(stop.name) :] if stage in options.stages]
        if is_first_process():
            print(f"{stop}; left: {', '.join(left)}. The same command goes on from there.")
        return
    finally:
        if is_first_process():
            _log_run(folder, options, started)
    if "export" in options.stages and is_first_process():
        export_model(folder, bank, tokenizer, options.device, options.seed, options.output)


def _train(
    options: argparse.Namespace, bank: np.ndarray, tokenizer: CLIPTokenizer, deadline: float
) -> None:
    """Run the stages that learn."""
    folder, device = options.folder, options.device

    def recipe(default: Recipe) -> Recipe:
        return dataclasses.replace(
            default,
            steps=max(1, round(default.steps * options.scale)),
            batch=default.batch // process_count(),
            seed=options.seed,
            deadline=deadline,
        )

    if "vae" in options.stages:
        autoencoder.train_autoencoder(bank, folder, device, recipe(autoencoder.RECIPE))
    if "probe" in options.stages:
        count = max(1, options.scenes // HELD_OUT_SHARE)
        held_out = _made_by_first_process(
            lambda: render_scenes(folder, count, options.seed, held_out=True)
        )
        scorer.train_probe(
            bank, held_out, folder, device, recipe(scorer.PROBE_RECIPE), options.seed
        )
    if "clip" in options.stages:
        scorer.train_clip(tokenizer, bank, folder, device, recipe(scorer.CLIP_RECIPE), options.seed)
    if not {"decoder", "denoiser"} & set(options.stages):
        return
    latents, scaling_factor = _made_by_first_process(
        lambda: _stored_latents(bank, folder, device, recipe(autoencoder.RECIPE))
    )
    if "decoder" in options.stages:
        vae = autoencoder.train_autoencoder(bank, folder, device, recipe(autoencoder.RECIPE))
        vae.register_to_config(scaling_factor=scaling_factor)
        sharpening.sharpen_decoder(vae, bank, latents, folder, device, recipe(sharpening.RECIPE))
    if "denoiser" in options.stages:
        denoiser.train_denoiser(
            tokenizer,
            latents,
            scaling_factor,
            folder,
            device,
            recipe(denoiser.RECIPE),
            options.seed,
        )


Stored = TypeVar("Stored")


def _made_by_first_process(make_or_open: Callable[[], Stored]) -> Stored:
    """Let the first process make what the others then open."""
    stored = make_or_open() if is_first_process() else None
    if dist.is_initialized():
        dist.barrier()
    return make_or_open() if stored is None else stored


def _stored_latents(
    bank: np.ndarray, folder: Path, device: str, recipe: Recipe
) -> tuple[tuple[torch.Tensor, torch.Tensor], float]:
    """Encode every scene once with the finished VAE and keep the result."""
    path = folder / "latents.pt"
    if not path.exists():
        vae = autoencoder.train_autoencoder(bank, folder, device, recipe)
        means, stds = autoencoder.encode_scenes(vae, bank, device)
        factor = float(vae.config.scaling_factor)
        write_checkpoint(path, {"means": means, "stds": stds, "scaling_factor": factor})
    stored = read_checkpoint(path)
    return (stored["means"], stored["stds"]), stored["scaling_factor"]


def _log_run(folder: Path, options: argparse.Namespace, started: datetime) -> None:
    """Note what was run, on what, and for how long; the model card is made from this."""
    device = (
        torch.cuda.get_device_name()
        if options.device == "cuda"
        else f"CPU, processes: {process_count()}, threads of each: {torch.get_num_threads()}"
    )
    row = {
        "stages": list(options.stages),
        "device": device,
        "started": started.isoformat(timespec="seconds"),
        "minutes": round((datetime.now(UTC) - started).total_seconds() / 60, 1),
    }
    with (folder / "runs.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sdlesson.pocket.training", description=__doc__)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    add_training_options(parser, output=HOME, scenes=SCENES)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
