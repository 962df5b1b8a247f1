"""Bad ends: outages outlived, early deaths told as what they are, what is refused at the door."""

import gc
import logging
import time
import weakref
from pathlib import Path

import pytest
from telegram.ext import Updater

from fixtures_bot import Painter
from fixtures_talk import QUICK, answer, is_picture, picture, talking, wait_until
from sdlesson import cli
from sdlesson.bot import Bot, BotError
from sdlesson.bot.bot_run import BotRun
from sdlesson.bot.delivery import Delivery, DeliveryOutcome, Destination
from sdlesson.bot.generator import PipelineGenerator
from sdlesson.bot.logs import RingBuffer
from sdlesson.bot.worker import Worker
from sdlesson.bot_api import BotApiServer
from sdlesson.language import set_language
from sdlesson.widgets import BotPanel
from test_secrets import BOT_TOKEN

OUTAGE_S = 7.0  # longer than the bot once tried


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdlesson.bot.bot_run.RETRY_EVERY_S", 0.1)
    monkeypatch.setattr("sdlesson.bot.bot_run.WATCHDOG_EVERY_S", 0.1)


# Outages.


@pytest.mark.parametrize(
    ("asked", "came"),
    [
        ("a cat --steps 20", is_picture),
        ("a volcano --steps 20", lambda one: "checker flagged" in one.get("text", "")),
    ],
    ids=["a picture", "a word"],
)
def test_what_is_ready_in_an_outage_comes_after_it(asked: str, came) -> None:
    with talking(Painter(step_s=0.05)) as talk:
        ana = talk.person()
        ana.says(asked)
        ana.waits_for("Drawing")
        talk.server.stop()
        time.sleep(OUTAGE_S)
        talk.server.start()
        ana.waits_for(came, timeout_s=20)
        wait_until(lambda: "Drawing" not in str(ana.messages), 10)
        assert sum(bool(came(one)) for one in ana.messages) == 1


def test_the_doubt_about_a_picture_is_told_though_its_first_word_is_lost_too() -> None:
    with talking(timeout_s=0.5) as talk:
        ana = talk.person()
        talk.server.fail("sendPhoto", drop=True)
        ana.says("a cat")
        wait_until(lambda: any(call.method == "sendPhoto" for call in talk.server.calls))
        talk.server.fail("sendMessage", drop=True, times=2)
        assert ana.waits_for("did not confirm")
        assert sum(call.method == "sendPhoto" for call in talk.server.calls) == 1


def test_a_request_while_the_bot_stops_is_told_so() -> None:
    with talking() as talk:
        ana = talk.person()
        talk.server.fail("sendMessage", delay_s=1.0, chat_id=ana.id)
        ana.says("/help")
        ana.says("a cat too late")
        wait_until(lambda: not talk.server.run(lambda telegram: telegram.updates.pending))
        talk.bot.stop()
        told = [one.get("text", "") for one in ana.messages]
    assert "The bot was stopped before it drew this: a cat too late" in told
    assert not any("went wrong" in text for text in told)


def test_a_group_that_moves_to_a_new_number_is_followed() -> None:
    import asyncio

    from telegram.error import ChatMigrated

    tried = []

    async def send(place: Destination) -> str:
        tried.append(place)
        if place.chat_id == -5:
            raise ChatMigrated(-1005)
        return "a message"

    delivery = Delivery(None, None, lambda _: None)  # type: ignore[arg-type]
    sent = asyncio.run(delivery._send(Destination(-5, 7), send))  # type: ignore[arg-type]
    assert (sent.outcome, sent.message) == (DeliveryOutcome.DELIVERED, "a message")
    assert tried == [Destination(-5, 7), Destination(-1005)]


# Early deaths.


def test_a_bot_that_dies_says_of_what_and_tells_its_users(monkeypatch) -> None:
    with talking() as talk:
        ana = talk.person()

        async def break_down(self: Worker, batch: object, executor: object) -> None:
            raise ZeroDivisionError("in the worker")

        monkeypatch.setattr(Worker, "_draw_batch", break_down)
        ana.says("a cat")
        wait_until(lambda: not talk.bot.is_running, 10)
        assert "ended by itself, of an error (ZeroDivisionError)" in talk.bot.failure
        assert talk.bot.failure in talk.bot.snapshot().errors
        assert ana.waits_for("The bot was stopped before it drew this: a cat")
        talk.bot.stop()
        assert talk.bot.failure, "which a stop does not take back"


