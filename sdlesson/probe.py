"""The probe: a small network that reads off a picture what the pocket world would call it.

It is how this course measures: a prompt names subjects, a place, a style; the probe, trained on
real scenes of the pocket world, says what a generated picture shows. It knows nothing else, and
always answers with something from its own lists.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sdlesson.downloads import ModelError
from sdlesson.images import list_pictures
from sdlesson.settings import MAX_BATCH, check_whole

SIZE_PX = 128
"""Width and height of every scene of the pocket world, and of what the probe is shown."""


@dataclass(frozen=True)
class Labels:
    """The lists that the probe chooses from, in the order of its outputs."""

    subjects: tuple[str, ...]
    places: tuple[str, ...]
    styles: tuple[str, ...]
    kinds: tuple[str, ...]
    coloured: tuple[str, ...]
    colours: tuple[str, ...]
    max_count: int

    def sizes(self) -> dict[str, int]:
        """The number of outputs of each head."""
        return {
            "subjects": len(self.subjects),
            "place": len(self.places),
            "style": len(self.styles),
            "kind": len(self.kinds),
            "count": self.max_count,
            "hat": 1,
            "colours": len(self.coloured) * len(self.colours),
        }


@dataclass(frozen=True)
class Reading:
    """What the probe sees in one picture.

    Attributes:
        subjects: Every subject with its probability of being there, most probable first.
        kind: "single", "beside", "riding" or "sniffing".
        count: How many of a single subject.
        hat: Probability that someone wears a hat.
        colours: The colour of each coloured subject, if that subject is there.
    """

    subjects: dict[str, float]
    place: str
    style: str
    kind: str
    count: int
    hat: float
    colours: dict[str, str]

    def top(self, n: int) -> frozenset[str]:
        """The `n` most probable subjects."""
        return frozenset(list(self.subjects)[:n])


class Probe(nn.Module):
    """Strided convolutions, then one linear head for each question."""

    def __init__(self, labels: Labels, width: int = 32) -> None:
        super().__init__()
        self.labels = labels
        channels = (3, width, 2 * width, 3 * width, 4 * width, 5 * width)
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(pairwise(channels)):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(8, after), nn.SiLU()]
            if i:
                layers += [nn.Conv2d(after, after, 3, 1, 1), nn.GroupNorm(8, after), nn.SiLU()]
        self.trunk = nn.Sequential(*layers)
        features = 2 * channels[-1]
        self.heads = nn.ModuleDict(
            {name: nn.Linear(features, size) for name, size in labels.sizes().items()}
        )

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Logits of every head for pixels (B, 3, 128, 128) in [-1, 1]."""
        maps = self.trunk(pixels)
        features = torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)
        return {name: head(features) for name, head in self.heads.items()}

    @torch.no_grad()
    def read(self, images: Sequence[Image.Image], batch: int = 64) -> list[Reading]:
        """Read pictures of any size; they are resized to 128 x 128.

        Raises:
            ValueError: It is no list of pictures, or one of them cannot be read.
        """
        check_whole(1, MAX_BATCH, 64, batch=batch)
        device, images = next(self.parameters()).device, list_pictures(images)
        readings: list[Reading] = []
        for start in range(0, len(images), batch):
            pixels = torch.stack([_pixels(image) for image in images[start : start + batch]])
            logits = self(pixels.to(device))
            rows = {name: value.float().cpu() for name, value in logits.items()}
            readings += [
                self._reading({name: value[i] for name, value in rows.items()})
                for i in range(len(pixels))
            ]
        return readings

    def _reading(self, logits: dict[str, Tensor]) -> Reading:
        labels = self.labels
        present = logits["subjects"].sigmoid()
        order = present.argsort(descending=True).tolist()
        colours = logits["colours"].view(len(labels.coloured), len(labels.colours)).argmax(1)
        return Reading(
            subjects={labels.subjects[i]: present[i].item() for i in order},
            place=labels.places[logits["place"].argmax()],
            style=labels.styles[logits["style"].argmax()],
            kind=labels.kinds[logits["kind"].argmax()],
            count=int(logits["count"].argmax()) + 1,
            hat=logits["hat"].sigmoid().item(),
            colours={
                name: labels.colours[i]
                for name, i in zip(labels.coloured, colours.tolist(), strict=True)
            },
        )

    def save(self, path: Path) -> None:
        """Write weights in half precision with the labels as metadata."""
        weights = {name: value.half().contiguous() for name, value in self.state_dict().items()}
        save_file(weights, path, {"labels": json.dumps(vars(self.labels))})


def load_probe(path: Path, device: str = "cpu") -> Probe:
    """Load a probe in fp32 from the file that `Probe.save` wrote.

    Raises:
        ModelError: It is no such file, or damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            fields: dict[str, Any] = json.loads(file.metadata()["labels"])
        max_count = int(fields.pop("max_count"))
        labels = Labels(**{name: tuple(v) for name, v in fields.items()}, max_count=max_count)
        probe = Probe(labels)
        probe.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    except Exception as error:  # it is read by several libraries, each with errors of its own
        raise ModelError(f"{path} holds no probe that Probe.save wrote; use pocket_probe()") from (
            error
        )
    return probe.to(device).eval().requires_grad_(False)


def _pixels(image: Image.Image) -> Tensor:
    resized = image.resize((SIZE_PX, SIZE_PX), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.asarray(resized).copy()).permute(2, 0, 1).float() / 127.5 - 1
