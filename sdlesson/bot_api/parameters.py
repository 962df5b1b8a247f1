"""The parameters of one call: from a query, a form, a multipart body or JSON, all checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sdlesson.bot_api.errors import Json, bad_request
from sdlesson.bot_api.files import Upload
from sdlesson.bot_api.formatting import parse_html

MAX_TEXT_CHARACTERS = 4096
MAX_CAPTION_CHARACTERS = 1024
MAX_CALLBACK_BYTES = 64
MAX_BUTTONS = 100


class Parameters:
    """What a bot gave with a call, by name."""

    def __init__(
        self, values: Mapping[str, str], uploads: Mapping[str, Upload] | None = None
    ) -> None:
        self.values, self.uploads = dict(values), dict(uploads or {})

    def text(self, name: str) -> str:
        """A parameter as it came; "" without it."""
        return self.values.get(name, "")

    def flag(self, name: str) -> bool:
        """Whether a parameter is true."""
        return self.text(name).lower() in ("true", "yes", "1")

    def integer(self, name: str, default: int = 0) -> int:
        """A number, or the default where there is none."""
        try:
            return int(self.text(name))
        except ValueError:
            return default

    def json(self, name: str, words: str) -> Any:
        """A parameter that is JSON itself; None without it.

        Raises:
            ApiError: It cannot be read; the words say what it should have been.
        """
        if not self.text(name):
            return None
        try:
            return json.loads(self.text(name))
        except ValueError as error:
            raise bad_request(f"can't parse {words} JSON object") from error

    def chat_id(self) -> int:
        """The chat that is meant.

        Raises:
            ApiError: None is, or not by its number.
        """
        if not self.text("chat_id"):
            raise bad_request("chat_id is empty")
        try:
            return int(self.text("chat_id"))
        except ValueError as error:
            raise bad_request("chat not found") from error

    def message_text(self, *, edits: bool = False) -> Json:
        """The text of a message, with its entities.

        Raises:
            ApiError: It is empty, too long, or not in the HTML that Telegram knows.
        """
        if not self.text("text"):
            raise bad_request("message text is empty")
        text, entities = _formatted(self.text("text"), self.text("parse_mode"), "entities", self)
        if not text:
            raise bad_request("text must be non-empty")
        if len(text) > MAX_TEXT_CHARACTERS:
            raise bad_request("MESSAGE_TOO_LONG" if edits else "message is too long")
        return {"text": text} | ({"entities": entities} if entities else {})

    def caption(self, given: Mapping[str, Any] | None = None, *, edits: bool = False) -> Json:
        """The caption of a photo or a file with its entities; nothing where there is none.

        Args:
            given: Where it stands, if not in the call itself: one of several media.
            edits: Whether it takes the place of another, for which the refusal differs.

        Raises:
            ApiError: It is too long, or not in the HTML that Telegram knows.
        """
        given = self.values if given is None else given
        text, entities = _formatted(
            str(given.get("caption", "")),
            str(given.get("parse_mode", "")),
            "caption_entities",
            self,
        )
        if len(text) > MAX_CAPTION_CHARACTERS:
            reason = "MEDIA_CAPTION_TOO_LONG" if edits else "message caption is too long"
            raise bad_request(reason)
        caption = {"caption": text} if text else {}
        return caption | ({"caption_entities": entities} if entities else {})

    def markup(self) -> Json:
        """The inline keyboard below a message; nothing where there is none.

        Raises:
            ApiError: It is not one, or a button is not as it must be.
        """
        markup = self.json("reply_markup", "reply keyboard markup")
        if markup is None:
            return {}
        if not isinstance(markup, dict):
            raise bad_request("object expected as reply markup")
        if set(markup) - {"inline_keyboard"}:
            raise bad_request("only inline keyboards can be shown by this stand-in for Telegram")
        rows = markup.get("inline_keyboard", [])
        if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
            name = 'field "inline_keyboard" of the InlineKeyboardMarkup'
            raise bad_request(f"{name} must be an Array of Arrays")
        if sum(map(len, rows)) > MAX_BUTTONS:
            raise bad_request("reply markup is too long")
        for row in rows:
            for button in row:
                _check_button(button)
        rows = [row for row in rows if row]
        return {"reply_markup": {"inline_keyboard": rows}} if rows else {}

    def reply_to(self) -> int | None:
        """The message that is answered, if one is.

        Raises:
            ApiError: What says so cannot be read.
        """
        given = self.json("reply_parameters", "reply parameters")
        if given is None:
            return self.integer("reply_to_message_id") or None
        if not isinstance(given, dict) or not isinstance(given.get("message_id"), int):
            raise bad_request("can't parse reply parameters JSON object")
        return given["message_id"]


def _formatted(text: str, parse_mode: str, name: str, call: Parameters) -> tuple[str, list[Json]]:
    """Text without its marks, and the entities they stand for, trimmed as Telegram trims it."""
    if not parse_mode:
        given = call.json(name, "entities") or []
        return (text, given) if given else (text.strip(), [])
    if parse_mode.lower() != "html":
        is_known = parse_mode.lower() in ("markdown", "markdownv2")
        missing = "this stand-in for Telegram reads HTML only"
        raise bad_request(missing if is_known else "unsupported parse_mode")
    plain, entities = parse_html(text.strip())
    return plain.rstrip(), entities


def _check_button(button: object) -> None:
    words = "can't parse inline keyboard button"
    if not isinstance(button, dict):
        raise bad_request(f"{words}: InlineKeyboardButton must be an Object")
    if not isinstance(button.get("text"), str) or not button["text"]:
        raise bad_request(f'{words}: Field "text" must be of type String')
    if button.get("url"):
        if not str(button["url"]).startswith(("http://", "https://", "tg://")):
            raise bad_request(f"inline keyboard button URL '{button['url']}' is invalid")
    elif not isinstance(button.get("callback_data"), str) or not button["callback_data"]:
        raise bad_request(f"{words}: Text buttons are unallowed in the inline keyboard")
    elif len(button["callback_data"].encode()) > MAX_CALLBACK_BYTES:
        raise bad_request("BUTTON_DATA_INVALID")