def test_a_library_that_wants_to_end_the_process_fails_one_job() -> None:
    class Fatal(Painter):
        def draw(self, requests, **named):
            if requests[0].prompt == "the end":
                raise SystemExit(3)
            return super().draw(requests, **named)

    with talking(Fatal()) as talk:
        ana = talk.person()
        ana.says("the end")
        assert ana.waits_for("Something went wrong")
        assert picture(ana, "a cat")


def test_a_bot_that_is_told_to_stop_has_not_failed() -> None:
    with talking() as talk:
        talk.bot.stop()
        assert talk.bot.failure == ""


def test_a_token_that_is_revoked_ends_the_bot_with_that_word() -> None:
    with talking() as talk:
        words = "Unauthorized"
        talk.server.fail("*", status=401, description=words, times=1000)
        talk.server.user("Ana").says("/start")
        wait_until(lambda: not talk.bot.is_running, 10)
        assert "refuses this token" in talk.bot.failure


@pytest.mark.parametrize("spoilt", ["start_polling", "stop"])
def test_the_watchdog_outlives_the_polling_that_it_starts_again(
    monkeypatch: pytest.MonkeyPatch, spoilt: str
) -> None:
    monkeypatch.setattr("sdlesson.bot.bot_run.MAX_SILENCE_S", 0.5)
    monkeypatch.setattr("sdlesson.bot.bot_run.SHUTDOWN_STEP_S", 0.3)
    with talking(timeout_s=30) as talk:
        real, calls = getattr(Updater, spoilt), []

        async def fail_once(self, **named):
            calls.append(1)
            if len(calls) == 1:
                if spoilt == "stop":
                    await real(self)
                raise RuntimeError("it broke down")
            return await real(self, **named)

        monkeypatch.setattr(Updater, spoilt, fail_once)
        talk.server.fail("getUpdates", delay_s=20)
        assert "What I keep" in answer(talk.server.user("Ana"), "/start")["text"]
        assert calls


SETTINGS = {
    "SOCKS": ("ALL_PROXY", "socks5://user:pass@127.0.0.1:1", "names a SOCKS proxy"),
    "a scheme": ("HTTPS_PROXY", "ftp://127.0.0.1:1", "proxy cannot be used that HTTPS_PROXY"),
    "a port": ("https_proxy", "http://127.0.0.1:x", "proxy cannot be used that https_proxy"),
    "no file": ("SSL_CERT_FILE", "/no/such/file.pem", "certificates that SSL_CERT_FILE names"),
    "no certificates": ("SSL_CERT_FILE", __file__, "certificates that SSL_CERT_FILE names"),
}


@pytest.mark.parametrize("what", SETTINGS)
def test_a_broken_setting_of_the_network_is_named(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    name, value, sentence = SETTINGS[what]
    monkeypatch.setenv(name, value)
    bot = Bot(Painter(), token=BOT_TOKEN)
    with pytest.raises(BotError, match=sentence) as caught:
        bot.start()
    assert "pass" not in str(caught.value)
    assert not bot.is_running
    set_language("es")
    with pytest.raises(BotError, match=f"{name}.*vuelve|vuelve.*{name}"):
        bot.start()


def test_those_settings_do_not_touch_a_bot_on_this_machine(monkeypatch) -> None:
    for name, value, _sentence in SETTINGS.values():
        monkeypatch.setenv(name, value)
    with talking() as talk:
        assert picture(talk.person(), "a cat")


def test_the_command_ends_with_1_when_the_bot_cannot_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny_folder: Path
) -> None:
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", BOT_TOKEN)
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    assert cli.main(["bot", "--model", str(tiny_folder)]) == 1
    said = capsys.readouterr()
    assert "sdlesson: ALL_PROXY names a SOCKS proxy" in said.err
    assert "keeps trying" not in said.out + said.err


