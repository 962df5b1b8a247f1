"""The people who talk to the bot: what they write, send, press and block."""

from __future__ import annotations

import copy
import io
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from sdlesson.bot_api.errors import ApiError, Json
from sdlesson.bot_api.formatting import shown_text
from sdlesson.bot_api.media import JPEG_QUALITY, PHOTO_SIDES_PX, Upload, open_picture
from sdlesson.bot_api.parameters import MAX_CAPTION_CHARACTERS, MAX_TEXT_CHARACTERS
from sdlesson.bot_api.state import Chat, ServerState, TelegramState
from sdlesson.photos import flatten

LOOK_EVERY_S = 0.01
Picture = Image.Image | bytes | str | Path


class Person:
    """A user of the stand-in for Telegram: `server.user("Ana", "es")` makes one.

    Attributes:
        id: The number of the user, and of the chat with the bot.
        name: The first name.
        language_code: The language of the user's Telegram, such as "es".
    """

    def __init__(self, state: ServerState, chat: Chat) -> None:
        self.id: int = chat.user["id"]
        self.name: str = chat.user["first_name"]
        self.language_code: str = chat.user["language_code"]
        self._state, self._chat = state, chat

    def __repr__(self) -> str:
        return f"Person({self.name!r}, language_code={self.language_code!r}, id={self.id})"

    def says(
        self,
        text: str = "",
        *,
        photo: Picture | None = None,
        file: bytes | str | Path | None = None,
        file_name: str = "file.bin",
        reply_to: Json | int | None = None,
    ) -> Json:
        """Write to the bot, and return the message.

        Args:
            text: What is written; with a photo or a file, its caption.
            photo: A picture, which the user's app makes small and JPEG.
            file: Anything, sent as it is, under its own name or `file_name`.
            reply_to: A message of the chat that this one answers.

        Raises:
            ValueError: Telegram's apps cannot send this.
        """
        if photo is not None and file is not None:
            raise ValueError("a message holds a photo or a file; send the other one after it")
        content = message_content(text, has_media=photo is not None or file is not None)
        upload = None
        if photo is not None:
            upload = photo_upload(photo)
        elif file is not None:
            data = file if isinstance(file, bytes) else Path(file).read_bytes()
            upload = Upload(data, file_name if isinstance(file, bytes) else Path(file).name)
        is_photo, message_id = photo is not None, _id(reply_to)
        return self._state.run(
            lambda telegram: send_to_bot(
                telegram, self._chat, content, upload, is_photo, message_id
            )
        )

    def presses(self, message: Json | int, button: str = "", *, data: str = "") -> str:
        """Press a button, and return the id of the query that the bot should answer.

        Args:
            message: The message, or its id.
            button: What stands on the button, or its callback data.
            data: What a forged press says, without any button.

        Raises:
            ValueError: There is no such message or button.
        """
        message_id = _id(message) or 0

        def press(telegram: TelegramState) -> str:
            found = data or button_data(self._chat, message_id, button)
            return telegram.press(self._chat, message_id, found)

        return self._state.run(press)

    def blocks(self) -> None:
        """Block the bot; writing to it again ends that."""
        self._state.run(lambda telegram: telegram.set_blocked(self._chat, is_blocked=True))

    def unblocks(self) -> None:
        """Let the bot write again."""
        self._state.run(lambda telegram: telegram.set_blocked(self._chat, is_blocked=False))

    def deletes(self, message: Json | int) -> None:
        """Take a message away, for the bot too."""
        self._state.run(lambda telegram: telegram.delete(self._chat, _id(message) or 0))

    @property
    def messages(self) -> list[Json]:
        """What this user sees now, oldest first."""
        return self._state.run(lambda telegram: copy.deepcopy(list(self._chat.messages.values())))

    @property
    def notice(self) -> Json:
        """The bot's answer to the last press: `text` and `show_alert`; empty before it comes."""
        return self._state.run(lambda telegram: dict(self._chat.notice))

    def waits_for(
        self,
        wanted: str | Callable[[Json], object],
        *,
        after: Json | int = 0,
        timeout_s: float = 10,
    ) -> Json:
        """Wait until the bot has written something, and return the message as it is then.

        Args:
            wanted: Words in its text or caption, or a function that says whether this is it.
            after: Only messages younger than this one count.

        Raises:
            TimeoutError: It did not come in time; the sentence says what was seen instead.
        """
        deadline, earliest = time.monotonic() + timeout_s, _id(after) or 0

        def look(telegram: TelegramState) -> list[Json]:
            younger = (one for key, one in self._chat.messages.items() if key > earliest)
            return copy.deepcopy([one for one in younger if one["from"]["is_bot"]])

        while True:
            seen = self._state.run(look)
            for message in seen:
                if wanted(message) if callable(wanted) else wanted in shown_text(message):
                    return message
            if time.monotonic() > deadline:
                texts = [shown_text(message) for message in seen]
                raise TimeoutError(f"{wanted!r} did not come in {timeout_s} s; seen: {texts}")
            time.sleep(LOOK_EVERY_S)


