import random

import pytest

from sdlesson.bot.queue import (
    NEXT_STATES,
    FairQueue,
    Job,
    JobState,
    QueueFullError,
    TooManyJobsError,
)
from sdlesson.bot.requests import Request

REQUEST = Request("a cat")


def queue_of(*users, **limits):
    """A queue with a job for each user named, in the order they came."""
    queue = FairQueue(**{"max_per_user": 100, **limits})
    jobs = [Job(user_id, REQUEST) for user_id in users]
    for job in jobs:
        queue.put(job)
    return queue, jobs


def drain(queue, limit=1):
    taken = []
    while batch := queue.take(limit):
        taken.append([job.user_id for job in batch])
    return taken


def test_users_take_turns_whatever_their_backlog():
    queue, _ = queue_of(1, 1, 1, 2, 2, 3)
    assert drain(queue) == [[1], [2], [3], [1], [2], [1]]


def test_a_users_own_jobs_keep_their_order():
    queue, jobs = queue_of(1, 1, 1)
    assert [queue.take(1)[0] for _ in jobs] == jobs


def test_who_was_served_and_comes_again_stands_behind_those_who_wait():
    queue, _ = queue_of(1, 2, 2)
    queue.take(1)
    queue.put(Job(1, REQUEST))
    assert drain(queue) == [[2], [1], [2]]


def test_a_first_job_waits_for_at_most_one_of_each_other_user():
    dice = random.Random(0)
    queue = FairQueue(max_per_user=5)
    for _ in range(2000):
        user = dice.randrange(10)
        waiting = {job.user_id for job in queue.order()}
        try:
            queue.put(job := Job(user, REQUEST, batch_key=dice.randrange(3)))
        except TooManyJobsError:
            queue.take(dice.randint(1, 4))
            continue
        if user not in waiting:
            assert queue.position(job) <= len(waiting)


def test_a_job_waits_no_more_batches_than_its_position_says():
    dice = random.Random(1)
    for _ in range(50):
        queue = FairQueue()
        for user in range(8):
            for _ in range(dice.randint(0, 3)):
                queue.put(Job(user, REQUEST, batch_key=dice.randrange(3)))
        promised = {job: queue.position(job) for job in queue.order()}
        plan = list(queue.plan(4))
        taken = 0
        while batch := queue.take(4):
            assert batch == plan[taken]
            assert all(promised[job] >= taken for job in batch[:1])
            assert all(taken <= promised[job] for job in batch)
            taken += 1
        assert taken == len(plan)


def test_the_position_is_how_many_are_taken_before():
    queue, _ = queue_of(1, 1, 1, 2, 2, 3)
    promised = {job: queue.position(job) for job in queue.order()}
    for before in range(6):
        assert promised[queue.take(1)[0]] == before


def test_a_batch_holds_only_jobs_of_one_key_and_no_more_than_the_limit():
    queue = FairQueue(max_per_user=10)
    for user, key in [(1, "a"), (2, "b"), (3, "a"), (4, "a"), (5, "a"), (6, "b")]:
        queue.put(Job(user, REQUEST, batch_key=key))
    assert drain(queue, 3) == [[1, 3, 4], [2, 6], [5]]


def test_nobody_overtakes_oneself_by_riding_along():
    queue = FairQueue()
    jobs = [Job(1, REQUEST, "a"), Job(2, REQUEST, "b"), Job(2, REQUEST, "a")]
    for job in jobs:
        queue.put(job)
    assert queue.take(4) == [jobs[0]]
    assert queue.take(4) == [jobs[1]]


def test_planning_takes_nothing():
    queue, jobs = queue_of(1, 2, 3)
    assert [len(batch) for batch in queue.plan(2)] == [2, 1]
    assert queue.order() == jobs


def test_a_user_may_have_so_many_waiting_and_others_still_find_room():
    queue, _ = queue_of(1, 1, 1, max_per_user=3)
    with pytest.raises(TooManyJobsError, match="3 jobs") as caught:
        queue.put(Job(1, REQUEST))
    assert caught.value.limit == 3
    queue.put(Job(2, REQUEST))
    assert len(queue) == 4


def test_a_full_queue_refuses_and_takes_again_once_there_is_room():
    queue, _ = queue_of(1, 2, max_total=2)
    with pytest.raises(QueueFullError, match="2 jobs") as caught:
        queue.put(Job(3, REQUEST))
    assert (caught.value.limit, type(caught.value)) == (2, QueueFullError)
    queue.take(1)
    queue.put(Job(3, REQUEST))


def test_a_cancelled_job_is_gone_and_cancelling_twice_says_no():
    queue, (first, second, third) = queue_of(1, 1, 2)
    assert queue.remove(first)
    assert not queue.remove(first)
    assert queue.order() == [second, third]
    assert queue.jobs_of(1) == [second]
    with pytest.raises(ValueError, match="does not wait here"):
        queue.position(first)


def test_an_empty_queue_gives_an_empty_batch_and_keeps_nothing_of_its_users():
    queue, jobs = queue_of(*range(50))
    for job in jobs[:25]:
        queue.remove(job)
    drain(queue, 4)
    assert (queue.take(4), len(queue), queue._waiting) == ([], 0, {})


ENDS = [state for state in JobState if state.is_end]


def test_a_job_has_four_ends():
    assert ENDS == [JobState.DONE, JobState.FLAGGED, JobState.CANCELLED, JobState.FAILED]


@pytest.mark.parametrize("before", JobState)
@pytest.mark.parametrize("after", JobState)
def test_a_job_goes_only_where_its_state_allows(before, after):
    job = Job(1, REQUEST)
    job.state = before
    if after in NEXT_STATES.get(before, ()):
        job.move_to(after)
        assert job.state is after
    else:
        with pytest.raises(ValueError, match=f"job {job.id} is {before}"):
            job.move_to(after)
        assert job.state is before


def test_ids_are_8_hex_digits_and_differ():
    ids = {Job(1, REQUEST).id for _ in range(100)}
    assert len(ids) == 100
    assert all(len(id_) == 8 and int(id_, 16) >= 0 for id_ in ids)