def test_the_command_ends_with_1_when_the_bot_dies(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny_folder: Path
) -> None:
    async def break_down(self: BotRun, application: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(BotRun, "_watch", break_down)
    handlers = list(logging.getLogger("sdlesson.bot").handlers)
    assert cli.main(["bot", "--local", "--model", str(tiny_folder)]) == 1
    assert "ended by itself, of an error (OSError)" in capsys.readouterr().err
    assert logging.getLogger("sdlesson.bot").handlers == handlers


@pytest.mark.parametrize(
    "arguments", [["bot", "--port", "65536"], ["bot", "--port", "-1"], ["bot", "--port", "x"]]
)
def test_a_port_that_is_none_is_refused(arguments: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == cli.BAD_INPUT
    assert "--port" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["my secret", "123456:abc", "  ", "''"])
def test_the_command_does_not_go_on_with_a_token_that_is_none(
    given: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", given)
    assert cli.main(["bot", "--model", "pokcet"]) == cli.BAD_INPUT
    said = capsys.readouterr()
    assert "the variable TELEGRAM_BOT_TOKEN is not a bot's token" in said.err
    assert "secret" not in said.out + said.err
    assert "localhost" not in said.out + said.err


# At the door.


def test_a_name_of_a_model_or_its_folder_is_loaded(tiny_folder: Path) -> None:
    for model in (str(tiny_folder), tiny_folder):
        assert Bot(model)._generator.model == tiny_folder.name


BAD: dict[str, dict] = {
    "pipe": {"pipe": 5},
    "a class": {"pipe": Painter},
    "half a generator": {"pipe": object()},
    "no token": {"token": ""},
    "a short token": {"token": "123456:abc"},
    "a token in bytes": {"token": BOT_TOKEN.encode()},
    "digits of another script": {"token": "١٢٣٤٥٦٧٨٩:" + "A" * 35},
    "a token with a line break": {"token": BOT_TOKEN + "\n"},
    "server": {"server": "http://127.0.0.1:8081/bot"},
    "handlers": {"handlers": "help"},
    "one handler": {"handlers": [print]},
    "rate_limits": {"rate_limits": 5},
    "timeout_s": {"timeout_s": -1},
    "no number": {"timeout_s": float("nan")},
}


@pytest.mark.parametrize("what", BAD)
def test_what_a_bot_cannot_use_is_refused_at_the_door(what: str) -> None:
    named = {"pipe": Painter()} | BAD[what]
    with pytest.raises(ValueError, match=r"must be|is not a bot's token|cannot draw") as caught:
        Bot(**named)
    assert BOT_TOKEN not in str(caught.value)


# What is left behind.


def test_a_stopped_bot_keeps_nothing_in_memory() -> None:
    painter = Painter()
    with BotApiServer() as server:
        bot = Bot(painter, server=server, rate_limits=QUICK).start()
        panel = BotPanel(bot.snapshot)
        repr(panel)
        bot.stop()
        assert repr(panel).startswith("Stopped")
        seen = weakref.ref(painter)
        del bot, painter
        gc.collect()
        assert seen() is None
        assert repr(panel).startswith("Stopped")  # which the panel still can tell


def test_loggers_and_their_records_are_left_as_they_were() -> None:
    logger, make = logging.getLogger("telegram"), logging.getLogRecordFactory()
    logger.propagate = False
    try:
        first, second = RingBuffer(), RingBuffer()
        first.open()
        second.open()
        first.close()
        logging.getLogger("somebody.else").handle(
            record := logging.getLogRecordFactory()(
                "x", logging.ERROR, "x", 1, f"https://x/bot{BOT_TOKEN}/getMe", (), None
            )
        )
        assert BOT_TOKEN not in record.getMessage()  # the second is still there
        assert not logging.getLogger("httpx").isEnabledFor(logging.INFO)
        second.close()
        assert logging.getLogRecordFactory() is make
        assert logger.propagate is False
    finally:
        logger.propagate = True


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("pocket", "pocket"),
        ("ana/tiny", "ana/tiny"),
        ("/home/ana/private/mine", "mine"),
        ("/home/ana/private/mine/", "mine"),
        ("C:\\Users\\Ana\\mine", "mine"),
        ("../mine", "mine"),
        ("models/deep/mine", "mine"),
        ("/home/ana/mine + zwx", "mine + zwx"),
        ("pocket + zwx + abc", "pocket + zwx + abc"),
    ],
)
def test_of_a_folder_users_hear_the_last_name_only(tiny, name: str, shown: str) -> None:
    tiny.register_to_config(_name_or_path=name)
    assert PipelineGenerator(tiny).model == shown


def test_a_relative_folder_that_looks_like_a_hub_id_is_a_folder(
    tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(tmp_path, "private", "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    tiny.register_to_config(_name_or_path="private/mine")
    assert PipelineGenerator(tiny).model == "mine"
