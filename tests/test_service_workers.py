import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from fixtures_bot import Painter
from fixtures_redis import QUICK, START_S, RedisServer, redis_server, workers
from fixtures_servers import free_port
from fixtures_talk import is_picture, talking, wait_until
from sdlesson.bot.generator import PipelineGenerator
from sdlesson.bot.queue import JobState
from sdlesson.bot_service.workers import CeleryGenerator, ParallelWorker, SmallerBatches
from sdlesson.bot_service.workers.drawing import draw_batch
from sdlesson.bot_service.workers.protocol import (
    ModelCard,
    Orders,
    batch_key,
    model_key,
    pack_requests,
)
from sdlesson.bot_service.workers.remote import DrawingError, NoWorkersError
from sdlesson.images import same_picture
from test_bot_worker import ask, in_a_loop, states, until
from test_service_metrics import get, samples

BATCH = re.compile(rb"sdlesson:batch:(\w+):orders")


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(scope="module")
def logs(redis, tmp_path_factory) -> Iterator[list[Path]]:
    """The log files of two workers."""
    with workers(redis, 2, tmp_path_factory.mktemp("logs")) as files:
        yield files


@pytest.fixture
def remote(redis, logs) -> CeleryGenerator:
    redis.client.delete("painted")
    return CeleryGenerator(redis.url, queue="painter", timing=QUICK)


def ignore(*_):
    return False


def batches(redis):
    return {
        BATCH.fullmatch(key)[1].decode() for key in redis.client.keys("sdlesson:batch:*:orders")
    }


def begin(redis, generator, *requests, on_step=ignore, is_cancelled=ignore) -> tuple[str, Future]:
    """Have a batch drawn in a thread; its id, and what will come of it."""
    before = batches(redis)
    future = ThreadPoolExecutor(1).submit(
        generator.draw, requests, on_step=on_step, is_cancelled=is_cancelled
    )
    wait_until(lambda: batches(redis) - before, START_S)
    (batch_id,) = batches(redis) - before
    return batch_id, future


def test_what_a_worker_draws_is_what_would_be_drawn_here(remote):
    photo = Image.effect_noise((32, 32), 50).convert("RGB")
    requests = [
        ask("a cat", seed=7),
        ask("a volcano", seed=8),
        ask("ñandú 🐦", seed=9, photo=photo),
    ]
    steps, previews = [], {}

    def on_step(step, steps_in_all, shown):
        steps.append((step, steps_in_all))
        previews.update(shown)

    here = Painter().draw(requests, on_step=ignore, is_cancelled=ignore)
    there = remote.draw(requests, on_step=on_step, is_cancelled=ignore)
    assert [one.image.tobytes() for one in there] == [one.image.tobytes() for one in here]
    assert [one.settings for one in there] == [one.settings for one in here]
    assert [one.request for one in there] == requests
    assert [one.flagged for one in there] == [False, True, False]
    assert steps == [(step, 5) for step in range(1, 6)]
    assert previews[0].getpixel((0, 0)) == here[0].image.getpixel((0, 0))
    assert (remote.model, remote.size, remote.defaults.num_inference_steps) == ("painter", 32, 5)


def test_nothing_of_a_batch_stays_in_redis_but_that_it_is_over(redis, remote):
    remote.draw([ask("a secret wish")], on_step=ignore, is_cancelled=ignore)
    kept = [key for key in redis.client.keys("sdlesson:batch:*") if b"claim" not in key]
    assert all(key.endswith(b":orders") and redis.client.ttl(key) > 0 for key in kept)


@in_a_loop
async def test_two_workers_draw_at_once_and_what_fits_together_is_one_batch(redis, remote, logs):
    worker = ParallelWorker(remote, batches_at_once=remote.batches_at_once)
    worker.start()
    await until(lambda: worker.at_once == 2)
    jobs = [worker.submit(user, ask(num_inference_steps=10 + user % 2)) for user in range(6)]
    await until(lambda: len(worker.running) == 6)
    assert await states(jobs) == [JobState.DONE] * 6
    assert sorted(map(len, redis.painted())) == [3, 3]
    logged = "".join(log.read_text() for log in logs)
    assert [job.id for job in jobs if job.id not in logged] == [], "a job's id leads to its worker"
    assert "a cat" not in logged
    assert not worker.running
    await worker.stop()


