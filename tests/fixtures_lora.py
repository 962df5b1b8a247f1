"""LoRAs of random numbers, for what needs no training."""

import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig

from sdlesson.diffusion import draw_noise, embed
from sdlesson.finetuning.adapters import ATTENTION_TARGETS, TEXT_ENCODER_TARGETS
from sdlesson.finetuning.lora_saving import write_lora


def add_lora(
    pipe,
    name,
    *,
    rank=4,
    alpha=4,
    text_encoder=False,
    targets=ATTENTION_TARGETS,
    strength=0.1,
    seed=0,
    **config,
):
    """Put a LoRA on a pipeline whose up matrices are noise, so that it changes something."""
    generator = torch.Generator().manual_seed(seed)
    parts = [
        (pipe.unet, LoraConfig(r=rank, target_modules=list(targets), lora_alpha=alpha, **config))
    ]
    if text_encoder:
        peft_config = LoraConfig(
            r=rank, target_modules=list(TEXT_ENCODER_TARGETS), lora_alpha=alpha
        )
        parts.append((pipe.text_encoder, peft_config))
    for part, peft_config in parts:
        part.add_adapter(peft_config, adapter_name=name)
        for parameter_name, parameter in part.named_parameters():
            if f".lora_A.{name}." in parameter_name:
                parameter.data = torch.randn(parameter.shape, generator=generator) / 8
            if f".lora_B.{name}." in parameter_name:
                parameter.data = strength * torch.randn(parameter.shape, generator=generator)


@torch.no_grad()
def predict(pipe):
    """The noise that a pipeline predicts for one prompt and some latents."""
    latents = draw_noise(pipe, 1, torch.Generator().manual_seed(1))
    return pipe.unet(latents, 500, encoder_hidden_states=embed(pipe, ["a robot"])).sample


def unit_lora(path, rank=4):
    """A LoRA of ones for the U-Net of Stable Diffusion 1.5, whose weights are not needed."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8)
    tensors = {}
    for name, module in unet.named_modules():
        if name.endswith(ATTENTION_TARGETS):
            tensors[f"unet.{name}.lora_A.weight"] = torch.ones(rank, module.in_features)
            tensors[f"unet.{name}.lora_B.weight"] = torch.ones(module.out_features, rank)
    return write_lora(path, tensors, {"format": "pt"})
