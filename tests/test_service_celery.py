"""The whole service as an operator starts it: bot, Redis and workers, each a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from fixtures_redis import RedisServer, free_port, redis_server
from fixtures_service import agrees
from fixtures_talk import answer, is_picture, wait_until
from sdlesson.bot_api import BotApiServer
from sdlesson.bot_service.store import Store, StoredJobState
from test_service_metrics import get, samples

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
SLOW_S = 240.0  # three Pythons import torch on a machine that is busy
LOST_S = 10.0  # without a worker's pulse for so long, its batch goes to another
STEPS = 50


@contextmanager
def process(module: str, log: Path, settings: dict[str, str]) -> Iterator[subprocess.Popen]:
    """Run a part of the service, as the guide says it is started."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SDLESSON_BOT_")}
    with log.open("w") as stream:
        running = subprocess.Popen(
            [sys.executable, "-m", module],
            env=environment | settings | {"OMP_NUM_THREADS": "1"},
            stdout=stream,
            stderr=stream,
        )
        try:
            yield running
        finally:
            running.kill()
            running.wait()


def names(redis: RedisServer) -> list[str]:
    return [key.decode() for key in redis.client.keys("sdlesson:worker:pocket:*")]


def claims(redis: RedisServer) -> dict[str, int]:
    """Which process has which attempt at a batch."""
    keys = redis.client.keys("sdlesson:batch:*:claim:*")
    owners = {key.decode(): redis.client.get(key) for key in keys}
    return {key: int(owner.decode().split("-")[-2]) for key, owner in owners.items() if owner}


def of_all(redis: RedisServer, models: list[str]) -> dict[str, str]:
    """The settings that bot and workers share."""
    return {
        "SDLESSON_BOT_GENERATOR": "celery",
        "SDLESSON_BOT_REDIS_URL": redis.url,
        "SDLESSON_BOT_MODELS": json.dumps(models),
        "SDLESSON_BOT_METRICS_PORT": "0",
    }


def of_bot(shared: dict[str, str], telegram: BotApiServer, folder: Path) -> dict[str, str]:
    """The settings of the bot, which alone talks to Telegram and to the database."""
    return shared | {
        "TELEGRAM_BOT_TOKEN": telegram.token,
        "SDLESSON_BOT_API_URL": telegram.base_url,
        "SDLESSON_BOT_DATABASE_URL": f"sqlite:///{folder}/bot.db",
    }