@in_a_loop
async def test_in_a_batch_that_fails_only_the_guilty_job_fails_and_the_worker_lives(remote):
    worker = ParallelWorker(remote)
    jobs = [worker.submit(1, ask(prompt)) for prompt in ("a cat", "explode", "a dog")]
    worker.start()
    assert await states(jobs) == [JobState.DONE, JobState.FAILED, JobState.DONE]
    assert isinstance(jobs[1].error, DrawingError)
    assert "RuntimeError" in str(jobs[1].error)
    await worker.stop()


def test_cancel_reaches_a_worker_between_two_steps(redis, remote):
    cancelled = threading.Event()
    steps = []
    _, future = begin(
        redis,
        remote,
        ask("a cat", num_inference_steps=50),
        on_step=lambda *step: steps.append(step) or cancelled.set(),
        is_cancelled=lambda _: cancelled.is_set(),
    )
    assert future.result(START_S) == [None]
    follower = remote.draw([ask("a dog", seed=1)], on_step=ignore, is_cancelled=ignore)
    assert follower[0] is not None
    assert len(steps) < 10, "the worker drew on for nobody"


def test_one_of_a_batch_is_cancelled_and_the_others_go_on(redis, remote):
    requests = [ask("a cat", seed=1, num_inference_steps=10), ask("a dog", num_inference_steps=10)]
    far = []
    results = remote.draw(
        requests,
        on_step=lambda *step: far.append(step),
        is_cancelled=lambda n: n == 1 and len(far) > 2,
    )
    assert [result is None for result in results] == [False, True]


def test_a_worker_killed_mid_job_leaves_it_to_another_and_the_user_gets_one_picture(redis, remote):
    """The whole way: a user, a bot, Redis, a worker that dies by kill -9 and one that lives."""
    before = batches(redis)
    with talking(remote) as talk:
        ana = talk.person()
        message = ana.says("a cat --steps 20 --seed 5")
        wait_until(lambda: batches(redis) - before, START_S)
        (batch_id,) = batches(redis) - before
        victim = redis.worker_of(batch_id)
        time.sleep(0.5)  # some steps are done
        os.kill(victim, signal.SIGKILL)
        assert redis.worker_of(batch_id, attempt=2) != victim
        picture = ana.waits_for(is_picture, after=message, timeout_s=START_S)
        assert "5" in picture["caption"]
        time.sleep(2 * QUICK.lost_s)  # time enough for a second one, if there were any
        assert len([one for one in ana.messages if is_picture(one)]) == 1
    assert redis.painted() == [["a cat"]] * 2
    assert remote.lost == 1


@pytest.mark.slow
def test_a_worker_that_was_only_frozen_stops_when_it_wakes_up(redis, tmp_path):
    with workers(redis, 2, tmp_path, "frozen") as logs:
        remote = CeleryGenerator(redis.url, queue="frozen", timing=QUICK)
        batch_id, future = begin(redis, remote, ask("a cat", num_inference_steps=30))
        sleeper = redis.worker_of(batch_id)
        os.kill(sleeper, signal.SIGSTOP)
        assert redis.worker_of(batch_id, attempt=2) != sleeper
        os.kill(sleeper, signal.SIGCONT)
        assert future.result(START_S)[0] is not None
        wait_until(lambda: any("attempt 1 is no longer" in log.read_text() for log in logs), 20)


