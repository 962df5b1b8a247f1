"""Five thousand odd inputs: each is answered once, nothing of the bot's insides shows, it lives on.

Texts as people, their phones and those who try to break a bot send them; buttons that nobody was
given; files that are no pictures; and updates of which something is missing, or of another type
than Telegram has. They go over HTTP to the whole service, which draws with a painter instead of a
model.

    python benchmarks/soak/odd_inputs.py
"""

import argparse
import copy
import io
import logging
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from PIL import Image

from fixtures_bot import odd_texts
from fixtures_service import Served, serving
from fixtures_soak import until, write_result
from fixtures_talk import is_picture, picture
from sdlesson.bot_api import Person, TelegramState

INPUTS = 5000
PEOPLE = 40
AT_ONCE = 3  # of each person, which always fit into the queue
PATIENCE_S = 120
INNARDS = ("Traceback", "Error", "Exception", "sdlesson", ".py", "went wrong")
ODD_VALUES = (None, True, -1, 2**70, 1e300, "", "x", "\ud800", [], {}, [[]], {"id": None})
NOT_READ = "cannot be read"  # what the log may say of an update that is none


def main() -> int:
    """Send them, look at every answer, write the table, and fail when one is not as promised."""
    parser = argparse.ArgumentParser(description="Odd inputs for the bot's service.")
    parser.add_argument("--inputs", type=int, default=INPUTS, metavar="N")
    inputs, start_s = parser.parse_args().inputs, time.monotonic()
    errors = Errors()
    for name in ("sdlesson.bot", "sdlesson.bot_service", "telegram"):
        logging.getLogger(name).addHandler(errors)
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as served:
        people = [served.person(f"user {number}") for number in range(PEOPLE)]
        buttons = [picture(person, "a cat") for person in people]
        done, broken = Counter[str](), list[str]()
        for kind, share, send in (
            ("texts", 0.80, send_texts),
            ("forged buttons", 0.08, press_buttons),
            ("files", 0.04, send_files),
        ):
            done[kind], found = send(served, people, buttons, round(share * inputs))
            broken += found
            print(f"{kind}: {done[kind]} after {time.monotonic() - start_s:.0f} s", flush=True)
        logged = list(errors.messages)  # of what Telegram's apps can send: none is expected
        done["odd updates"] = send_updates(served, inputs - sum(done.values()))
        broken += after_all_that(people)
    left_out = sum(NOT_READ in one for one in errors.messages)
    result = {
        "inputs": sum(done.values()),
        "kinds": dict(done),
        "promises_broken": len(broken),
        "errors_logged": len(logged),
        "odd_updates_left_out": left_out,
        "odd_updates_that_failed": len(errors.messages) - len(logged) - left_out,
        "minutes": round((time.monotonic() - start_s) / 60, 1),
    }
    write_result("soak_odd_inputs", result, inputs == INPUTS)
    print("\n".join([*broken[:20], *dict.fromkeys(logged), *errors.messages[-20:]]))
    return 1 if broken or logged else 0