def message_content(text: str, *, has_media: bool) -> Json:
    """Check what a user writes, as the apps do before they send it.

    Raises:
        ValueError: It is too long, nothing at all, or no Unicode.
    """
    most = MAX_CAPTION_CHARACTERS if has_media else MAX_TEXT_CHARACTERS
    text = text.strip()
    if len(text) > most:
        raise ValueError(f"{len(text)} characters; Telegram's apps send at most {most} at once")
    if not text and not has_media:
        raise ValueError("there is nothing to send: give a text, a photo or a file")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{text!r} holds half a character, which no app can send") from error
    return {"caption" if has_media else "text": text} if text else {}


def photo_upload(photo: Picture) -> Upload:
    """Make a photo small and JPEG, as the apps do before they send it.

    Raises:
        ValueError: It is not a picture, or has too many pixels.
    """
    try:
        if isinstance(photo, Image.Image):
            image = flatten(photo, "the photo")
        else:
            image = open_picture(io.BytesIO(photo) if isinstance(photo, bytes) else photo)
    except Exception as error:  # what a decoder raises depends on where the damage is
        raise ValueError(f"the photo cannot be read ({error}); send it with file=") from error
    image.thumbnail((PHOTO_SIDES_PX[-1], PHOTO_SIDES_PX[-1]))
    data = io.BytesIO()
    image.save(data, "JPEG", quality=JPEG_QUALITY)
    return Upload(data.getvalue(), "photo.jpg", "image/jpeg")


def send_to_bot(
    telegram: TelegramState,
    chat: Chat,
    content: Json,
    upload: Upload | None,
    is_photo: bool,
    reply_to: int | None,
) -> Json:
    """Let a user's message reach the bot.

    Raises:
        ValueError: Telegram refuses the photo or file, or there is no message to reply to.
    """
    try:
        if upload:
            add = telegram.media.add_photo if is_photo else telegram.media.add_document
            content = add(upload) | content
        return copy.deepcopy(telegram.receive(chat, content, reply_to))
    except ApiError as error:
        raise ValueError(f"Telegram would not take this from a user: {error}") from error


def button_data(chat: Chat, message_id: int, button: str) -> str:
    """The callback data behind what stands on a button.

    Raises:
        ValueError: The message is gone, or has no such button.
    """
    message = chat.messages.get(message_id)
    if message is None:
        raise ValueError(f"message {message_id} is not there; a forged press needs data=")
    rows = message.get("reply_markup", {}).get("inline_keyboard", [])
    buttons = [one for row in rows for one in row]
    for one in buttons:
        if button in (one["text"], one.get("callback_data")) and "callback_data" in one:
            return str(one["callback_data"])
    there = ", ".join(repr(one["text"]) for one in buttons) or "none"
    raise ValueError(f"there is no button {button!r} to press below message {message_id}: {there}")


def _id(message: Json | int | None) -> int | None:
    if not isinstance(message, dict):
        return message
    if "message_id" not in message:
        raise ValueError("this is no message: it has no message_id; give one that a chat holds")
    return int(message["message_id"])
