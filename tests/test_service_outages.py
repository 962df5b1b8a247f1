"""What breaks around the service: Telegram is away for minutes, memory runs out."""

import threading
import time
from pathlib import Path

import pytest

from fixtures_bot import Painter
from fixtures_service import serving
from fixtures_talk import is_picture, wait_until
from sdlesson.bot import bot_run, delivery
from sdlesson.bot_service.store import StoredJobState
from sdlesson.bot_service.workers import SmallerBatches

FASTER = 100  # than the clock on the wall
OUTAGE_S = 600.0
LATE_S = 30.0  # for a machine that is busy


@pytest.fixture
def fast_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whatever waits for Telegram wait a hundredth of its time."""
    pauses = tuple(seconds / FASTER for seconds in delivery.PAUSES_S)
    monkeypatch.setattr(delivery, "PAUSES_S", pauses)
    for module, name in (
        (delivery, "LONGEST_PAUSE_S"),
        (bot_run, "RETRY_EVERY_S"),
        (bot_run, "WATCHDOG_EVERY_S"),
        (bot_run, "MAX_SILENCE_S"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name) / FASTER)


@pytest.mark.usefixtures("fast_clock")
def test_ten_minutes_without_telegram_lose_nothing_and_send_nothing_twice(tmp_path: Path) -> None:
    painter = Painter(step_s=0.1)
    with serving(tmp_path, painter) as served:
        ana, eva = served.person(), served.person("Eva", "es")
        ana.says("a cat --steps 20")  # is drawn while Telegram is away
        ana.waits_for("Drawing")
        ana.says("a dog --steps 7")  # waits
        eva.says("a volcano --pasos 9")  # will be withheld
        wait_until(lambda: sum(served.parts.store.counts().values()) == 3)
        served.server.stop()
        threads = threading.active_count()
        time.sleep(OUTAGE_S / FASTER)
        assert threading.active_count() <= threads + 2, "each try leaves nothing behind"
        counts = served.parts.store.counts()
        assert StoredJobState.SENT not in counts
        assert counts.get(StoredJobState.SENDING) == 2, "drawn, and kept until they can leave"
        served.server.start()
        for prompt in ("a cat", "a dog"):
            ana.waits_for(
                lambda m, p=prompt: is_picture(m) and m["caption"].startswith(p), timeout_s=LATE_S
            )
        eva.waits_for("El filtro de seguridad", timeout_s=LATE_S)
        eva.says("un zorro")  # and it hears again
        eva.waits_for(is_picture, timeout_s=LATE_S)
        ends = {StoredJobState.SENT: 3, StoredJobState.FLAGGED: 1}
        wait_until(lambda: served.parts.store.counts() == ends)
        time.sleep(0.5)
        pictures = [one for one in (*ana.messages, *eva.messages) if is_picture(one)]
        assert len(pictures) == 3
        withheld = [one for one in eva.messages if "filtro" in one.get("text", "")]
        assert len(withheld) == 2, "once in the welcome, once for the volcano"
        wait_until(lambda: "Drawing" not in str(ana.messages), 10)


def test_a_batch_that_does_not_fit_into_memory_comes_all_the_same(tmp_path: Path) -> None:
    class Cramped(Painter):
        def draw(self, requests, **named):
            if len(requests) > 1:
                self.batches.append([request.prompt for request in requests])
                raise MemoryError
            return super().draw(requests, **named)

    painter = Cramped(step_s=0.05)
    generator = SmallerBatches(painter)
    with serving(tmp_path, painter, generator=generator) as served:
        people = [served.person(f"P{number}") for number in range(4)]
        for number, one in enumerate(people):
            one.says(f"wish {number} --steps 9")
        for one in people:
            one.waits_for(is_picture, timeout_s=LATE_S)
        wait_until(lambda: served.parts.store.counts() == {StoredJobState.SENT: 4})
        assert generator.splits >= 1
