"""The stand-in for Telegram, driven by python-telegram-bot's own client and by plain HTTP."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image, ImageFile

telegram = pytest.importorskip("telegram", reason="needs the extra bot: pip install '.[bot]'")

from telegram import (  # noqa: E402
    Bot,
    BotCommandScopeChat,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputMediaPhoto,
    Update,
)
from telegram.error import (  # noqa: E402
    BadRequest,
    Conflict,
    Forbidden,
    InvalidToken,
    NetworkError,
    RetryAfter,
    TimedOut,
)
from telegram.ext import Application, CommandHandler  # noqa: E402
from telegram.request import HTTPXRequest  # noqa: E402

from sdlesson.bot_api import BotApiServer, Person  # noqa: E402
from sdlesson.bot_api.formatting import find_commands, parse_html, to_html  # noqa: E402
from sdlesson.bot_api.view import MAX_SHOWN  # noqa: E402
from sdlesson.bot_api.web import METHODS  # noqa: E402

KEYS = InlineKeyboardMarkup([[InlineKeyboardButton("Again", callback_data="again:1")]])


def png(width: int = 64, height: int = 48, colour: str = "red") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def server() -> Iterator[BotApiServer]:
    with BotApiServer() as started:
        yield started


@pytest.fixture
def ana(server: BotApiServer) -> Person:
    """Somebody who has written to the bot, which knows it."""
    person = server.user("Ana", "es")
    person.says("/start")
    call(server, "getUpdates", offset=server.updates[-1]["update_id"] + 1)
    return person


class Client:
    """The real client, one call at a time: `client.send_message(...)`."""

    def __init__(self, server: BotApiServer) -> None:
        self.runner = asyncio.Runner()
        plain = {"verify": False}  # nothing here is encrypted, and certificates take time to read
        requests = [HTTPXRequest(httpx_kwargs=plain) for _ in range(2)]
        addresses = (server.base_url, server.base_file_url)
        self.bot = Bot(
            server.token, *addresses, request=requests[0], get_updates_request=requests[1]
        )
        self.runner.run(self.bot.initialize())

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.bot, name)
        return lambda *args, **kwargs: self.runner.run(method(*args, **kwargs))

    def close(self) -> None:
        with suppress(telegram.error.TelegramError):
            self.runner.run(self.bot.shutdown())
        self.runner.close()


@pytest.fixture
def client(server: BotApiServer) -> Iterator[Client]:
    made = Client(server)
    yield made
    made.close()


def call(server: BotApiServer, method: str, token: str = "", **parameters: Any) -> dict[str, Any]:
    """The JSON of an answer, as it is on the wire."""
    address = f"{server.base_url}{token or server.token}/{method}"
    return httpx.post(address, data=parameters, timeout=10, verify=False).json()


def refusal(server: BotApiServer, method: str, **parameters: Any) -> str:
    answer = call(server, method, **parameters)
    assert not answer["ok"]
    assert answer["error_code"] == 400
    return answer["description"].removeprefix("Bad Request: ")


async def initialized(bot: Bot) -> None:
    try:
        await bot.initialize()
    finally:
        await asyncio.gather(*(request.shutdown() for request in bot._request))


# Who may call, and what.


def test_the_real_client_learns_who_the_bot_is(client: Client, server: BotApiServer) -> None:
    me = client.get_me()
    assert me.is_bot
    assert me.username.endswith("bot")
    assert str(me.id) == server.token.split(":")[0]


def test_a_wrong_token_and_an_unknown_method_are_refused_as_telegram_does(
    server: BotApiServer,
) -> None:
    wrong = {"ok": False, "error_code": 401, "description": "Unauthorized"}
    assert call(server, "getMe", token="1:nobody") == wrong
    with pytest.raises(InvalidToken):
        asyncio.run(initialized(Bot("1:nobody", server.base_url)))
    for method in ("logOut", "close", "sendSticker", "nonsense"):
        answer = call(server, method)
        assert answer["error_code"] == 404
        assert answer["description"] == "Not Found: method not found"


def test_methods_are_found_whatever_their_case_and_parameters_come_in_every_form(
    server: BotApiServer, ana: Person
) -> None:
    address = f"{server.base_url}{server.token}/SENDMESSAGE"
    parameters = {"chat_id": ana.id, "text": "hola"}
    forms = [{"params": parameters}, {"data": parameters}, {"json": parameters}]
    forms.append({"data": parameters, "files": {"nothing": b"x"}})
    for form in forms:
        assert httpx.post(address, **form).json()["result"]["text"] == "hola"
    assert httpx.get(address, params=parameters).json()["ok"]
    assert [message.get("text") for message in ana.messages].count("hola") == 5


def test_the_token_is_in_no_log_and_no_repr(
    server: BotApiServer, ana: Person, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore"):  # the client's own log names the address
        caplog.set_level(logging.WARNING, name)
    server.fail("sendMessage", status=502)
    call(server, "sendMessage", chat_id=ana.id, text="x")
    call(server, "nonsense")
    server.fail("getMe", drop=True)
    with pytest.raises(httpx.HTTPError):
        call(server, "getMe")
    shown = [repr(server), repr(ana), str(server.calls), caplog.text]
    assert server.token not in "".join(shown)
    assert "sendMessage" in shown[2]  # the control: something is shown at all


# Updates.


def test_updates_are_kept_until_the_offset_confirms_them(
    server: BotApiServer, client: Client
) -> None:
    ana = server.user("Ana", "es")
    ana.says("one")
    ana.says("two")
    first = client.get_updates()
    assert [update.message.text for update in first] == ["one", "two"]
    assert client.get_updates() == first
    assert client.get_updates(limit=1) == first[:1]
    assert client.get_webhook_info().pending_update_count == 2
    assert client.get_updates(offset=first[0].update_id + 1) == first[1:]
    assert client.get_updates(offset=first[1].update_id + 1) == ()
    sender = first[0].effective_user
    assert (sender.first_name, sender.language_code, sender.id) == ("Ana", "es", ana.id)


def test_a_long_poll_waits_for_what_comes_and_no_longer_than_its_timeout(
    server: BotApiServer,
) -> None:
    ana = server.user("Ana")
    with ThreadPoolExecutor() as pool:
        began = time.monotonic()
        waiting = pool.submit(call, server, "getUpdates", timeout=20)
        time.sleep(0.2)
        assert not waiting.done()
        ana.says("hello")
        assert waiting.result()["result"][0]["message"]["text"] == "hello"
        assert time.monotonic() - began < 5
    last = server.updates[-1]["update_id"] + 1
    began = time.monotonic()
    assert call(server, "getUpdates", offset=last, timeout=1)["result"] == []
    assert 0.9 < time.monotonic() - began < 4


def test_the_older_of_two_polls_is_ended_with_conflict(
    server: BotApiServer, client: Client
) -> None:
    with ThreadPoolExecutor() as pool:
        older = pool.submit(call, server, "getUpdates", timeout=20)
        time.sleep(0.2)
        newer = pool.submit(call, server, "getUpdates", timeout=1)
        answer = older.result()
        assert answer["error_code"] == 409
        assert answer["description"].startswith("Conflict: terminated by other getUpdates request")
        assert newer.result() == {"ok": True, "result": []}
    server.fail("getUpdates", status=409)
    with pytest.raises(Conflict):
        client.get_updates()


def test_only_the_kinds_of_updates_that_were_asked_for_are_made(
    server: BotApiServer, client: Client, ana: Person
) -> None:
    client.get_updates(allowed_updates=["callback_query"])
    ana.says("nobody hears this")
    message = client.send_message(ana.id, "press", reply_markup=KEYS)
    ana.presses(message.message_id, "Again")
    (update,) = client.get_updates()
    assert update.callback_query.data == "again:1"


def test_a_confirmed_update_can_be_delivered_again(
    server: BotApiServer, client: Client, ana: Person
) -> None:
    update = server.updates[-1]
    after = update["update_id"] + 1
    assert client.get_updates(offset=after) == ()
    server.replay(update)
    (again,) = client.get_updates(offset=after)
    assert again.update_id == update["update_id"]
    assert client.get_updates(offset=after) == ()


def test_a_webhook_stops_polling_until_it_is_deleted(server: BotApiServer, client: Client) -> None:
    assert refusal(server, "setWebhook", url="http://x").startswith("bad webhook")
    client.set_webhook("https://example.org/hook")
    with pytest.raises(Conflict, match="webhook is active"):
        client.get_updates()
    client.delete_webhook()
    assert client.get_updates() == ()


def test_commands_are_marked_so_that_the_real_handlers_find_them(server: BotApiServer) -> None:
    heard = []

    async def answer(update: Update, context: Any) -> None:
        heard.append(context.args)
        await update.message.reply_text(f"drawn: {' '.join(context.args)}")

    async def serve() -> Any:
        builder = Application.builder().token(server.token).base_url(server.base_url)
        application = builder.base_file_url(server.base_file_url).build()
        application.add_handler(CommandHandler("draw", answer))
        async with application:
            await application.updater.start_polling()
            await application.start()
            ana = server.user("Ana")
            ana.says("😀 not /a/path, 1/2 or <b>/b")
            ana.says("/draw a panda 🐼 in the snow")
            found = await asyncio.to_thread(ana.waits_for, "drawn:")
            await application.updater.stop()
            await application.stop()
            return found

    assert asyncio.run(serve())["text"] == "drawn: a panda 🐼 in the snow"
    assert heard == [["a", "panda", "🐼", "in", "the", "snow"]]


def test_offsets_count_as_telegram_counts() -> None:
    assert find_commands("🐼 /draw@my_bot x /y") == [
        {"type": "bot_command", "offset": 3, "length": 12},
        {"type": "bot_command", "offset": 18, "length": 2},
    ]
    assert find_commands("http://x/y </b> a/b //c") == []


def test_no_server_counts_its_updates_from_where_another_did() -> None:
    ids = set()
    for _ in range(8):
        server = BotApiServer()
        server.user("Ana").says("hello")
        ids.add(server.updates[0]["update_id"])
    assert len(ids) == 8
    assert all(0 < one < 2**31 for one in ids)


def test_a_person_is_the_same_on_every_server_and_nobody_else_is() -> None:
    first, second = BotApiServer(), BotApiServer()
    ana, ben = first.user("Ana"), first.user("Ben")
    other_ben, other_ana = second.user("Ben"), second.user("Ana")
    assert (ana.id, ben.id) == (other_ana.id, other_ben.id)
    assert len({ana.id, ben.id, first.user("Ana").id, first.user("Ana").id}) == 4
    with pytest.raises(ValueError, match="is Ana's already"):
        first.user("Eve", id=ana.id)


# Texts.


def test_html_becomes_text_with_entities_and_html_again() -> None:
    source = (
        '🐼 <b>bold <i>both</i></b> &lt;x&gt; &amp;&#33;&nbsp; <a href="https://x.y/?a=1">link</a>'
    )
    text, entities = parse_html(source)
    assert text == "🐼 bold both <x> &!&nbsp; link"
    found = [(entity["type"], entity["offset"], entity["length"]) for entity in entities]
    assert found == [("bold", 3, 9), ("italic", 8, 4), ("text_link", 26, 4)]
    shown = to_html(text, entities)
    assert shown.startswith("🐼 <b>bold <i>both</i></b> &lt;x&gt; &amp;!&amp;nbsp; <a href=")
    assert "<a" not in to_html(*parse_html('<a href="javascript:alert(1)">x</a>'))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("<b>x", 'Can\'t find end tag corresponding to start tag "b"'),
        ("x</b>", "Unexpected end tag at byte offset 1"),
        ("é<b>x</i>", 'Unmatched end tag at byte offset 6, expected "</b>", found "</i>"'),
        ("a <panda> b", 'Unsupported start tag "panda" at byte offset 2'),
        ("1 <2", "Unclosed start tag at byte offset 2"),
        ("2 < 3 > 1", 'Unsupported start tag "" at byte offset 2'),
    ],
)
def test_html_that_telegram_cannot_parse_is_refused(
    source: str, reason: str, server: BotApiServer, ana: Person
) -> None:
    said = refusal(server, "sendMessage", chat_id=ana.id, text=source, parse_mode="HTML")
    assert said == f"can't parse entities: {reason}"
    assert call(server, "sendMessage", chat_id=ana.id, text=source)["result"]["text"] == source


def test_lengths_are_those_of_telegram(server: BotApiServer, client: Client, ana: Person) -> None:
    assert client.send_message(ana.id, "x" * 4096).text == "x" * 4096
    assert refusal(server, "sendMessage", chat_id=ana.id, text="x" * 4097) == "message is too long"
    for text, reason in (("", "message text is empty"), (" \n", "text must be non-empty")):
        assert refusal(server, "sendMessage", chat_id=ana.id, text=text) == reason
    assert client.send_photo(ana.id, png(), caption="x" * 1024).caption
    with pytest.raises(BadRequest, match="caption is too long"):
        client.send_photo(ana.id, png(), caption="x" * 1025)
    with pytest.raises(ValueError, match="at most 4096"):
        ana.says("x" * 4097)


def test_markup_is_checked(server: BotApiServer, ana: Person) -> None:
    def reason(markup: object) -> str:
        given = markup if isinstance(markup, str) else json.dumps(markup)
        return refusal(server, "sendMessage", chat_id=ana.id, text="x", reply_markup=given)

    def keys(**button: str) -> dict[str, Any]:
        return {"inline_keyboard": [[button]]}

    assert reason(keys(text="x", callback_data="é" * 33)) == "BUTTON_DATA_INVALID"
    assert "Text buttons are unallowed" in reason(keys(text="x"))
    assert 'Field "text"' in reason(keys(callback_data="x"))
    assert "URL 'nonsense' is invalid" in reason(keys(text="x", url="nonsense"))
    assert "Array of Arrays" in reason({"inline_keyboard": [{}]})
    assert "can't parse reply keyboard markup JSON object" in reason("{")
    assert "inline keyboards" in reason({"keyboard": [["x"]]})
    assert reason({"inline_keyboard": [[{"text": "x", "callback_data": "x"}]] * 101}) == (
        "reply markup is too long"
    )
    fits = json.dumps(keys(text="x", callback_data="é" * 32))
    assert call(server, "sendMessage", chat_id=ana.id, text="x", reply_markup=fits)["ok"]


# Chats.


def test_a_bot_writes_only_to_those_who_wrote_first_and_have_not_blocked_it(
    server: BotApiServer, client: Client
) -> None:
    assert refusal(server, "sendMessage", chat_id=5, text="x") == "chat not found"
    assert refusal(server, "sendMessage", text="x") == "chat_id is empty"
    ana = server.user("Ana")
    with pytest.raises(Forbidden, match="can't initiate conversation"):
        client.send_message(ana.id, "x")
    ana.says("hello")
    client.send_message(ana.id, "x")
    ana.blocks()
    for method in ("send_message", "send_chat_action"):
        with pytest.raises(Forbidden, match="bot was blocked by the user"):
            getattr(client, method)(ana.id, "typing")
    assert server.updates[-1]["my_chat_member"]["new_chat_member"]["status"] == "kicked"
    ana.says("and back")
    client.send_message(ana.id, "y")
    assert [one["text"] for one in server.messages(ana.id)] == ["hello", "x", "and back", "y"]


def test_edits_and_deletions_are_seen_and_refused_as_telegram_does(
    server: BotApiServer, client: Client, ana: Person
) -> None:
    message = client.send_message(ana.id, "<b>a</b>", parse_mode="HTML", reply_markup=KEYS)
    where = {"chat_id": ana.id, "message_id": message.message_id}
    with pytest.raises(BadRequest, match="Message is not modified: specified new message content"):
        client.edit_message_text("<b>a</b>", **where, parse_mode="HTML", reply_markup=KEYS)
    client.edit_message_text("a", **where)
    assert "reply_markup" not in ana.messages[-1]
    client.edit_message_reply_markup(**where, reply_markup=KEYS)
    assert ana.messages[-1]["reply_markup"]["inline_keyboard"][0][0]["text"] == "Again"
    assert refusal(server, "editMessageText", **where, text="x" * 4097) == "MESSAGE_TOO_LONG"
    assert "no caption in the message" in refusal(
        server, "editMessageCaption", **where, caption="x"
    )
    ana.deletes(message.message_id)
    assert refusal(server, "editMessageText", **where, text="b") == "message to edit not found"
    assert refusal(server, "deleteMessage", **where) == "message to delete not found"
    theirs = {"chat_id": ana.id, "message_id": ana.messages[0]["message_id"]}
    assert refusal(server, "editMessageText", **theirs, text="b") == "message can't be edited"
    client.delete_message(**theirs)
    assert ana.messages == []


def test_a_reply_needs_the_message_that_it_answers(
    server: BotApiServer, client: Client, ana: Person
) -> None:
    first = ana.messages[0]["message_id"]
    assert client.send_message(ana.id, "yes", reply_to_message_id=first).reply_to_message.text
    with pytest.raises(BadRequest, match="Message to be replied not found"):
        client.send_message(ana.id, "no", reply_to_message_id=999)
    kept = client.send_message(
        ana.id, "still", reply_to_message_id=999, allow_sending_without_reply=True
    )
    assert kept.reply_to_message is None


def test_an_action_shows_until_the_message_comes(
    server: BotApiServer, client: Client, ana: Person
) -> None:
    client.send_chat_action(ana.id, "upload_photo")
    assert chat(server, ana)["action"] == "upload_photo"
    client.send_message(ana.id, "there")
    assert chat(server, ana)["action"] == ""
    assert "wrong parameter action" in refusal(
        server, "sendChatAction", chat_id=ana.id, action="juggling"
    )


def test_a_press_is_answered_once_and_in_time(
    server: BotApiServer, client: Client, ana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = client.send_message(ana.id, "press", reply_markup=KEYS)
    query_id = ana.presses(message.message_id, "Again")
    (update,) = client.get_updates()
    query = update.callback_query
    assert (query.id, query.data, query.message.text) == (query_id, "again:1", "press")
    assert ana.notice == {}
    client.answer_callback_query(query_id, "Done")
    assert ana.notice == {"text": "Done", "show_alert": False}
    for unknown in (query_id, "nonsense"):
        with pytest.raises(BadRequest, match="Query is too old and response timeout expired"):
            client.answer_callback_query(unknown)
    monkeypatch.setattr("sdlesson.bot_api.account_methods.QUERY_TIMEOUT_S", 0)
    late = ana.presses(message.message_id, "again:1")
    with pytest.raises(BadRequest, match="Query is too old"):
        client.answer_callback_query(late)


def test_only_buttons_that_are_there_can_be_pressed_unless_the_press_is_forged(
    client: Client, ana: Person
) -> None:
    message = client.send_message(ana.id, "press", reply_markup=KEYS)
    with pytest.raises(ValueError, match=r"no button 'More' .*: 'Again'"):
        ana.presses(message.message_id, "More")
    ana.presses(message.message_id, data="forged:💥")
    ana.deletes(message.message_id)
    ana.presses(message.message_id, data="of a message that is gone")
    forged, gone = client.get_updates()
    assert forged.callback_query.data == "forged:💥"
    assert not gone.callback_query.message.is_accessible


def test_the_menu_is_in_the_users_language(server: BotApiServer, client: Client) -> None:
    client.set_my_commands([("draw", "a picture")])
    client.set_my_commands([("draw", "una imagen")], language_code="es")
    assert client.get_my_commands(language_code="es")[0].description == "una imagen"
    words = [chat(server, server.user("X", code))["commands"] for code in ("es", "de")]
    assert [menu[0]["description"] for menu in words] == ["una imagen", "a picture"]
    with pytest.raises(BadRequest, match="Bot_command_invalid"):
        client.set_my_commands([("Dra w", "x")])


def test_a_chats_own_menu_counts_before_everybodys_and_needs_a_chat(
    server: BotApiServer, client: Client
) -> None:
    client.set_my_commands([("draw", "una imagen")], language_code="es")
    ana, eva = server.user("Ana", "es"), server.user("Eva", "es")
    own = BotCommandScopeChat(ana.id)
    with pytest.raises(BadRequest, match="Chat not found"):
        client.set_my_commands([("ban", "shut out")], scope=own)
    ana.says("hello")
    client.set_my_commands([("ban", "shut out")], scope=own)
    assert client.get_my_commands(scope=own)[0].command == "ban"
    assert [one["command"] for one in chat(server, ana)["commands"]] == ["ban"]
    assert [one["command"] for one in chat(server, eva)["commands"]] == ["draw"]
    with pytest.raises(BadRequest, match="Chat not found"):
        client.set_my_commands([("ban", "x")], scope=BotCommandScopeChat(987_654_321))


# Whatever comes as JSON, and errors nobody foresaw.


DEEP = "[" * 100_000
ODD = ("5", "[]", "{}", '"x"', "[5]", "[[5]]", "[null]", "[{}]", "true", "1e999", "{", "NaN", DEEP)
ODD += ('{"type": 5}', '{"type": [], "message_id": []}', '{"message_id": "x"}', "9" * 5000)
ODD += ('[{"type": "bold"}]', '[{"type": "bold", "offset": -1, "length": 1}]', r'"\ud83d"')
ODD += ('[{"type": "bold", "offset": 0, "length": 99}]', '[{"command": 5, "description": []}]')
ODD += ('{"type": "photo", "media": [], "caption": 5}', '{"inline_keyboard": [[5]]}')
ODD += ('[{"type": "text_link", "offset": 0, "length": 1, "url": []}]', r'{"x": "\udc00"}')
JSON_FIELDS = [
    ("getUpdates", "allowed_updates"),
    ("getUpdates", "offset"),
    ("getUpdates", "limit"),
    ("setMyCommands", "commands"),
    ("setMyCommands", "scope"),
    ("getMyCommands", "scope"),
    ("sendMessage", "chat_id"),
    ("sendMessage", "entities"),
    ("sendMessage", "reply_markup"),
    ("sendMessage", "reply_parameters"),
    ("sendMessage", "reply_to_message_id"),
    ("sendMediaGroup", "media"),
    ("editMessageMedia", "media"),
    ("deleteMessages", "message_ids"),
    ("sendPhoto", "photo"),
    ("getFile", "file_id"),
]


@pytest.mark.parametrize(("method", "field"), JSON_FIELDS)
def test_json_of_any_kind_is_taken_or_refused_and_the_chat_goes_on(
    server: BotApiServer, ana: Person, method: str, field: str
) -> None:
    server.fail("getMe", status=502, chat_id=ana.id)  # a fault that asks each call for its chat
    written = call(server, "sendMessage", chat_id=ana.id, text="hello")["result"]
    named = {"chat_id": ana.id, "text": "hello", "message_id": written["message_id"]}
    for odd in ODD:
        answer = call(server, method, **named | {field: odd})
        assert answer["ok"] or answer["error_code"] == 400, (odd, answer)
    assert call(server, "getUpdates", allowed_updates="[]", offset=-1)["ok"]
    assert chat(server, ana)["messages"]


@pytest.mark.parametrize("body", [*ODD, "null", "", "\x00", r'{"text": "\ud83d", "chat_id": 1}'])
def test_a_body_of_any_kind_is_a_400(server: BotApiServer, ana: Person, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    addresses = (f"{server.base_url}{server.token}/sendMessage",)
    places = ("messages", "presses", "blocked")
    addresses += tuple(f"{server.chat_url}control/chats/{ana.id}/{place}" for place in places)
    addresses += tuple(
        f"{server.chat_url}control/{what}" for what in ("people", "faults", "updates")
    )
    for address in addresses:
        answer = httpx.post(address, content=body, headers=headers, verify=False)
        assert answer.status_code == 400, (address, answer.text)
        assert answer.json()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("chats/{ana}/messages", {"text": ["x"]}),
        ("chats/{ana}/messages", {"text": "x", "reply_to": [1]}),
        ("chats/{ana}/messages", {"photo": 5}),
        ("chats/{ana}/messages", {"file": "eA==", "file_name": "x" * 300}),
        ("chats/{ana}/presses", {"message_id": 1e400, "button": "x"}),
        ("chats/²/messages", {"text": "x"}),
        ("people", {"name": "x" * 65}),
        ("people", {"name": ["Ana"]}),
        ("people", {"name": "Eve", "language_code": {}}),
        ("faults", {"method": 5}),
        ("faults", {"method": "getMe", "status": "502"}),
        ("faults", {"method": "getMe", "delay_s": "x"}),
        ("faults", {"method": "getMe", "delay_s": -1}),
        ("faults", {"method": "getMe", "delay_s": 1e9}),
        ("faults", {"method": "getMe", "times": True}),
        ("faults", {"method": "getMe", "drop": 1}),
        ("updates", {"message": {}}),
        ("updates", {"update_id": "x"}),
    ],
)
def test_controls_of_the_wrong_kind_are_refused_and_break_nothing(
    server: BotApiServer, ana: Person, path: str, body: dict[str, Any]
) -> None:
    address = f"{server.chat_url}control/{path.format(ana=ana.id)}"
    headers = {"Content-Type": "application/json"}
    answer = httpx.post(address, content=json.dumps(body), headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert call(server, "getMe")["ok"]
    assert httpx.get(f"{server.chat_url}control/files").status_code == 404


def test_words_of_a_fault_may_hold_braces(server: BotApiServer) -> None:
    server.fail("getMe", status=429, description="{x} in {retry_after} s", retry_after=5)
    assert call(server, "getMe")["description"] == "{x} in 5 s"


def test_an_error_nobody_foresaw_is_json_and_tells_no_token(
    server: BotApiServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def explode(telegram: Any, parameters: Any) -> None:
        raise RuntimeError("a fault of the server's own")

    for name in ("httpx", "httpcore"):
        caplog.set_level(logging.WARNING, name)
    monkeypatch.setitem(METHODS, "getMe", explode)
    answer = call(server, "getMe")
    assert answer == {"ok": False, "error_code": 500, "description": "Internal Server Error"}
    assert server.calls[-1].status == 500
    printed = "".join(capfd.readouterr())
    assert "a fault of the server's own" in caplog.text  # the control
    assert server.token not in caplog.text + printed
    assert "/getMe" not in caplog.text + printed


def test_alone_the_server_prints_nothing_of_its_errors() -> None:
    source = """
