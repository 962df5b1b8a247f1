"""`make pocket`: train everything from nothing, or go on from the last checkpoint.

Stages, in order: scenes, vae, probe, clip, denoiser, decoder, package. Each leaves its work in the
checkpoint folder and is passed over when it is done; `--help` has the options. With `--minutes` the
training stops by itself and says what is left; the same command goes on from there.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from transformers import CLIPTokenizer

from sdlesson.pocket import autoencoder, denoiser, scorer
from sdlesson.pocket.assembly import package
from sdlesson.pocket.loop import OutOfTimeError, Recipe
from sdlesson.pocket.scenes import render_scenes
from sdlesson.pocket.tokenizer import train_tokenizer
from sdlesson.runtime import best_device

SCENES = 40_000
HELD_OUT_SHARE = 10
"""One held-out scene for the probe to so many training scenes."""
STAGES = ("scenes", "vae", "probe", "clip", "denoiser", "decoder", "package")


def main(arguments: list[str] | None = None) -> None:
    """Run the stages asked for, all of them by default."""
    options = _options(arguments)
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    started = datetime.now(UTC)
    deadline = time.monotonic() + 60 * options.minutes
    bank = render_scenes(folder, options.scenes, options.seed)
    tokenizer = train_tokenizer(seed=options.seed)
    try:
        _train(options, bank, tokenizer, deadline)
    except OutOfTimeError as stop:
        left = [stage for stage in STAGES[STAGES.index(stop.name) :] if stage in options.stages]
        print(f"{stop}; left: {', '.join(left)}. The same command goes on from there.")
        return
    finally:
        _log(folder, options, started)
    if "package" in options.stages:
        package(folder, bank, tokenizer, options.device, options.seed, options.output)


def _train(
    options: argparse.Namespace, bank: np.ndarray, tokenizer: CLIPTokenizer, deadline: float
) -> None:
    """Run the stages that learn."""
    folder, device = options.folder, options.device

    def recipe(default: Recipe) -> Recipe:
        steps = max(1, round(default.steps * options.scale))
        return dataclasses.replace(default, steps=steps, seed=options.seed, deadline=deadline)

    if "vae" in options.stages:
        autoencoder.train_autoencoder(bank, folder, device, recipe(autoencoder.RECIPE))
    if "probe" in options.stages:
        count = max(1, options.scenes // HELD_OUT_SHARE)
        held_out = render_scenes(folder, count, options.seed, held_out=True)
        scorer.train_probe(
            bank, held_out, folder, device, recipe(scorer.PROBE_RECIPE), options.seed
        )
    if "clip" in options.stages:
        scorer.train_clip(tokenizer, bank, folder, device, recipe(scorer.CLIP_RECIPE), options.seed)
    if "denoiser" not in options.stages and "decoder" not in options.stages:
        return
    latents, scaling_factor = _stored_latents(bank, folder, device, recipe(autoencoder.RECIPE))
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
    if "decoder" in options.stages:
        vae = autoencoder.train_autoencoder(bank, folder, device, recipe(autoencoder.RECIPE))
        autoencoder.train_decoder(
            vae, bank, latents, folder, device, recipe(autoencoder.DECODER_RECIPE)
        )


def _stored_latents(
    bank: np.ndarray, folder: Path, device: str, recipe: Recipe
) -> tuple[tuple[torch.Tensor, torch.Tensor], float]:
    """Encode every scene once with the finished VAE and keep the result."""
    path = folder / "latents.pt"
    if not path.exists():
        vae = autoencoder.train_autoencoder(bank, folder, device, recipe)
        means, stds = autoencoder.encode_scenes(vae, bank, device)
        factor = float(vae.config.scaling_factor)
        torch.save({"means": means, "stds": stds, "scaling_factor": factor}, path)
    stored = torch.load(path, weights_only=True)
    return (stored["means"], stored["stds"]), stored["scaling_factor"]


def _log(folder: Path, options: argparse.Namespace, started: datetime) -> None:
    """Note what was run, on what, and for how long; the model card is made from this."""
    device = (
        torch.cuda.get_device_name()
        if options.device == "cuda"
        else f"CPU, {torch.get_num_threads()} threads"
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
    parser = argparse.ArgumentParser(prog="python -m sdlesson.pocket.train", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("checkpoints"))
    parser.add_argument("--output", type=Path, default=Path(__file__).parent)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--device", default=best_device())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--scale", type=float, default=1.0, help="of every stage's steps")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop training after this")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