def test_redis_goes_with_all_it_held_and_comes_back(tmp_path):
    port = free_port()
    with redis_server() as redis, workers(redis, 1, tmp_path, port=port):
        assert get(port, "/health/ready")[0] == 200
        remote = CeleryGenerator(redis.url, queue="painter", timing=QUICK)
        batch_id, future = begin(redis, remote, ask("a cat", num_inference_steps=20))
        redis.worker_of(batch_id)
        redis.kill()
        waiting = ThreadPoolExecutor(1).submit(  # asked for while there is no Redis
            remote.draw, [ask("a dog")], on_step=ignore, is_cancelled=ignore
        )
        assert "Redis cannot be reached" in remote.ready()
        wait_until(lambda: get(port, "/health/ready")[0] == 503)
        assert get(port, "/health/live")[0] == 200
        redis.start()
        assert future.result(START_S)[0].drawing.prompt == "a cat"
        assert waiting.result(START_S)[0].drawing.prompt == "a dog"
        wait_until(lambda: remote.ready() == "", START_S)
        assert samples(get(port, "/metrics")[1])["sdlesson_worker_pictures_total",] == 2


# What follows needs Redis, but no process beside it.


@pytest.fixture
def alone(redis) -> CeleryGenerator:
    """A generator to whose queue nobody listens."""
    card = ModelCard("painter", 32, Painter().defaults)
    redis.client.set(model_key("alone"), card.pack())
    redis.client.delete("sdlesson-alone")
    return CeleryGenerator(redis.url, queue="alone", timing=QUICK, wait_s=0.1)


def ask_for(redis, batch_id, *requests, attempt=1, lease_s=60):
    orders, asked = Orders(attempt).pack(), pack_requests(requests, {})
    redis.client.set(batch_key(batch_id, "orders"), orders, px=round(lease_s * 1000))
    redis.client.set(batch_key(batch_id, "requests"), asked)


def test_the_same_message_delivered_twice_is_drawn_once(redis):
    ask_for(redis, "twice", ask("a cat"))
    painter = Painter()
    delivered = [draw_batch(redis.client, painter, "twice", 1, "w", QUICK) for _ in range(2)]
    assert delivered == [True, False]
    assert len(painter.batches) == 1


def test_a_message_of_an_earlier_attempt_is_not_drawn(redis):
    ask_for(redis, "late", ask("a cat"), attempt=2)
    painter = Painter()
    assert not draw_batch(redis.client, painter, "late", 1, "w", QUICK)
    assert painter.batches == []


def test_a_worker_draws_no_further_for_a_bot_that_is_gone(redis):
    ask_for(redis, "widow", ask("a cat", num_inference_steps=50), lease_s=3)
    started_s = time.monotonic()
    assert not draw_batch(redis.client, Painter(0.3), "widow", 1, "w", QUICK)
    assert time.monotonic() - started_s > QUICK.lease_s, "it gave up on a bot that only hesitated"


def test_a_batch_over_which_three_workers_die_fails_instead_of_killing_a_fourth(redis, alone):
    batch_id, future = begin(redis, alone, ask("a poisoned cat"))
    for attempt in (1, 2, 3):
        wait_until(
            lambda n=attempt: (
                Orders.unpack(redis.client.get(batch_key(batch_id, "orders"))).attempt == n
            ),
            START_S,
        )
        redis.client.set(batch_key(batch_id, f"claim:{attempt}"), "a worker that dies at once")
    with pytest.raises(DrawingError, match="3 workers have gone"):
        future.result(START_S)
    assert alone.lost == 3


def test_a_batch_waits_for_a_worker_for_as_long_as_it_takes(redis, alone):
    assert "no worker listens to the queue 'alone'" in alone.ready()
    cancelled = threading.Event()
    _, future = begin(redis, alone, ask(), is_cancelled=lambda _: cancelled.is_set())
    time.sleep(1.5 * QUICK.lost_s)
    assert not future.done()
    assert alone.lost == 0
    cancelled.set()
    assert future.result(2) == [None], "a picture that waits is cancelled at once"


def test_without_any_worker_ever_the_sentence_says_what_to_start(redis):
    with pytest.raises(NoWorkersError, match=r"'nobody'.*python -m sdlesson.bot_service.workers"):
        CeleryGenerator(redis.url, queue="nobody", wait_s=0.1)


class Cramped(Painter):
    """Has room for two pictures."""

    def draw(self, requests, *, on_step, is_cancelled):
        if len(requests) > 2:
            self.batches.append([request.prompt for request in requests])
            raise MemoryError
        return super().draw(requests, on_step=on_step, is_cancelled=is_cancelled)


