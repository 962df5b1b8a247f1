"""What is to be taught, to which pipeline, from which photos: one job, checked, with its name."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from diffusers import StableDiffusionPipeline
from PIL import Image

from sdlesson.diffusion import fresh_scheduler
from sdlesson.finetuning.settings import TrainingSettings
from sdlesson.images import to_pixels
from sdlesson.pipelines import LEARNED
from sdlesson.prompts import cut_words
from sdlesson.settings import check_size


@dataclass(frozen=True, eq=False)
class Job:
    """One training, whether begun or not.

    Attributes:
        prompts: What each photo shows, in words, with the rare word among them.
        folder: For the checkpoint and the pictures of the class.
    """

    pipe: StableDiffusionPipeline
    photos: Sequence[Image.Image]
    prompts: Sequence[str]
    settings: TrainingSettings
    folder: Path

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the photos, in pixels."""
        width, height = self.photos[0].size
        return height, width

    @property
    def class_prompts(self) -> list[str]:
        """What each photo would show if the thing were any other of its kind."""
        return [_name_the_class(text, self.settings) for text in self.prompts]

    @property
    def model(self) -> str:
        """The name of the model before this training."""
        return str(self.pipe.name_or_path).removesuffix(f"{LEARNED}{self.settings.word}")

    @property
    def identity(self) -> dict[str, object]:
        """All that decides what the weights become, but for the number of steps."""
        plain = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self.settings).items()
            if name != "steps"
        }
        digest = hashlib.sha256(str(self.size).encode())
        for photo in self.photos:
            digest.update(np.asarray(photo.convert("RGB")).tobytes())
        return plain | {
            "photos": digest.hexdigest(),
            "prompts": list(self.prompts),
            "model": self.model,
        }


def make_job(
    pipe: StableDiffusionPipeline,
    photos: Sequence[Image.Image],
    settings: TrainingSettings,
    folder: str | os.PathLike[str],
    prompts: Sequence[str] | None,
) -> Job:
    """Check what a training is given, before anything is spent, and make its folder.

    Raises:
        ValueError: There are no photos, or of several sizes; a prompt is missing, too long, or
            without the rare word; or the model predicts something other than noise.
    """
    if not photos:
        raise ValueError("there are no photos: give three to five of the thing to be learned")
    to_pixels(photos)  # refuses sizes that differ
    width, height = photos[0].size
    check_size(height=height, width=width)
    fresh_scheduler(pipe)  # refuses a model that does not predict noise
    texts = [settings.instance_prompt] * len(photos) if prompts is None else list(prompts)
    if len(texts) != len(photos):
        raise ValueError(f"{len(texts)} prompts for {len(photos)} photos; give one for each")
    for text in texts:
        _check_prompt(pipe, text, settings.word)
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    return Job(pipe, photos, texts, settings, place)


def _name_the_class(prompt: str, settings: TrainingSettings) -> str:
    """Take the rare word out of a prompt; where it stands alone, the class takes its place."""
    is_named = settings.class_noun.casefold() in prompt.casefold()
    plain = _find(settings.word).sub("" if is_named else settings.class_noun, prompt)
    return " ".join(plain.split())


def _find(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE)


def _check_prompt(pipe: StableDiffusionPipeline, prompt: str, word: str) -> None:
    if not _find(word).search(prompt):
        raise ValueError(
            f"the prompt {prompt!r} lacks the word {word!r}, which is to name what the photo shows"
        )
    if cut := cut_words(pipe.tokenizer, prompt):
        raise ValueError(f"the prompt {prompt!r} is too long: the model would not read {cut!r}")
