"""Why the safety checker flags a picture: it is shown a copy, and nothing is blacked out.

The checker of Stable Diffusion 1.x compares a picture's CLIP embedding with those of concepts that
are not wanted. A pipeline blackens what it flags and gives no reason; the reason is two numbers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from sdlesson.copies import check_loaded
from sdlesson.images import list_pictures
from sdlesson.language import say

BATCH = 32

CAUTION = 0.01
"""By how much every threshold sinks when a picture resembles one of the special-care concepts."""


@dataclass(frozen=True)
class Flag:
    """What the checker makes of one picture, by the concept that decides.

    Attributes:
        concept: Its number in the checker's list, from 0; Stable Diffusion 1.5 names none of its.
        cosine: How much the picture resembles the concept, in [-1, 1].
        threshold: The cosine above which a picture is flagged.
    """

    concept: int
    cosine: float
    threshold: float

    @property
    def margin(self) -> float:
        """How far above the threshold, rounded as the checker rounds before it decides."""
        return round(self.cosine - self.threshold, 3)

    @property
    def flagged(self) -> bool:
        """Whether a pipeline would return a black picture."""
        return self.margin > 0

    def __str__(self) -> str:
        verdict = say("flagged", "marcada") if self.flagged else say("passes", "pasa")
        return f"{verdict}: {self.cosine:.3f} {'>' if self.flagged else '≤'} {self.threshold:.3f}"


def flags(pipe: StableDiffusionPipeline, images: Sequence[Image.Image]) -> list[Flag]:
    """Ask a pipeline's safety checker about pictures, which stay as they are.

    Raises:
        ValueError: The pipeline has no safety checker.

    Source: `StableDiffusionSafetyChecker.forward` in diffusers, whose verdict this explains.
    """
    if check_loaded(pipe).safety_checker is None:
        raise ValueError("this pipeline has no safety checker; load one with load_pipeline()")
    images = list_pictures(images)
    batches = range(0, len(images), BATCH)
    return [flag for start in batches for flag in _look(pipe, images[start : start + BATCH])]


def flag_note() -> str:
    """Say that a picture was flagged, and what to do."""
    return say(
        "The safety checker flagged this picture and blacked it out; it often errs: "
        "try another seed or other words.",
        "El filtro de seguridad marcó esta imagen y la dejó en negro; se equivoca a menudo: "
        "prueba otra semilla u otras palabras.",
    )


@torch.no_grad()
def _look(pipe: StableDiffusionPipeline, images: Sequence[Image.Image]) -> Iterator[Flag]:
    """Find the deciding concept of each picture: the one furthest above its threshold."""
    checker = pipe.safety_checker
    embeds = _embed(checker, pipe.feature_extractor(list(images), return_tensors="pt").pixel_values)
    cosines = _cosines(embeds, checker.concept_embeds)  # (B, concepts)
    special = _cosines(embeds, checker.special_care_embeds)
    excess = special - checker.special_care_embeds_weights.float().cpu()
    careful = (excess.round(decimals=3) > 0).any(dim=1, keepdim=True)  # (B, 1)
    thresholds = checker.concept_embeds_weights.float().cpu() - CAUTION * careful  # (B, concepts)
    deciding = (cosines - thresholds).argmax(dim=1)
    for row, concept in enumerate(deciding.tolist()):
        yield Flag(concept, cosines[row, concept].item(), thresholds[row, concept].item())


def _embed(checker: StableDiffusionSafetyChecker, clip_pixels: Tensor) -> Tensor:
    """Embed pictures as CLIP sees them, (B, 3, H, W), into (B, D)."""
    pooled = checker.vision_model(clip_pixels.to(checker.device, checker.dtype))[1]
    return checker.visual_projection(pooled)


def _cosines(embeds: Tensor, concepts: Tensor) -> Tensor:
    """Compare each of (B, D) with each of (N, D), in the checker's own precision: (B, N)."""
    return (normalize(embeds) @ normalize(concepts).T).float().cpu()
