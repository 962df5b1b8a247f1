import asyncio
import json
import time
import urllib.error
import urllib.request
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from fixtures_bot import Painter
from fixtures_servers import free_port
from sdlesson.bot_service import health, metrics
from sdlesson.bot_service.health import Gauges, answering, serve
from sdlesson.bot_service.metrics import GpuMemory, MeasuredGenerator, Metrics
from test_bot_worker import ask, in_a_loop, until

DEPLOY = Path(__file__).parent.parent / "deploy"


def samples(text):
    found = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            found[one.name, *one.labels.values()] = one.value
    return found


def get(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def configured(port=1):
    return SimpleNamespace(metrics_listen="127.0.0.1", metrics_port=port)


class Doubtful:
    """A bot whose readiness a test decides."""

    trouble = ""

    async def ready(self):
        if self.trouble == "hang":
            await asyncio.sleep(60)
        return self.trouble


@in_a_loop
async def test_what_happened_is_what_prometheus_is_told():
    counted = Metrics()
    for job_id in ("a", "b", "c"):
        counted.accepted(job_id)
    counted.refused("quota")
    counted.refused("quota")
    counted.started(["a", "b", "c"])
    counted.ended("a", "sent", 1.5)
    counted.ended("b", "failed", 70.0)
    counted.error("handler")
    gauges = Gauges(lambda: 4, lambda: 2, Doubtful().ready)
    async with serve(configured(free_port()), gauges, counted) as port:
        await until(lambda: counted.looked_s)
        status, text = await asyncio.to_thread(get, port, "/metrics")
    told = samples(text)
    assert status == 200
    assert told["sdlesson_requests_accepted_total",] == 3
    assert told["sdlesson_requests_refused_total", "quota"] == 2
    assert told["sdlesson_batch_pictures_sum",] == 3
    assert told["sdlesson_jobs_ended_total", "sent"] == 1
    assert told["sdlesson_job_seconds_bucket", "2.0", "sent"] == 1
    assert told["sdlesson_job_seconds_bucket", "60.0", "failed"] == 0
    assert told["sdlesson_errors_total", "handler"] == 1
    assert (told["sdlesson_queue_length",], told["sdlesson_drawing",]) == (4, 2)
    assert told["sdlesson_loop_lag_seconds_count",] >= 1
    assert told["process_resident_memory_bytes",] > 1e6


@in_a_loop
async def test_ready_says_why_not_and_alive_says_when_the_loop_hangs(monkeypatch):
    monkeypatch.setattr(health, "STUCK_S", 0.6)
    monkeypatch.setattr(health, "READY_WITHIN_S", 0.3)
    bot, counted = Doubtful(), Metrics()
    async with serve(configured(free_port()), Gauges(int, int, bot.ready), counted) as port:
        assert await asyncio.to_thread(get, port, "/health/ready") == (
            200,
            '{"ok": true, "trouble": ""}',
        )
        for trouble, told in (("no worker", "no worker"), ("hang", "no answer within")):
            bot.trouble = trouble
            status, body = await asyncio.to_thread(get, port, "/health/ready")
            assert status == 503
            assert told in json.loads(body)["trouble"]
        await until(lambda: counted.looked_s)
        assert (await asyncio.to_thread(get, port, "/health/live"))[0] == 200
        asked = asyncio.get_running_loop().run_in_executor(None, _later, port)
        time.sleep(2.5)  # the loop hangs, and the answer still comes
        status, body = await asked
        assert status == 503
        assert "hung" in json.loads(body)["trouble"]
        assert (await asyncio.to_thread(get, port, "/nowhere"))[0] == 404


def _later(port):
    time.sleep(1.5)
    return get(port, "/health/live")


@in_a_loop
async def test_a_loop_that_is_held_up_is_measured():
    counted = Metrics()
    measuring = asyncio.create_task(counted.measure_loop_lag())
    await until(lambda: counted.looked_s)
    time.sleep(0.5)
    before = counted.looked_s
    await until(lambda: counted.looked_s != before)
    measuring.cancel()
    assert counted.lag_s > 0.2


@in_a_loop
async def test_port_zero_serves_nothing():
    async with serve(configured(0), Gauges(int, int, Doubtful().ready), Metrics()) as port:
        assert port == 0


def test_a_number_that_cannot_be_looked_up_is_left_out_and_the_others_stay():
    counted = Metrics()
    counted.watch("sdlesson_broken", "Fails", lambda: 1 / 0)
    counted.watch("sdlesson_whole", "Works", lambda: 7)
    with answering("127.0.0.1", 0, counted.registry, str, str) as port:
        told = samples(get(port, "/metrics")[1])
    assert told["sdlesson_whole",] == 7
    assert ("sdlesson_broken",) not in told


def test_from_a_shell_one_sentence_and_a_code_say_how_it_is(capsys):
    with answering("127.0.0.1", 0, CollectorRegistry(), str, lambda: "no worker") as port:
        assert health.main(["live", str(port)]) == 0
        assert health.main(["ready", str(port)]) == 1
    assert health.main(["live", str(port)]) == 1
    assert capsys.readouterr().out.splitlines()[:2] == ["all is well", "no worker"]


def test_a_check_that_fails_is_not_taken_for_health():
    def broken():
        raise KeyError("x")

    with answering("127.0.0.1", 0, CollectorRegistry(), broken, str) as port:
        assert get(port, "/health/live") == (
            503,
            '{"ok": false, "trouble": "cannot be told (KeyError)"}',
        )


def test_a_worker_counts_its_pictures_and_failures():
    registry = CollectorRegistry()
    generator = MeasuredGenerator(Painter(), registry)
    draw = {"on_step": lambda *_: None, "is_cancelled": lambda number: number == 2}
    generator.draw([ask("a cat"), ask("a volcano"), ask("a dog")], **draw)
    with pytest.raises(RuntimeError):
        generator.draw([ask("explode")], **draw)
    value = registry.get_sample_value
    assert value("sdlesson_worker_pictures_total") == 2
    assert value("sdlesson_worker_flagged_total") == 1
    assert value("sdlesson_worker_failures_total", {"error": "RuntimeError"}) == 1
    assert value("sdlesson_worker_batch_pictures_sum") == 4
    assert value("sdlesson_worker_batch_seconds_count") == 1


class TwoGpus:
    """What NVIDIA's library answers on a machine with two GPUs."""

    class NVMLError(Exception):
        pass

    def nvmlDeviceGetCount(self):
        return 2

    def nvmlDeviceGetHandleByIndex(self, number):
        return number

    def nvmlDeviceGetMemoryInfo(self, number):
        return namedtuple("Memory", "used total")(number * 1e9, 16e9)

    def nvmlDeviceGetUtilizationRates(self, number):
        return namedtuple("Use", "gpu")(50)


def test_each_gpu_has_its_memory_and_use_and_none_has_none(monkeypatch):
    monkeypatch.setattr(metrics, "_open_nvml", TwoGpus)
    registry = CollectorRegistry()
    registry.register(GpuMemory())
    value = registry.get_sample_value
    assert value("sdlesson_gpu_memory_used_bytes", {"gpu": "1"}) == 1e9
    assert value("sdlesson_gpu_memory_total_bytes", {"gpu": "0"}) == 16e9
    assert value("sdlesson_gpu_use_ratio", {"gpu": "1"}) == 0.5
    monkeypatch.setattr(metrics, "_open_nvml", lambda: None)
    assert list(GpuMemory().collect()) == []
