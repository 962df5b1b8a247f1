"""The panel of a bot and the chat in the notebook: what they show, in a real kernel too."""

from __future__ import annotations

import base64
import gc
import io
import json
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode, v4
from PIL import Image

from sdlesson.bot_api import BotApiServer
from sdlesson.language import set_language
from sdlesson.widgets import BotPanel, ChatPanel
from sdlesson.widgets import bot_panel as panels
from sdlesson.widgets.bot_panel import MAX_ERRORS, MAX_PICTURES, THUMBNAIL_PX
from sdlesson.widgets.chat_panel import MAX_MESSAGES
from test_widgets_training import choose

KEYS = [
    [{"text": "Again", "callback_data": "again:1"}, {"text": "More", "callback_data": "more:1"}],
    [{"text": "Help", "url": "https://example.org"}],
]


@dataclass
class Snapshot:
    """As much of `bot.runner.Snapshot` as the panel needs."""

    running: bool = True
    name: str = "@my_bot"
    server: str = "localhost"
    queued: int = 2
    drawing: int = 1
    done: int = 7
    failed: int = 0
    pictures: list[tuple[Image.Image, str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def plain(colour: str = "red", size: tuple[int, int] = (512, 512)) -> Image.Image:
    return Image.new("RGB", size, colour)


def shown(snapshot: Snapshot) -> str:
    return panels._bundle(snapshot)["text/html"]


# The panel of a bot.


def test_the_panel_takes_the_snapshot_of_a_real_bot() -> None:
    pytest.importorskip("telegram")
    from sdlesson.bot.runner import BotSnapshot

    picture = (plain(), "a panda")
    real = BotSnapshot(True, "@my_bot", "Telegram", 1, 1, 3, 0, [picture], ["E-12: no picture"])
    assert repr(BotPanel(lambda: real)).splitlines() == [
        "Running · @my_bot · Telegram",
        "1 waiting · 1 being drawn · 3 drawn · 0 failed",
        "E-12: no picture",
    ]


def test_a_stand_in_for_telegram_is_said_to_be_one_in_the_readers_language() -> None:
    assert "localhost: a local stand-in, not Telegram" in shown(Snapshot())
    assert "stand-in" not in shown(Snapshot(server="Telegram"))
    set_language("es")
    text = repr(BotPanel(Snapshot))
    assert text.startswith("En marcha · @my_bot · localhost: un sustituto local, no es Telegram")
    assert "2 en espera · 1 dibujándose · 7 dibujadas · 0 fallidas" in text
    assert "Detenido" in shown(Snapshot(running=False))


def test_few_and_small_pictures_are_shown_with_their_captions() -> None:
    pictures = [(plain(), f"<b>picture {index}</b> " + "x" * 99) for index in range(20)]
    text = shown(Snapshot(pictures=pictures))
    assert text.count("<img") == MAX_PICTURES
    assert f'width="{THUMBNAIL_PX}" height="{THUMBNAIL_PX}"' in text
    assert "<b>picture" not in text
    assert "&lt;b&gt;picture 0&lt;/b&gt;" in text
    assert f"picture {MAX_PICTURES}" not in text
    assert len(text) < 20_000


def test_only_the_latest_errors_are_shown() -> None:
    text = shown(Snapshot(errors=[f"error <{index}>" for index in range(9)]))
    assert text.count("⚠") == MAX_ERRORS
    assert "error &lt;0&gt;" in text


def test_broken_pictures_are_left_out_and_clear_ones_lie_on_white() -> None:
    closed = Image.open(io.BytesIO(png(plain())))
    closed.close()
    cut = Image.open(io.BytesIO(png(plain())[:120]))
    good = (Image.new("RGBA", (64, 64), (0, 0, 0, 0)), Image.new("F", (64, 64), 1.0))
    pictures = [(picture, "a panda") for picture in (closed, cut, *good)]
    text = shown(Snapshot(pictures=pictures))
    assert text.count("a panda</div>") == 4
    sources = re.findall('base64,([^"]+)', text)
    for source in sources:
        assert Image.open(io.BytesIO(base64.b64decode(source))).getpixel((9, 9)) == (255,) * 3
    assert len(sources) == len(good)


@pytest.mark.parametrize("wrong", [Snapshot(), None, "bot.snapshot"])
def test_a_panel_needs_a_function_to_ask(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"try BotPanel\(bot.snapshot\)"):
        BotPanel(wrong)


def test_showing_a_bot_again_and_again_leaves_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panels, "in_notebook", lambda: True)
    monkeypatch.setattr(panels, "REFRESH_S", 0.01)
    bot = SimpleNamespace(seen=Snapshot())
    snapshot = lambda: bot.seen  # noqa: E731
    shown_panels = [BotPanel(snapshot) for _ in range(4)]
    for one in shown_panels:
        one._ipython_display_()
    wait_for(lambda: len(threads("bot-panel")) == 1)
    assert shown_panels[-1]._thread.is_alive()
    bot.seen = Snapshot(running=False)
    wait_for(lambda: not threads("bot-panel"))


# The chat.


@pytest.fixture
def server() -> Iterator[BotApiServer]:
    with BotApiServer() as started:
        yield started


@pytest.fixture
def panel(server: BotApiServer) -> Iterator[ChatPanel]:
    made = ChatPanel(server)
    made.refresh()
    yield made
    made.close()


def bot_says(server: BotApiServer, method: str = "sendMessage", **parameters: Any) -> None:
    chat_id = next(iter(server.run(lambda telegram: telegram.chats)))
    files = {"photo": parameters.pop("photo")} if "photo" in parameters else None
    address = f"{server.base_url}{server.token}/{method}"
    answer = httpx.post(address, data={"chat_id": chat_id, **parameters}, files=files).json()
    assert answer["ok"], answer


def bubbles(panel: ChatPanel) -> str:
    return panel._bundle()["text/html"]


def visible_keys(panel: ChatPanel) -> list[str]:
    return [key.description for key in panel.keys if key.layout.display != "none"]


def png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def test_what_is_written_reaches_the_bot_and_what_it_answers_is_shown(
    server: BotApiServer, panel: ChatPanel
) -> None:
    assert "local stand-in, not Telegram" in bubbles(panel)
    panel.text.value = "a panda <b>--steps 30"
    panel.send.click()
    assert panel.text.value == ""
    assert server.updates[-1]["message"]["text"] == "a panda <b>--steps 30"
    assert server.updates[-1]["message"]["from"]["first_name"] == "Ben"
    assert "a panda &lt;b&gt;--steps 30" in bubbles(panel)
    bot_says(server, text="<b>a &amp; b</b>", parse_mode="HTML")
    panel.refresh()
    assert "<b>a &amp; b</b>" in bubbles(panel)
    assert repr(panel).splitlines() == ["you: a panda <b>--steps 30", "bot: a & b"]


def test_buttons_below_the_newest_message_can_be_pressed(
    server: BotApiServer, panel: ChatPanel
) -> None:
    panel.text.value = "/start"
    panel.send.click()
    assert visible_keys(panel) == []
    markup = json.dumps({"inline_keyboard": KEYS})
    bot_says(server, "sendPhoto", photo=png(plain()), caption="done", reply_markup=markup)
    panel.refresh()
    assert visible_keys(panel) == ["Again", "More"]
    assert 'src="data:image/jpeg;base64,' in bubbles(panel)
    panel.keys[1].click()
    query = server.updates[-1]["callback_query"]
    assert query["data"] == "more:1"
    bot_says(server, "answerCallbackQuery", callback_query_id=query["id"], text="Coming")
    httpx.post(f"{server.base_url}{server.token}/getUpdates")
    panel.refresh()
    assert "Coming" in panel.status.value
    bot_says(server, "deleteMessage", message_id=query["message"]["message_id"])
    panel.keys[1].click()  # too late
    assert "That button is gone" in panel.status.value
    panel.refresh()
    assert visible_keys(panel) == []


def test_a_chosen_photo_is_sent_with_its_caption(server: BotApiServer, panel: ChatPanel) -> None:
    upload = SimpleNamespace(upload=panel.photo)
    choose(upload, {"photo.png": png(plain("blue", (300, 200)))})
    panel.text.value = "in the style of Monet"
    panel.send.click()
    message = server.updates[-1]["message"]
    assert message["caption"] == "in the style of Monet"
    assert message["photo"][-1]["width"] == 300
    assert not panel.photo.value
    choose(upload, {"note.txt": b"not a picture"})
    panel.send.click()
    assert "must be a picture" in panel.status.value
    assert len(server.updates) == 1


def test_each_person_has_a_chat_of_their_own(server: BotApiServer, panel: ChatPanel) -> None:
    panel.text.value = "from Ben"
    panel.send.click()
    panel.person.value = "Ana"
    assert "from Ben" not in bubbles(panel)
    panel.text.value = "de Ana"
    panel.send.click()
    assert server.updates[-1]["message"]["from"]["language_code"] == "es"
    panel.person.value = "Ben"
    assert "from Ben" in bubbles(panel)
    assert "de Ana" not in bubbles(panel)


def test_a_long_chat_stays_small(server: BotApiServer, panel: ChatPanel) -> None:
    panel.text.value = "/start"
    panel.send.click()
    for index in range(MAX_MESSAGES + 2):
        bot_says(server, text=f"message {index}")
    panel.refresh()
    assert bubbles(panel).count("message ") == MAX_MESSAGES
    assert f"message {MAX_MESSAGES + 1}" in bubbles(panel)


def threads(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_showing_a_chat_again_and_again_leaves_one_thread(server: BotApiServer) -> None:
    shown_panels = [ChatPanel(server) for _ in range(4)]
    for one in shown_panels:
        one._ipython_display_()
    wait_for(lambda: len(threads("chat-panel")) == 1)
    assert shown_panels[-1]._thread.is_alive()
    shown_panels[0].text.value = "and from the first again"
    shown_panels[0].send.click()
    wait_for(lambda: len(threads("chat-panel")) == 1)
    assert shown_panels[0]._thread.is_alive()
    for one in shown_panels:
        one.close()
    wait_for(lambda: not threads("chat-panel"))


def test_a_closed_panel_is_let_go_of_with_its_widgets(server: BotApiServer) -> None:
    panel = ChatPanel(server)
    panel._ipython_display_()
    panel.close()
    assert panel.send.comm is None
    gone = weakref.ref(panel)
    del panel
    wait_for(lambda: gc.collect() is not None and gone() is None)


def test_a_panel_whose_server_stays_away_looks_no_more_until_it_is_used(
    server: BotApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdlesson.widgets.chat_panel.POLL_EVERY_S", 0.01)
    monkeypatch.setattr("sdlesson.widgets.chat_panel.GIVE_UP_S", 0.1)
    panel = ChatPanel(server)
    panel._ipython_display_()
    server.stop()
    wait_for(lambda: not threads("chat-panel"))
    server.start()
    panel.text.value = "back again"
    panel.send.click()
    assert threads("chat-panel")
    panel.close()


def test_a_picture_that_the_server_has_forgotten_leaves_the_rest_of_the_chat(
    server: BotApiServer, panel: ChatPanel
) -> None:
    panel.text.value = "/start"
    panel.send.click()
    bot_says(server, "sendPhoto", photo=png(plain()), caption="what it was")
    server.run(lambda telegram: telegram.media._files.clear())
    panel.refresh()
    assert "what it was" in bubbles(panel)
    assert "<img" not in bubbles(panel)


@pytest.mark.parametrize("wrong", [None, "localhost", 8080])
def test_a_chat_needs_a_server(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"must be a BotApiServer, not .*ChatPanel\(bot.server\)"):
        ChatPanel(wrong)


def test_without_a_server_or_a_bot_the_panel_says_so_and_goes_on() -> None:
    set_language("es")
    server = BotApiServer()
    panel = ChatPanel(server)
    panel.refresh()
    assert "No hay ningún servidor" in panel.status.value
    with server:
        panel.refresh()
        assert "El bot no está en marcha" in panel.status.value
        assert panel.person.value == "Ana"
    panel.text.value = "lost"
    panel.send.click()
    assert "No hay ningún servidor" in panel.status.value
    assert panel.text.value == "lost"  # it can be sent later


# Both in a real kernel, as a lesson runs them.


LESSON = (
    """
import json, time, urllib.request
from dataclasses import dataclass, field
from PIL import Image
from sdlesson.bot_api import BotApiServer
from sdlesson.widgets import BotPanel, ChatPanel

@dataclass
class Bot:
    running: bool = True
    name: str = "@my_bot"
    server: str = "localhost"
    queued: int = 0
    drawing: int = 0
    done: int = 0
    failed: int = 0
    pictures: list = field(default_factory=list)
    errors: list = field(default_factory=list)

bot, asked = Bot(), 0

def snapshot():
    global asked
    asked += 1
    return bot
""",
    "panel = BotPanel(snapshot)\npanel",
    """
for bot.done in range(1, 30):
    bot.pictures = [(Image.new("RGB", (512, 512), "red"), f"picture {bot.done}"), *bot.pictures][:9]
    time.sleep(0.1)
""",
    "bot.running = False\ntime.sleep(1.5)\npanel._thread.is_alive(), asked < 15",
    "server = BotApiServer().start()\nchat = ChatPanel(server)\nchat",
    """
def call(method, **parameters):
    address = f"{server.base_url}{server.token}/{method}"
    body = json.dumps(parameters).encode()
    headers = {"Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(address, body, headers)).read()

chat.text.value = "/start"
chat.send.click()
call("sendMessage", chat_id=server.updates[-1]["message"]["from"]["id"], text="welcome, all of you")
time.sleep(2)
server.stop()
""",
)


@pytest.fixture(scope="module")
def lesson() -> NotebookNode:
    notebook = v4.new_notebook(cells=[v4.new_code_cell(source) for source in LESSON])
    quiet = ["--log-level=ERROR"]
    NotebookClient(notebook, timeout=240, kernel_name="python3", extra_arguments=quiet).execute()
    return notebook


def test_a_saved_notebook_keeps_the_last_state_of_the_bot_and_no_more(
    lesson: NotebookNode,
) -> None:
    (output,) = lesson.cells[1].outputs
    text = output["data"]["text/html"]
    assert "Stopped" in text
    assert "29 drawn" in text
    assert text.count("<img") == MAX_PICTURES
    assert "picture 29<" in text
    assert len(text) < 20_000


def test_the_panel_looks_once_a_second_and_no_more_once_the_bot_has_stopped(
    lesson: NotebookNode,
) -> None:
    (output,) = lesson.cells[3].outputs
    assert output["data"]["text/plain"] == "(False, True)"


def test_a_saved_notebook_keeps_what_was_said(lesson: NotebookNode) -> None:
    said, controls = lesson.cells[4].outputs
    assert "welcome, all of you" in said["data"]["text/html"]
    assert said["data"]["text/plain"] == "you: /start\nbot: welcome, all of you"
    assert "application/vnd.jupyter.widget-view+json" in controls["data"]
    assert lesson.cells[5].outputs == []


def wait_for(check: Callable[[], object], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_enter_sends(server: BotApiServer, panel: ChatPanel) -> None:
    panel.text.value = "hello"
    panel.text._handle_custom_msg({"event": "submit"}, [])
    wait_for(lambda: server.updates)
    assert re.search("hello", server.updates[0]["message"]["text"])