def test_a_worker_dies_redis_goes_and_every_request_ends_in_one_picture(tmp_path: Path) -> None:
    metrics_port = free_port()
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server())
        telegram = stack.enter_context(BotApiServer())
        shared = of_all(redis, ["pocket"])
        bots = of_bot(shared, telegram, tmp_path)
        bots |= {"SDLESSON_BOT_METRICS_PORT": str(metrics_port)}
        part = "sdlesson.bot_service.workers"
        workers = [
            stack.enter_context(process(part, tmp_path / f"worker-{number}.log", shared))
            for number in range(2)
        ]
        by_pid = {worker.pid: worker for worker in workers}
        bot = stack.enter_context(process("sdlesson.bot_service", tmp_path / "bot.log", bots))
        wait_until(lambda: len(names(redis)) == 2, SLOW_S)
        ana = telegram.user("Ana", "es")
        ana.says("/start")
        welcome = ana.waits_for("con el modelo pocket", timeout_s=SLOW_S)
        ana.presses(welcome, data="agree:")
        ana.waits_for("/help", after=welcome)
        assert get(metrics_port, "/health/ready")[0] == 200

        # A worker is killed while it draws.
        asked = ana.says(f"un gato en la nieve --pasos {STEPS} --semilla 7")
        wait_until(lambda: claims(redis), SLOW_S)
        (victim,) = claims(redis).values()
        os.kill(victim, signal.SIGKILL)
        by_pid[victim].wait()
        picture = ana.waits_for(is_picture, after=asked, timeout_s=SLOW_S)
        assert f"semilla 7 · {STEPS} pasos" in picture["caption"]
        assert picture["caption"].endswith("modelo pocket")
        assert sum(map(is_picture, ana.messages)) == 1
        pids = sorted(claims(redis).values())
        assert len(pids) == 2, "the other worker has drawn it"
        assert pids != [victim] * 2
        lost = samples(get(metrics_port, "/metrics")[1])["sdlesson_batches_lost_total",]
        assert lost == 1

        # Redis goes with all it held, and comes back; what is asked meanwhile waits.
        redis.kill()
        during = ana.says(f"un perro en la playa --pasos {STEPS} --semilla 8")
        ana.waits_for("Dibujando", after=during, timeout_s=SLOW_S)
        assert get(metrics_port, "/health/ready")[0] == 503
        time.sleep(5.0)
        redis.start()
        second = ana.waits_for(is_picture, after=during, timeout_s=SLOW_S)
        assert "semilla 8" in second["caption"]

        time.sleep(LOST_S)  # time enough for a third one, if there were any
        assert sum(map(is_picture, ana.messages)) == 2
        assert "pocket · enviada" in answer(ana, "/history")["text"]
        bot.send_signal(signal.SIGTERM)
        assert bot.wait(60) == 0, (tmp_path / "bot.log").read_text()
        with Store(f"sqlite:///{tmp_path}/bot.db") as store:
            assert store.counts() == {StoredJobState.SENT: 2}
            assert [one.seed for one in store.jobs.history(ana.id)] == [8, 7]
        logged = "".join(path.read_text() for path in tmp_path.glob("*.log"))
        assert "gato" not in logged
        assert telegram.token not in logged


def test_workers_draw_with_the_model_and_the_lora_that_a_job_names(tmp_path, tiny_folder) -> None:
    """Two models on one worker that may hold one, as users choose them."""
    lora = _lora(tiny_folder, tmp_path)
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server())
        telegram = stack.enter_context(BotApiServer())
        shared = of_all(redis, ["pocket", str(tiny_folder)]) | {
            "SDLESSON_BOT_LORAS": json.dumps({"hat": {"file": lora, "model": str(tiny_folder)}}),
            "SDLESSON_BOT_MODELS_IN_MEMORY": "1",
        }
        bots = of_bot(shared, telegram, tmp_path)
        log = tmp_path / "worker.log"
        stack.enter_context(process("sdlesson.bot_service.workers", log, shared))
        stack.enter_context(process("sdlesson.bot_service", tmp_path / "bot.log", bots))
        ana = telegram.user("Ana", "en")
        wait_until(lambda: names(redis), SLOW_S)
        ana.says("/start")
        ana.waits_for("with the model pocket", timeout_s=SLOW_S)
        agrees(ana)
        tiny = tiny_folder.name
        shown = answer(ana, "/model")["text"]
        assert "pocket: 128 × 128 pixels, LoRAs: none" in shown
        assert f"{tiny}: 32 × 32 pixels, LoRAs: hat" in shown
        drawn = []
        for command in (f"/model {tiny}", "/lora hat", "/model pocket"):
            answer(ana, command)
            asked = ana.says("a cat --steps 2 --seed 1")
            found = ana.waits_for(is_picture, after=asked, timeout_s=SLOW_S)
            drawn.append(found["caption"].partition("model ")[2])
        assert drawn == [tiny, f"{tiny} · LoRA hat", "pocket"]
        assert log.read_text().count("is being loaded") >= 4, "one model in memory at a time"


def _lora(folder: Path, to: Path) -> str:
    from fixtures_lora import add_lora
    from sdlesson.finetuning.lora_saving import save_lora
    from sdlesson.pipelines import load_pipeline

    pipe = load_pipeline(folder, device="cpu")
    add_lora(pipe, "hat", strength=0.5)
    return str(save_lora(pipe, to / "hat.safetensors"))
