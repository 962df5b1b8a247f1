import asyncio
import logging
import time
from functools import wraps

import pytest

from fixtures_bot import Painter
from sdlesson.bot.queue import FairQueue, JobState, TooManyJobsError
from sdlesson.bot.requests import Request
from sdlesson.bot.worker import DurationEstimator, StoppedError, Worker

TIMEOUT_S = 30


def in_a_loop(test):
    """Run a coroutine as a test."""

    @wraps(test)
    def run(**fixtures):
        asyncio.run(asyncio.wait_for(test(**fixtures), TIMEOUT_S))

    return run


def ask(prompt="a cat", **settings):
    return Request(prompt, **{"num_inference_steps": 5, **settings})


async def states(jobs):
    return [(await job.wait_until_ended()).state for job in jobs]


async def until(claim):
    while not claim():
        await asyncio.sleep(0.002)


@in_a_loop
async def test_each_job_comes_to_the_end_it_should():
    worker = Worker(Painter())
    prompts = ["a cat", "a volcano", "a cat that may explode", "a dog"]
    jobs = [worker.submit(user, ask(prompt)) for user, prompt in enumerate(prompts)]
    worker.start()
    assert await states(jobs) == [JobState.DONE, JobState.FLAGGED, JobState.FAILED, JobState.DONE]
    assert worker.end_counts == {JobState.DONE: 2, JobState.FLAGGED: 1, JobState.FAILED: 1}
    assert [job.result is None for job in jobs] == [False, False, True, False]
    assert str(jobs[2].error) == "the paint exploded"
    assert jobs[2].error.__traceback__ is None, "it would keep the latents of the failed picture"
    await worker.stop()


@in_a_loop
async def test_waiting_jobs_that_fit_together_are_drawn_in_one_batch_across_users():
    painter = Painter()
    worker = Worker(painter, max_batch=4)
    prompts = ["a1", "a2", "b1", "c1", "c2"]
    jobs = [worker.submit(ord(prompt[0]), ask(prompt)) for prompt in prompts]
    worker.start()
    await states(jobs)
    assert painter.batches == [["a1", "b1", "c1", "a2"], ["c2"]]
    await worker.stop()


@in_a_loop
async def test_in_a_batch_that_fails_only_the_guilty_job_fails(caplog):
    painter = Painter()
    worker = Worker(painter)
    jobs = [worker.submit(1, ask(prompt)) for prompt in ("a cat", "explode", "a dog")]
    worker.start()
    assert await states(jobs) == [JobState.DONE, JobState.FAILED, JobState.DONE]
    assert painter.batches == [["a cat", "explode", "a dog"], ["a cat"], ["explode"], ["a dog"]]
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert jobs[1].id in record.getMessage(), "the id a user is told must find the log line"
    assert "the paint exploded" in str(record.exc_info)
    assert await states([worker.submit(1, ask("a bird"))]) == [JobState.DONE], "the worker is dead"
    await worker.stop()


@in_a_loop
async def test_a_waiting_job_is_cancelled_at_once():
    worker = Worker(Painter(step_s=0.02), max_batch=1)
    worker.start()
    first, second = worker.submit(1, ask()), worker.submit(1, ask())
    await until(lambda: first.state is JobState.RUNNING)
    assert worker.cancel(second)
    assert second.state is JobState.CANCELLED
    assert not worker.cancel(second)
    assert await states([first]) == [JobState.DONE]
    await worker.stop()


@in_a_loop
async def test_a_running_job_stops_at_its_next_step_and_its_companions_go_on():
    worker = Worker(Painter(step_s=0.02))
    jobs = [worker.submit(user, ask(num_inference_steps=20)) for user in range(3)]
    worker.start()
    await until(lambda: jobs[1].step >= 2)
    assert worker.cancel(jobs[1])
    assert worker.cancel(jobs[1]), "a second press while it stops is no error"
    asked_at = jobs[1].step
    assert await states(jobs) == [JobState.DONE, JobState.CANCELLED, JobState.DONE]
    assert jobs[1].step <= asked_at + 2
    assert jobs[1].ended_s < jobs[0].ended_s
    assert not worker.cancel(jobs[1])
    assert jobs[1].result is None
    await worker.stop()


@in_a_loop
async def test_a_batch_of_which_all_are_cancelled_ends_early():
    painter = Painter(step_s=0.05)
    worker = Worker(painter)
    jobs = [worker.submit(user, ask(num_inference_steps=50)) for user in range(2)]
    worker.start()
    await until(lambda: jobs[0].step >= 1)
    start = time.monotonic()
    for job in jobs:
        worker.cancel(job)
    follower = worker.submit(3, ask(num_inference_steps=1))
    assert await states([*jobs, follower]) == [
        JobState.CANCELLED,
        JobState.CANCELLED,
        JobState.DONE,
    ]
    assert time.monotonic() - start < 1.5, "the 50 steps were all walked"
    await worker.stop()


@in_a_loop
async def test_the_loop_stays_free_while_a_picture_is_drawn():
    worker = Worker(Painter(step_s=0.02))
    worker.start()
    job = worker.submit(1, ask(num_inference_steps=10))
    turns = 0
    while not job.state.is_end:
        await asyncio.sleep(0.001)
        turns += 1
    assert turns > 20
    await worker.stop()


