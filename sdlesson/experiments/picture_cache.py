"""The finished pictures of a sweep, so that an interrupted one goes on where it was."""

import hashlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from weakref import WeakKeyDictionary

import diffusers
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor, nn

from sdlesson.diffusion import fresh_scheduler
from sdlesson.drawing import Drawing
from sdlesson.experiments.batched_drawing import Drawn, PictureSettings
from sdlesson.images import check_output, read_settings, save_png
from sdlesson.pipelines import model_name

Finished = tuple[Drawing, float]
"""A picture, and the seconds that it took."""

MAX_NAME_CHARS = 40  # of the prompt, in the name of a file

Sweeps = dict[frozenset[str], dict[str, Finished]]
"""What sweeps have drawn until now, by all the pictures that each was asked for."""

_unfinished: WeakKeyDictionary[StableDiffusionPipeline, Sweeps] = WeakKeyDictionary()


class PictureCache:
    """Pictures found by all that decides them: the settings, and the weights as they are now.

    With a folder they are PNGs that carry all of it; without one they are kept in memory, for as
    long as the pipeline is, until the sweep that asked for them is complete.
    """

    def __init__(
        self,
        pipe: StableDiffusionPipeline,
        folder: str | os.PathLike[str] | None,
        asked: Iterable[PictureSettings],
    ) -> None:
        self._pipe = pipe
        self._folder = None if folder is None else _make_folder(folder)
        self._weights = fingerprint(pipe)
        self._sweeps = _unfinished.setdefault(pipe, {})
        self._name = frozenset(_digest(self._identity(settings)) for settings in asked)
        # Each sweep keeps its own: what another one shares with it, that one's end leaves here.
        self._kept = {} if self._folder else self._sweeps.setdefault(self._name, {})

    def find(self, settings: PictureSettings) -> Finished | None:
        """Return the picture of these settings, if it was drawn before."""
        identity = self._identity(settings)
        if self._folder is None:
            return self._find_in_memory(_digest(identity))
        path = self._folder / _file_name(settings, identity)
        try:
            found = read_settings(path)
            if not identity.items() <= found.items():
                return None
            return Drawing.load(path), float(found["seconds"])
        except Exception:  # none yet, or damaged: what a decoder raises depends on where
            return None

    def add(self, drawn: Drawn) -> Finished:
        """Keep a picture that was just drawn."""
        settings, identity = drawn.settings, self._identity(drawn.settings)
        drawing = Drawing(
            image=drawn.image,
            prompt=settings.prompt,
            negative_prompt=settings.negative_prompt,
            seed=settings.seed,
            num_inference_steps=settings.num_inference_steps,
            guidance_scale=settings.guidance_scale,
            scheduler=settings.scheduler,
            model=model_name(self._pipe),
            flagged=drawn.flagged,
        )
        if self._folder is None:
            self._kept[_digest(identity)] = (drawing, drawn.seconds)
        else:
            text = drawing.settings | identity | {"seconds": str(drawn.seconds)}
            save_png(drawing.image, self._folder / _file_name(settings, identity), text)
        return drawing, drawn.seconds

    def close(self) -> None:
        """Let go of this sweep's pictures in memory: it is complete, and hands them out."""
        if self._folder is None:
            self._sweeps.pop(self._name, None)

    def _find_in_memory(self, name: str) -> Finished | None:
        """Look into all sweeps, and keep what is found in this one's own."""
        for kept in list(self._sweeps.values()):
            if name in kept:
                self._kept[name] = kept[name]
                return kept[name]
        return None

    def _identity(self, settings: PictureSettings) -> dict[str, str]:
        """Name all that decides a picture, as the text that its PNG carries."""
        scheduler = fresh_scheduler(self._pipe, settings.scheduler).to_json_string()
        return {name: str(value) for name, value in asdict(settings).items()} | {
            "model": model_name(self._pipe),
            "diffusers": diffusers.__version__,
            "fingerprint": _digest({"weights": self._weights, "scheduler": scheduler}),
        }


@torch.no_grad()
def fingerprint(pipe: StableDiffusionPipeline) -> str:
    """Twelve hex digits that change with any weight of a pipeline, and with a LoRA's strength."""
    lines = []
    for part, module in pipe.components.items():
        if not isinstance(module, nn.Module):
            lines.append(f"{part} {type(module).__name__}")
            continue
        for name, tensor in module.state_dict().items():
            lines.append(
                f"{part}.{name} {tensor.dtype} {tuple(tensor.shape)} {_sum_of_bits(tensor)}"
            )
        for name, layer in module.named_modules():
            if hasattr(layer, "scaling") and hasattr(layer, "active_adapters"):  # a LoRA's layer
                strength = layer.scaling, layer.active_adapters, layer.disable_adapters
                lines.append(f"{part}.{name} {strength}")
    return _digest(lines)


def _sum_of_bits(tensor: Tensor) -> int:
    """Add a tensor up as whole numbers, which is exact, and done where the tensor lies."""
    whole = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return int(tensor.view(whole[tensor.element_size()]).sum(dtype=torch.int64))


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def _file_name(settings: PictureSettings, identity: dict[str, str]) -> str:
    """Name a file so that a reader finds the prompt, and no two pictures share a name."""
    words = re.sub(r"\W+", "-", settings.prompt)[:MAX_NAME_CHARS].strip("-")
    return f"{words}-seed-{settings.seed}-{_digest(identity)}.png"


def _make_folder(folder: str | os.PathLike[str]) -> Path:
    """Return a folder that can be written to, made where it is missing."""
    if not isinstance(folder, str | os.PathLike) or not os.fspath(folder):
        raise ValueError(f"folder={folder!r} must be the path of a folder; try 'my_sweep'")
    try:
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, TypeError, ValueError) as error:  # such as bytes, or a path with a null byte
        reason = getattr(error, "strerror", None) or error
        raise ValueError(
            f"folder={str(folder)!r} cannot be made: {reason}; choose another"
        ) from error
    check_output(path / "picture.png")
    return path
