"""The controls over HTTP, for the chat page and for programs: what people do, and what fails.

Everything is JSON. That a body has to say so keeps other pages of the browser from writing here.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tornado.web import RequestHandler

from sdlesson.bot_api.cloud import Chat
from sdlesson.bot_api.errors import ApiError, Json
from sdlesson.bot_api.files import Upload
from sdlesson.bot_api.people import button_data, photo_upload, send, written
from sdlesson.bot_api.view import chat_view, person_view

if TYPE_CHECKING:
    from sdlesson.bot_api.server import BotApiServer

PAGE = Path(__file__).parent / "page"
PAGE_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
MAX_CONTROL_BYTES = 40 * 2**20  # a file of 20 MiB takes a third more as text


class PageHandler(RequestHandler):
    """The chat page: /, /chat.css, /chat.js."""

    def get(self, name: str) -> None:
        """Send one of its files."""
        path = PAGE / (name or "index.html")
        self.set_header("Content-Type", f"{PAGE_TYPES[path.suffix]}; charset=utf-8")
        self.set_header("Cache-Control", "no-cache")
        self.finish(path.read_bytes())


class ControlHandler(RequestHandler):
    """/control/...: what is asked for, and then at most one number and one more word."""

    def initialize(self, server: BotApiServer) -> None:
        """Take the server from the routes."""
        self.server = server

    def set_default_headers(self) -> None:
        """Let no browser or proxy keep what will be different in a moment."""
        self.set_header("Cache-Control", "no-store")

    def get(self, path: str) -> None:
        """Tell something."""
        self._answer("GET", path, {})

    def post(self, path: str) -> None:
        """Do something."""
        if not self.request.headers.get("Content-Type", "").startswith("application/json"):
            self._refuse(415, "send JSON, and say so: Content-Type: application/json")
            return
        try:
            body = json.loads(self.request.body or b"{}")
        except ValueError as error:
            self._refuse(400, f"the body is not JSON: {error}")
            return
        if not isinstance(body, dict) or len(self.request.body) > MAX_CONTROL_BYTES:
            self._refuse(400, f"the body must be one JSON object of at most {MAX_CONTROL_BYTES} B")
            return
        self._answer("POST", path, body)

    def _answer(self, verb: str, path: str, body: Json) -> None:
        what, *rest = path.split("/")
        if (verb, what) == ("GET", "files"):
            self._send_file(rest[0])
            return
        action = ACTIONS.get((verb, what, *rest[1:]))
        if action is None:
            known = ", ".join(" ".join(name) for name in ACTIONS)
            self._refuse(404, f"there is no {verb} {path} here; there are: {known}")
            return
        try:
            answer = action(self, rest[0] if rest else "", body)
        except KeyError as error:
            self._refuse(400, f"the body lacks {error}")
        except (ApiError, TypeError, ValueError) as error:
            self._refuse(400, str(error))
        else:
            self.finish(json.dumps(answer))

    def _send_file(self, unique_id: str) -> None:
        kept = self.server.cloud.files.by_unique_id(unique_id)
        if kept is None:
            self._refuse(404, f"no file has the id {unique_id}")
            return
        is_photo = kept.path.endswith(".jpg")
        self.set_header("Content-Type", "image/jpeg" if is_photo else "application/octet-stream")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "max-age=86400")
        self.finish(kept.data)

    def _refuse(self, status: int, sentence: str) -> None:
        self.set_status(status)
        self.finish({"error": sentence})

    def chat(self, user_id: str) -> Chat:
        """The chat of a user, by the number in the path."""
        chats = self.server.cloud.chats
        if not user_id.isdigit() or int(user_id) not in chats:
            raise ValueError(f"nobody has the id {user_id!r}; there are {sorted(chats)}")
        return chats[int(user_id)]


def _people(control: ControlHandler, _: str, body: Json) -> list[Json]:
    return [person_view(chat) for chat in control.server.cloud.chats.values()]


def _add_person(control: ControlHandler, _: str, body: Json) -> Json:
    """Let somebody in, once by each name."""
    cloud, name = control.server.cloud, str(body["name"])
    known = [chat for chat in cloud.chats.values() if chat.user["first_name"] == name]
    chat = known[0] if known else cloud.add_user(name, str(body.get("language_code", "en")))
    return person_view(chat)


def _chat(control: ControlHandler, user_id: str, body: Json) -> Json:
    revision = int(control.get_query_argument("revision", "0"))
    return chat_view(control.server.cloud, control.chat(user_id), revision)


def _say(control: ControlHandler, user_id: str, body: Json) -> Json:
    photo, file = _bytes(body, "photo"), _bytes(body, "file")
    content = written(str(body.get("text", "")), has_media=bool(photo or file))
    upload = photo_upload(photo) if photo else None
    if file:
        upload = Upload(file, str(body.get("file_name", "file.bin")))
    chat, reply_to = control.chat(user_id), body.get("reply_to")
    return send(control.server.cloud, chat, content, upload, bool(photo), reply_to)


def _press(control: ControlHandler, user_id: str, body: Json) -> Json:
    chat, message_id = control.chat(user_id), int(body["message_id"])
    data = button_data(chat, message_id, str(body["button"]))
    return {"query_id": control.server.cloud.press(chat, message_id, data)}


def _block(control: ControlHandler, user_id: str, body: Json) -> Json:
    chat = control.chat(user_id)
    control.server.cloud.set_blocked(chat, is_blocked=bool(body["is_blocked"]))
    return person_view(chat)


def _replay(control: ControlHandler, _: str, body: Json) -> Json:
    control.server.replay(body)
    return {}


def _fail(control: ControlHandler, _: str, body: Json) -> Json:
    control.server.fail(**body)
    return {}


def _requests(control: ControlHandler, _: str, body: Json) -> list[Json]:
    return [asdict(call) for call in control.server.requests]


ACTIONS: dict[tuple[str, ...], Callable[[ControlHandler, str, Json], Any]] = {
    ("GET", "people"): _people,
    ("POST", "people"): _add_person,
    ("GET", "chats"): _chat,
    ("POST", "chats", "messages"): _say,
    ("POST", "chats", "presses"): _press,
    ("POST", "chats", "blocked"): _block,
    ("POST", "updates"): _replay,
    ("POST", "faults"): _fail,
    ("GET", "requests"): _requests,
}


def _bytes(body: Json, name: str) -> bytes:
    try:
        return base64.b64decode(body.get(name) or "", validate=True)
    except binascii.Error as error:
        raise ValueError(f"{name} must be in base64: {error}") from error
