import io
import json
import logging

import pytest

import sdlesson
from fixtures_bot import Painter
from fixtures_service import serving
from fixtures_talk import is_picture, talking, wait_until
from sdlesson.bot_api import BotApiServer
from sdlesson.bot_service import log as service_log
from sdlesson.bot_service.configuration import load_configuration
from sdlesson.bot_service.log import request_context, stop_writing, write_log
from sdlesson.bot_service.service.assembly import assemble
from sdlesson.bot_service.store import Store
from sdlesson.bot_service.workers import ParallelWorker
from test_bot_worker import ask, in_a_loop, states

TOKEN = "123456789:" + "A" * 35
LOGGER = logging.getLogger("sdlesson.bot_service.test")


@pytest.fixture
def written():
    """All that is logged from here on, as text."""
    root, stream = logging.getLogger(), io.StringIO()
    level, ours = root.level, {name: logging.getLogger(name).level for name in service_log.QUIET}
    write_log(stream=stream, level="DEBUG")
    yield stream
    stop_writing()
    root.setLevel(level)
    for name, before in ours.items():
        logging.getLogger(name).setLevel(before)


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_when_how_urgent_by_whom_and_for_which_request(written):
    with request_context("1a2b", "3c4d"):
        LOGGER.info("%s pictures are drawn", 2)
    LOGGER.warning("outside")
    first, second = lines(written)
    assert first["event"] == "2 pictures are drawn"
    assert first["request_ids"] == ["1a2b", "3c4d"]
    assert (first["level"], first["logger"]) == ("info", "sdlesson.bot_service.test")
    assert first["timestamp"].endswith("Z")
    assert "request_ids" not in second


@pytest.mark.parametrize(
    ("message", "args", "hidden"),
    [
        ("job %s of user %s waits", ("1a2b", 777001), "777001"),
        ("chat %s: refused", (-1001234567890,), "1001234567890"),
        ("GET https://api.telegram.org/bot%s/getMe", (TOKEN,), TOKEN),
        ("redis://:%s@redis:6379/0 is away", ("hunter2",), "hunter2"),
        ("postgresql://bot:hunter2@db/bot", (), "hunter2"),
        ("it failed: %s", (ValueError("no cat named Ximena"),), "Ximena"),
        ("asked %s", ({"prompt": "my secret wish"},), "secret"),
        ("asked %s and %s", (1, [{"prompt": "my secret wish"}]), "secret"),
        ("asked %s", (ask("my secret wish"),), "secret"),
    ],
)
def test_nobody_and_no_secret_is_on_a_line(written, message, args, hidden):
    LOGGER.info(message, *args)
    assert hidden not in written.getvalue()
    assert len(lines(written)) == 1


def test_a_person_has_one_name_for_as_long_as_the_process_lives(written):
    for user in (777001, 777001, 777002):
        LOGGER.info("user %s", user)
    names = [line["event"] for line in lines(written)]
    assert names[0] == names[1] != names[2]
    assert names[0].startswith("user#")


def test_an_error_says_its_kind_and_place_but_not_what_it_quotes(written):
    try:
        ask("a wish of Ximena's", num_inference_steps=0)
    except ValueError:
        LOGGER.exception("that failed")
    try:
        open("/no/such/file")  # noqa: SIM115, PTH123
    except OSError as error:
        LOGGER.error("and that: %s", error, exc_info=error)
    first, second = lines(written)
    assert first["error"] == "RequestError"
    assert "requests.py" in first["places"][-1]
    assert "Ximena" not in written.getvalue()
    assert "No such file" in second["event"]


def test_text_for_people_hides_the_same(written):
    stream = io.StringIO()
    write_log("text", stream=stream)
    LOGGER.info("user %s has %s", 777001, TOKEN)
    assert "user#" in stream.getvalue()
    assert not {"777001", TOKEN} & set(stream.getvalue().split())


def test_in_a_whole_run_nothing_logged_names_a_user_a_prompt_or_the_token(written):
    """Everything that any library logs, down to DEBUG, while people are served and things fail."""
    with talking(Painter()) as talk:
        people = [talk.person("Ximena", "es"), talk.person("Bartholomew")]
        for person in people:
            person.waits_for(is_picture, after=person.says("a wombat in a submarine"))
            person.waits_for(lambda _: True, after=person.says("this may explode, submarine"))
            person.waits_for(lambda _: True, after=person.says("--steps submarine"))
        private = {str(person.id) for person in people} | {"Ximena", "Bartholomew"}
        private |= {"submarine", "wombat", talk.server.token}
    text = written.getvalue()
    assert "job" in text
    assert len(set(text.splitlines())) == len(text.splitlines()), "a line is written twice"
    assert "user#" in text
    assert [secret for secret in private if secret in text] == []


def test_what_is_less_urgent_than_the_operator_asks_for_is_not_written_in_a_run_either(written):
    write_log(stream=written, level="WARNING")
    with talking(Painter()) as talk:
        person = talk.person()
        person.waits_for(is_picture, after=person.says("a cat"))
        person.waits_for("went wrong", after=person.says("explode"))
    assert {line["level"] for line in lines(written)} == {"error"}


@in_a_loop
async def test_what_the_drawing_thread_logs_carries_the_jobs_ids():
    class Talkative(Painter):
        def draw(self, requests, **named):
            LOGGER.info("drawing")
            return super().draw(requests, **named)

    stream = io.StringIO()
    write_log(stream=stream)
    worker = ParallelWorker(Talkative())
    worker.start()
    jobs = [worker.submit(user, ask()) for user in range(2)]
    await states(jobs)
    await worker.stop()
    stop_writing()
    drawing = [line for line in lines(stream) if line["event"] == "drawing"]
    ids = [job_id for line in drawing for job_id in line["request_ids"]]
    assert ids == [job.id for job in jobs]


def test_the_log_tells_of_a_request_from_its_wait_to_its_end(written, tmp_path):
    with serving(tmp_path) as served:
        ana = served.person()
        ana.waits_for(is_picture, after=ana.says("a cat"))
        (job,) = served.parts.store.jobs.history(ana.id)
    told = [line["event"] for line in lines(written) if job.id in line["event"]]
    assert "waits, 1 in all" in told[0]
    assert told[1].endswith("is done")
    assert told[2].startswith(f"job {job.id} has ended after 0.")
    assert told[2].endswith(": sent")


def test_one_line_says_what_runs_and_nothing_that_is_secret(
    written, tmp_path, monkeypatch, tiny_folder
):
    with BotApiServer() as server, Store(f"sqlite:///{tmp_path}/bot.db") as store:
        monkeypatch.setenv("SDLESSON_BOT_TOKEN", server.token)
        monkeypatch.setenv("SDLESSON_BOT_API_URL", server.base_url)
        monkeypatch.setenv("SDLESSON_BOT_MODELS", json.dumps([str(tiny_folder)]))
        monkeypatch.setenv("SDLESSON_BOT_METRICS_PORT", "0")
        monkeypatch.setenv("SDLESSON_BOT_ADMINS", "[777001]")
        monkeypatch.chdir(tmp_path)
        run = assemble(load_configuration(), store).start()
        wait_until(lambda: "has started" in written.getvalue(), 20)
        run.stop()
    (line,) = [one for one in lines(written) if one["event"] == "the service has started"]
    expected = {"mode": "polling", "store": "sqlite", "generator": "local", "loras": []}
    assert expected.items() <= line.items()
    assert line["models"] == [tiny_folder.name]
    assert line["version"] == sdlesson.__version__
    assert server.token not in written.getvalue()
    assert "777001" not in str(line)
