"""What is to be taught, to which pipeline, from which photos: opened, checked, and given a name.

A training job is all that `train` was asked to do. Its `identity` is what a checkpoint is compared
with, so that a training never goes on from the checkpoint of another one.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from io import IOBase
from pathlib import Path
from typing import TypeAlias, TypeGuard, cast

import numpy as np
from diffusers import StableDiffusionPipeline
from PIL import Image

from sdlesson.diffusion import fresh_scheduler
from sdlesson.finetuning.training_settings import TrainingSettings
from sdlesson.images import to_pixels
from sdlesson.photos import HEIC_SUFFIXES, PhotoError, PhotoSource, flatten, open_photo
from sdlesson.pipelines import LEARNED
from sdlesson.prompts import cut_words
from sdlesson.settings import check_letters, check_size

MIN_PHOTOS = 2

PhotoSources: TypeAlias = PhotoSource | Iterable[PhotoSource]
"""Pictures, or what `load_photos` takes."""


@dataclass(frozen=True, eq=False)
class TrainingJob:
    """One training, whether begun or not, with everything checked.

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
            digest.update(np.asarray(photo).tobytes())
        return plain | {
            "photos": digest.hexdigest(),
            "prompts": list(self.prompts),
            "model": self.model,
        }


def make_training_job(
    pipe: StableDiffusionPipeline,
    photos: PhotoSources,
    settings: TrainingSettings,
    folder: str | os.PathLike[str],
    prompts: str | Sequence[str] | None,
) -> TrainingJob:
    """Check what a training is given, before anything is spent, and make its folder.

    Raises:
        ValueError: There are no photos, or of several sizes; a prompt is missing, too long, or
            without the rare word; or the model predicts something other than noise.
    """
    pictures = _open(pipe, photos)
    to_pixels(pictures)  # refuses sizes that differ
    width, height = pictures[0].size
    check_size(height=height, width=width)
    fresh_scheduler(pipe)  # refuses a model that does not predict noise
    texts = _as_texts(settings.instance_prompt if prompts is None else prompts, len(pictures))
    for text in texts:
        _check_prompt(pipe, text, settings.word)
    return TrainingJob(pipe, pictures, texts, settings, _make_folder(folder))


def load_photos(sources: PhotoSources, *, size: int) -> list[Image.Image]:
    """Open photos as RGB pictures of size x size, in the order given.

    They are turned as their camera says, laid on white where they are see-through, cropped to the
    square in their middle and resized.

    Args:
        sources: Paths, bytes of files, open files or PIL images; or one folder, of which all
            pictures are taken in the order of their names.
        size: Pixels a side, such as 128 for the pocket model and 512 for SD 1.5.

    Raises:
        PhotoError: There are no photos, or only one, or two are the same; or one of them is
            missing, empty, damaged, too large, too small, or no photo.
        ValueError: The size is none.
    """
    if size is None:
        raise ValueError("size=None must be the photos' side in pixels, such as 128")
    check_size(size=size)
    named = _name_each(sources)
    photos = [open_photo(source, size=size, name=name) for name, source in named]
    if len(named) < MIN_PHOTOS:
        raise _too_few(sources, named)
    _check_different([name for name, _ in named], photos)
    return photos


def is_single_source(sources: object) -> TypeGuard[PhotoSource]:
    """Whether this is one photo or a folder of them, and not a list, though it has parts."""
    return isinstance(sources, str | os.PathLike | bytes | bytearray | Image.Image | IOBase)


def is_picture_file(path: Path) -> bool:
    """Whether a file of a folder is meant: not what the system leaves there, nor a text."""
    known = path.suffix.lower() in {*Image.registered_extensions(), *HEIC_SUFFIXES}
    return known and path.is_file() and not path.name.startswith(".")


def photo_name(source: object, number: int) -> str:
    """What errors call a photo: its file, or its number."""
    if isinstance(source, str | os.PathLike):
        return Path(source).name or str(source)
    path = getattr(source, "filename", "") or getattr(source, "name", "")  # of PIL; of a file
    return Path(path).name if isinstance(path, str) and path else f"photo {number}"


def _open(pipe: StableDiffusionPipeline, photos: PhotoSources) -> list[Image.Image]:
    """Photos as RGB pictures: those that are pictures at their own size, others at the model's."""
    if is_single_source(photos) or not isinstance(photos, Iterable):
        return load_photos(photos, size=_own_size(pipe))
    given = list(cast("Iterable[PhotoSource]", photos))
    if not given:
        raise ValueError("there are no photos: give three to five of the thing to be learned")
    pictures = [photo for photo in given if isinstance(photo, Image.Image)]
    if len(pictures) < len(given):
        return load_photos(given, size=_own_size(pipe))
    return [flatten(photo, photo_name(photo, n)) for n, photo in enumerate(pictures, start=1)]


