"""The controls over HTTP, for the chat page and for programs: what people do, and what fails.

Everything is JSON. That a body has to say so keeps other pages of the browser from writing here,
and the key in the address keeps out who has not been told it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sdlesson.bot_api.errors import ApiError, Json
from sdlesson.bot_api.faults import Fault
from sdlesson.bot_api.guard import GuardedHandler
from sdlesson.bot_api.media import Upload
from sdlesson.bot_api.parameters import read_json, whole_number
from sdlesson.bot_api.people import button_data, message_content, photo_upload, send_to_bot
from sdlesson.bot_api.state import Chat, ServerState
from sdlesson.bot_api.view import chat_view, person_view

PAGE = Path(__file__).parent / "page"
PAGE_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
MAX_PEOPLE = 1_000
MAX_CONTROL_BYTES = 40 * 2**20  # a file of 20 MiB takes a third more as text


class SecretPathHandler(GuardedHandler):
    """What is below the address that only those know whom it was told."""

    def initialize(self, state: ServerState) -> None:
        """Take what the server keeps from the routes."""
        self.state = state

    def prepare(self) -> None:
        """Refuse whoever does not know the key, and what another page asks for."""
        super().prepare()
        if self._finished:
            return
        if not hmac.compare_digest(self.path_args[0].encode(), self.state.key.encode()):
            self.refuse(404, "Not Found: open the whole address that `chat_url` gives")


class PageHandler(SecretPathHandler):
    """The chat page: index.html, chat.css, chat.js."""

    def get(self, key: str, name: str | None) -> None:
        """Send one of its files."""
        if name is None:  # the address without the slash, which its parts are relative to
            self.redirect(f"{key}/")
            return
        path = PAGE / (name or "index.html")
        self.set_header("Content-Type", f"{PAGE_TYPES[path.suffix]}; charset=utf-8")
        self.set_header("Cache-Control", "no-cache")
        self.finish(path.read_bytes())


class ControlHandler(SecretPathHandler):
    """control/...: what is asked for, and then at most one number and one more word."""

    def set_default_headers(self) -> None:
        """Let no browser or proxy keep what will be different in a moment."""
        super().set_default_headers()
        self.set_header("Cache-Control", "no-store")

    def prepare(self) -> None:
        """Refuse what a page from elsewhere asks for, such as a picture."""
        super().prepare()
        if not self._finished and self.request.headers.get("Sec-Fetch-Site") == "cross-site":
            self.refuse(403, "other pages may not ask here")

    def get(self, key: str, path: str) -> None:
        """Answer a question, which changes nothing."""
        self._answer("GET", path, {})

    def post(self, key: str, path: str) -> None:
        """Do what a person or a program wants done."""
        if not self.request.headers.get("Content-Type", "").startswith("application/json"):
            self.refuse(415, "send JSON, and say so: Content-Type: application/json")
            return
        if len(self.request.body) > MAX_CONTROL_BYTES:
            self.refuse(400, f"the body must have at most {MAX_CONTROL_BYTES} bytes")
            return
        try:
            body = read_json(self.request.body or b"{}", "control")
        except ApiError as error:
            self.refuse(400, f"the body is not JSON: {error}")
            return
        if not isinstance(body, dict):
            self.refuse(400, "the body must be one JSON object")
            return
        self._answer("POST", path, body)

    def _answer(self, verb: str, path: str, body: Json) -> None:
        what, *rest = path.split("/")
        if (verb, what, len(rest)) == ("GET", "files", 1):
            self._send_file(rest[0])
            return
        action = ACTIONS.get((verb, what, *rest[1:]))
        if action is None:
            known = ", ".join(" ".join(name) for name in ACTIONS)
            self.refuse(404, f"there is no {verb} {path} here; there are: {known}")
            return
        try:
            answer = action(self, rest[0] if rest else "", body)
        except KeyError as error:
            self.refuse(400, f"the body lacks {error}")
        except (ApiError, TypeError, ValueError, OverflowError) as error:
            self.refuse(400, str(error))
        else:
            self.finish(json.dumps(answer))

    def _send_file(self, unique_id: str) -> None:
        kept = self.state.telegram.media.by_unique_id(unique_id)
        if kept is None:
            self.refuse(404, f"no file has the id {unique_id}")
            return
        is_photo = kept.path.endswith(".jpg")
        self.set_header("Content-Type", "image/jpeg" if is_photo else "application/octet-stream")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "max-age=86400")
        self.finish(kept.data)

    def refuse(self, status: int, sentence: str) -> None:
        """Answer with one sentence on what is wrong."""
        self.set_status(status)
        self.finish({"error": sentence})

    def chat(self, user_id: str) -> Chat:
        """The chat of a user, by the number in the path."""
        chats, number = self.state.telegram.chats, whole_number(user_id)
        if number not in chats:
            raise ValueError(f"nobody has the id {user_id!r}; there are {sorted(chats)}")
        return chats[number]


def _people(control: ControlHandler, _: str, body: Json) -> list[Json]:
    return [person_view(chat) for chat in control.state.telegram.chats.values()]


def _add_person(control: ControlHandler, _: str, body: Json) -> Json:
    """Let somebody in, once by each name."""
    telegram, name = control.state.telegram, _text(body["name"], "name")
    known = [chat for chat in telegram.chats.values() if chat.user["first_name"] == name]
    if known:
        return person_view(known[0])
    if len(telegram.chats) >= MAX_PEOPLE:
        raise ValueError(f"{MAX_PEOPLE} people are here already; be one of them")
    return person_view(
        telegram.add_user(name, _text(body.get("language_code", "en"), "language_code"))
    )


def _chat(control: ControlHandler, user_id: str, body: Json) -> Json:
    revision = int(control.get_query_argument("revision", "0"))
    return chat_view(control.state.telegram, control.chat(user_id), revision)


def _send_message(control: ControlHandler, user_id: str, body: Json) -> Json:
    photo, file = _bytes(body, "photo"), _bytes(body, "file")
    if photo and file:
        raise ValueError("a message holds a photo or a file; send the other one after it")
    text = body.get("text", "")
    if not isinstance(text, str):
        raise ValueError(f"text must be a text, not {type(text).__name__}")
    content = message_content(text, has_media=bool(photo or file))
    upload = photo_upload(photo) if photo else None
    if file:
        upload = Upload(file, _text(body.get("file_name", "file.bin"), "file_name", 255))
    chat, reply_to = control.chat(user_id), body.get("reply_to")
    if not isinstance(reply_to, int | None):
        raise ValueError("reply_to must be the number of a message")
    return send_to_bot(control.state.telegram, chat, content, upload, bool(photo), reply_to)


def _press(control: ControlHandler, user_id: str, body: Json) -> Json:
    chat, message_id = control.chat(user_id), int(body["message_id"])
    data = button_data(chat, message_id, str(body["button"]))
    return {"query_id": control.state.telegram.press(chat, message_id, data)}


def _block(control: ControlHandler, user_id: str, body: Json) -> Json:
    chat = control.chat(user_id)
    control.state.telegram.set_blocked(chat, is_blocked=bool(body["is_blocked"]))
    return person_view(chat)


def _replay(control: ControlHandler, _: str, body: Json) -> Json:
    if not isinstance(body["update_id"], int):
        raise ValueError("update_id must be a number")
    control.state.telegram.updates.replay(body)
    return {}


def _fail(control: ControlHandler, _: str, body: Json) -> Json:
    control.state.faults.add(Fault(**body))
    return {}


def _calls(control: ControlHandler, _: str, body: Json) -> list[Json]:
    return [asdict(call) for call in control.state.calls]


ACTIONS: dict[tuple[str, ...], Callable[[ControlHandler, str, Json], Any]] = {
    ("GET", "people"): _people,
    ("POST", "people"): _add_person,
    ("GET", "chats"): _chat,
    ("POST", "chats", "messages"): _send_message,
    ("POST", "chats", "presses"): _press,
    ("POST", "chats", "blocked"): _block,
    ("POST", "updates"): _replay,
    ("POST", "faults"): _fail,
    ("GET", "calls"): _calls,
}


def _text(given: object, name: str, most: int = 64) -> str:
    if not isinstance(given, str) or not 1 <= len(given) <= most:
        raise ValueError(f"{name} must be a text of 1 to {most} characters")
    return given


def _bytes(body: Json, name: str) -> bytes:
    try:
        return base64.b64decode(body.get(name) or "", validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise ValueError(f"{name} must be in base64: {error}") from error