class Errors(logging.Handler):
    """Keeps what the bot and python-telegram-bot log as errors."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.messages.append(f"{record.name}: {record.getMessage()}")


def send_texts(
    served: Served, people: list[Person], _: list[dict], count: int
) -> tuple[int, list[str]]:
    """Let everybody write odd texts, a few at a time; each is answered by one message."""
    texts = [text for text in odd_texts(2 * count, seed=1) if not text.startswith("/cancel")]
    sent, broken = 0, []
    while sent < count:
        said: Counter[int] = Counter()
        before = answers(served, people)
        for person in people[: max(1, (count - sent) // AT_ONCE)]:
            while said[person.id] < AT_ONCE:
                said[person.id] += says(person, texts.pop())
        wait(lambda b=before, s=said: answers(served, people).total() >= b.total() + s.total())
        after = answers(served, people)
        for person in people:
            came = after[person.id] - before[person.id]
            if came != said[person.id]:
                broken.append(f"{person.name}: {came} answers to {said[person.id]} texts")
        sent += said.total()
    return sent, broken + showing(people)


def press_buttons(
    served: Served, people: list[Person], buttons: list[dict], count: int
) -> tuple[int, list[str]]:
    """Let people press what nobody gave them; each press is answered, and nothing is drawn."""
    dice, before = random.Random(2), answered(served)
    real = [data for message in buttons for data in data_of(message)]
    for number in range(count):
        data = list(dice.choice(real))
        for _ in range(dice.randint(1, 3)):
            data[dice.randrange(len(data))] = chr(
                dice.choice((dice.randrange(0x20, 0x7F), 0x1F408))
            )
        whose = dice.randrange(len(people))
        people[whose].presses(buttons[whose], data="".join(data)[: dice.choice((1, 8, 16))] + "x")
        if number % 20 == 19 or number == count - 1:
            wait(lambda n=number: answered(served) >= before + n + 1)
    came = answered(served) - before
    broken = [f"{came} answers to {count} presses"] if came != count else []
    return count, broken + showing(people)


def send_files(
    served: Served, people: list[Person], _: list[dict], count: int
) -> tuple[int, list[str]]:
    """Let people send pictures with bytes missing or changed; each gets one answer."""
    dice, broken = random.Random(3), []
    for number in range(count):
        person = people[number % len(people)]
        whole = io.BytesIO()
        kind = dice.choice(("PNG", "JPEG", "GIF", "BMP", "WEBP"))
        Image.effect_noise((40, 30), 50).convert("RGB").save(whole, kind)
        data = bytearray(whole.getvalue()[: dice.randrange(1, whole.tell() + 1)])
        for _ in range(dice.choice((0, 0, 1, 5))):
            data[dice.randrange(len(data))] = dice.randrange(256)
        before = answers(served, [person]).total()
        person.says("a bear", file=bytes(data), file_name=f"photo.{kind.lower()}")
        wait(lambda p=person, b=before: answers(served, [p]).total() > b)
        if (came := answers(served, [person]).total() - before) != 1:
            broken.append(f"{person.name}: {came} answers to one file")
    return count, broken + showing(people)


def send_updates(served: Served, count: int) -> int:
    """Bring updates of which something is missing or of another type; the bot is to live on."""
    dice, real = random.Random(4), served.server.updates[-60:]
    number = max(one["update_id"] for one in real)
    for _ in range(count):
        odd = copy.deepcopy(dice.choice(real))
        for _ in range(dice.randint(1, 3)):
            spoil(odd, dice)
        number -= 1_000_003  # never one that was there
        served.server.replay(odd | {"update_id": number % 2**31})
    return count


def spoil(update: dict[str, Any], dice: random.Random) -> None:
    """Take something out of an update, or put something odd in its place."""
    place: Any = update
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = dice.choice(keys)
        if isinstance(place[key], dict | list) and place[key] and dice.random() < 0.8:
            place = place[key]
            continue
        if dice.random() < 0.4:
            del place[key]
        else:
            place[key] = dice.choice(ODD_VALUES)
        return


def after_all_that(people: list[Person]) -> list[str]:
    """Let everybody ask for a picture, and list who gets none."""
    broken = []
    for person in people:
        try:
            person.waits_for(is_picture, after=person.says("a dog"), timeout_s=PATIENCE_S)
        except TimeoutError:
            broken.append(f"{person.name} gets no picture any more")
    return broken


def says(person: Person, text: str) -> int:
    """Say it if Telegram's apps can send it; how many messages that makes."""
    try:
        person.says(text)
    except ValueError:
        return 0
    return 1


def answers(served: Served, people: list[Person]) -> Counter[int]:
    """How many messages of the bot stand in each chat, but for those that tell how a job stands."""

    def count(telegram: TelegramState) -> Counter[int]:
        found: Counter[int] = Counter()
        for person in people:
            for message in telegram.chats[person.id].messages.values():
                is_status = "cancel:" in str(message.get("reply_markup"))
                found[person.id] += message["from"]["is_bot"] and not is_status
        return found

    return served.server.run(count)


def answered(served: Served) -> int:
    """How many presses were answered."""
    return sum(call.method == "answerCallbackQuery" for call in served.server.calls)


def data_of(message: dict[str, Any]) -> list[str]:
    """What the buttons below a message say."""
    rows = message["reply_markup"]["inline_keyboard"]
    return [button["callback_data"] for row in rows for button in row]


def showing(people: list[Person]) -> list[str]:
    """List where the bot's insides show."""
    seen = {
        (person.name, words)
        for person in people
        for one in person.messages
        for words in INNARDS
        if one["from"]["is_bot"] and words in str(one)
    }
    return [f"{name} saw {words!r}" for name, words in sorted(seen)]


def wait(is_so: Any) -> None:
    """Wait for the bot; what does not come is counted later."""
    try:
        until(is_so, PATIENCE_S, every_s=0.05)
    except AssertionError:
        print("not all was answered in time", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