def _own_size(pipe: StableDiffusionPipeline) -> int:
    return int(pipe.unet.config.sample_size * pipe.vae_scale_factor)


def _as_texts(prompts: object, count: int) -> list[str]:
    """A prompt for each photo; one text alone is for all of them."""
    texts = [prompts] * count if isinstance(prompts, str) else prompts
    is_list = isinstance(texts, Iterable) and not isinstance(texts, bytes | Set | Mapping)
    texts = list(texts) if is_list else [texts]  # type: ignore[call-overload]
    for text in texts:
        if not isinstance(text, str):
            raise ValueError(
                f"prompts={prompts!r} must be a text, or a list with one for each photo"
            )
    if len(texts) != count:
        raise ValueError(f"{len(texts)} prompts for {count} photos; give one for each")
    return [str(text) for text in texts]  # numpy has texts of its own


def _make_folder(folder: str | os.PathLike[str]) -> Path:
    if not isinstance(folder, str | os.PathLike) or not os.fspath(folder):
        raise ValueError(f"folder={folder!r} must name a folder for the checkpoint")
    try:
        place = Path(folder)
        is_file = place.exists() and not place.is_dir()
        if not is_file:
            place.mkdir(parents=True, exist_ok=True)
    except (OSError, TypeError, ValueError) as error:  # too long, of bytes, with a null byte
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"folder={folder!r} cannot be made ({reason}); name another") from error
    if is_file:
        raise ValueError(f"{place} is a file; name a folder for the checkpoint")
    return place


def _name_the_class(prompt: str, settings: TrainingSettings) -> str:
    """Take the rare word out of a prompt; where it stands alone, the class takes its place."""
    is_named = _find_class(settings.class_noun).search(prompt)
    plain = _find(settings.word).sub(lambda _: "" if is_named else settings.class_noun, prompt)
    return " ".join(plain.split())


def _find(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE)


def _find_class(noun: str) -> re.Pattern[str]:
    """The class as words of their own, one or several of it: no car is in "carpet"."""
    words = r"\s+".join(map(re.escape, noun.split()))
    return re.compile(rf"(?<![\w-]){words}(e?s)?(?![\w-])", re.IGNORECASE)


def _check_prompt(pipe: StableDiffusionPipeline, prompt: str, word: str) -> None:
    check_letters(prompts=prompt)
    if not _find(word).search(prompt):
        raise ValueError(
            f"the prompt {prompt!r} lacks the word {word!r}, which is to name what the photo shows"
        )
    if cut := cut_words(pipe.tokenizer, prompt):
        raise ValueError(f"the prompt {prompt!r} is too long: the model would not read {cut!r}")


def _name_each(sources: PhotoSources) -> list[tuple[str, PhotoSource]]:
    """Each photo with the name that errors call it."""
    if isinstance(sources, str | os.PathLike) and os.path.isdir(sources):  # noqa: PTH112
        return [
            (path.name, path) for path in sorted(Path(sources).iterdir()) if is_picture_file(path)
        ]
    if is_single_source(sources) or not isinstance(sources, Iterable):
        return [(photo_name(sources, 1), sources)]
    listed = cast("Iterable[PhotoSource]", sources)
    return [(photo_name(source, number), source) for number, source in enumerate(listed, start=1)]


def _check_different(names: Sequence[str], photos: Sequence[Image.Image]) -> None:
    first: dict[bytes, str] = {}
    for name, photo in zip(names, photos, strict=True):
        twin = first.setdefault(photo.tobytes(), name)
        if twin is not name:
            raise PhotoError(
                f"{name} shows the same as {twin}: given twice, it counts double; leave it out",
                f"{name} muestra lo mismo que {twin}: repetida, cuenta el doble; quítala",
            )


def _too_few(sources: PhotoSources, named: Sequence[tuple[str, PhotoSource]]) -> PhotoError:
    if named:
        ((name, _),) = named
        return PhotoError(
            f"{name} is the only photo, and the model would learn its background and pose with it; "
            "take three to five, each in another place",
            f"{name} es la única foto, y el modelo aprendería con ella su fondo y su postura; "
            "haz de tres a cinco, cada una en otro sitio",
        )
    where = f" in {sources}" if isinstance(sources, str | os.PathLike) else ""
    donde = f" en {sources}" if isinstance(sources, str | os.PathLike) else ""
    return PhotoError(
        f"there are no photos{where}: give three to five of one thing",
        f"no hay fotos{donde}: da de tres a cinco de una misma cosa",
    )
