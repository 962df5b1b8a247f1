"""The methods with which a bot writes: send, edit, delete, and say what it is doing."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from sdlesson.bot_api.errors import Json, bad_request
from sdlesson.bot_api.media import Upload
from sdlesson.bot_api.parameters import Parameters
from sdlesson.bot_api.state import ACTION_S, Chat, TelegramState

MAX_MEDIA = 10
ACTIONS = (
    "typing",
    "upload_photo",
    "record_video",
    "upload_video",
    "record_voice",
    "upload_voice",
    "upload_document",
    "choose_sticker",
    "find_location",
    "record_video_note",
    "upload_video_note",
)
TEXT_FIELDS = ("text", "entities")
CAPTION_FIELDS = ("caption", "caption_entities")
MEDIA_FIELDS = ("photo", "document")
NOT_MODIFIED = (
    "message is not modified: specified new message content and reply markup are exactly the same "
    "as a current content and reply markup of the message"
)


def send_message(telegram: TelegramState, call: Parameters) -> Json:
    """Write a text."""
    return _send(telegram, call, call.message_text())


def send_photo(telegram: TelegramState, call: Parameters) -> Json:
    """Send a picture, which Telegram turns into JPEG."""
    return _send(
        telegram, call, _media(telegram, call, "photo", call.text("photo")) | call.caption()
    )


def send_document(telegram: TelegramState, call: Parameters) -> Json:
    """Send a file as it is."""
    content = _media(telegram, call, "document", call.text("document"))
    return _send(telegram, call, content | call.caption())


def send_media_group(telegram: TelegramState, call: Parameters) -> list[Json]:
    """Send several pictures or files as one album."""
    given = call.objects("media", "media")
    if not given:
        raise bad_request("there are no messages to send")
    if len(given) > MAX_MEDIA:
        raise bad_request("too many messages to send as an album")
    contents = [_input_media(telegram, call, one) for one in given]
    group = {"media_group_id": str(secrets.randbits(60))}
    return [_send(telegram, call, content | group) for content in contents]


def send_chat_action(telegram: TelegramState, call: Parameters) -> bool:
    """Show for a moment that the bot is typing or uploading."""
    chat = telegram.chat(call.chat_id())
    if call.text("action") not in ACTIONS:
        raise bad_request("wrong parameter action in request")
    chat.action, chat.action_until = call.text("action"), time.monotonic() + ACTION_S
    chat.revision += 1
    return True


def edit_message_text(telegram: TelegramState, call: Parameters) -> Json:
    """Change the text of a message, and its buttons."""
    chat, message = _to_edit(telegram, call)
    content = call.message_text(edits=True)
    if "text" not in message:
        raise bad_request("there is no text in the message to edit")
    return _replace(chat, message, TEXT_FIELDS, content, call.markup())


def edit_message_caption(telegram: TelegramState, call: Parameters) -> Json:
    """Change the caption of a picture or file, and its buttons."""
    chat, message = _to_edit(telegram, call)
    content = call.caption(edits=True)
    if "text" in message:
        raise bad_request("there is no caption in the message to edit")
    return _replace(chat, message, CAPTION_FIELDS, content, call.markup())


def edit_message_media(telegram: TelegramState, call: Parameters) -> Json:
    """Put a picture or file in the place of what a message shows."""
    chat, message = _to_edit(telegram, call)
    content = _input_media(telegram, call, call.json("media", "input media", dict))
    fields = (*TEXT_FIELDS, *CAPTION_FIELDS, *MEDIA_FIELDS)
    return _replace(chat, message, fields, content, call.markup())


def edit_message_reply_markup(telegram: TelegramState, call: Parameters) -> Json:
    """Change the buttons of a message."""
    chat, message = _to_edit(telegram, call)
    return _replace(chat, message, (), {}, call.markup())


def delete_message(telegram: TelegramState, call: Parameters) -> bool:
    """Take a message away."""
    telegram.delete(telegram.chat(call.chat_id()), _message_id(call))
    return True


def delete_messages(telegram: TelegramState, call: Parameters) -> bool:
    """Take several messages away; those that are gone are skipped."""
    chat = telegram.chat(call.chat_id())
    wanted = call.json("message_ids", "message identifiers", list) or []
    if not all(isinstance(one, int) for one in wanted):
        raise bad_request("message identifier must be a Number")
    for message_id in set(wanted) & set(chat.messages):
        telegram.delete(chat, message_id)
    return True


METHODS: dict[str, Callable[[TelegramState, Parameters], Any]] = {
    "sendMessage": send_message,
    "sendPhoto": send_photo,
    "sendDocument": send_document,
    "sendMediaGroup": send_media_group,
    "sendChatAction": send_chat_action,
    "editMessageText": edit_message_text,
    "editMessageCaption": edit_message_caption,
    "editMessageMedia": edit_message_media,
    "editMessageReplyMarkup": edit_message_reply_markup,
    "deleteMessage": delete_message,
    "deleteMessages": delete_messages,
}


def _send(telegram: TelegramState, call: Parameters, content: Json) -> Json:
    chat, markup, reply_to = telegram.chat(call.chat_id()), call.markup(), call.reply_to()
    given = call.json("reply_parameters", "reply parameters", dict) or {}
    is_optional = given.get("allow_sending_without_reply") or call.flag(
        "allow_sending_without_reply"
    )
    if reply_to not in chat.messages and is_optional:
        reply_to = None
    message = telegram.add_message(chat, telegram.bot, content | markup, reply_to)
    chat.action = ""
    return message


def _media(telegram: TelegramState, call: Parameters, kind: str, given: str) -> Json:
    """What a message says of a picture or file: uploaded with the call, or known by its id."""
    upload: Upload | None = call.uploads.get(given.removeprefix("attach://") or kind)
    if upload:
        return (
            telegram.media.add_photo(upload)
            if kind == "photo"
            else telegram.media.add_document(upload)
        )
    if not given:
        raise bad_request(f"there is no {kind} in the request")
    content = telegram.media.content(given)
    if kind not in content:
        raise bad_request("type of file mismatch")
    return content


def _input_media(telegram: TelegramState, call: Parameters, given: object) -> Json:
    """What a message says of one of the media that a call describes as JSON."""
    if not isinstance(given, Mapping):
        raise bad_request("can't parse InputMedia: expected an Object")
    kind = given.get("type")
    if kind not in MEDIA_FIELDS:
        raise bad_request(f'can\'t parse InputMedia: type "{kind}" is unsupported')
    content = _media(telegram, call, str(kind), str(given.get("media", "")))
    for name in ("caption", "parse_mode"):
        if not isinstance(given.get(name, ""), str):
            raise bad_request(f'can\'t parse InputMedia: Field "{name}" must be of type String')
    return content | call.caption(given, edits=True)


def _message_id(call: Parameters) -> int:
    if not call.integer("message_id"):
        raise bad_request("message identifier is not specified")
    return call.integer("message_id")


def _to_edit(telegram: TelegramState, call: Parameters) -> tuple[Chat, Json]:
    chat = telegram.chat(call.chat_id())
    message = chat.message(_message_id(call), "message to edit")
    if message["from"] != telegram.bot:
        raise bad_request("message can't be edited")
    return chat, message


def _replace(
    chat: Chat, message: Json, fields: tuple[str, ...], content: Json, markup: Json
) -> Json:
    """Put new fields in the place of old ones, and new buttons too, if anything changes."""
    gone = (*fields, "reply_markup")
    after = {name: value for name, value in message.items() if name not in gone}
    after |= content | markup
    if _shown(after) == _shown(message):
        raise bad_request(NOT_MODIFIED)
    after["edit_date"] = int(time.time())
    chat.messages[message["message_id"]] = after
    chat.revision += 1
    return after


def _shown(message: Json) -> Json:
    """What a reader sees of a message, where the same file sent twice is the same."""
    seen = {name: message.get(name) for name in (*TEXT_FIELDS, *CAPTION_FIELDS, "reply_markup")}
    sizes = message.get("photo") or [message.get("document") or {}]
    return seen | {"file": sizes[-1].get("file_unique_id")}
