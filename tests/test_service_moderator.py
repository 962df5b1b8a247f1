"""A moderation service, asked over real HTTP, that is right, slow, short of quota, or odd."""

import asyncio
import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fixtures_redis import free_port
from fixtures_service import serving
from fixtures_talk import answer, picture, wait_until
from sdlesson.bot_service.configuration import Configuration
from sdlesson.bot_service.log import stop_writing, write_log
from sdlesson.bot_service.metrics import Metrics
from sdlesson.bot_service.moderation import Moderation
from sdlesson.bot_service.moderation_service import (
    HttpModerator,
    ModerationServiceError,
    ModerationSettings,
)
from sdlesson.bot_service.service.assembly import also_kept, make_moderator

KEY = "sk-hunter2"
SCORES = {"violence": 0.01, "sexual": 0.02, "self-harm": 0.0}


class Service:
    """Answers as OpenAI does: the score of "violence" is what stands after "score" in a text."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict, dict[str, str]]] = []
        self.status, self.body, self.headers, self.delay_s = 200, b"", {}, 0.0
        self.url = ""

    def answer(self, asked: dict) -> bytes:
        if self.body:
            return self.body
        score = float(asked["input"].partition("score ")[2] or 0.01)
        result = {"flagged": False, "category_scores": SCORES | {"violence": score}}
        return json.dumps({"id": "modr-1", "model": asked["model"], "results": [result]}).encode()


@contextmanager
def running() -> Iterator[Service]:
    service = Service()

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            service.asked.append((asked, dict(self.headers)))
            body = service.answer(asked)
            self.send_response(service.status)
            for name, value in ({"Content-Length": len(body)} | service.headers).items():
                self.send_header(name, str(value))
            self.end_headers()
            for byte in body if service.delay_s else ():  # drop by drop, which no read waits for
                time.sleep(service.delay_s)
                self.wfile.write(bytes([byte]))
            if not service.delay_s:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(ConnectionError):  # whoever asked has hung up
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_address[1]}/v1/moderations"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def service() -> Iterator[Service]:
    with running() as service:
        yield service


def settings(service: Service, **named) -> ModerationSettings:
    return ModerationSettings(service.url, KEY, **{"threshold": 0.4, "timeout_s": 2.0} | named)


def ask(moderator: HttpModerator, *texts: str) -> list[bool]:
    async def all_of_them() -> list[bool]:
        try:
            return [await moderator.refuses(text) for text in texts]
        finally:
            await moderator.close()

    return asyncio.run(all_of_them())


def why_not(moderator: HttpModerator) -> str:
    with pytest.raises(ModerationServiceError) as failed:
        ask(moderator, "a cat")
    assert KEY not in str(failed.value)
    assert "a cat" not in str(failed.value)
    return str(failed.value)


def test_a_score_from_the_threshold_on_refuses(service: Service) -> None:
    texts = ("a cat", "score 0.39", "score 0.4", "score 1")
    assert ask(HttpModerator(settings(service)), *texts) == [False, False, True, True]
    asked, headers = service.asked[0]
    assert asked == {"model": "omni-moderation-latest", "input": "a cat"}
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert len({one["input"] for one, _ in service.asked}) == 4


def test_only_the_categories_that_were_named_count(service: Service) -> None:
    others = HttpModerator(settings(service, categories=("sexual", "self-harm")))
    assert ask(others, "score 1") == [False]
    misspelt = HttpModerator(settings(service, categories=("sexual", "voilence")))
    assert "scores that count" in why_not(misspelt)


def test_a_service_without_a_key_is_told_none(service: Service) -> None:
    assert ask(HttpModerator(ModerationSettings(service.url)), "a cat") == [False]
    assert "Authorization" not in service.asked[0][1]


@pytest.mark.parametrize(
    "body",
    [
        *(b"nonsense", b"{}", b"[]", b"null", b'{"results": []}', b'{"results": [{}, {}]}'),
        *(b'{"results": [{"category_scores": {}}]}', b'{"results": [{"category_scores": []}]}'),
        *(b'{"results": [{"category_scores": {"violence": "0.1"}}]}', b"[" * 99_999),
        *(b'{"results": [{"category_scores": {"violence": null}}]}', b"\xff\xfe", b"<html>"),
        *(b'{"results": [{"category_scores": {"violence": NaN}}]}', b'{"results": {"a": 1}}'),
        *(b'{"results": [{"category_scores": {"violence": true}}]}', b'{"results": 5}'),
        b'{"results": [{"category_scores": {"violence": 17}}]}',
    ],
)
def test_an_answer_that_is_none_is_no_pass(service: Service, body: bytes) -> None:
    service.body = body
    assert "has not the scores" in why_not(HttpModerator(settings(service)))


@pytest.mark.parametrize("status", [301, 400, 401, 403, 500, 503])
def test_a_service_in_trouble_is_no_pass(service: Service, status: int) -> None:
    service.status, service.headers = status, {"Location": "http://127.0.0.1:9/elsewhere"}
    assert f"answers with {status}" in why_not(HttpModerator(settings(service)))


def test_a_used_up_quota_is_respected_for_as_long_as_the_service_says(service: Service) -> None:
    moderator = HttpModerator(settings(service))
    service.status, service.headers = 429, {"Retry-After": "1"}
    assert "answers with 429" in why_not(moderator)
    service.status = 200
    assert "not to be asked so often" in why_not(moderator)
    assert len(service.asked) == 1
    time.sleep(1.05)
    assert ask(moderator, "a cat") == [False]


@pytest.mark.parametrize("wish", ["Wed, 21 Oct 2026 07:28:00 GMT", "-5", "9" * 400, "", "1.5", "²"])
def test_an_odd_wish_for_silence_does_not_silence_for_ever(service: Service, wish: str) -> None:
    moderator = HttpModerator(settings(service))
    service.status = 429
    service.headers = {"Retry-After": wish.encode("latin-1").decode("latin-1")}
    why_not(moderator)
    assert moderator._silent_until - time.monotonic() <= 60


def test_a_slow_service_is_given_up_in_time_even_if_it_drips(service: Service) -> None:
    service.delay_s = 0.1
    began = time.monotonic()
    assert "TimeoutError" in why_not(HttpModerator(settings(service, timeout_s=0.6)))
    assert time.monotonic() - began < 2


def test_nobody_there_is_no_pass() -> None:
    nobody = ModerationSettings(f"http://127.0.0.1:{free_port()}/v1/moderations", KEY)
    assert "ConnectError" in why_not(HttpModerator(nobody))


# In the bot.


def counted(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


def test_a_refusal_by_the_service_is_told_in_both_languages_and_counted(
    service: Service, tmp_path: Path
) -> None:
    metrics, moderation = Metrics(), Moderation(moderator=HttpModerator(settings(service)))
    with serving(tmp_path, moderation=moderation, events=metrics) as served:
        eva, ana = served.person("Eva"), served.person("Ana", "es")
        assert "moderation has refused it" in answer(eva, "a score 0.9")["text"]
        assert "la moderación de este bot lo ha rechazado" in answer(ana, "un score 0.9")["text"]
        assert picture(eva, "a cat")
        wait_until(
            lambda: counted(metrics, "sdlesson_requests_refused_total", reason="moderation") == 2
        )
    assert served.painter.batches == [["a cat"]]


@pytest.mark.parametrize("is_needed", [True, False])
def test_without_the_service_the_operator_has_chosen_what_happens(
    service: Service, tmp_path: Path, is_needed: bool
) -> None:
    metrics = Metrics()
    moderation = Moderation(
        ["nude"],
        HttpModerator(settings(service)),
        is_needed=is_needed,
        on_away=lambda: metrics.error("moderation"),
    )
    service.status = 500
    with serving(tmp_path, moderation=moderation, events=metrics) as served:
        eva, ana = served.person("Eva"), served.person("Ana", "es")
        assert "“nude”" in answer(eva, "a nude cat")["text"], "the words hold in any case"
        if is_needed:
            assert "cannot check requests" in answer(eva, "a cat")["text"]
            assert "no puedo revisar peticiones" in answer(ana, "un gato")["text"]
        else:
            assert picture(eva, "a cat")
            assert picture(ana, "un gato")
    assert counted(metrics, "sdlesson_errors_total", where="moderation") == 2
    away = counted(metrics, "sdlesson_requests_refused_total", reason="moderation_away")
    assert away == (2 if is_needed else 0)


def test_neither_key_nor_request_is_logged(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "log"
    moderation = Moderation(moderator=HttpModerator(settings(service)))
    service.status = 401
    service.body = json.dumps({"error": f"Incorrect API key: {KEY}, input: a purple cat"}).encode()
    with path.open("w") as stream:
        write_log(level="DEBUG", stream=stream)
        try:
            with serving(tmp_path, moderation=moderation) as served:
                answer(served.person(), "a purple cat")
        finally:
            stop_writing()
            logging.getLogger().setLevel(logging.WARNING)
    written = path.read_text()
    assert "moderation: the service answers with 401" in written
    assert "hunter2" not in written
    assert "purple" not in written


def test_the_settings_make_the_service_and_privacy_names_its_host(service: Service) -> None:
    given = {
        "token": "123456789:" + "A" * 35,
        "moderation_url": service.url,
        "moderation_key": KEY,
        "moderation_threshold": 0.9,
        "moderation_categories": ("violence",),
    }
    configuration = Configuration(**given)
    assert KEY not in repr(configuration)
    assert ask(make_moderator(configuration), "score 0.8", "score 0.9") == [False, True]
    assert service.asked[0][1]["Authorization"] == f"Bearer {KEY}"
    (text,) = also_kept(configuration)
    assert all("127.0.0.1" in one for one in text)
    assert make_moderator(Configuration(token=given["token"])) is None
    assert also_kept(Configuration(token=given["token"])) == ()
