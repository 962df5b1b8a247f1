"""How many multiplications one picture costs: the pocket model's and Stable Diffusion 1.5's.

Counted, not timed: both models are built without memory (PyTorch's "meta" device), run once, and
PyTorch counts the multiply-accumulates of every convolution, matrix product and attention.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel

from sdlesson.pocket.paths import POCKET_FOLDER

GUIDED_STEPS = 20

SD15_UNET = {
    "sample_size": 64,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
"""What SD 1.5's configuration says beyond diffusers' defaults, which are SD 1.x's."""
SD15_VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 512,
}
SD15_TEXT = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates of each part, run once for one picture, and the number of weights."""

    text_encoder: int
    unet: int
    vae_decoder: int
    parameters: int

    @property
    def one_picture(self) -> int:
        """One picture at `GUIDED_STEPS`: two passes of text encoder and, each step, of U-Net."""
        return 2 * self.text_encoder + 2 * GUIDED_STEPS * self.unet + self.vae_decoder


@cache
def pocket_macs() -> Macs:
    """The pocket model at 128 x 128, from its committed configurations."""
    unet = UNet2DConditionModel.load_config(POCKET_FOLDER / "unet")
    vae = AutoencoderKL.load_config(POCKET_FOLDER / "vae")
    text = json.loads((Path(POCKET_FOLDER) / "text_encoder" / "config.json").read_text())
    return _count_parts(unet, vae, text)


@cache
def sd15_macs() -> Macs:
    """Stable Diffusion 1.5 at 512 x 512."""
    return _count_parts(SD15_UNET, SD15_VAE, SD15_TEXT)


def macs_ratio() -> float:
    """How many times more arithmetic SD 1.5 spends on one picture."""
    return sd15_macs().one_picture / pocket_macs().one_picture


def _count_parts(unet_config: dict, vae_config: dict, text_config: dict) -> Macs:
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(unet_config)
        vae = AutoencoderKL.from_config(vae_config)
        text_encoder = CLIPTextModel(CLIPTextConfig(**text_config))
        size = unet.config.sample_size
        latents = torch.empty(1, 4, size, size)
        window = text_encoder.config.max_position_embeddings
        embeddings = torch.empty(1, window, unet.config.cross_attention_dim)
        input_ids = torch.zeros(1, window, dtype=torch.long)
        timesteps = torch.zeros(1, dtype=torch.long)
    return Macs(
        text_encoder=_count_macs(lambda: text_encoder(input_ids)),
        unet=_count_macs(lambda: unet(latents, timesteps, embeddings)),
        vae_decoder=_count_macs(lambda: vae.decode(latents)),
        parameters=sum(p.numel() for m in (unet, vae, text_encoder) for p in m.parameters()),
    )


def _count_macs(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    return counter.get_total_flops() // 2  # the counter counts a product and a sum as two