def test_a_batch_that_does_not_fit_is_drawn_in_halves_from_then_on():
    painter, steps = Cramped(), []
    generator = SmallerBatches(painter)
    requests = [ask(f"cat {number}", seed=number) for number in range(5)]
    for _ in range(2):
        results = generator.draw(
            requests, on_step=lambda *step: steps.append(step[:2]), is_cancelled=lambda n: n == 3
        )
    prompts = [result and result.drawing.prompt for result in results]
    assert prompts == ["cat 0", "cat 1", "cat 2", None, "cat 4"]
    assert list(map(len, painter.batches)) == [5, 2, 2, 1, 2, 2, 1]
    assert steps[: len(steps) // 2] == sorted(steps[: len(steps) // 2])
    assert steps[-1] == (5, 5)
    assert (generator.most, generator.splits) == (2, 1)


def test_one_picture_that_does_not_fit_is_an_error_and_so_is_any_other_failure():
    class Full(Painter):
        def draw(self, requests, **_):
            self.batches.append([])
            raise MemoryError

    with pytest.raises(MemoryError):
        SmallerBatches(Full()).draw([ask()], on_step=ignore, is_cancelled=ignore)
    painter = Painter()
    with pytest.raises(RuntimeError, match="exploded"):
        SmallerBatches(painter).draw([ask("explode")] * 2, on_step=ignore, is_cancelled=ignore)
    assert len(painter.batches) == 1


@in_a_loop
async def test_a_parallel_worker_with_one_lane_does_what_the_bots_own_does():
    painter = Painter()
    worker = ParallelWorker(painter)
    jobs = [worker.submit(ord(name[0]), ask(name)) for name in ("a1", "a2", "b1", "c1", "c2")]
    worker.start()
    assert await states(jobs) == [JobState.DONE] * 5
    assert painter.batches == [["a1", "b1", "c1", "a2"], ["c2"]]
    await worker.stop()


@in_a_loop
async def test_stopping_a_parallel_worker_ends_all_that_is_under_way():
    worker = ParallelWorker(Painter(step_s=0.05), max_batch=1, batches_at_once=lambda: 3)
    jobs = [worker.submit(user, ask(num_inference_steps=50)) for user in range(5)]
    worker.start()
    await until(lambda: len(worker.running) == 3 and jobs[0].step)
    await asyncio.wait_for(worker.stop(), 5)
    assert await states(jobs) == [JobState.CANCELLED] * 5


def test_a_request_off_its_range_is_refused_by_the_worker_too(redis):
    asked = pack_requests([ask()], {}).replace(
        '"num_inference_steps": 5', '"num_inference_steps": 0'
    )
    redis.client.set(batch_key("odd", "orders"), Orders(1).pack())
    redis.client.set(batch_key("odd", "requests"), asked)
    with pytest.raises(ValueError, match="0"):
        draw_batch(redis.client, Painter(), "odd", 1, "w", QUICK)


@pytest.mark.slow
def test_a_worker_as_an_operator_starts_it_draws_what_the_pipeline_draws_here(redis, pocket):
    settings = {
        "SDLESSON_BOT_REDIS_URL": redis.url,
        "SDLESSON_BOT_MODELS": '["pocket"]',
        "SDLESSON_BOT_METRICS_PORT": "0",
    }
    command = [sys.executable, "-m", "sdlesson.bot_service.workers"]
    worker = subprocess.Popen(command, env=os.environ | settings)
    try:
        remote = CeleryGenerator(redis.url, queue="pocket", timing=QUICK, wait_s=600)
        requests = [ask("a cat on the beach", seed=seed) for seed in (1, 2)]
        there = remote.draw(requests, on_step=ignore, is_cancelled=ignore)
        here = PipelineGenerator(pocket).draw(requests, on_step=ignore, is_cancelled=ignore)
        for one, other in zip(there, here, strict=True):
            assert same_picture(one.image, other.image)
        worker.terminate()
        assert worker.wait(START_S) == 0, "it ends in order when it is told to"
        assert remote.workers_alive() == 0
    finally:
        worker.kill()
        worker.wait()
