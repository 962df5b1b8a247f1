"""The two networks that look at a picture: the probe, which names, and a CLIP, which compares."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from sdlesson import downloads, hub
from sdlesson.images import list_pictures
from sdlesson.probe import Probe, load_probe
from sdlesson.runtime import best_device, quiet_libraries
from sdlesson.settings import list_texts

OPENAI_CLIP = downloads.Source(
    "openai/clip-vit-base-patch32", "c237dc49a33fc61debc9276459120b7eac67e7ef"
)
"""At the revision that holds its weights as safetensors; the main branch holds a pickle."""

WEIGHTS = "model.safetensors"
BATCH = 32


@cache
def pocket_probe() -> Probe:
    """The probe of the pocket model's world; `read(images)` says what each picture shows.

    It always answers from its own lists, whatever it is shown, and it was trained on real scenes:
    of a blurred picture, or of another world, its answers mean little. On real scenes it errs too,
    and that is the ceiling of every figure it gives. It runs on the CPU, to read the same
    everywhere.

    Raises:
        ModelError: Its file is missing or damaged.
    """
    downloads.verify_folder(hub.SCORER_FOLDER)
    return load_probe(hub.SCORER_FOLDER / "probe.safetensors")


@dataclass(frozen=True)
class ClipScorer:
    """A CLIP, which puts pictures and texts into one space; `clip_scorer` loads one.

    Its vectors have unit length, so that the product of two is the cosine of their angle.

    Source: Radford et al. 2021, figure 3, arXiv:2103.00020.
    """

    model: CLIPModel
    tokenizer: CLIPTokenizer
    image_processor: CLIPImageProcessorPil

    @torch.no_grad()
    def embed_images(self, images: Sequence[Image.Image]) -> Tensor:
        """Embed pictures of any size: (N, D), on the CPU. CLIP sees the square in the middle."""
        rows, pictures = [], list_pictures(images)
        if not pictures:
            raise ValueError("images=[] hold nothing to embed; give at least one")
        for start in range(0, len(pictures), BATCH):
            batch = pictures[start : start + BATCH]
            inputs = self.image_processor(batch, return_tensors="pt").to(self.model.device)
            rows.append(_unit(self.model.get_image_features(**inputs).pooler_output))
        return torch.cat(rows)

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Embed texts: (N, D), on the CPU. What is longer than CLIP's window is cut."""
        rows, texts = [], list_texts(texts=texts)
        for start in range(0, len(texts), BATCH):
            inputs = self.tokenizer(
                texts[start : start + BATCH],
                padding="max_length",
                max_length=self.model.config.text_config.max_position_embeddings,
                truncation=True,
                return_tensors="pt",
            ).to(self.model.device)
            rows.append(_unit(self.model.get_text_features(**inputs).pooler_output))
        return torch.cat(rows)


def clip_scorer(name: str | os.PathLike[str] = "pocket") -> ClipScorer:
    """Load a CLIP, once, onto the best device: the pocket's own, OpenAI's, or another.

    Args:
        name: "pocket", "openai/clip-vit-base-patch32" (600 MB), a Hub id or a folder.

    Raises:
        ModelError: It cannot be had or is damaged.
    """
    return _load_clip(_checked_name(name))


def clip_score(
    images: Sequence[Image.Image], prompts: str | Sequence[str], *, scorer: str = "pocket"
) -> list[float]:
    """How well each picture fits its prompt, from 0 to 100: 100 * max(cosine, 0).

    The paper multiplies by 2.5; torchmetrics, and so most reports, by 100. It rewards naming over
    composition: who rides whom matters little to it. A picture can be made to please one CLIP
    and nobody else. No score is good in itself, and scores of two CLIPs do not compare: compare
    settings, on the same prompts.

    Args:
        images: Pictures of any size.
        prompts: One for each picture, or one for all.
        scorer: What `clip_scorer` takes.

    Raises:
        ValueError: Pictures and prompts differ in number.

    Source: Hessel et al. 2021, section 3, arXiv:2104.08718.
    """
    images = list_pictures(images)
    texts = list_texts(prompts=prompts) if prompts or images else []
    texts *= len(images) if isinstance(prompts, str) else 1
    if len(texts) != len(images):
        raise ValueError(f"{len(texts)} prompts for {len(images)} images; give one for each")
    if not texts:
        return []
    clip = clip_scorer(scorer)
    cosines = (clip.embed_images(images) * clip.embed_texts(texts)).sum(1)
    return (100 * cosines.clamp(min=0)).tolist()