import httpx
from sdlesson.bot_api import BotApiServer, web
web.METHODS["getMe"] = lambda telegram, parameters: 1 / 0
with BotApiServer() as server:
    for address in (f"{server.base_url}{server.token}/getMe", f"{server.url}/bot{server.token}"):
        httpx.get(address)
        httpx.post(address, content=b"x", headers={"Content-Type": "multipart/form-data"})
"""
    run = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60)
    assert "bot" not in run.stdout + run.stderr
    assert run.returncode == 0


def test_a_text_of_a_million_tags_is_refused_at_once(server: BotApiServer, ana: Person) -> None:
    began = time.monotonic()
    given = {"chat_id": ana.id, "parse_mode": "HTML"}
    assert refusal(server, "sendMessage", text="<b></b>" * 1_000_000, **given)
    assert time.monotonic() - began < 5
    kept = call(server, "sendMessage", text="<b>x</b>" * 150, **given)["result"]
    assert len(kept["entities"]) == 100


# Pictures and files.


def test_a_users_photo_reaches_the_bot_in_several_sizes(
    server: BotApiServer, client: Client, ana: Person
) -> None:
    ana.says("en estilo Monet", photo=Image.new("RGB", (3000, 1500), "blue"))
    (update,) = client.get_updates()
    sizes = update.message.photo
    assert [(size.width, size.height) for size in sizes] == [
        (90, 45),
        (320, 160),
        (800, 400),
        (1280, 640),
    ]
    assert update.message.caption == "en estilo Monet"
    found = client.get_file(sizes[-1].file_id)
    data = httpx.get(found.file_path).content
    assert Image.open(io.BytesIO(data)).size == (1280, 640)
    assert len(data) == found.file_size
    missing = httpx.get(f"{server.base_file_url}{server.token}/photos/no.jpg").json()
    assert (missing["error_code"], missing["description"]) == (404, "Not Found")


def test_a_message_without_a_picture_is_asked_for_one_in_vain_and_told_so(
    server: BotApiServer, client: Client, ana: Person
) -> None:
    text = client.send_message(ana.id, "no picture").to_dict()
    document = client.send_document(ana.id, b"no picture", filename="photo.png").to_dict()
    for odd in (text, document, {"photo": []}, {"photo": [{}]}, {"photo": [{"file_id": "gone"}]}):
        with pytest.raises(ValueError, match="shows no picture"):
            server.picture(odd)


def test_a_user_sends_a_photo_or_a_file_not_both(server: BotApiServer, ana: Person) -> None:
    with pytest.raises(ValueError, match="a photo or a file"):
        ana.says("both", photo=png(), file=b"a file")
    both = {name: base64.b64encode(png()).decode() for name in ("photo", "file")}
    answer = httpx.post(f"{server.chat_url}control/chats/{ana.id}/messages", json=both)
    assert (answer.status_code, "a photo or a file" in answer.json()["error"]) == (400, True)
    with pytest.raises(ValueError, match="no message_id"):
        ana.says("an answer", reply_to={})


def test_a_photo_without_its_fields_does_not_break_the_chat_page(
    server: BotApiServer, ana: Person
) -> None:
    for photo in ([], [{}], [{"file_id": "x", "width": 1}]):
        server.run(
            lambda telegram, odd=photo: telegram.receive(
                telegram.chats[ana.id], {"photo": odd, "caption": "odd"}
            )
        )
    answer = httpx.get(f"{server.chat_url}control/chats/{ana.id}")
    assert answer.status_code == 200
    shown = [one["photo"] for one in answer.json()["messages"] if one["text"] == "odd"]
    assert shown == [None, None, None]


def test_photos_come_back_as_jpeg_and_documents_untouched(
    server: BotApiServer, client: Client, ana: Person
) -> None:
    picture = client.send_photo(ana.id, png(), caption="<b>red</b>", parse_mode="HTML")
    document = client.send_document(ana.id, png(), filename="a picture.png")
    assert server.picture(picture.to_dict()).format == "JPEG"
    assert (document.document.file_name, document.document.mime_type) == (
        "a picture.png",
        "image/png",
    )
    kept = client.get_file(document.document.file_id)
    assert httpx.get(kept.file_path).content == png()
    again = client.send_photo(ana.id, picture.photo[-1].file_id)
    assert again.photo == picture.photo
    album = client.send_media_group(
        ana.id, [InputMediaPhoto(png(), caption="one"), InputMediaPhoto(png(8, 8))]
    )
    assert album[0].media_group_id == album[1].media_group_id
    assert [one.caption for one in album] == ["one", None]


def test_a_text_becomes_a_picture_and_the_picture_another(client: Client, ana: Person) -> None:
    message = client.send_message(ana.id, "waiting", reply_markup=KEYS)
    where = {"chat_id": ana.id, "message_id": message.message_id}
    client.edit_message_media(InputMediaPhoto(png(), caption="step 5"), **where)
    shown = ana.messages[-1]
    assert "text" not in shown
    assert (shown["caption"], shown["photo"][-1]["width"]) == ("step 5", 64)
    with pytest.raises(BadRequest, match="not modified"):
        client.edit_message_media(InputMediaPhoto(png(), caption="step 5"), **where)
    client.edit_message_media(InputMediaPhoto(png(colour="blue"), caption="step 9"), **where)
    client.edit_message_caption(**where, caption="done", reply_markup=KEYS)
    assert ana.messages[-1]["caption"] == "done"
    with pytest.raises(BadRequest, match="no text in the message"):
        client.edit_message_text("x", **where)


def test_pictures_that_telegram_does_not_take_are_refused(
    server: BotApiServer, client: Client, ana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    for data, reason in (
        (png(2100, 100), "PHOTO_INVALID_DIMENSIONS"),
        (png(5001, 5000), "PHOTO_INVALID_DIMENSIONS"),
        (png()[:60], "IMAGE_PROCESS_FAILED"),
        (b"hello", "IMAGE_PROCESS_FAILED"),
        (b"\0" * (10 * 2**20 + 1), "is too big for a photo; the maximum size is 10485760 bytes"),
    ):
        with pytest.raises(BadRequest, match=f"(?i){reason}") as refused:
            client.send_photo(ana.id, data)
        assert not isinstance(refused.value, TimedOut)
    assert client.send_photo(ana.id, png(2000, 100)).photo
    assert "no photo in the request" in refusal(server, "sendPhoto", chat_id=ana.id)
    assert "wrong file identifier" in refusal(server, "sendPhoto", chat_id=ana.id, photo="x")
    with pytest.raises(ValueError, match="send it with file="):
        ana.says(photo=b"not a picture")


def test_large_files_are_refused_on_their_way_in_and_out(
    server: BotApiServer, client: Client, ana: Person
) -> None:
    ana.says(file=b"\0" * (20 * 2**20 + 1), file_name="bomb.png")
    (update,) = client.get_updates()
    assert update.message.document.mime_type == "image/png"
    with pytest.raises(BadRequest, match="File is too big"):
        client.get_file(update.message.document.file_id)
    assert "wrong file_id" in refusal(server, "getFile", file_id="x")
    files = {"document": ("big.bin", bytes(52 * 2**20))}
    address = f"{server.base_url}{server.token}/sendDocument"
    answer = httpx.post(address, data={"chat_id": ana.id}, files=files, timeout=30)
    assert (answer.status_code, answer.json()["description"]) == (413, "Request Entity Too Large")


@pytest.fixture(scope="module")
def vast() -> bytes:
    """A picture that takes 500 MB of memory, and as a file very little."""
    data = io.BytesIO()
    Image.new("1", (13_000, 13_000)).save(data, "PNG")
    return data.getvalue()


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("way", ["bot", "person", "page"])
def test_vast_pictures_are_refused_before_they_are_decoded(
    server: BotApiServer,
    ana: Person,
    vast: bytes,
    way: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loads: list[object] = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: loads.append(self))
    if way == "bot":
        address = f"{server.base_url}{server.token}/sendPhoto"
        answer = httpx.post(address, data={"chat_id": ana.id}, files={"photo": vast}, timeout=30)
        assert answer.json()["description"] == "Bad Request: PHOTO_INVALID_DIMENSIONS"
    elif way == "page":
        photo = base64.b64encode(vast).decode()
        answer = control(server, f"chats/{ana.id}/messages", photo=photo)
        assert answer.status_code == 400
        assert "13000 x 13000 pixels are more than 25,000,000" in answer.json()["error"]
    else:
        (tmp_path / "vast.png").write_bytes(vast)
        for photo in (vast, tmp_path / "vast.png"):
            with pytest.raises(ValueError, match="13000 x 13000 pixels are more than 25,000,000"):
                ana.says(photo=photo)
    assert loads == []


def test_a_large_photo_of_a_phone_is_taken_and_decoded_small(
    ana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = io.BytesIO()
    Image.new("RGB", (8000, 6000), "blue").save(data, "JPEG")
    sizes: list[tuple[int, int]] = []
    load = ImageFile.ImageFile.load
    monkeypatch.setattr(
        ImageFile.ImageFile, "load", lambda self: sizes.append(self.size) or load(self)
    )
    ana.says(photo=data.getvalue())
    assert max(sizes) < (4000, 3000)
    assert ana.messages[-1]["photo"][-1]["width"] == 1280


def test_photos_are_laid_on_white_and_broken_ones_refused(
    server: BotApiServer, ana: Person
) -> None:
    clear, floats = Image.new("RGBA", (64, 64), (0, 0, 0, 0)), Image.new("F", (64, 64), 1.0)
    for picture in (clear, floats):
        ana.says(photo=picture)
        assert server.picture(ana.messages[-1]).getpixel((9, 9)) == (255, 255, 255)
    closed, cut = Image.open(io.BytesIO(png())), Image.open(io.BytesIO(png(300, 300)[:200]))
    closed.close()
    for broken in (closed, cut, b"", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"):
        with pytest.raises(ValueError, match="send it with file="):
            ana.says(photo=broken)


def test_files_are_kept_up_to_so_many_bytes_the_newest_longest(
    server: BotApiServer, client: Client, ana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdlesson.bot_api.media.MAX_KEPT_BYTES", 100_000)
    for number in range(9):
        ana.says(file=bytes([number]) * 30_000)
    ids = [message["document"]["file_id"] for message in ana.messages[1:]]
    kept = server.run(lambda telegram: sum(len(one.data) for one in telegram.media._files.values()))
    assert 60_000 < kept <= 100_000
    assert client.get_file(ids[-1]).file_size == 30_000
    assert "wrong file_id" in refusal(server, "getFile", file_id=ids[0])
    ana.says(file=bytes(200_000))  # more than all: not kept, and nothing breaks
    assert "wrong file_id" in refusal(
        server, "getFile", file_id=ana.messages[-1]["document"]["file_id"]
    )


# Faults.


def test_faults_come_as_often_as_asked_and_then_no_more(
    server: BotApiServer, client: Client, ana: Person
) -> None:
    server.fail("sendMessage", status=429, retry_after=7, times=2)
    server.fail("sendMessage", status=502)
    for _ in range(2):
        with pytest.raises(RetryAfter, match="Retry in 7 seconds"):
            client.send_message(ana.id, "x")
    with pytest.raises(NetworkError, match="Bad Gateway"):
        client.send_message(ana.id, "x")
    client.send_message(ana.id, "at last")
    assert [message["text"] for message in ana.messages] == ["/start", "at last"]
    statuses = [one.status for one in server.calls if one.method == "sendMessage"]
    assert statuses == [429, 429, 502, 200]
    for wrong in ({"status": 302}, {"status": 429}, {"times": 0}):
        with pytest.raises(ValueError, match="status="):
            server.fail("getMe", **wrong)


def test_a_fault_can_be_for_one_chat_only(
    server: BotApiServer, client: Client, ana: Person
) -> None:
    ben = server.user("Ben")
    ben.says("hi")
    server.fail("*", status=403, chat_id=ben.id)
    client.send_message(ana.id, "x")
    with pytest.raises(Forbidden):
        client.send_message(ben.id, "x")


def test_a_bot_that_hangs_up_does_not_seem_to_run(server: BotApiServer, ana: Person) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{server.base_url}{server.token}/getUpdates?timeout=30&offset=-1", timeout=0.2)
    deadline = time.monotonic() + 5
    while server.calls[-1].status is None:
        assert time.monotonic() < deadline
    assert server.calls[-1].status == 0
    assert chat(server, ana)["is_running"]  # it may come back within seconds
    server.run(lambda telegram: setattr(telegram.updates, "_polled_at", float("-inf")))
    assert not chat(server, ana)["is_running"]


@pytest.mark.parametrize("fault", [{"drop": True}, {"delay_s": 1.5}])
def test_what_times_out_or_is_dropped_afterwards_has_arrived_all_the_same(
    server: BotApiServer, client: Client, ana: Person, fault: dict[str, Any]
) -> None:
    server.fail("sendPhoto", after=True, **fault)
    with pytest.raises(NetworkError):
        client.send_photo(ana.id, png(), read_timeout=0.5)
    assert "photo" in ana.messages[-1]


def test_what_is_dropped_before_has_not_arrived(
    server: BotApiServer, client: Client, ana: Person
) -> None:
    server.fail("sendMessage", drop=True)
    with pytest.raises(NetworkError):
        client.send_message(ana.id, "x")
    server.fail("sendMessage", status=502, times=9)
    server.clear_faults()
    client.send_message(ana.id, "y")
    assert [message["text"] for message in ana.messages] == ["/start", "y"]


def test_downloads_fail_too(server: BotApiServer, client: Client, ana: Person) -> None:
    ana.says(file=b"x")
    (update,) = client.get_updates()
    path = client.get_file(update.message.document.file_id).file_path
    server.fail("file", status=500)
    assert httpx.get(path).status_code == 500
    assert httpx.get(path).content == b"x"


# The server itself.


def test_it_stops_starts_again_at_its_address_and_remembers(ana: Person) -> None:
    server = BotApiServer()
    with pytest.raises(RuntimeError, match="call start"):
        _ = server.url
    person = server.user("Ana")
    with server:
        address = server.url
        person.says("before")
        with pytest.raises(OSError, match=r"in use\); choose another, or 0 for any"):
            BotApiServer(int(address.rpartition(":")[2])).start()
    server.stop()
    assert person.messages[0]["text"] == "before"
    with pytest.raises(httpx.ConnectError):
        call(server, "getMe")
    with server:
        assert server.start() is server
        assert server.url == address
        assert call(server, "getUpdates")["result"][0]["message"]["text"] == "before"


def test_stopping_ends_a_poll_at_once(server: BotApiServer) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(call, server, "getUpdates", timeout=30)
        time.sleep(0.2)
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 2
        with pytest.raises(httpx.HTTPError):
            waiting.result(5)


def test_a_token_may_be_given_and_a_wrong_one_is_not_repeated() -> None:
    assert BotApiServer(token="123:abc").token == "123:abc"
    assert BotApiServer().token != BotApiServer().token
    for wrong in ("mysecret", "²:mysecret", b"1:mysecret", 5):
        with pytest.raises(ValueError, match="digits, a colon and letters") as refused:
            BotApiServer(token=wrong)
        assert "mysecret" not in str(refused.value)


@pytest.mark.parametrize("port", [-1, 65_536, "8080", 80.0, None, True])
def test_a_port_that_is_none_is_refused_at_the_door(port: object) -> None:
    with pytest.raises(ValueError, match="must be a whole number from 0 to 65535; try 0"):
        BotApiServer(port)


def test_waiting_for_what_does_not_come_says_what_came(client: Client, ana: Person) -> None:
    client.send_message(ana.id, "something else")
    with pytest.raises(TimeoutError, match=r"'panda' did not come in 0.1 s.*something else"):
        ana.waits_for("panda", timeout_s=0.1)


def test_it_runs_beside_nest_asyncio_and_needs_neither_torch_nor_telegram() -> None:
    pytest.importorskip("nest_asyncio")
    source = """
