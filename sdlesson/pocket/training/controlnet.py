"""The pocket ControlNet: an outline beside the words, for the finished pocket model.

    python -m sdlesson.pocket.training.controlnet

reads the pocket model from its folder, trains, and writes `control/` beside it. The checkpoint
folder holds what it needs to go on after a stop; `--minutes` stops it. A new U-Net needs a new
ControlNet: it was trained to whisper to the old one.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import random
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor
from tqdm.auto import tqdm

from sdlesson.diffusion import add_noise
from sdlesson.downloads import write_checksums
from sdlesson.editing import Controlled, outline
from sdlesson.files import atomic_write
from sdlesson.metrics.tables import weights_digest
from sdlesson.pipelines import load_pipeline
from sdlesson.pocket.paths import CONTROL_FOLDER
from sdlesson.pocket.training.dataset import to_unit_pixels
from sdlesson.pocket.training.denoiser import loss_weights, training_caption, use_fast_layers
from sdlesson.pocket.training.loop import OutOfTimeError, Recipe, add_training_options, fit
from sdlesson.pocket.training.tokenizer import tokenize
from sdlesson.pocket.world.rendering import render
from sdlesson.pocket.world.scenes import scene_at

RECIPE = Recipe(steps=4_000, batch=32, learning_rate=5e-4, warmup=100, ema_decay=0.998)
SCENES = 8_000
CHUNK = 64
CONDITIONING_CHANNELS = (16, 32, 48, 64)
"""Widths on the way from the outline's pixels to latents; SD 1.5's end in 256."""
NOISY_SHARE = 0.5
"""How often the level of noise comes from the noisier half alone: there outlines are decided."""


def main(arguments: list[str] | None = None) -> None:
    """Train, or go on training, and write the ControlNet once it is done."""
    options = _options(arguments)
    folder: Path = options.folder / f"control-{weights_digest()}"
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + 60 * options.minutes
    pipe = load_pipeline("pocket", device=options.device, dtype=torch.float32)
    steps = max(1, round(RECIPE.steps * options.scale))
    recipe = dataclasses.replace(RECIPE, steps=steps, seed=options.seed, deadline=deadline)
    try:
        controlnet = train_controlnet(pipe, folder, recipe, options.scenes, options.seed)
    except OutOfTimeError as stop:
        print(f"{stop}; the same command goes on from there.")
        return
    save_controlnet(controlnet, options.output)


def new_controlnet(unet: UNet2DConditionModel) -> ControlNetModel:
    """Copy the first half of a U-Net, with convolutions of zeros behind it: 3.8 million weights."""
    return ControlNetModel.from_unet(
        unet, conditioning_embedding_out_channels=CONDITIONING_CHANNELS
    )


def train_controlnet(
    pipe: StableDiffusionPipeline,
    folder: Path,
    recipe: Recipe = RECIPE,
    scenes: int = SCENES,
    scene_seed: int = 0,
) -> ControlNetModel:
    """Noise prediction with the outline shown; U-Net, text encoder and VAE stay as they are.

    The outline is that of the scene without its style, so that words decide the style.
    """
    torch.manual_seed(recipe.seed)  # the first layers of the outline are drawn from it
    device = pipe.device.type
    lines, means, stds = _stored_scenes(pipe, folder, scenes, scene_seed)
    frozen = copy.deepcopy(pipe.unet).requires_grad_(False)
    controlnet = new_controlnet(frozen).to(device)
    use_fast_layers(frozen)
    use_fast_layers(controlnet)
    alphas_cumprod = pipe.scheduler.alphas_cumprod
    levels = len(alphas_cumprod)
    weights = loss_weights(alphas_cumprod / (1 - alphas_cumprod)).to(device)
    factor = pipe.vae.config.scaling_factor

    def step_loss(step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        index = torch.randint(len(means), (recipe.batch,), generator=generator)
        sample = torch.randn(stds[index].shape, generator=generator)
        clean = (means[index].float() + stds[index].float() * sample) * factor
        noise = torch.randn(clean.shape, generator=generator)
        noisier = torch.rand(recipe.batch, generator=generator) < NOISY_SHARE
        timesteps = torch.randint(levels, (recipe.batch,), generator=generator)
        timesteps = torch.where(noisier, levels // 2 + timesteps // 2, timesteps)
        noisy = add_noise(clean, noise, timesteps, alphas_cumprod)
        chance = random.Random(int(torch.randint(2**31, (1,), generator=generator)))
        captions = [training_caption(i, scene_seed, chance) for i in index.tolist()]
        with torch.no_grad(), torch.autocast(device, torch.bfloat16):
            input_ids = tokenize(pipe.tokenizer, captions).to(device)
            embeddings = pipe.text_encoder(input_ids).last_hidden_state
        unet = Controlled(frozen, controlnet, to_lines(lines[index.numpy()]))
        with torch.autocast(device, torch.bfloat16):
            noise_pred = unet(
                noisy.to(device), timesteps.to(device), encoder_hidden_states=embeddings
            ).sample
        errors = (noise_pred.float() - noise.to(device)).square().mean((1, 2, 3))
        loss = (weights[timesteps.to(device)] * errors).mean()
        return loss, {"mse": errors.mean().item()}

    return fit("control", controlnet, step_loss, recipe, folder)


def to_lines(packed: np.ndarray) -> Tensor:
    """Turn packed bits, (B, H, W/8), into outlines of three equal channels in [0, 1]."""
    bits = np.unpackbits(packed, axis=-1)[:, None]
    return torch.from_numpy(bits).float().expand(-1, 3, -1, -1)


def save_controlnet(controlnet: ControlNetModel, output: Path) -> None:
    """Write the folder in half precision, with its checksums."""
    controlnet.cpu().half().save_pretrained(output, safe_serialization=True)
    write_checksums(output)


@torch.no_grad()
def _stored_scenes(
    pipe: StableDiffusionPipeline, folder: Path, count: int, seed: int
) -> tuple[np.ndarray, Tensor, Tensor]:
    """Render and encode scenes, and draw their outlines, once; or open what was stored.

    Returns:
        Outlines as packed bits, (N, 128, 16), and means and standard deviations of the latents.
    """
    path = folder / f"control-scenes-{seed}-{count}.pt"
    if not path.exists():
        lines, means, stds = [], [], []
        for start in tqdm(range(0, count, CHUNK), "outlines", mininterval=5):
            scenes = [scene_at(i, seed) for i in range(start, min(start + CHUNK, count))]
            bare = [render(dataclasses.replace(scene, style="plain")) for scene in scenes]
            edges = np.stack([np.asarray(outline(image))[..., 0] > 0 for image in bare])
            lines.append(np.packbits(edges, axis=-1))
            styled = np.stack([np.asarray(render(scene)) for scene in scenes])
            posterior = pipe.vae.encode(to_unit_pixels(styled, pipe.device)).latent_dist
            means.append(posterior.mean.half().cpu())
            stds.append(posterior.std.half().cpu())
        stored = {
            "lines": torch.from_numpy(np.concatenate(lines)),
            "means": torch.cat(means),
            "stds": torch.cat(stds),
        }
        with atomic_write(path) as partial:
            torch.save(stored, partial)
    stored = torch.load(path, weights_only=True)
    return stored["lines"].numpy(), stored["means"], stored["stds"]


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m sdlesson.pocket.training.controlnet", description=__doc__
    )
    add_training_options(parser, output=CONTROL_FOLDER, scenes=SCENES)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
