"""What the operator offers: models, the LoRAs that fit each, and who draws with which by lot."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sdlesson.bot_service.configuration import Configuration

KEY_CHARS = 8  # of a button's 64 bytes; a model's name may be as long as it likes
LOTS = 2**64


@dataclass(frozen=True)
class OfferedLora:
    """A LoRA that users may choose.

    Attributes:
        file: Where it is.
        model: The model that it is for, as users know it.
        scale: How strongly it is applied.
    """

    file: Path
    model: str
    scale: float = 1.0


@dataclass(frozen=True)
class Catalogue:
    """What users may choose; who has not chosen gets the first model, or one by lot.

    Attributes:
        sources: What each model is loaded from, by the name that users know it by.
        loras: The LoRAs, by their names.
        ab_share: The share of users that each of two models gets; empty where nothing is compared.
        ab_salt: Another one deals all users out anew.
        controlnets: The folders of ControlNets by the models that follow outlines with them, or
            "default" for the one that was made for a model.
    """

    sources: Mapping[str, str]
    loras: Mapping[str, OfferedLora] = field(default_factory=dict)
    ab_share: Mapping[str, float] = field(default_factory=dict)
    ab_salt: str = ""
    controlnets: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def only(cls, model: str) -> Catalogue:
        """Make the catalogue of a bot with one model."""
        return cls({model: model})

    @property
    def default(self) -> str:
        """The model of who has not chosen, where none is compared with another."""
        return next(iter(self.sources))

    @property
    def has_choice(self) -> bool:
        """Whether there is more than one way to draw."""
        return len(self.sources) > 1 or bool(self.loras)

    def loras_of(self, model: str) -> list[str]:
        """List the LoRAs that fit a model."""
        return [name for name, lora in self.loras.items() if lora.model == model]

    def assigned(self, user_id: int) -> str:
        """Say with which model a user draws who has not chosen one.

        The lot is a hash of the user's number: the same after every restart and on every machine,
        with nothing to remember, and independent of other bots' lots by the salt.
        """
        if not self.ab_share:
            return self.default
        digest = hashlib.sha256(f"{self.ab_salt}:{user_id}".encode()).digest()
        lot = int.from_bytes(digest[:8], "big") / LOTS  # even in [0, 1)
        first, second = (name for name in self.sources if name in self.ab_share)
        return first if lot < self.ab_share[first] else second

    def is_by_lot(self, user_id: int, model: str, lora: str) -> bool:
        """Whether a picture counts for the comparison: drawn with the model that the lot says."""
        return bool(self.ab_share) and not lora and model == self.assigned(user_id)

    def find_model(self, written: str) -> str | None:
        """Find a model by its name, in capitals or not, or by its button's key."""
        return _find(self.sources, written)

    def model_of_lora(self, written: str) -> str | None:
        """Say for which model a LoRA is; None where there is none of this name."""
        found = _find({name: name for name in self.loras}, written)
        return self.loras[found].model if found else None

    def find_lora(self, model: str, written: str) -> str | None:
        """Find a LoRA that fits a model by its name, in capitals or not, or its button's key."""
        return _find({name: name for name in self.loras_of(model)}, written)


def read_catalogue(configuration: Configuration) -> Catalogue:
    """Make the catalogue of the operator's settings.

    Raises:
        ValueError: Users could not tell two models apart.
    """
    from sdlesson.pipelines import short_name  # late, since it loads torch

    names = {source: short_name(source) for source in configuration.models}
    if len(set(names.values())) < len(names):
        raise ValueError(
            f"models names two that users would both know as "
            f"{next(one for one in names.values() if list(names.values()).count(one) > 1)!r}; "
            "rename one's folder"
        )
    return Catalogue(
        {name: source for source, name in names.items()},
        {
            name: OfferedLora(one.file, names[one.model or configuration.models[0]], one.scale)
            for name, one in configuration.loras.items()
        },
        {names[source]: share for source, share in configuration.ab_share.items()},
        configuration.ab_salt,
        {names[source]: folder for source, folder in configuration.controlnets.items()},
    )


def key_of(name: str) -> str:
    """Name a model or a LoRA in a button."""
    return hashlib.sha256(name.encode()).hexdigest()[:KEY_CHARS]


def full_name(model: str, lora: str) -> str:
    """Name what draws in a picture's own settings."""
    return f"{model} + {lora}" if lora else model


def _find(names: Mapping[str, str], written: str) -> str | None:
    wanted = written.strip().casefold()
    return next((one for one in names if wanted in (one.casefold(), key_of(one))), None)
