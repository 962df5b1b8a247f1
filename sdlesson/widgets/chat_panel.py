"""A small chat with a bot in the notebook, over the controls of the stand-in for Telegram.

What was said is an ordinary output that is replaced as it changes, so a saved notebook keeps it;
below it are the widgets to answer with.
"""

from __future__ import annotations

import base64
import html
import http.client
import io
import json
import logging
import urllib.error
import urllib.request
from threading import RLock, Timer
from typing import TYPE_CHECKING, Any

from IPython.display import DisplayHandle, display
from ipywidgets import (  # type: ignore[import-untyped]
    HTML,
    Box,
    Button,
    DOMWidget,
    FileUpload,
    Text,
    ToggleButtons,
    VBox,
)
from PIL import Image

from sdlesson.language import language, say
from sdlesson.widgets.bot_panel import thumbnail
from sdlesson.widgets.parts import PollingThread, close_all
from sdlesson.widgets.photo_upload import files_of
from sdlesson.widgets.playground import ENTER_DELAY_S

if TYPE_CHECKING:
    from sdlesson.bot_api import BotApiServer

PEOPLE = {"Ana": "es", "Ben": "en"}  # those of the chat page too
POLL_EVERY_S = 0.7
GIVE_UP_S = 60  # without a server; what is done in the panel begins again
REQUEST_TIMEOUT_S = 10
MAX_MESSAGES = 12
MAX_KEYS = 12
PHOTO_PX = 160
FOREIGN, OWN = "rgba(128,128,128,.16)", "rgba(76,168,88,.26)"  # on light and on dark pages
# A column in reverse is scrolled to its end, where the newest message is, without any script.
WINDOW = "display:flex;flex-direction:column-reverse;max-width:560px;max-height:520px;overflow:auto"
LOST = (OSError, http.client.HTTPException, RuntimeError)  # nobody answers
_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())  # else Python prints tracebacks below some cell


