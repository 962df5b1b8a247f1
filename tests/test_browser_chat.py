"""Talk to a bot on the chat page in a real browser, on a phone and a laptop, behind a proxy too."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from PIL import Image
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application as Web
from tornado.web import RequestHandler

playwright = pytest.importorskip(
    "playwright.sync_api", reason="needs Playwright: pip install playwright"
)
telegram = pytest.importorskip("telegram", reason="needs the extra bot: pip install '.[bot]'")

from telegram import InlineKeyboardButton as Key  # noqa: E402
from telegram import InlineKeyboardMarkup as Keys  # noqa: E402
from telegram.ext import (  # noqa: E402
    Application,
    CallbackQueryHandler,
    CommandHandler,
    MessageHandler,
    filters,
)

from sdlesson.bot_api import BotApiServer  # noqa: E402
from test_browser import browser, screenshots  # noqa: E402, F401

SIZES = {"phone": (390, 844), "laptop": (1366, 768)}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def png(colour: str, size: tuple[int, int] = (256, 256)) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, "PNG")
    return data.getvalue()


async def start(update: Any, context: Any) -> None:
    keys = Keys([[Key("Bien", callback_data="ok"), Key("Alto", callback_data="alert")]])
    await update.message.reply_html("<b>Hola</b> &lt;tú&gt;", reply_markup=keys)


async def draw(update: Any, context: Any) -> None:
    status = await update.message.reply_text("waiting")
    await update.message.reply_chat_action("upload_photo")
    await context.bot_data["go"].wait()
    await status.delete()
    words = update.message.text or update.message.caption
    await update.message.reply_photo(png("red"), caption=words, do_quote=True)


async def press(update: Any, context: Any) -> None:
    query = update.callback_query
    await query.answer("¡Hecho!", show_alert=query.data == "alert")
    await query.edit_message_text("pulsado: " + query.data)


class Running:
    """A small real bot, and its server, in threads."""

    def __init__(self) -> None:
        self.server = BotApiServer().start()
        self.is_up, self.is_over = Event(), Event()
        self.go: asyncio.Event | None = None
        self.thread = Thread(target=self._run, daemon=True)
        self.thread.start()
        assert self.is_up.wait(30)

    def _run(self) -> None:
        asyncio.new_event_loop().run_until_complete(self._serve())

    async def _serve(self) -> None:
        builder = Application.builder().token(self.server.token).base_url(self.server.base_url)
        application = builder.base_file_url(self.server.base_file_url).build()
        self.loop, self.go = asyncio.get_running_loop(), asyncio.Event()
        application.bot_data["go"] = self.go
        application.add_handler(CommandHandler("start", start))
        application.add_handler(CallbackQueryHandler(press))
        application.add_handler(MessageHandler(filters.TEXT | filters.PHOTO, draw, block=False))
        async with application:
            await application.bot.set_my_commands([("start", "qué hago")])
            await application.updater.start_polling()
            await application.start()
            self.is_up.set()
            await asyncio.to_thread(self.is_over.wait)
            await application.updater.stop()
            await application.stop()

    def draws(self) -> None:
        """Let the bot go on, which waits in `draw`."""
        self.loop.call_soon_threadsafe(self.go.set)

    def stop(self) -> None:
        self.is_over.set()
        self.thread.join(30)


@pytest.fixture
def bot() -> Iterator[Running]:
    running = Running()
    yield running
    running.draws()
    running.stop()
    running.server.stop()


class Proxy(RequestHandler):
    """What a notebook in the browser has between itself and a port, such as Colab's."""

    def initialize(self, target: str) -> None:
        self.target = target

    async def get(self, path: str) -> None:
        await self.post(path)

    async def post(self, path: str) -> None:
        query = f"?{self.request.query}" if self.request.query else ""
        body = self.request.body if self.request.method == "POST" else None
        headers = self.request.headers.copy()  # Host and Origin too, as jupyter-server-proxy does
        request = HTTPRequest(f"{self.target}/{path}{query}", self.request.method, headers, body)
        answer = await AsyncHTTPClient().fetch(request, raise_error=False)
        self.set_status(answer.code)
        for name in ("Content-Type", "Cache-Control", "Content-Security-Policy", "Referrer-Policy"):
            self.set_header(name, answer.headers.get(name, ""))
        self.finish(answer.body)


