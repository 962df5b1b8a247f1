"""What a chat looks like to its user, for the chat page and for the panel in a notebook."""

from __future__ import annotations

import time
from itertools import islice

from sdlesson.bot_api.errors import Json
from sdlesson.bot_api.formatting import shown_text, to_html
from sdlesson.bot_api.state import Chat, TelegramState, scope_key

MAX_SHOWN = 100  # messages, the newest; as many long ones as a page can show at once


def person_view(chat: Chat) -> Json:
    """A user, as a page names them."""
    user = chat.user
    names = {"id": user["id"], "name": user["first_name"], "language_code": user["language_code"]}
    return names | {"is_blocked": chat.is_blocked}


def chat_view(telegram: TelegramState, chat: Chat, known_revision: int) -> Json:
    """All that a page shows; the messages only if there is news since the revision it knows."""
    view: Json = {
        "revision": chat.revision,
        "bot": {"name": telegram.bot["first_name"], "username": telegram.bot["username"]},
        "is_running": telegram.updates.is_polled,
        "is_blocked": chat.is_blocked,
        "action": chat.action if chat.action_until > time.monotonic() else "",
    }
    if chat.revision != known_revision:
        view["notice"] = chat.notice
        view["commands"] = _commands(telegram, chat.user)
        newest = list(islice(reversed(chat.messages.values()), MAX_SHOWN))
        view["messages"] = [_message_view(message) for message in reversed(newest)]
    return view


def _message_view(message: Json) -> Json:
    entities = message.get("entities") or message.get("caption_entities") or []
    photo, document = message.get("photo"), message.get("document")
    return {
        "id": message["message_id"],
        "is_from_bot": message["from"]["is_bot"],
        "date": message["date"],
        "is_edited": "edit_date" in message,
        "text": shown_text(message),
        "html": to_html(shown_text(message), entities),
        "replied_html": _replied(message.get("reply_to_message")),
        "photo": _file(photo[-1]) if photo else None,
        "document": _file(document) if document else None,
        "buttons": message.get("reply_markup", {}).get("inline_keyboard", []),
    }


def _replied(message: Json | None) -> str:
    if message is None:
        return ""
    return to_html(shown_text(message) or "…", [])


def _file(described: Json) -> Json | None:
    """What a page needs of a photo or file; None of one that no server made, by its fields."""
    if not {"file_unique_id", "file_size"} <= set(described):
        return None
    kept = {"path": f"control/files/{described['file_unique_id']}", "bytes": described["file_size"]}
    shown = ("width", "height", "file_name")
    return kept | {name: described[name] for name in shown if name in described}


def _commands(telegram: TelegramState, user: Json) -> list[Json]:
    """The menu that was set for this chat, else for all, in the user's language, else in any."""
    scopes: list[Json] = [{"type": "chat", "chat_id": user["id"]}]
    scopes += [{"type": "all_private_chats"}, {"type": "default"}]
    places = [(scope_key(scope), code) for scope in scopes for code in (user["language_code"], "")]
    return next((telegram.commands[one] for one in places if telegram.commands.get(one)), [])
