"""What is known of a model without loading it: its size, its settings, a digest of its weights."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from sdlesson.bot.requests import Defaults, Request

if TYPE_CHECKING:
    from sdlesson.bot.generator import ImageGenerator


@dataclass(frozen=True)
class ModelCard:
    """One model.

    Attributes:
        model: What users know it by.
        size: Pixels a side of its pictures.
        defaults: The settings that suit it.
        has_control: Whether it can follow the outline of a photo.
        weights: A digest of all numbers that decide what it draws; "" where nobody took one.
        loras: A digest of each LoRA that is loaded with it.
    """

    model: str
    size: int
    defaults: Defaults
    has_control: bool = False
    weights: str = ""
    loras: Mapping[str, str] = field(default_factory=dict)


def cards_of(generator: ImageGenerator) -> Mapping[str, ModelCard]:
    """Return the card of each model that a generator draws with, the usual one first."""
    known: Mapping[str, ModelCard] | None = getattr(generator, "cards", None)
    if known:
        return known
    card = ModelCard(generator.model, generator.size, generator.defaults, generator.has_control)
    return {generator.model: card}


def weights_of(cards: Mapping[str, ModelCard], request: Request) -> str:
    """Name the numbers that draw a request; "" where they are not known."""
    card = cards.get(request.model)
    if card is None or not card.weights:
        return ""
    if not request.lora:
        return card.weights
    lora = card.loras.get(request.lora)
    return f"{card.weights}+{lora}" if lora else ""


def pack_cards(cards: Iterable[ModelCard]) -> str:
    """Write cards as JSON."""
    return json.dumps([asdict(card) for card in cards])


def unpack_cards(packed: bytes) -> dict[str, ModelCard]:
    """Read what `pack_cards` wrote, by the models' names."""
    read: list[dict[str, Any]] = json.loads(packed)
    known = {field.name for field in fields(ModelCard)}  # a newer worker may say more
    cards = [
        ModelCard(
            **{name: value for name, value in one.items() if name in known}
            | {"defaults": Defaults(**one["defaults"])}
        )
        for one in read
    ]
    return {card.model: card for card in cards}
