"""The bot in its thread: started, replaced, stopped, and what it says when it cannot run."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from runpy import run_path

import pytest
from telegram.ext import CommandHandler

from fixtures_bot import Painter
from fixtures_talk import QUICK, answer, picture, talking, wait_until
from hub_server import closed_url
from sdlesson.bot import Bot, BotError, draw_for
from sdlesson.bot.runner import GENERATOR_MEMBERS
from sdlesson.bot_api import BotApiServer
from sdlesson.language import set_language

MADE_UP = "1234567890:" + "A" * 35
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def server() -> Iterator[BotApiServer]:
    with BotApiServer() as server:
        yield server


@pytest.fixture
def bots() -> Iterator[list[Bot]]:
    """Bots to be stopped at the end."""
    bots: list[Bot] = []
    yield bots
    for bot in bots:
        bot.stop()


def ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("sdlesson")]


def test_the_benchmark_of_workers_draws_with_a_whole_generator() -> None:
    nothing = run_path(str(BENCHMARKS / "bot_workers.py"))["Nothing"]()
    assert [name for name in GENERATOR_MEMBERS if not hasattr(nothing, name)] == []


def test_a_bot_without_a_token_says_that_it_is_on_localhost(
    bots: list[Bot], capsys: pytest.CaptureFixture[str]
) -> None:
    bot = Bot(Painter())
    bots.append(bot)
    assert repr(bot) == "Bot(no name yet, localhost, stopped)"
    began_s = time.monotonic()
    assert bot.start() is bot
    assert time.monotonic() - began_s < 5
    assert bot.server is not None
    said = capsys.readouterr().out
    assert "is on localhost, which is not Telegram" in said
    assert bot.server.chat_url in said
    assert repr(bot) == f"Bot({bot.snapshot().name}, localhost, running)"
    assert bot.snapshot().server == "localhost"


def test_it_says_so_in_spanish(bots: list[Bot], capsys: pytest.CaptureFixture[str]) -> None:
    set_language("es")
    bots.append(Bot(Painter()).start())
    assert "no es Telegram" in capsys.readouterr().out


def test_start_and_stop_may_be_called_twice_and_again(bots: list[Bot]) -> None:
    bot = Bot(Painter(), rate_limits=QUICK)
    bots.append(bot)
    for _ in range(2):
        assert bot.start().start() is bot
        assert bot.server is not None
        ana = bot.server.user("Ana")
        assert "What I keep" in answer(ana, "/start")["text"]
        bot.stop()
        bot.stop()
        assert not bot.is_running
        assert not ours()


def test_users_stay_known_from_one_start_to_the_next(server: BotApiServer, bots: list[Bot]) -> None:
    with talking() as talk:
        ana = talk.person()
        talk.bot.stop()
        talk.bot.start()
        assert picture(ana, "a cat")


def test_a_new_bot_replaces_the_old_one(server: BotApiServer, bots: list[Bot]) -> None:
    old = Bot(Painter(), server=server).start()
    new = Bot(Painter(), server=server).start()
    bots += [old, new]
    assert not old.is_running
    assert new.is_running
    assert answer(server.user("Ana"), "/start")
    assert not [call for call in server.calls if call.status == 409]


@pytest.mark.alone
def test_a_stop_tells_users_and_takes_little_time() -> None:
    with talking(Painter(step_s=0.05)) as talk:
        ana = talk.person()
        ana.says("a cat --steps 50")
        ana.says("a dog --steps 49")
        ana.waits_for("In the queue")
        began_s = time.monotonic()
        talk.bot.stop()
        assert time.monotonic() - began_s < 3
        told = [message.get("text", "") for message in ana.messages]
    for prompt in ("a cat", "a dog"):
        assert told.count(f"The bot was stopped before it drew this: {prompt}") == 1
    assert not any("Drawing" in text or "In the queue" in text for text in told)
    assert not ours()


@pytest.mark.alone
def test_a_stop_ends_even_while_telegram_makes_a_chat_wait(monkeypatch) -> None:
    monkeypatch.setattr("sdlesson.bot.bot_run.SHUTDOWN_STEP_S", 0.3)
    with talking() as talk:
        ana = talk.person()
        talk.server.fail("sendMessage", status=429, retry_after=200)
        ana.says("/help")
        wait_until(lambda: any(call.status == 429 for call in talk.server.calls))
        began_s = time.monotonic()
        talk.bot.stop()
        assert time.monotonic() - began_s < 3


def test_a_refused_token_is_told_in_a_sentence_without_it(
    server: BotApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = Bot(Painter(), server=server)
    monkeypatch.setattr(server.state, "token", MADE_UP)
    with pytest.raises(BotError, match="refuses this token") as caught:
        bot.start()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert not ours()


def test_a_token_and_a_server_are_too_much(server: BotApiServer) -> None:
    with pytest.raises(ValueError, match="not both"):
        Bot(Painter(), token=MADE_UP, server=server)


def test_without_a_network_it_says_so_and_keeps_trying(
    server: BotApiServer, bots: list[Bot], capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    monkeypatch.setattr("sdlesson.bot.bot_run.RETRY_EVERY_S", 0.1)
    server.fail("getMe", status=502, times=20)
    bot = Bot(Painter(), server=server, rate_limits=QUICK)
    bots.append(bot)
    bot.start()
    assert "Check the network: the bot keeps trying" in capsys.readouterr().out
    assert bot.snapshot().errors
    server.clear_faults()
    assert "What I keep" in answer(server.user("Ana"), "/start")["text"]
    assert bot.snapshot().name


def test_a_bot_that_has_never_reached_its_server_stops_all_the_same(
    server: BotApiServer, monkeypatch
) -> None:
    monkeypatch.setattr(BotApiServer, "base_url", closed_url() + "/bot")
    bot = Bot(Painter(), server=server).start()
    bot.stop()
    assert not ours()


def test_a_polling_that_has_fallen_silent_begins_again(monkeypatch) -> None:
    monkeypatch.setattr("sdlesson.bot.bot_run.MAX_SILENCE_S", 0.5)
    monkeypatch.setattr("sdlesson.bot.bot_run.SHUTDOWN_STEP_S", 0.3)
    with talking(timeout_s=30) as talk:
        talk.server.fail("getUpdates", delay_s=20)  # nobody else's answers come meanwhile
        ana = talk.server.user("Ana")
        assert "What I keep" in answer(ana, "/start")["text"]
        assert "polling again" in "\n".join(talk.bot.log)


def test_a_proxy_of_the_network_is_not_asked_for_this_machine(monkeypatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, closed_url())
    with talking() as talk:
        assert picture(talk.person(), "a cat")


@pytest.mark.slow  # imports everything in a process of its own; lesson 10 does it in every run
def test_it_runs_beside_a_loop_that_nest_asyncio_has_changed() -> None:
    code = """
