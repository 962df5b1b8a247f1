"""The token: where it is found, and that it is in no log, exception, output or `repr`."""

import io
import logging
import re
import sys
import traceback
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from fixtures_bot import Painter
from fixtures_talk import QUICK, picture, wait_until
from sdlesson.bot import Bot, BotError, find_token
from sdlesson.bot.logs import HIDDEN, RingBuffer, redact
from sdlesson.bot_api import BotApiServer
from sdlesson.language import set_language
from test_secrets import BOT_TOKEN, all_that_an_error_tells

ALL_LOGGERS = (None, "httpx", "httpcore", "telegram", "sdlesson", "sdlesson.bot", "tornado")


@pytest.fixture
def server() -> Iterator[BotApiServer]:
    with BotApiServer(token=BOT_TOKEN) as server:
        yield server


@pytest.fixture
def heard() -> Iterator[io.StringIO]:
    """All that anybody logs, with every switch on, once the bot has set its own."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setLevel(logging.DEBUG)
    loggers = [logging.getLogger(name) for name in ALL_LOGGERS]
    kept = [(logger, logger.level) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
    yield stream
    for logger, level in kept:
        logger.removeHandler(handler)
        logger.setLevel(level)


def turn_up(names: tuple[str | None, ...] = ALL_LOGGERS) -> None:
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)


@pytest.fixture
def buffer() -> Iterator[RingBuffer]:
    buffer = RingBuffer()
    buffer.open()
    yield buffer
    buffer.close()


def test_without_the_redaction_the_token_is_heard(
    heard: io.StringIO, monkeypatch: pytest.MonkeyPatch, server: BotApiServer
) -> None:
    """The control: the client logs the URL, and the token with it."""
    monkeypatch.setattr(logging, "_logRecordFactory", logging.LogRecord)
    monkeypatch.setattr("sdlesson.bot.logs.redact", lambda text: text)
    bot = Bot(Painter(), server=server, rate_limits=QUICK).start()
    turn_up()
    server.user("Ana").says("/start")
    try:
        wait_until(lambda: BOT_TOKEN in heard.getvalue())
    finally:
        bot.stop()


def test_a_bots_life_leaves_no_token_anywhere(
    heard: io.StringIO, server: BotApiServer, capfd: pytest.CaptureFixture[str]
) -> None:
    bot = Bot(Painter(), server=server, rate_limits=QUICK).start()
    turn_up()
    ana = server.user("Ana")
    ana.says("/start")
    welcome = ana.waits_for("What I keep")
    ana.presses(welcome, data="agree:")
    ana.waits_for("/help", after=welcome)
    picture(ana, "a cat")
    server.fail("sendMessage", drop=True)
    ana.says("explode")
    ana.says("/help")
    server.fail("getUpdates", status=502)
    ana.waits_for("yours:")
    shown = f"{bot!r} {bot} {bot.snapshot()}"
    bot.stop()
    assert HIDDEN in heard.getvalue()  # the URLs were logged, without it
    said = "".join(capfd.readouterr())
    for place in (shown, said, heard.getvalue(), "\n".join(bot.log), str(ana.messages)):
        assert BOT_TOKEN not in place


def test_a_refused_token_is_in_no_error_and_no_log(
    heard: io.StringIO,
    server: BotApiServer,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    bot = Bot(Painter(), server=server)
    monkeypatch.setattr(server.state, "token", BOT_TOKEN[:-1] + "x")
    turn_up()
    with pytest.raises(BotError) as caught:
        bot.start()
    told = all_that_an_error_tells(caught.value) + heard.getvalue() + "".join(capfd.readouterr())
    assert BOT_TOKEN not in told + "\n".join(bot.log) + repr(bot.snapshot())


@pytest.mark.parametrize(
    "log",
    [
        lambda logger: logger.error(f"https://x/bot{BOT_TOKEN}/getMe"),
        lambda logger: logger.error(f"https://x/bot{BOT_TOKEN.replace(':', '%3A')}/getMe"),
        lambda logger: logger.error("%s and %r", "x", {"token": BOT_TOKEN}),
        lambda logger: logger.error("%(token)s", {"token": BOT_TOKEN}),
        lambda logger: logger.error(BOT_TOKEN, 1, 2),  # the arguments do not fit
        lambda logger: logger.error(ValueError(BOT_TOKEN)),
    ],
    ids=["message", "quoted", "argument", "named", "misfit", "object"],
)
def test_a_token_is_taken_out_of_what_anybody_logs(
    buffer: RingBuffer, heard: io.StringIO, capfd: pytest.CaptureFixture[str], log
) -> None:
    log(logging.getLogger("somebody.else"))
    assert BOT_TOKEN.partition(":")[2] not in heard.getvalue() + "".join(capfd.readouterr())


def test_a_token_is_taken_out_of_a_traceback(buffer: RingBuffer, heard: io.StringIO) -> None:
    error = ValueError(BOT_TOKEN)
    assert BOT_TOKEN in "".join(traceback.format_exception(error))  # the control
    for name in ("sdlesson.bot.x", "somebody.else"):
        logging.getLogger(name).error("it failed", exc_info=error)
    assert heard.getvalue().count(f"ValueError: {HIDDEN}") >= 2
    assert BOT_TOKEN not in heard.getvalue() + "\n".join(buffer.lines)


def test_what_is_no_token_stays() -> None:
    for text in ("12:30:45 took 3 s", "localhost:8080/path", "job 1a2b3c4d", "123456:short"):
        assert redact(text) == text


def test_the_logs_of_a_bot_appear_below_no_cell(
    buffer: RingBuffer, capfd: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger("sdlesson.bot.x").error("an error %s", 7)
    logging.getLogger("telegram.ext").warning("a warning")
    assert "".join(capfd.readouterr()) == ""
    assert [line.split(" ", 1)[1] for line in buffer.lines] == [
        "ERROR sdlesson.bot.x: an error 7",
        "WARNING telegram.ext: a warning",
    ]
    assert list(buffer.errors) == ["an error 7"]


# Where it is found.


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Colab's secrets."""
    found: dict[str, str] = {}
    userdata = SimpleNamespace(get=lambda name: found[name])
    monkeypatch.setitem(sys.modules, "google.colab", SimpleNamespace(userdata=userdata))
    return found


