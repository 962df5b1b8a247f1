"""What measures the pocket model: the probe, and a CLIP pair, both trained on real scenes."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

from sdlesson.pocket.training.dataset import to_unit_pixels
from sdlesson.pocket.training.loop import Recipe, fit
from sdlesson.pocket.training.tokenizer import WINDOW_TOKENS, tokenize
from sdlesson.pocket.world.grammar import LANGUAGES, loose_caption
from sdlesson.pocket.world.scenes import (
    COLOURED,
    COLOURS,
    MAX_COUNT,
    PLACES,
    SIZE_PX,
    STYLES,
    SUBJECTS,
    Scene,
    scene_at,
)
from sdlesson.probe import Labels, Probe

PROBE_RECIPE = Recipe(steps=4_500, batch=64, learning_rate=2e-3, ema_decay=0.995)
CLIP_RECIPE = Recipe(steps=1_200, batch=128, learning_rate=1e-3, ema_decay=0.995)
KINDS = ("single", "beside", "riding", "sniffing")
WIDTH = 128
PROJECTION = 96

IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)
IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)
"""OpenAI CLIP's, so that one image processor serves both scorers."""

LABELS = Labels(SUBJECTS, PLACES, STYLES, KINDS, COLOURED, COLOURS, MAX_COUNT)


def train_probe(
    bank: np.ndarray,
    held_out_bank: np.ndarray,
    folder: Path,
    device: str,
    recipe: Recipe = PROBE_RECIPE,
    scene_seed: int = 0,
) -> Probe:
    """Train the probe on every scene, held-out ones included: it measures, it does not draw."""
    torch.manual_seed(recipe.seed)
    probe = Probe(LABELS).to(device)
    probe.trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    known = len(bank)

    def step_loss(step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        index = torch.randint(known + len(held_out_bank), (recipe.batch,), generator=generator)
        rows, scenes = [], []
        for i in index.tolist():
            rows.append(bank[i] if i < known else held_out_bank[i - known])
            scenes.append(scene_at(i % known, scene_seed, held_out=i >= known))
        pixels = augment(to_unit_pixels(np.stack(rows)), generator).to(device)
        with torch.autocast(device, torch.bfloat16):
            logits = probe(pixels.to(memory_format=torch.channels_last))
        logits = {name: value.float() for name, value in logits.items()}
        targets = {name: value.to(device) for name, value in _targets(scenes).items()}
        losses = {
            "subjects": 20
            * F.binary_cross_entropy_with_logits(logits["subjects"], targets["subjects"]),
            "hat": F.binary_cross_entropy_with_logits(logits["hat"], targets["hat"]),
            "colours": F.cross_entropy(
                logits["colours"].view(-1, len(COLOURS)), targets["colours"], ignore_index=-1
            )
            if (targets["colours"] >= 0).any()
            else logits["colours"].sum() * 0,
        }
        for name in ("place", "style", "kind", "count"):
            losses[name] = F.cross_entropy(logits[name], targets[name])
        found = logits["subjects"].gather(1, targets["first"][:, None]) > 0
        return torch.stack(list(losses.values())).sum(), {"found": found.float().mean().item()}

    return fit("probe", probe, step_loss, recipe, folder)


def new_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    """A CLIP of two small towers with random weights, for 128 x 128 pictures."""
    tower = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_attention_heads": 4}
    text = CLIPTextConfig(
        **tower,
        vocab_size=len(tokenizer),
        num_hidden_layers=3,
        max_position_embeddings=WINDOW_TOKENS,
        projection_dim=PROJECTION,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = CLIPVisionConfig(
        **tower, num_hidden_layers=4, image_size=SIZE_PX, patch_size=16, projection_dim=PROJECTION
    )
    return CLIPModel(
        CLIPConfig(
            text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=PROJECTION
        )
    )


def train_clip(
    tokenizer: CLIPTokenizer,
    bank: np.ndarray,
    folder: Path,
    device: str,
    recipe: Recipe = CLIP_RECIPE,
    scene_seed: int = 0,
) -> CLIPModel:
    """Contrastive learning over a batch (Radford et al. 2021, figure 3, arXiv:2103.00020)."""
    torch.manual_seed(recipe.seed)
    clip = new_clip(tokenizer).to(device)

    def step_loss(step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        index = torch.randint(len(bank), (recipe.batch,), generator=generator).tolist()
        pixels = augment(to_unit_pixels(np.stack([bank[i] for i in index])), generator)
        chance = random.Random(int(torch.randint(2**31, (1,), generator=generator)))
        captions = [
            loose_caption(scene_at(i, scene_seed), chance.choice(LANGUAGES), chance) for i in index
        ]
        with torch.autocast(device, torch.bfloat16):
            output = clip(
                input_ids=tokenize(tokenizer, captions).to(device),
                pixel_values=clip_pixels(pixels).to(device),
            )
        logits = output.logits_per_text.float()
        own = torch.arange(len(index), device=device)
        loss = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
        return loss, {"matched": (logits.argmax(1) == own).float().mean().item()}

    return fit("clip", clip, step_loss, recipe, folder)


def clip_pixels(pixels: Tensor) -> Tensor:
    """Pixels in [-1, 1] as CLIP wants them: in [0, 1], then less the mean, over the deviation."""
    mean, std = (
        torch.tensor(v, device=pixels.device).view(1, 3, 1, 1) for v in (IMAGE_MEAN, IMAGE_STD)
    )
    return ((pixels + 1) / 2 - mean) / std


def augment(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Blur and grain of a random strength, so that a VAE's softness is nothing new to a scorer."""
    keep = torch.rand(len(pixels), 1, 1, 1, generator=generator)
    blurred = F.avg_pool2d(F.pad(pixels, (2, 2, 2, 2), mode="replicate"), 5, 1)
    grain = 0.06 * torch.rand(len(pixels), 1, 1, 1, generator=generator)
    noise = torch.randn(pixels.shape, generator=generator)
    return keep * pixels + (1 - keep) * blurred + grain * noise


def _targets(scenes: list[Scene]) -> dict[str, Tensor]:
    """What each head should answer; -1 where a colour does not apply."""
    present = torch.zeros(len(scenes), len(SUBJECTS))
    colours = torch.full((len(scenes), len(COLOURED)), -1)
    for row, scene in enumerate(scenes):
        for name, colour in zip(scene.subjects, scene.colours, strict=True):
            present[row, SUBJECTS.index(name)] = 1
            visible = scene.style in ("plain", "monet", "pixel")  # the other styles hide colour
            if colour is not None and visible:
                colours[row, COLOURED.index(name)] = COLOURS.index(colour)
    return {
        "subjects": present,
        "first": torch.tensor([SUBJECTS.index(s.subjects[0]) for s in scenes]),
        "place": torch.tensor([PLACES.index(s.place) for s in scenes]),
        "style": torch.tensor([STYLES.index(s.style) for s in scenes]),
        "kind": torch.tensor([KINDS.index(s.kind) for s in scenes]),
        "count": torch.tensor([s.count - 1 for s in scenes]),
        "hat": torch.tensor([[float(any(s.hats))] for s in scenes]),
        "colours": colours.view(-1),
    }