class ChatPanel:
    """Talk to a bot from a cell; as its last line, `ChatPanel(server)` shows the chat.

    Of several panels on one server the one that was shown or used last keeps itself up to date.

    Attributes:
        controls: The widgets below what was said.

    Raises:
        ValueError: It is no server, such as a bot.
    """

    def __init__(self, server: BotApiServer) -> None:
        if not hasattr(type(server), "chat_url"):
            kind = type(server).__name__
            raise ValueError(
                f"server must be a BotApiServer, not {kind}; try ChatPanel(bot.server)"
            )
        self._server = server
        self._client = _Client(server)
        self._chat: dict[str, Any] = {"revision": 0, "messages": []}
        self._thumbnails: dict[str, str] = {}
        self._handles: list[DisplayHandle] = []
        self._lock, self._missed = RLock(), 0  # polls without an answer
        self._thread: PollingThread | None = None
        names = [(f"{name} · {code.upper()}", name) for name, code in PEOPLE.items()]
        own = next(name for name, code in PEOPLE.items() if code == language())
        self.person = ToggleButtons(options=names, value=own, style={"button_width": "90px"})
        self.text = Text(placeholder=say("Message", "Mensaje"), layout={"flex": "1 1 200px"})
        self.photo = FileUpload(accept="image/*", multiple=False, description=say("Photo", "Foto"))
        self.send = Button(
            description=say("Send", "Enviar"), icon="paper-plane", button_style="primary"
        )
        self.keys = [Button(layout={"display": "none", "width": "auto"}) for _ in range(MAX_KEYS)]
        self.status = HTML()
        rows = [Box(self.keys, layout={"flex_flow": "row wrap"}), self.status]
        writer = Box([self.text, self.photo, self.send], layout={"flex_flow": "row wrap"})
        self.controls = VBox([*rows, writer, self.person], layout={"max_width": "560px"})
        self.send.on_click(lambda _: self.say())
        self.text.on_msg(self._say_on_enter)
        self.person.observe(lambda _: self._switch(), "value")
        for key in self.keys:
            key.on_click(self._press)

    def __repr__(self) -> str:
        return _plain(self._chat)

    def _ipython_display_(self) -> None:
        """Show the chat below the running cell, and keep that up to date."""
        self.refresh()
        handle = DisplayHandle()
        with self._lock:
            handle.display(self._bundle(), raw=True)
            self._handles.append(handle)
        display(self.controls)
        self._keep_polling()

    def say(self) -> None:
        """Send what is written, and the photo that is chosen."""
        body: dict[str, str] = {"text": self.text.value}
        for _, data in files_of(self.photo.value):
            body["photo"] = base64.b64encode(data).decode()
        if not body["text"].strip() and "photo" not in body:
            return
        refusal = say(
            "Not sent: a message has at most 4096 characters, and 1024 beside a photo, which must "
            "be a picture.",
            "No se ha enviado: un mensaje tiene como mucho 4096 caracteres, y 1024 junto a una "
            "foto, que debe ser una imagen.",
        )
        self._keep_polling()
        if self._do("messages", body, refusal):
            self.text.value = ""
            self.photo.set_trait("value", type(self.photo.value)())
            self.refresh()

    def refresh(self) -> bool:
        """Show what is new, and say whether the server answered."""
        with self._lock:
            try:
                person_id = self._client.person_id(self.person.value)
                path = f"chats/{person_id}?revision={self._chat['revision']}"
                news = self._client.ask(path)
            except LOST:
                self._tell(_no_server())
                return False
            self._chat |= news
            self._tell(_state(self._chat))
            if "messages" in news:
                self._show()
            return True

    def close(self) -> None:
        """End the thread that polls for news, and take the widgets away."""
        if self._thread:
            self._thread.stop()
        close_all(self.controls)
        self._handles.clear()

    def _keep_polling(self) -> None:
        """Poll for news in a thread, once this is shown, and in the place of other panels."""
        if self._handles and not (self._thread and self._thread.is_polling):
            self._missed = 0
            self._thread = PollingThread(id(self._server), self._watch, POLL_EVERY_S, "chat-panel")
            self._thread.start()

    def _watch(self) -> bool:
        """Refresh, and say whether to poll again."""
        self._missed = 0 if self.refresh() else self._missed + 1
        return self._missed * POLL_EVERY_S < GIVE_UP_S

    def _show(self) -> None:
        for key, button in zip(
            self.keys, [*_buttons(self._chat), *[None] * MAX_KEYS], strict=False
        ):
            key.layout.display = None if button else "none"
            key.description = button["text"] if button else ""
        bundle = self._bundle()
        for handle in self._handles:
            handle.update(bundle, raw=True)

    def _tell(self, sentence: str) -> None:
        shown = f'<span role="status">{html.escape(sentence)}</span>'
        if self.status.value != shown:
            self.status.value = shown

    def _switch(self) -> None:
        self._keep_polling()
        with self._lock:
            self._chat = {"revision": 0, "messages": []}
            self.refresh()

    def _press(self, key: Button) -> None:
        self._keep_polling()
        with self._lock:
            for button in _buttons(self._chat):
                if button["text"] == key.description:
                    pressed = {"message_id": button["message_id"], "button": button["data"]}
                    gone = say("That button is gone.", "Ese botón ya no está.")
                    self._do("presses", pressed, gone)
                    return

    def _do(self, what: str, body: dict[str, Any], refusal: str) -> bool:
        """Do something as the person chosen, or tell why not; returns whether it was done."""
        try:
            self._client.ask(f"chats/{self._client.person_id(self.person.value)}/{what}", body)
        except LOST:
            self._tell(_no_server())
        except ValueError as error:
            _log.info("The server refused: %s", error)
            self._tell(refusal)
        else:
            return True
        return False

    def _say_on_enter(self, _: DOMWidget, message: dict[str, str], __: object) -> None:
        if message.get("event") == "submit":
            Timer(ENTER_DELAY_S, self.say).start()

    def _bundle(self) -> dict[str, str]:
        messages = self._chat["messages"][-MAX_MESSAGES:]
        bubbles = "".join(map(self._bubble, messages))
        seen = {message["photo"]["path"] for message in messages if message["photo"]}
        self._thumbnails = {path: self._thumbnails[path] for path in seen}
        note = html.escape(_title(self._chat, self.person.value))
        column = "display:flex;flex-direction:column;gap:6px;line-height:1.45;padding:4px"
        inner = f'<div style="{column}">{bubbles}</div>'
        shown = f'<small>{note}</small><div style="{WINDOW}">{inner}</div>'
        return {"text/plain": _plain(self._chat), "text/html": shown}

    def _bubble(self, message: dict[str, Any]) -> str:
        is_foreign = message["is_from_bot"]
        side, colour = ("flex-start", FOREIGN) if is_foreign else ("flex-end", OWN)
        style = f"align-self:{side};background:{colour};border-radius:12px;padding:6px 11px;"
        style += "max-width:80%;white-space:pre-wrap;overflow-wrap:anywhere"
        parts = [self._picture(message["photo"]), message["html"]]
        if message["document"]:
            parts.insert(0, f"📄 {html.escape(message['document']['file_name'])}\n")
        names = [button["text"] for row in message["buttons"] for button in row]
        if names:
            keys = " · ".join(f"[{html.escape(name)}]" for name in names)
            parts.append(f"\n<small>{keys}</small>")
        return f'<div style="{style}">{"".join(parts)}</div>'

    def _picture(self, photo: dict[str, Any] | None) -> str:
        if not photo:
            return ""
        path = photo["path"]
        if path not in self._thumbnails:
            try:
                with Image.open(io.BytesIO(self._client.read(path))) as image:
                    self._thumbnails[path] = thumbnail(image, PHOTO_PX)
            except (ValueError, *LOST):  # the server has forgotten it, or is gone
                self._thumbnails[path] = ""
        return self._thumbnails[path]


