"""The methods that serve the bot itself: who it is, its updates, commands, files, answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sdlesson.bot_api import updates
from sdlesson.bot_api.errors import ApiError, Json, bad_request
from sdlesson.bot_api.media import MAX_DOWNLOAD_BYTES
from sdlesson.bot_api.parameters import Parameters, whole_number
from sdlesson.bot_api.state import QUERY_TIMEOUT_S, TelegramState, scope_key

MAX_COMMANDS = 100
MAX_LANGUAGE_CHARACTERS = 8
MAX_NOTICE_CHARACTERS = 200


def get_me(telegram: TelegramState, call: Parameters) -> Json:
    """Say who the bot is, and what it may do."""
    can = {"can_join_groups": False, "can_read_all_group_messages": False}
    return {**telegram.bot, **can, "supports_inline_queries": False, "has_main_web_app": False}


async def get_updates(telegram: TelegramState, call: Parameters) -> list[Json]:
    """Return the updates that wait, or the first that comes within the timeout."""
    if telegram.webhook_url:
        raise ApiError(409, updates.WEBHOOK_CONFLICT)
    allowed = call.json("allowed_updates", "allowed updates", list)
    if allowed is not None:
        telegram.updates.allowed = allowed
    limit = min(max(call.integer("limit", updates.MAX_AT_ONCE), 1), updates.MAX_AT_ONCE)
    timeout_s = min(max(call.integer("timeout"), 0), updates.MAX_TIMEOUT_S)
    return await telegram.updates.take(call.integer("offset"), limit, timeout_s)


def set_webhook(telegram: TelegramState, call: Parameters) -> bool:
    """Take an address for updates; this server only remembers it."""
    url = call.text("url")
    if url and not url.startswith("https://"):
        raise bad_request("bad webhook: An HTTPS URL must be provided for webhook")
    telegram.webhook_url = url
    if call.flag("drop_pending_updates"):
        telegram.updates.drop_pending()
    return True


def delete_webhook(telegram: TelegramState, call: Parameters) -> bool:
    """Forget the address for updates, so that they can be asked for."""
    telegram.webhook_url = ""
    if call.flag("drop_pending_updates"):
        telegram.updates.drop_pending()
    return True


def get_webhook_info(telegram: TelegramState, call: Parameters) -> Json:
    """How many updates wait, and where they would go."""
    info: Json = {"url": telegram.webhook_url, "has_custom_certificate": False}
    return info | {"pending_update_count": telegram.updates.pending}


def set_my_commands(telegram: TelegramState, call: Parameters) -> bool:
    """Set what the menu of the chat offers."""
    commands = call.objects("commands", "commands")
    if len(commands) > MAX_COMMANDS:
        raise bad_request("too many bot commands specified")
    for command in commands:
        name, words = command.get("command"), command.get("description")
        if not isinstance(name, str) or not isinstance(words, str):
            raise bad_request("can't parse BotCommand: a field must be of type String")
        if not (name.isascii() and name == name.lower() and name.replace("_", "").isalnum()):
            raise bad_request("BOT_COMMAND_INVALID")
        if len(name) > 32 or not 1 <= len(words) <= 256:
            raise bad_request("BOT_COMMAND_DESCRIPTION_INVALID" if name else "BOT_COMMAND_INVALID")
    kept = ("command", "description")
    telegram.commands[_scope(telegram, call)] = [
        {name: one[name] for name in kept} for one in commands
    ]
    return True


def get_my_commands(telegram: TelegramState, call: Parameters) -> list[Json]:
    """List what the menu of the chat offers."""
    return telegram.commands.get(_scope(telegram, call), [])


def delete_my_commands(telegram: TelegramState, call: Parameters) -> bool:
    """Empty the menu of the chat."""
    telegram.commands.pop(_scope(telegram, call), None)
    return True


def answer_callback_query(telegram: TelegramState, call: Parameters) -> bool:
    """Answer the press of a button, which shows until then that it waits."""
    query = telegram.queries.pop(call.text("callback_query_id"), None)
    if query is None or time.monotonic() - query.pressed_at > QUERY_TIMEOUT_S:
        raise bad_request("query is too old and response timeout expired or query ID is invalid")
    if len(call.text("text")) > MAX_NOTICE_CHARACTERS:
        raise bad_request("MESSAGE_TOO_LONG")
    query.chat.notice = {"text": call.text("text"), "show_alert": call.flag("show_alert")}
    query.chat.revision += 1
    return True


def get_file(telegram: TelegramState, call: Parameters) -> Json:
    """Say where a file can be fetched."""
    kept = telegram.media.file(call.text("file_id"))
    if len(kept.data) > MAX_DOWNLOAD_BYTES:
        raise bad_request("file is too big")
    return {**kept.json, "file_path": kept.path}


def get_chat(telegram: TelegramState, call: Parameters) -> Json:
    """Describe a chat."""
    return telegram.chat(call.chat_id()).json | {"accent_color_id": 0, "max_reaction_count": 0}


METHODS: dict[str, Callable[[TelegramState, Parameters], Any]] = {
    "getMe": get_me,
    "getUpdates": get_updates,
    "setWebhook": set_webhook,
    "deleteWebhook": delete_webhook,
    "getWebhookInfo": get_webhook_info,
    "setMyCommands": set_my_commands,
    "getMyCommands": get_my_commands,
    "deleteMyCommands": delete_my_commands,
    "answerCallbackQuery": answer_callback_query,
    "getFile": get_file,
    "getChat": get_chat,
}


def _scope(telegram: TelegramState, call: Parameters) -> tuple[str, str]:
    scope = call.json("scope", "BotCommandScope", dict) or {"type": "default"}
    if len(call.text("language_code")) > MAX_LANGUAGE_CHARACTERS:
        raise bad_request("invalid language code specified")
    if scope.get("type") == "chat":
        chat = telegram.chats.get(whole_number(str(scope.get("chat_id"))) or 0)
        if chat is None or not chat.is_started:
            raise bad_request("chat not found")
    return scope_key(scope), call.text("language_code")
