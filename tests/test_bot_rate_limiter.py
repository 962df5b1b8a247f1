"""The token bucket, and the rate limiter that is made of buckets."""

import asyncio
import time
from itertools import pairwise
from typing import Any

import pytest
from telegram.error import BadRequest, RetryAfter

from sdlesson.bot.rate_limiter import MAX_CHATS, RateLimiter, RateLimits, TokenBucket


async def times_of(bucket: TokenBucket, calls: int) -> list[float]:
    """When each of so many calls at once gets its token, in seconds from now."""
    began_s = time.monotonic()

    async def one() -> float:
        await bucket.take()
        return time.monotonic() - began_s

    return sorted(await asyncio.gather(*(one() for _ in range(calls))))


async def send(
    limiter: RateLimiter, chat_id: int | None, *, method: str = "sendMessage", fail: Any = ()
):
    """One call of the bot; it meets the errors in `fail` first. Returns when it was let through."""
    errors, at = list(fail), []

    async def call() -> bool:
        at.append(time.monotonic())
        if errors:
            raise errors.pop(0)
        return True

    data = {} if chat_id is None else {"chat_id": chat_id}
    await limiter.process_request(call, (), {}, method, data, None)
    return at


def test_a_bucket_gives_what_it_holds_and_then_its_rate() -> None:
    at = asyncio.run(times_of(TokenBucket(per_s=5, size=3), 5))
    assert at[2] < 0.19
    assert at[3] > 0.199
    assert 0.399 < at[4] < 2


def test_a_bucket_holds_no_more_than_its_size_after_a_rest() -> None:
    async def rest_then_take() -> list[float]:
        bucket = TokenBucket(per_s=5, size=2)
        await asyncio.sleep(0.5)
        return await times_of(bucket, 3)

    at = asyncio.run(rest_then_take())
    assert at[1] < 0.19
    assert at[2] > 0.199


def test_a_pause_holds_for_those_who_wait_already() -> None:
    async def pause() -> float:
        bucket = TokenBucket(per_s=100)
        await bucket.take()
        waiting = asyncio.create_task(times_of(bucket, 1))
        await asyncio.sleep(0)
        bucket.pause(0.2)
        return (await waiting)[0]

    assert asyncio.run(pause()) > 0.19


def test_a_call_given_up_takes_no_token() -> None:
    async def give_up() -> float:
        bucket = TokenBucket(per_s=10)
        await bucket.take()
        waiting = asyncio.create_task(bucket.take())
        await asyncio.sleep(0.02)
        waiting.cancel()
        return (await times_of(bucket, 1))[0]

    assert asyncio.run(give_up()) < 0.15


def test_one_chat_waits_and_others_do_not() -> None:
    async def talk() -> tuple[list[float], float]:
        limiter = RateLimiter(RateLimits(chat_per_s=10, overall_per_s=1000))
        began_s = time.monotonic()
        one = asyncio.gather(*(send(limiter, 1) for _ in range(3)))
        other = await send(limiter, 2)
        return sorted(at - began_s for (at,) in await one), other[0] - began_s

    ours, other = asyncio.run(talk())
    assert all(later - earlier > 0.09 for earlier, later in pairwise(ours))
    assert other < 0.09


def test_all_chats_together_keep_the_overall_rate() -> None:
    async def talk() -> list[float]:
        limiter = RateLimiter(RateLimits(chat_per_s=1, overall_per_s=50))
        return sorted(at for (at,) in await asyncio.gather(*(send(limiter, n) for n in range(10))))

    at = asyncio.run(talk())
    assert at[-1] - at[0] > 9 * 0.0195


def test_a_chat_keeps_its_rate_also_behind_a_crowd() -> None:
    async def talk() -> list[float]:
        limiter = RateLimiter(RateLimits(chat_per_s=10, overall_per_s=20))
        crowd = [send(limiter, n) for n in range(5)]
        calls = await asyncio.gather(*crowd, *(send(limiter, 99) for _ in range(4)))
        return sorted(at for (at,) in calls[5:])

    assert all(later - earlier > 0.09 for earlier, later in pairwise(asyncio.run(talk())))


@pytest.mark.parametrize("method", ["answerCallbackQuery", "deleteMessage", "sendChatAction"])
def test_what_is_no_message_does_not_wait_for_the_chat(method: str) -> None:
    async def talk() -> float:
        limiter = RateLimiter(RateLimits(chat_per_s=1, overall_per_s=1000))
        await send(limiter, 1)
        began_s = time.monotonic()
        (at,) = await send(limiter, 1, method=method)
        return at - began_s

    assert asyncio.run(talk()) < 0.2


def test_a_call_told_to_wait_waits_and_is_made_again() -> None:
    async def talk() -> list[float]:
        return await send(RateLimiter(), 1, fail=[RetryAfter(1)])

    refused, made = asyncio.run(talk())
    assert made - refused >= 1


def test_an_edit_told_to_wait_is_not_made_again() -> None:
    with pytest.raises(RetryAfter):
        asyncio.run(send(RateLimiter(), 1, method="editMessageText", fail=[RetryAfter(1)]))


def test_a_call_that_is_refused_is_not_made_again() -> None:
    with pytest.raises(BadRequest):
        asyncio.run(send(RateLimiter(), 1, fail=[BadRequest("no")]))


def test_a_group_takes_twenty_messages_a_minute() -> None:
    async def talk() -> float:
        limiter = RateLimiter()
        await send(limiter, -100)
        return limiter._bucket(-100).wait_s()

    assert 2.5 < asyncio.run(talk()) <= 3


def test_chats_at_rest_are_forgotten_and_busy_ones_are_not() -> None:
    async def talk() -> RateLimiter:
        limiter = RateLimiter(RateLimits(chat_per_s=0.01, overall_per_s=100_000))
        await send(limiter, 1)
        for chat_id in range(2, MAX_CHATS + 10):
            limiter.must_wait(chat_id)
        return limiter

    limiter = asyncio.run(talk())
    assert len(limiter._chats) < 50
    assert limiter.must_wait(1)


def test_a_channel_named_by_its_name_keeps_the_rate_of_groups() -> None:
    async def talk() -> RateLimiter:
        limiter = RateLimiter()
        await send(limiter, "@The_News")  # type: ignore[arg-type]
        return limiter

    limiter = asyncio.run(talk())
    assert 2.5 < limiter._bucket("@the_news").wait_s() <= 3
    assert not limiter.must_wait("@other")


def test_a_chat_has_one_bucket_however_its_number_is_written() -> None:
    async def talk() -> RateLimiter:
        limiter = RateLimiter()
        await send(limiter, 7)
        return limiter

    assert asyncio.run(talk()).must_wait("7")


@pytest.mark.parametrize("method", ["copyMessage", "forwardMessage", "sendPoll"])
def test_whatever_writes_to_a_chat_keeps_its_rate(method: str) -> None:
    async def talk() -> RateLimiter:
        limiter = RateLimiter()
        await send(limiter, 1, method=method)
        return limiter

    assert asyncio.run(talk()).must_wait(1)