import sys, urllib.request, nest_asyncio
nest_asyncio.apply()
from sdlesson.bot_api import BotApiServer
with BotApiServer() as server:
    urllib.request.urlopen(f"{server.base_url}{server.token}/getMe").read()
print(sorted({"torch", "telegram", "diffusers"} & set(sys.modules)))
"""
    run = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=True
    )
    assert (run.stdout, run.stderr) == ("[]\n", "")


# The controls over HTTP.


def chat(server: BotApiServer, person: Person, revision: int = 0) -> dict[str, Any]:
    return httpx.get(f"{server.chat_url}control/chats/{person.id}?revision={revision}").json()


def control(server: BotApiServer, path: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{server.chat_url}control/{path}", json=body, verify=False)


def test_the_page_sees_what_the_bot_writes_and_only_news(
    server: BotApiServer, client: Client, ana: Person
) -> None:
    html = {"parse_mode": "HTML", "reply_markup": KEYS}
    client.send_photo(ana.id, png(), caption="<b>a &amp; b</b>", **html)
    seen = chat(server, ana)
    shown = seen["messages"][-1]
    assert shown["html"] == "<b>a &amp; b</b>"
    assert shown["is_from_bot"]
    picture = httpx.get(f"{server.chat_url}{shown['photo']['path']}")
    assert picture.headers["Content-Type"] == "image/jpeg"
    assert Image.open(io.BytesIO(picture.content)).size == (64, 48)
    assert "messages" not in chat(server, ana, seen["revision"])
    assert seen["is_running"]


def test_people_talk_over_http_as_they_do_in_python(server: BotApiServer, client: Client) -> None:
    ana = control(server, "people", name="Ana", language_code="es").json()
    assert control(server, "people", name="Ana").json() == ana
    assert httpx.get(f"{server.chat_url}control/people").json() == [ana]
    place = f"chats/{ana['id']}"
    control(server, f"{place}/messages", text="/start")
    photo = base64.b64encode(png()).decode()
    control(server, f"{place}/messages", text="Monet", photo=photo)
    control(server, f"{place}/messages", file=photo, file_name="x.png", reply_to=1)
    message = client.send_message(ana["id"], "press", reply_markup=KEYS)
    control(server, f"{place}/presses", message_id=message.message_id, button="Again")
    control(server, f"{place}/blocked", is_blocked=True)
    texts, kinds = [], []
    for update in client.get_updates():
        kinds.append(next(kind for kind in update.to_dict() if kind != "update_id"))
        texts.append(update.message and (update.message.text or update.message.caption))
    assert kinds == ["message"] * 3 + ["callback_query", "my_chat_member"]
    assert texts[:3] == ["/start", "Monet", None]
    control(server, "updates", **server.updates[0])
    assert client.get_updates()[0].message.text == "/start"
    control(server, "faults", method="getMe", status=502)
    assert call(server, "getMe")["error_code"] == 502
    log = httpx.get(f"{server.chat_url}control/calls")
    assert log.json()[-1]["status"] == 502
    assert server.token not in log.text


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("chats/12345/messages", {"text": "x"}, "nobody has the id"),
        ("chats/{ana}/messages", {}, "nothing to send"),
        ("chats/{ana}/messages", {"text": "x" * 5000}, "at most 4096"),
        ("chats/{ana}/messages", {"photo": "!"}, "must be in base64"),
        ("chats/{ana}/messages", {"photo": "aGVsbG8="}, "send it with file="),
        ("chats/{ana}/presses", {"message_id": 1, "button": "x"}, "no button 'x'"),
        ("chats/{ana}/presses", {}, "lacks 'message_id'"),
        ("faults", {"method": "getMe", "wrong": 1}, "wrong"),
        ("nonsense", {}, "there are: GET people"),
    ],
)
def test_a_wrong_control_is_refused_in_a_sentence(
    server: BotApiServer, ana: Person, path: str, body: dict[str, Any], sentence: str
) -> None:
    answer = control(server, path.format(ana=ana.id), **body)
    assert answer.status_code in (400, 404)
    assert sentence in answer.json()["error"]


def test_another_page_of_the_browser_cannot_write_here(server: BotApiServer, ana: Person) -> None:
    address = f"{server.chat_url}control/chats/{ana.id}/messages"
    forged = httpx.post(address, content=b'{"text": "x"}', headers={"Content-Type": "text/plain"})
    assert forged.status_code == 415
    assert httpx.options(address).status_code == 405  # so a browser does not ask further
    assert len(ana.messages) == 1


def test_the_page_has_an_address_that_cannot_be_guessed(server: BotApiServer, ana: Person) -> None:
    keys = {BotApiServer().state.key for _ in range(3)} | {server.state.key}
    assert len(keys) == 4
    assert min(map(len, keys)) >= 20
    guesses = ("", "control/people", "chat/", "chat//control/people", "chat/x/", "chat.js")
    guesses += (
        "chat/x/control/people",
        f"chat/{server.state.key[:-1]}/",
        "chat/%C3%A9/control/people",
    )
    for guess in guesses:
        answer = httpx.get(f"{server.url}/{guess}")
        assert answer.status_code == 404, guess
        assert server.state.key not in answer.text
        assert httpx.post(f"{server.url}/{guess}", json={"name": "Eve"}).status_code == 404
    found = httpx.get(server.chat_url.removesuffix("/"), follow_redirects=True)
    assert str(found.url) == server.chat_url
    assert server.state.key not in repr(server)
    assert len(server.run(lambda telegram: telegram.chats)) == 1


FOREIGN_HOSTS = ("evil.example", "localhost.evil.example", "127.0.0.1.nip.io:80", "evil", "[")
FOREIGN_ORIGINS = (
    "http://evil.example",
    "https://localhost.evil.example",
    "null",
    "http://1.2.3.4",
)


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_a_name_that_was_pointed_to_this_machine_reaches_nothing(
    server: BotApiServer, ana: Person, host: str
) -> None:
    headers = {"Host": host}
    for path in ("", "chat.js", "control/people", f"control/chats/{ana.id}"):
        answer = httpx.get(server.chat_url + path, headers=headers)
        assert answer.status_code in (400, 403), answer.text
        assert "Ana" not in answer.text
    body, place = {"text": "from elsewhere"}, f"{server.chat_url}control/chats/{ana.id}/messages"
    assert httpx.post(place, json=body, headers=headers).status_code in (400, 403)
    api = f"{server.base_url}{server.token}/getMe"
    assert httpx.get(api, headers=headers).status_code in (400, 403)
    assert len(ana.messages) == 1


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
def test_a_page_from_elsewhere_can_neither_write_nor_read(
    server: BotApiServer, ana: Person, origin: str
) -> None:
    place = f"{server.chat_url}control/chats/{ana.id}"
    headers = {"Origin": origin}
    said = httpx.post(f"{place}/messages", json={"text": "x"}, headers=headers)
    assert said.status_code == 403
    assert httpx.get(place, headers=headers).status_code == 403
    assert httpx.get(place, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert len(ana.messages) == 1


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:{port}", "http://127.0.0.1:{port}"),
        ("localhost:{port}", "http://localhost:{port}"),
        ("[::1]:{port}", None),
        ("localhost:8888", "http://localhost:8888"),  # a proxy in JupyterLab that hands Host on
        ("127.0.0.1:{port}", "http://localhost:8888"),  # and one that sets it
        ("192.168.1.20:8888", "http://192.168.1.20:8888"),  # a JupyterLab in the same house
    ],
)
def test_the_ways_in_of_this_machine_and_of_jupyterlab_work(
    server: BotApiServer, ana: Person, host: str, origin: str | None
) -> None:
    port = server.url.rpartition(":")[2]
    headers = {"Host": host.format(port=port)}
    headers |= {"Origin": origin.format(port=port)} if origin else {}
    assert httpx.get(server.chat_url, headers=headers).status_code == 200
    place = f"{server.chat_url}control/chats/{ana.id}/messages"
    assert httpx.post(place, json={"text": "x"}, headers=headers).status_code == 200


@pytest.mark.parametrize("variable", ["COLAB_RELEASE_TAG", "JUPYTERHUB_SERVICE_PREFIX"])
def test_the_proxy_of_a_hosted_notebook_may_have_any_name(
    server: BotApiServer, ana: Person, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "/user/ana/")
    name = "a-b-c-8080-colab.googleusercontent.com"
    headers = {"Host": name, "Origin": f"https://{name}"}
    place = f"{server.chat_url}control/chats/{ana.id}/messages"
    assert httpx.post(place, json={"text": "x"}, headers=headers).status_code == 200
    assert httpx.post(place, json={"text": "x"}, headers={"Origin": "null"}).status_code == 403
    wrong = place.replace(server.state.key, "x")
    assert httpx.post(wrong, json={"text": "x"}, headers=headers).status_code == 404
    frames = httpx.get(server.chat_url, headers=headers).headers["Content-Security-Policy"]
    assert ("colab.research.google.com" in frames) == (variable == "COLAB_RELEASE_TAG")


def test_nothing_here_can_be_framed_by_others_or_tells_them_its_address(
    server: BotApiServer, ana: Person
) -> None:
    pages = (server.chat_url, f"{server.chat_url}control/people", f"{server.url}/nothing")
    for page in (*pages, f"{server.base_url}{server.token}/getMe"):
        headers = httpx.get(page).headers
        policy = headers["Content-Security-Policy"].split("; ")
        assert "frame-ancestors 'self' http://localhost:* http://127.0.0.1:*" in policy
        assert headers["X-Frame-Options"] == "SAMEORIGIN"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_long_chat_with_long_texts_is_shown_in_a_moment(
    server: BotApiServer, ana: Person
) -> None:
    def fill(telegram: Any) -> None:
        for _ in range(3000):
            telegram.receive(telegram.chats[ana.id], {"text": "<🐼>" * 1000})

    server.run(fill)
    began = time.monotonic()
    seen = chat(server, ana)
    assert time.monotonic() - began < 3
    assert len(seen["messages"]) == MAX_SHOWN
    assert seen["messages"][-1]["id"] == server.updates[-1]["message"]["message_id"]
    assert [one["id"] for one in seen["messages"]] == sorted(one["id"] for one in seen["messages"])
    assert len(ana.messages) == 3001


def test_what_a_server_remembers_has_an_end(
    server: BotApiServer, ana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdlesson.bot_api.state.MAX_MESSAGES", 10)
    monkeypatch.setattr("sdlesson.bot_api.state.MAX_LOGGED", 1000)
    monkeypatch.setattr("sdlesson.bot_api.state.QUERY_TIMEOUT_S", -1)
    for number in range(30):
        call(server, "sendMessage", chat_id=ana.id, text=f"{number}" * 50)
        ana.presses(1, data="x")
    assert len(ana.messages) == 10
    assert ana.messages[-1]["text"] == "29" * 50
    assert len(server.run(lambda telegram: telegram.queries)) == 1
    assert sum(one.characters for one in server.calls) <= 1000
    assert server.calls[-1].parameters["text"] == "29" * 50


def test_the_page_has_relative_addresses_only_and_both_languages(server: BotApiServer) -> None:
    files = {name: httpx.get(server.chat_url + name).text for name in ("", "chat.css", "chat.js")}
    for text in files.values():
        assert 'src="/' not in text
        assert 'href="/' not in text
        assert "http://" not in text
        assert "https://" not in text
        assert "WebSocket" not in text
    assert "not Telegram" in files["chat.js"]
    assert "no es Telegram" in files["chat.js"]
    assert httpx.get(server.chat_url + "server.py").status_code == 404
