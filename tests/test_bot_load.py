"""Fifty users and three hundred requests in bursts; a tenth of it in every run."""

import asyncio
import threading
import time
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from fixtures_bot import Painter
from fixtures_talk import Talk, is_picture, talking, wait_until
from sdlesson.bot.bot_run import BotRun
from sdlesson.bot.rate_limiter import RateLimits
from sdlesson.bot.store import MemoryStore, UserRecord
from sdlesson.bot_api import Person

BURST = 3  # as many as one user may have waiting
MAX_LAG_S = 0.05
LOOK_S = 0.005
SLACK = 0.8  # calls that left evenly spaced arrive a little less so
LIMITS = {"sendMessage", "sendPhoto", "sendDocument", "editMessageText", "editMessageMedia"}


class GatedPainter(Painter):
    """Draws nothing until everybody has asked."""

    def __init__(self) -> None:
        super().__init__(step_s=0.002)
        self.gate = threading.Event()

    def draw(self, requests, **named):
        self.gate.wait()
        return super().draw(requests, **named)


@pytest.fixture
def lags_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """By how much the event loop of a bot that is started now is late, again and again."""
    lags_s: list[float] = []
    watch = BotRun._watch

    async def measure() -> None:
        while True:
            due_s = time.monotonic() + LOOK_S
            await asyncio.sleep(LOOK_S)
            lags_s.append(time.monotonic() - due_s)

    async def measure_and_watch(self: BotRun, application: Any) -> None:
        measuring = asyncio.create_task(measure())
        await watch(self, application)
        measuring.cancel()

    monkeypatch.setattr(BotRun, "_watch", measure_and_watch)
    return lags_s


def outcomes(person: Person) -> Counter[str]:
    """How each of a person's requests ended: with which picture, or refused."""
    found: Counter[str] = Counter()
    for message in person.messages:
        if is_picture(message):
            found[message["caption"].partition("\n")[0]] += 1
        elif message["from"]["is_bot"] and "pictures waiting already" in message.get("text", ""):
            found["refused: too many"] += 1
        elif message["from"]["is_bot"] and "no more fit" in message.get("text", ""):
            found["refused: full"] += 1
    return found


@pytest.mark.parametrize(
    ("users", "rate_limits"),
    [
        pytest.param(5, RateLimits(chat_per_s=5, overall_per_s=20), id="a tenth"),
        pytest.param(50, RateLimits(), id="all of it", marks=pytest.mark.slow),
    ],
)
def test_a_crowd_is_served_fairly_and_at_telegrams_rates(
    users: int, rate_limits: RateLimits, lags_s: list[float]
) -> None:
    painter, store = GatedPainter(), MemoryStore()
    with talking(painter, rate_limits=rate_limits, store=store) as talk:
        people = [talk.server.user(f"U{number}") for number in range(users)]
        for person in people:
            store.save_user(person.id, UserRecord(consented=True))
        for burst in range(2):
            ask_all(talk, people, burst)
        for person in people:
            found = outcomes(person)
            assert found.total() == 2 * BURST
            assert all(count == 1 for name, count in found.items() if "burst" in name)
            assert any("burst" in name for name in found)
        assert not talk.bot.snapshot().errors
        calls = talk.server.calls
    assert_fair([prompt for batch in painter.batches for prompt in batch])
    assert_rates(calls, rate_limits)
    late_s = float(np.quantile(lags_s, 0.99))
    assert late_s < MAX_LAG_S, f"the 99th percentile of the loop's lag is {late_s:.3f} s"


def ask_all(talk: Talk, people: list[Person], burst: int) -> None:
    """Let everybody ask in turn, nothing be drawn before, and wait for every outcome."""
    assert isinstance(talk.painter, GatedPainter)
    talk.painter.gate.clear()
    for turn in range(BURST):
        for person in people:
            person.says(f"{person.name} burst {burst} turn {turn}")
    asked = len(people) * BURST * (burst + 1)
    wait_until(lambda: heard(talk) >= asked, 60)
    talk.painter.gate.set()
    wait_until(lambda: sum(outcomes(person).total() for person in people) >= asked, 120)


def heard(talk: Talk) -> int:
    """How many requests are in the queue, drawn, or refused."""
    snapshot = talk.bot.snapshot()
    texts = [call.parameters["text"] for call in talk.server.calls if call.method == "sendMessage"]
    refused = sum("waiting already" in text or "no more fit" in text for text in texts)
    return snapshot.queued + snapshot.drawing + snapshot.done + refused


def assert_fair(prompts: list[str]) -> None:
    """Nobody's second picture of a burst comes before anybody's first, but for the one first in."""
    for burst in range(2):
        turns = [int(prompt[-1]) for prompt in prompts if f"burst {burst}" in prompt]
        assert turns == sorted(turns), turns


def assert_rates(calls: list[Any], rate_limits: RateLimits) -> None:
    at: dict[int, list[float]] = {}
    for call in calls:
        if call.method in LIMITS:
            at.setdefault(call.chat_id, []).append(call.at)
    for times in at.values():
        assert (
            min(later - earlier for earlier, later in pairwise(times))
            > SLACK / rate_limits.chat_per_s
        )
    everything = np.sort([moment for times in at.values() for moment in times])
    in_a_second = np.searchsorted(everything, everything + 1) - np.arange(len(everything))
    assert in_a_second.max() <= rate_limits.overall_per_s / SLACK
