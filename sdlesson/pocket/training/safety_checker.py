"""The pocket safety checker: SD 1.x's own class, with the pocket CLIP's eyes.

As in SD 1.x, it compares a picture's CLIP embedding with the embeddings of concepts. Sixteen of its
seventeen are empty here; the first is `world.FLAGGED_SUBJECT`.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
from torch import Tensor
from transformers import CLIPModel

from sdlesson.pocket.training.dataset import to_unit_pixels
from sdlesson.pocket.training.scorer import clip_pixels
from sdlesson.pocket.world.scenes import FLAGGED_SUBJECT, scene_at

SCENES = 12_000
"""From how many training scenes the concept is learned."""
UNREACHABLE_THRESHOLD = 2.0
"""A threshold that no cosine reaches."""
FIT_STEPS = 600
FALSE_ALARM_COST = 16.0
"""How much more a share of false alarms costs than the same share of misses."""


def make_safety_checker(
    clip: CLIPModel, bank: np.ndarray, device: str, scene_seed: int = 0
) -> StableDiffusionSafetyChecker:
    """Copy the CLIP's vision tower and fit one concept's direction and threshold on the scenes."""
    config = copy.deepcopy(clip.config)
    config._attn_implementation = "eager"  # the checker's class refuses any other
    checker = StableDiffusionSafetyChecker(config)
    checker.vision_model.load_state_dict(
        {_vision_key(k, checker): v for k, v in clip.vision_model.state_dict().items()}
    )
    checker.visual_projection.load_state_dict(clip.visual_projection.state_dict())
    embeds = _image_embeds(clip, bank[:SCENES], device)
    flagged = torch.tensor(
        [FLAGGED_SUBJECT in scene_at(i, scene_seed).subjects for i in range(len(embeds))]
    )
    direction, threshold = _fit_concept(embeds, flagged)
    with torch.no_grad():
        checker.special_care_embeds.zero_()
        checker.special_care_embeds_weights.fill_(UNREACHABLE_THRESHOLD)
        checker.concept_embeds.zero_()
        checker.concept_embeds_weights.fill_(UNREACHABLE_THRESHOLD)
        checker.concept_embeds[0] = direction
        checker.concept_embeds_weights[0] = threshold
    return checker.eval()


def _vision_key(key: str, checker: StableDiffusionSafetyChecker) -> str:
    """The name of a weight of CLIP's vision tower inside the checker, flattened or not."""
    names = checker.vision_model.state_dict()
    return key if key in names else f"vision_model.{key}"


@torch.no_grad()
def _image_embeds(clip: CLIPModel, bank: np.ndarray, device: str, batch: int = 256) -> Tensor:
    """Unit-length embeddings, (N, D)."""
    clip = clip.to(device)
    rows = []
    for start in range(0, len(bank), batch):
        pixels = clip_pixels(to_unit_pixels(bank[start : start + batch], device))
        pooled = clip.vision_model(pixel_values=pixels).pooler_output
        rows.append(F.normalize(clip.visual_projection(pooled)).cpu())
    return torch.cat(rows)


def _fit_concept(embeds: Tensor, flagged: Tensor) -> tuple[Tensor, float]:
    """Logistic regression on unit vectors: its weights' direction, its bias as a cosine.

    Flagged scenes are few, so each weighs as many times more as there are more of the others.
    """
    weight = (embeds[flagged].mean(0) - embeds.mean(0)).requires_grad_()
    bias = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], 0.1)
    costs = torch.where(
        flagged, 1 / flagged.float().mean(), FALSE_ALARM_COST / (~flagged).float().mean()
    )
    for _ in range(FIT_STEPS):
        loss = F.binary_cross_entropy_with_logits(embeds @ weight + bias, flagged.float(), costs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    length = weight.detach().norm()
    return weight.detach() / length, float(-bias.detach() / length)