class _Client:
    """The controls of a server, over HTTP."""

    def __init__(self, server: BotApiServer) -> None:
        self._server = server
        # What is set for other servers, such as a proxy, does not hold for this machine.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._person_ids: dict[str, int] = {}

    def person_id(self, name: str) -> int:
        """The number of a person, who is let in if need be."""
        if name not in self._person_ids:
            person = self.ask("people", {"name": name, "language_code": PEOPLE[name]})
            self._person_ids[name] = int(person["id"])
        return self._person_ids[name]

    def ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask for something, or do it.

        Raises:
            ValueError: The server refuses, in this sentence.
            OSError: Nobody answers.
            http.client.HTTPException: It stopped in the middle of an answer.
            RuntimeError: The server has not started.
        """
        return json.loads(self.read(f"control/{path}", body))

    def read(self, path: str, body: dict[str, Any] | None = None) -> bytes:
        """Fetch what is at a path; errors as for `ask`."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self._server.chat_url}{path}", data, headers)
        try:
            with self._opener.open(request, timeout=REQUEST_TIMEOUT_S) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            raise ValueError(json.load(error)["error"]) from error


def _buttons(chat: dict[str, Any]) -> list[dict[str, Any]]:
    """The buttons of the newest message that has any, those that can be pressed."""
    for message in reversed(chat["messages"]):
        rows = message["buttons"]
        if rows:
            pressable = [one for row in rows for one in row if "callback_data" in one]
            return [
                {"text": one["text"], "data": one["callback_data"], "message_id": message["id"]}
                for one in pressable
            ]
    return []


def _state(chat: dict[str, Any]) -> str:
    """What the bot is doing, or what it answered to a press."""
    if not chat.get("is_running"):
        return say("The bot is not running.", "El bot no está en marcha.")
    if chat.get("action"):
        return say("The bot is at work…", "El bot está en ello…")
    return str(chat.get("notice", {}).get("text", ""))


def _no_server() -> str:
    return say("There is no server to talk to.", "No hay ningún servidor con el que hablar.")


def _title(chat: dict[str, Any], person: str) -> str:
    bot = chat.get("bot", {}).get("name", "bot")
    return say(
        f"{person} and {bot} · a local stand-in, not Telegram",
        f"{person} y {bot} · un sustituto local, no es Telegram",
    )


def _plain(chat: dict[str, Any]) -> str:
    """What was said, for a terminal."""
    return "\n".join(
        f"{'bot' if message['is_from_bot'] else say('you', 'tú')}: {message['text']}"
        for message in chat["messages"][-MAX_MESSAGES:]
    )