def test_colabs_secret_comes_before_the_environment(
    secrets: dict[str, str], monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secrets["TELEGRAM_BOT_TOKEN"] = f" '{BOT_TOKEN}'\n"
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", "another")
    assert find_token() == BOT_TOKEN
    said = capsys.readouterr().out
    assert "Colab's secret TELEGRAM_BOT_TOKEN" in said
    assert BOT_TOKEN not in said


def test_the_environment_comes_next(
    secrets: dict[str, str], monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", BOT_TOKEN)
    set_language("es")
    assert find_token() == BOT_TOKEN
    assert "la variable TELEGRAM_BOT_TOKEN" in capsys.readouterr().out


def test_a_pasted_token_comes_last(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sdlesson.bot.token.ask_hidden", lambda question: BOT_TOKEN)
    assert find_token() == BOT_TOKEN
    assert BOT_TOKEN not in capsys.readouterr().out


def test_without_a_token_the_bot_will_be_local(capsys: pytest.CaptureFixture[str]) -> None:
    assert find_token() is None
    assert "localhost" in capsys.readouterr().out


@pytest.mark.parametrize("mistake", ["x", BOT_TOKEN[:-8], BOT_TOKEN + "ñ", "@my_bot"])
def test_what_is_no_token_is_named_but_not_shown(
    monkeypatch, capsys: pytest.CaptureFixture[str], mistake: str
) -> None:
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", mistake)
    assert find_token() is None
    said = capsys.readouterr().out
    assert "is not a bot's token" in said
    assert not re.search(rf"(?<!\w){re.escape(mistake)}(?!\w)", said)


def test_when_it_is_closed_all_loggers_are_as_they_were() -> None:
    names = ("httpx", "httpcore", "telegram", "sdlesson.bot")
    before = [(logging.getLogger(name).level, logging.getLogger(name).propagate) for name in names]
    buffer = RingBuffer()
    buffer.open()
    assert not logging.getLogger("httpx").isEnabledFor(logging.INFO)
    buffer.close()
    after = [(logging.getLogger(name).level, logging.getLogger(name).propagate) for name in names]
    assert after == before