import nest_asyncio, sys
nest_asyncio.apply()
sys.path.insert(0, "tests")
from fixtures_bot import Painter
from fixtures_talk import picture, talking
with talking() as talk:
    print(picture(talk.person(), "a cat")["caption"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "a cat" in done.stdout, done.stderr


def test_a_cell_that_awaits_is_not_held_up() -> None:
    async def cell() -> str:
        with talking() as talk:  # as in a notebook, whose loop runs while a cell does
            await asyncio.sleep(0)
            return (await asyncio.to_thread(picture, talk.person(), "a cat"))["caption"]

    assert "a cat" in asyncio.run(cell())


def test_a_students_handler_wins_and_may_draw() -> None:
    async def surprise(update, context) -> None:
        await draw_for(update, context, "a surprising cat")

    async def help_(update, context) -> None:
        await update.message.reply_text("my own help")

    handlers = [CommandHandler("surprise", surprise), CommandHandler("help", help_)]
    with talking(handlers=handlers) as talk:
        ana = talk.person()
        assert picture(ana, "/surprise")["caption"].startswith("a surprising cat")
        assert answer(ana, "/help")["text"] == "my own help"
        eva = talk.server.user("Eva")
        assert "What I keep" in answer(eva, "/surprise")["text"]


def test_pictures_in_a_snapshot_are_the_latest_first() -> None:
    with talking() as talk:
        ana = talk.person()
        for prompt in ("a cat", "a dog"):
            picture(ana, prompt)
        snapshot = talk.bot.snapshot()
    assert [caption for _, caption in snapshot.pictures] == ["a dog", "a cat"]
    assert (snapshot.done, snapshot.failed, snapshot.queued, snapshot.drawing) == (2, 0, 0, 0)


def test_importing_the_bot_is_light() -> None:
    code = (
        "import sys, sdlesson.bot; print(sorted({'torch', 'telegram', 'httpx'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr
