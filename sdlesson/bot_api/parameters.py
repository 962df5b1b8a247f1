"""The parameters of one call: from a query, a form, a multipart body or JSON, all checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from sdlesson.bot_api.errors import Json, bad_request
from sdlesson.bot_api.formatting import PAGE_LINKS, parse_html, utf16_length
from sdlesson.bot_api.media import Upload

MAX_RAW_CHARACTERS = 35_000  # with its tags; Telegram looks no further
MAX_MARKUP_CHARACTERS = 65_536
MAX_TEXT_CHARACTERS = 4096
MAX_CAPTION_CHARACTERS = 1024
MAX_CALLBACK_BYTES = 64
MAX_BUTTONS = 100

Kind = TypeVar("Kind")


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
        found = whole_number(self.text(name))
        return default if found is None else found

    def json(self, name: str, words: str, kind: type[Kind]) -> Kind | None:
        """A parameter that is JSON itself; None without it.

        Raises:
            ApiError: It cannot be read, or is of another kind; the words say what it should be.
        """
        if not self.text(name):
            return None
        found = read_json(self.text(name), words)
        if found is not None and not isinstance(found, kind):
            raise bad_request(f"can't parse {words} JSON object")
        return found

    def objects(self, name: str, words: str) -> list[Json]:
        """A parameter that is a list of objects; empty without it.

        Raises:
            ApiError: It is something else.
        """
        found = self.json(name, words, list) or []
        if not all(isinstance(one, dict) for one in found):
            raise bad_request(f"can't parse {words}: expected an Array of Objects")
        return found

    def chat_id(self) -> int:
        """The chat that is meant.

        Raises:
            ApiError: None is, or not by its number.
        """
        if not self.text("chat_id"):
            raise bad_request("chat_id is empty")
        number = whole_number(self.text("chat_id"))
        if number is None:
            raise bad_request("chat not found")
        return number

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
        if len(self.text("reply_markup")) > MAX_MARKUP_CHARACTERS:
            raise bad_request("reply markup is too long")
        markup = self.json("reply_markup", "reply keyboard markup", object)
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
        rows = [[_button(button) for button in row] for row in rows if row]
        return {"reply_markup": {"inline_keyboard": rows}} if rows else {}

    def reply_to(self) -> int | None:
        """The message that is answered, if one is.

        Raises:
            ApiError: What says so cannot be read.
        """
        given = self.json("reply_parameters", "reply parameters", dict)
        if given is None:
            return self.integer("reply_to_message_id") or None
        if not isinstance(given.get("message_id"), int):
            raise bad_request("can't parse reply parameters JSON object")
        return given["message_id"]


def whole_number(text: str) -> int | None:
    """Read a number; None where the text is none."""
    try:
        return int(text)
    except ValueError:
        return None


def read_json(text: str | bytes, words: str) -> Any:
    """Read JSON whose texts are all Unicode.

    Raises:
        ApiError: It is no JSON, nested too deeply, or holds half a character.
    """
    try:
        found = json.loads(text)
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeError as error:
        raise bad_request("strings must be encoded in UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise bad_request(f"can't parse {words} JSON object") from error
    return found


def _formatted(text: str, parse_mode: str, name: str, call: Parameters) -> tuple[str, list[Json]]:
    """Text without its marks, and the entities they stand for, trimmed as Telegram trims it."""
    if len(text) > MAX_RAW_CHARACTERS:
        raise bad_request("message is too long")
    if not parse_mode:
        given = [_entity(one, text) for one in call.objects(name, "entities")]
        return (text, given) if given else (text.strip(), [])
    if parse_mode.lower() != "html":
        is_known = parse_mode.lower() in ("markdown", "markdownv2")
        missing = "this stand-in for Telegram reads HTML only"
        raise bad_request(missing if is_known else "unsupported parse_mode")
    plain, entities = parse_html(text.strip())
    return plain.rstrip(), entities


def _entity(given: Json, text: str) -> Json:
    """One of the entities that a bot describes itself."""
    words = "can't parse MessageEntity"
    if not isinstance(given.get("type"), str):
        raise bad_request(f'{words}: Field "type" must be of type String')
    for name in ("offset", "length"):
        if not isinstance(given.get(name), int):
            raise bad_request(f'{words}: Field "{name}" must be of type Number')
    if given["offset"] < 0 or given["length"] < 1:
        raise bad_request("entity has invalid bounds")
    if given["offset"] + given["length"] > utf16_length(text):
        raise bad_request(f"entity beginning at UTF-16 offset {given['offset']} ends after the end")
    if given["type"] == "text_link" and not isinstance(given.get("url"), str):
        raise bad_request(f'{words}: Field "url" must be of type String')
    kept = ("type", "offset", "length", "url", "language")
    return {name: given[name] for name in kept if name in given}


def _button(button: object) -> Json:
    """A button as it must be, with what is known of buttons."""
    words = "can't parse inline keyboard button"
    if not isinstance(button, dict):
        raise bad_request(f"{words}: InlineKeyboardButton must be an Object")
    if not isinstance(button.get("text"), str) or not button["text"]:
        raise bad_request(f'{words}: Field "text" must be of type String')
    if button.get("url"):
        if not str(button["url"]).startswith(PAGE_LINKS):
            raise bad_request(f"inline keyboard button URL '{button['url']}' is invalid")
    elif not isinstance(button.get("callback_data"), str) or not button["callback_data"]:
        raise bad_request(f"{words}: Text buttons are unallowed in the inline keyboard")
    elif len(button["callback_data"].encode()) > MAX_CALLBACK_BYTES:
        raise bad_request("BUTTON_DATA_INVALID")
    return {name: button[name] for name in ("text", "url", "callback_data") if name in button}