@in_a_loop
async def test_steps_and_previews_are_seen_while_it_runs_and_the_preview_goes_at_the_end():
    worker = Worker(Painter(step_s=0.02))
    worker.start()
    job = worker.submit(1, ask())
    seen = set()
    while not job.state.is_end:
        seen.add((job.step, job.preview is not None))
        await asyncio.sleep(0.005)
    assert {step for step, _ in seen} >= {1, 2, 3, 4}
    assert all(has_preview for step, has_preview in seen if step)
    assert (job.step, job.steps, job.preview) == (5, 5, None)
    await worker.stop()


@in_a_loop
async def test_stopping_ends_every_job_says_why_and_takes_no_more():
    worker = Worker(Painter(step_s=0.02), max_batch=1)
    worker.start()
    jobs = [worker.submit(user, ask(num_inference_steps=50)) for user in range(4)]
    await until(lambda: jobs[0].step >= 1)
    await worker.stop()
    await worker.stop()
    assert [job.state for job in jobs] == [JobState.CANCELLED] * 4
    assert all(isinstance(job.error, StoppedError) for job in jobs)
    with pytest.raises(StoppedError, match="start a new one"):
        worker.submit(1, ask())


@in_a_loop
async def test_stopping_while_a_failed_batch_is_drawn_alone_ends_every_job():
    worker = Worker(Painter(step_s=0.02))
    prompts = ["a cat", "explode", "a dog", "a bird"]
    jobs = [worker.submit(user, ask(p, num_inference_steps=10)) for user, p in enumerate(prompts)]
    worker.start()
    await until(lambda: jobs[0].step >= 2)  # alone, since the batch failed at its first step
    await worker.stop()
    assert all(job.state is JobState.CANCELLED for job in jobs)


@in_a_loop
async def test_a_worker_that_never_started_stops_too():
    worker = Worker(Painter())
    job = worker.submit(1, ask())
    await worker.stop()
    assert job.state is JobState.CANCELLED


@in_a_loop
async def test_a_user_with_too_many_jobs_is_refused_and_nothing_else_changes():
    worker = Worker(Painter(), FairQueue(max_per_user=2))
    jobs = [worker.submit(1, ask()) for _ in range(2)]
    with pytest.raises(TooManyJobsError):
        worker.submit(1, ask())
    assert worker.jobs_of(1) == jobs
    worker.start()
    assert await states(jobs) == [JobState.DONE] * 2
    assert worker.jobs_of(1) == []
    await worker.stop()


@in_a_loop
async def test_the_estimate_is_near_what_it_takes_and_its_error_is_recorded():
    worker = Worker(Painter(step_s=0.02), FairQueue(max_per_user=20), max_batch=2)
    first = worker.submit(1, ask(num_inference_steps=10))
    assert worker.seconds_left(first) is None, "nothing has been measured yet"
    worker.start()
    await first.wait_until_ended()
    jobs = [worker.submit(user, ask(num_inference_steps=10)) for user in (1, 2, 1, 2, 1, 2)]
    for job in jobs[2:]:
        assert job.estimated_s > 0.2
    await states(jobs)
    assert [worker.seconds_left(job) for job in jobs] == [0.0] * 6
    again = [worker.submit(user, ask(num_inference_steps=10)) for user in (1, 2, 1, 2, 1, 2)]
    promised = again[-1].estimated_s
    await states(again)
    took = again[-1].ended_s - again[-1].created_s
    assert promised == pytest.approx(took, rel=0.5)
    assert len(worker.estimator.errors_s) == 12
    assert worker.estimator.median_error_s < 0.6 * took
    await worker.stop()


@in_a_loop
async def test_results_that_do_not_match_the_requests_fail_the_jobs_and_not_the_worker():
    class Forgetful(Painter):
        def draw(self, requests, *, on_step, is_cancelled):
            return (
                []
                if requests[0].prompt == "lost"
                else super().draw(requests, on_step=on_step, is_cancelled=is_cancelled)
            )

    worker = Worker(Forgetful())
    worker.start()
    lost = worker.submit(1, ask("lost"))
    assert await states([lost]) == [JobState.FAILED]
    assert await states([worker.submit(1, ask("a cat"))]) == [JobState.DONE]
    await worker.stop()


@in_a_loop
async def test_many_users_in_bursts_get_one_end_each_in_fair_turns():
    worker = Worker(Painter(step_s=0.0005), FairQueue(max_per_user=40, max_total=400))
    hog = [worker.submit(0, ask(f"hog {n}")) for n in range(40)]
    others = [worker.submit(user, ask(f"user {user}")) for user in range(1, 21)]
    worker.start()
    assert set(await states([*hog, *others])) == {JobState.DONE}
    assert worker.end_counts == {JobState.DONE: 60}
    assert max(job.ended_s for job in others) < hog[25].ended_s
    await worker.stop()


def test_estimates_follow_what_is_measured_and_guess_between_batch_sizes():
    estimator = DurationEstimator()
    assert estimator.estimate_s(1, 10) is None
    estimator.record(1, 10, 1.0)
    assert estimator.estimate_s(1, 20) == pytest.approx(2.0)
    assert 1.0 <= estimator.estimate_s(4, 10) <= 4.0
    estimator.record(4, 10, 3.0)
    assert estimator.estimate_s(4, 10) == pytest.approx(3.0)
    for _ in range(30):
        estimator.record(1, 10, 5.0)  # the machine has become slower
    assert estimator.estimate_s(1, 10) == pytest.approx(5.0, rel=0.01)
    assert estimator.median_error_s is None
