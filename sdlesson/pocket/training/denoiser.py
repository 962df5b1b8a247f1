"""The pocket text encoder and U-Net, trained together on stored latents."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from diffusers import ControlNetModel, DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from sdlesson.diffusion import min_snr_weights
from sdlesson.pocket.training.group_norm import use_fast_group_norms
from sdlesson.pocket.training.loop import Recipe, fit
from sdlesson.pocket.training.tokenizer import WINDOW_TOKENS, tokenize
from sdlesson.pocket.world.grammar import LANGUAGES, loose_caption
from sdlesson.pocket.world.scenes import scene_at

RECIPE = Recipe(steps=16_000, batch=128, learning_rate=1e-3, warmup=300, ema_decay=0.999)
TEXT_WIDTH = 160
CAPTION_DROPOUT = 0.1
"""How often a caption is replaced by the empty text: what guidance is measured against."""
MIN_SNR_GAMMA = 5.0
MAX_BOOST = 6.0


def new_scheduler() -> DDIMScheduler:
    """SD 1.5's noise levels (scaled linear betas, 1000 steps, noise prediction), walked by DDIM."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,  # latents reach beyond 1
        set_alpha_to_one=False,
        steps_offset=1,
    )


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """CLIP's text tower with three layers of width 160 and random weights."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            projection_dim=TEXT_WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=WINDOW_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def new_unet() -> UNet2DConditionModel:
    """SD 1.x's U-Net with three levels and 8.7 million random weights."""
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(64, 128, 160),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,  # in SD 1.x configurations this is the *number* of heads
        norm_num_groups=16,
    )


class Denoiser(nn.Module):
    """Text encoder and U-Net as one thing to train."""

    def __init__(self, text_encoder: CLIPTextModel, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.unet = unet

    def forward(self, latents: Tensor, timesteps: Tensor, input_ids: Tensor) -> Tensor:
        """Predict the noise in `latents` (B, 4, 16, 16), given token ids (B, 32)."""
        embeddings = self.text_encoder(input_ids).last_hidden_state
        return self.unet(latents, timesteps, embeddings).sample


def train_denoiser(
    tokenizer: CLIPTokenizer,
    latents: tuple[Tensor, Tensor],
    scaling_factor: float,
    folder: Path,
    device: str,
    recipe: Recipe = RECIPE,
    scene_seed: int = 0,
) -> Denoiser:
    """Noise prediction, each level of noise weighed by `loss_weights`.

    Args:
        latents: Means and standard deviations of the scenes' latents, unscaled, (N, 4, 16, 16).
        scaling_factor: The VAE's.
        scene_seed: The seed the scenes were rendered with, from which their captions follow.
    """
    torch.manual_seed(recipe.seed)  # initial weights come from the global generator
    model = Denoiser(new_text_encoder(tokenizer), new_unet()).to(device)
    use_fast_layers(model.unet)
    model.text_encoder.set_attn_implementation("eager")
    scheduler = new_scheduler()
    alphas_cumprod = scheduler.alphas_cumprod
    snr = alphas_cumprod / (1 - alphas_cumprod)
    weights = loss_weights(snr).to(device)
    means, stds = latents

    def step_loss(step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        index = torch.randint(len(means), (recipe.batch,), generator=generator)
        sample = torch.randn(stds[index].shape, generator=generator)
        clean = (means[index].float() + stds[index].float() * sample) * scaling_factor
        noise = torch.randn(clean.shape, generator=generator)
        timesteps = stratified_timesteps(recipe.batch, len(snr), generator)
        noisy = scheduler.add_noise(clean, noise, timesteps)
        chance = random.Random(int(torch.randint(2**31, (1,), generator=generator)))
        captions = [training_caption(i, scene_seed, chance) for i in index.tolist()]
        input_ids = tokenize(tokenizer, captions).to(device)
        with torch.autocast(device, torch.bfloat16):
            noise_pred = model(noisy.to(device), timesteps.to(device), input_ids)
        errors = (noise_pred.float() - noise.to(device)).square().mean((1, 2, 3))
        loss = (weights[timesteps.to(device)] * errors).mean()
        return loss, {"mse": errors.mean().item()}

    return fit("denoiser", model, step_loss, recipe, folder)


def stratified_timesteps(batch: int, count: int, generator: torch.Generator) -> Tensor:
    """Timesteps in [0, count), one drawn from each of `batch` equal parts of the schedule, (B,).

    Every batch then meets all levels of noise, and its loss varies less by the levels it drew.

    Source: Kingma et al. 2021, appendix I.1, arXiv:2107.00630.
    """
    parts = torch.arange(batch) + torch.rand(batch, generator=generator)
    return (parts * count / batch).long().clamp(max=count - 1)


def use_fast_layers(model: UNet2DConditionModel | ControlNetModel) -> None:
    """Choose what trains fastest at these sizes on a CPU; what is saved does not change.

    PyTorch's fused attention costs a fifth of a step backwards here, its group norm as much.
    """
    model.to(memory_format=torch.channels_last)
    model.set_attn_processor(AttnProcessor())
    use_fast_group_norms(model)


def loss_weights(snr: Tensor) -> Tensor:
    """What an error in the noise predicted at each signal-to-noise ratio counts.

    Min-SNR, times 1 / sqrt(SNR) where noise prevails: about what EDM's levels give there (Karras
    et al. 2022, table 1, arXiv:2206.00364). That is where subjects and their places are decided,
    and min-SNR alone hardly asks for them.
    """
    return min_snr_weights(snr, MIN_SNR_GAMMA) / snr.clamp(max=1).sqrt().clamp(min=1 / MAX_BOOST)


def training_caption(index: int, seed: int, chance: random.Random) -> str:
    """One of the captions of a scene, in either language, or now and then none."""
    if chance.random() < CAPTION_DROPOUT:
        return ""
    return loose_caption(scene_at(index, seed), chance.choice(LANGUAGES), chance)
