"""Which model and LoRA a request is drawn with: the user's choice, the lot's, or what is left."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from telegram import InlineKeyboardButton as Button

from sdlesson.bot.requests import Request
from sdlesson.bot.store import UserRecord
from sdlesson.bot_service.models.catalogue import Catalogue

UP, DOWN = "👍", "👎"
VOTE = "vote:"


class Chosen(NamedTuple):
    """What draws for a user.

    Attributes:
        gone: What the user had chosen, or a button says, and is no longer offered; "" for nothing.
    """

    model: str
    lora: str = ""
    gone: str = ""


class ModelChoice:
    """Decides what draws for whom."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    def of_user(self, user_id: int, user: UserRecord) -> Chosen:
        """Say with what a user's new requests are drawn."""
        if user.model and user.model not in self.catalogue.sources:
            return Chosen(self.catalogue.assigned(user_id), gone=user.model)
        model = user.model or self.catalogue.assigned(user_id)
        if user.lora and user.lora not in self.catalogue.loras_of(model):
            return Chosen(model, gone=user.lora)
        return Chosen(model, user.lora)

    def settle(self, user_id: int, user: UserRecord, request: Request) -> tuple[Request, str]:
        """Write into a request what draws it; a button's request says that already.

        Returns:
            The request, the same one if it needs no change, and what is no longer offered.
        """
        if request.model in self.catalogue.sources:
            if not request.lora or request.lora in self.catalogue.loras_of(request.model):
                return request, ""
            return replace(request, lora=""), request.lora
        chosen = self.of_user(user_id, user)
        settled = replace(request, model=chosen.model, lora=chosen.lora)
        return settled, request.model or chosen.gone

    def is_by_lot(self, user_id: int, user: UserRecord, request: Request) -> bool:
        """Whether a request counts for the comparison of two models: nobody chose its model."""
        by_lot = self.catalogue.is_by_lot(user_id, request.model, request.lora)
        return by_lot and not user.model


def thumbs(job_id: str, up: str = UP, down: str = DOWN) -> list[Button]:
    """Make the row of two thumbs below a picture."""
    return [
        Button(up, callback_data=f"{VOTE}{job_id}+"),
        Button(down, callback_data=f"{VOTE}{job_id}-"),
    ]
