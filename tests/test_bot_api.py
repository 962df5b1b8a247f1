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
from typing import Any

import httpx
import pytest
from PIL import Image

telegram = pytest.importorskip("telegram", reason="needs the extra bot: pip install '.[bot]'")

from telegram import (  # noqa: E402
    Bot,
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
    return httpx.post(address, data=parameters, timeout=10).json()


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
    shown = [repr(server), repr(ana), str(server.requests), caplog.text]
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
    monkeypatch.setattr("sdlesson.bot_api.service.QUERY_TIMEOUT_S", 0)
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
    statuses = [one.status for one in server.requests if one.method == "sendMessage"]
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
    while server.requests[-1].status is None:
        assert time.monotonic() < deadline
    assert server.requests[-1].status == 0
    assert chat(server, ana)["is_running"]  # it may come back within seconds
    server.run(lambda cloud: setattr(cloud.updates, "_polled_at", float("-inf")))
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
    server.heal()
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
    with pytest.raises(ValueError, match="digits, a colon and letters") as refused:
        BotApiServer(token="mysecret")
    assert "mysecret" not in str(refused.value)


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
    return httpx.get(f"{server.url}/control/chats/{person.id}?revision={revision}").json()


def control(server: BotApiServer, path: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/control/{path}", json=body)


def test_the_page_sees_what_the_bot_writes_and_only_news(
    server: BotApiServer, client: Client, ana: Person
) -> None:
    html = {"parse_mode": "HTML", "reply_markup": KEYS}
    client.send_photo(ana.id, png(), caption="<b>a &amp; b</b>", **html)
    seen = chat(server, ana)
    shown = seen["messages"][-1]
    assert shown["html"] == "<b>a &amp; b</b>"
    assert shown["is_from_bot"]
    picture = httpx.get(f"{server.url}/{shown['photo']['path']}")
    assert picture.headers["Content-Type"] == "image/jpeg"
    assert Image.open(io.BytesIO(picture.content)).size == (64, 48)
    assert "messages" not in chat(server, ana, seen["revision"])
    assert seen["is_running"]


def test_people_talk_over_http_as_they_do_in_python(server: BotApiServer, client: Client) -> None:
    ana = control(server, "people", name="Ana", language_code="es").json()
    assert control(server, "people", name="Ana").json() == ana
    assert httpx.get(f"{server.url}/control/people").json() == [ana]
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
    log = httpx.get(f"{server.url}/control/requests")
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
    address = f"{server.url}/control/chats/{ana.id}/messages"
    forged = httpx.post(address, content=b'{"text": "x"}', headers={"Content-Type": "text/plain"})
    assert forged.status_code == 415
    assert httpx.options(address).status_code == 405  # so a browser does not ask further
    assert len(ana.messages) == 1


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