@pytest.fixture
def proxied(bot: Running) -> Iterator[str]:
    """The address of the chat page below a path of another server."""
    sockets = bind_sockets(0, "127.0.0.1")
    loop, ready = asyncio.new_event_loop(), Event()
    over = asyncio.Event()

    async def serve() -> None:
        http = HTTPServer(Web([(r"/user/x/proxy/1/(.*)", Proxy, {"target": bot.server.url})]))
        http.add_sockets(sockets)
        ready.set()
        await over.wait()
        http.stop()
        await http.close_all_connections()

    thread = Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    ready.wait()
    address = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/user/x/proxy/1"
    yield bot.server.chat_url.replace(bot.server.url, address)
    loop.call_soon_threadsafe(over.set)
    thread.join(10)


@pytest.mark.parametrize("screen", SIZES)
def test_a_student_talks_to_the_bot_on_the_chat_page(
    bot: Running,
    proxied: str,
    browser: playwright.Browser,  # noqa: F811
    screenshots: Path,  # noqa: F811
    screen: str,
) -> None:
    width, height = SIZES[screen]
    page = browser.new_page(viewport={"width": width, "height": height})
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    page.goto(f"{proxied}?lang=es")
    expect = playwright.expect
    expect(page.get_by_role("note")).to_contain_text("no es Telegram")
    expect(page.get_by_role("tab", name="Ana")).to_have_attribute("aria-selected", "true")
    state = page.locator("#state")
    expect(state).to_have_text("bot, en marcha")

    page.get_by_role("button", name="Empezar").click()
    welcome = page.locator(".message", has_text="Hola")
    expect(welcome.locator(".words")).to_contain_text("Hola <tú>")
    expect(welcome.locator("b")).to_have_text("Hola")
    welcome.get_by_role("button", name="Bien").click()
    expect(page.get_by_role("alert")).to_have_text("¡Hecho!")
    pressed = page.locator(".message", has_text="pulsado: ok")
    expect(pressed).to_contain_text("editado")
    expect(page.get_by_role("button", name="Bien")).to_have_count(0)

    page.locator("#file").set_input_files(
        {"name": "photo.png", "mimeType": "image/png", "buffer": png("blue", (2000, 1000))}
    )
    expect(page.locator("#attached")).to_be_visible()
    message = page.get_by_role("textbox", name="Mensaje")
    message.fill("en estilo Monet <b>")
    message.press("Enter")
    expect(page.locator(".mine img")).to_have_count(1)
    expect(state).to_have_text(re.compile("enviando una foto"))
    waiting = page.locator(".message", has_text="waiting")
    expect(waiting).to_be_visible()
    page.screenshot(path=screenshots / f"chat_{screen}_waiting.png")
    bot.draws()
    expect(waiting).to_have_count(0)
    picture = page.locator(".message:not(.mine)", has_text="en estilo Monet <b>").last
    expect(picture.locator("img")).to_be_in_viewport()
    expect(picture.locator(".replied")).to_have_text("en estilo Monet <b>")
    sent = bot.server.updates[-1]["message"]["photo"][-1]
    assert (sent["width"], sent["height"]) == (1280, 640)
    is_wider = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not page.evaluate(is_wider)
    page.screenshot(path=screenshots / f"chat_{screen}.png")

    page.get_by_role("button", name="Comandos").click()
    page.get_by_role("button", name="/start").click()
    expect(page.locator(".mine", has_text="/start")).to_have_count(2)
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Alto").click()
    expect(page.locator(".message", has_text="pulsado: alert")).to_have_count(1)

    page.get_by_role("tab", name="Ben").click()
    expect(page.locator(".message")).to_have_count(0)
    page.locator("#language").click()
    expect(page.get_by_role("button", name="Start")).to_be_visible()
    expect(page.get_by_role("note")).to_contain_text("not Telegram")
    message = page.get_by_role("textbox", name="Message")
    message.fill("a panda")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".message:not(.mine) img")).to_have_count(1)
    assert bot.server.updates[-1]["message"]["from"]["language_code"] == "en"

    bot.stop()
    expect(state).to_have_text("the bot is not running", timeout=15_000)
    assert problems == []
    page.close()