def image_similarity(
    images: Sequence[Image.Image], references: Sequence[Image.Image], *, scorer: str = "pocket"
) -> list[float]:
    """How like the references each picture is: its mean cosine to them, in [-1, 1].

    DreamBooth's CLIP-I: whether a picture shows the thing that the references show. It sees the
    whole picture, so a thing moved to another place is less like them than the same thing where
    they show it, and a copy of a reference is the most like of all: read it beside `diversity`.
    What is high is what the references reach among themselves, not 1.

    Args:
        images: Pictures of any size.
        references: Pictures of the thing, none of them among `images`.
        scorer: What `clip_scorer` takes.

    Raises:
        ValueError: There are no references.

    Source: Ruiz et al. 2023, section 4.1, arXiv:2208.12242.
    """
    images, references = list_pictures(images), list_pictures(references)
    if not references:
        raise ValueError("references=[] leave nothing to be like; give at least one picture")
    if not images:
        return []
    clip = clip_scorer(scorer)
    cosines = clip.embed_images(images) @ clip.embed_images(references).T  # (N, M)
    return cosines.mean(1).tolist()


def diversity(images: Sequence[Image.Image], *, scorer: str = "pocket") -> float:
    """How different pictures of one prompt are: the mean of 1 - cosine over pairs, in [0, 2].

    It is 0 where all are the same, and says nothing of quality: failures are diverse. It sees
    what its CLIP sees, so what no caption mentions may not count. Pairs share pictures, so for an
    interval take the `mean` over prompts.

    Raises:
        ValueError: There are fewer than two pictures.

    Source: Zhu et al. 2017, section 5.2, arXiv:1711.11586 (with LPIPS, where we use a CLIP).
    """
    images = list_pictures(images)
    n = len(images)
    if n < 2:
        raise ValueError(f"{n} images cannot differ from each other; give at least 2")
    features = clip_scorer(scorer).embed_images(images).double()
    cosines = features @ features.T  # (N, N), with ones on the diagonal
    return 1 - ((cosines.sum() - cosines.trace()) / (n * (n - 1))).item()


def _checked_name(name: str | os.PathLike[str]) -> str:
    if not isinstance(name, str | os.PathLike):
        raise ValueError(f"scorer={name!r} must be 'pocket', a Hub id or a folder")
    return os.fspath(name)


@cache
def _load_clip(name: str) -> ClipScorer:
    folder = _clip_folder(name)
    try:
        with quiet_libraries():
            model = CLIPModel.from_pretrained(folder, use_safetensors=True, local_files_only=True)
            tokenizer = CLIPTokenizer.from_pretrained(folder)
            # By name: the same with torchvision or not.
            image_processor = CLIPImageProcessorPil.from_pretrained(folder)
    except Exception as error:  # three libraries read these files, each with errors of its own
        reason = str(error).strip().split("\n")[0]
        raise downloads.ModelError(
            f"{folder} does not load: a file in it is missing or damaged ({reason}); "
            "delete the folder and download or save the model again"
        ) from error
    return ClipScorer(model.float().eval().to(best_device()), tokenizer, image_processor)


def _unit(features: Tensor) -> Tensor:
    """Vectors of unit length, on the CPU."""
    return torch.nn.functional.normalize(features, dim=1).cpu()


def _clip_folder(name: str) -> Path:
    if name == "pocket":
        downloads.verify_folder(hub.SCORER_FOLDER)
        return hub.SCORER_FOLDER / "clip"
    if hub.is_folder(name):
        return _check_clip(Path(name))
    source = OPENAI_CLIP if name == OPENAI_CLIP.repo_id else downloads.Source(name)
    return _check_clip(downloads.fetch(source, ["*.json", "*.txt", WEIGHTS]))


def _check_clip(folder: Path) -> Path:
    """Return the folder if it holds a CLIP with weights that are no pickle, and runs no code."""
    files = [folder / "config.json", folder / WEIGHTS]
    is_clip = all(file.is_file() for file in files)
    if is_clip:
        hub.check_parts(folder)
        is_clip = hub.read_json(files[0]).get("model_type") == "clip"
    if not is_clip:
        raise downloads.ModelError(
            f"{folder} holds no CLIP with a {WEIGHTS}; use 'pocket' or {OPENAI_CLIP.repo_id}"
        )
    return folder
