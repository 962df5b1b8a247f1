"""A service that is killed at random moments under load, and what became of every request."""

import random
import re
import time
from collections import Counter
from pathlib import Path

from fixtures_service import Nursery, agrees
from fixtures_talk import wait_until
from sdlesson.bot_api import BotApiServer, Person
from sdlesson.bot_service.store import Store, StoredJobState
from sdlesson.bot_service.store.jobs import FREE

State = StoredJobState
OPEN = (State.ACCEPTED, State.RUNNING, State.SENDING)
# The last is said of an update that was begun at three starts, and that the bot seems to die of.
REFUSED = ("pictures waiting already", "pictures of today", "Something went wrong")


def texts_of(person) -> list[str]:
    return [one.get("text") or one.get("caption") or "" for one in person.messages]


def states(store: Store) -> dict[str, State]:
    with store.database.begin() as connection:
        rows = connection.exec_driver_sql("SELECT request, state FROM jobs").all()
    return {re.search(r'"prompt": "([^"]*)"', packed)[1]: State(state) for packed, state in rows}


def endure(folder: Path, kills: int, seed: int, daily: int, people: int = 4) -> Counter[str]:
    """Kill a bot under load at random moments; count how its requests ended, and check each."""
    dice, wishes = random.Random(seed), 0
    with BotApiServer() as server:
        url = f"sqlite:///{folder}/bot.db"
        child = Nursery(server, url, daily=daily)
        child.start()
        users = [server.user(f"user {number}") for number in range(people)]
        for user in users:
            agrees(user)
        asked: list[tuple[Person, str]] = []
        for _ in range(kills):
            for _ in range(dice.randint(2, 5)):
                wish = f"wish {wishes} end"
                wishes += 1
                user = dice.choice(users)
                user.says(f"{wish} --steps {dice.randint(1, 9)}")
                asked.append((user, wish))
                time.sleep(dice.uniform(0, 0.05))
            time.sleep(dice.uniform(0, 0.4))
            child.kill()
            child.start()

        store = Store(url)

        def is_over() -> bool:
            counts = store.counts()
            busy = sum(counts.get(one, 0) for one in OPEN)
            return not busy and not store.jobs.untold() and bool(counts)

        wait_until(lambda: is_over() and not server.run(lambda t: t.updates.pending), 120)
        time.sleep(1.0)
        wait_until(is_over, 30)
        child.kill()
        child.close()
        ends = check_every_wish(server, store, asked)
        for user in users:
            check_quota(store, user, daily)
        store.close()
    return ends


def check_every_wish(
    server: BotApiServer, store: Store, asked: list[tuple[Person, str]]
) -> Counter[str]:
    """Each request has one end, on record and on the user's screen."""
    pictures = Counter(
        re.search(r"wish \d+ end", str(call.parameters))[0]
        for call in server.calls
        if call.method == "sendPhoto"
    )
    recorded, screens = states(store), {user.id: texts_of(user) for user, _ in asked}
    ends: Counter[str] = Counter()
    refused: Counter[int] = Counter()
    for user, wish in asked:
        texts = screens[user.id]
        told = [text for text in texts if wish in text and not text.startswith(f"{wish} --")]
        assert pictures[wish] <= 1, f"{wish} was sent {pictures[wish]} times"
        # On record a moment before others filled the queue: refused like those that never were.
        if recorded.get(wish, State.CANCELLED) is State.CANCELLED:
            refused[user.id] += 1
            ends["refused"] += 1
            continue
        state = recorded[wish]
        ends[state] += 1
        if state is State.SENT:
            assert pictures[wish] == 1, f"{wish} is on record as sent"
        elif state is State.INTERRUPTED:
            assert not pictures[wish], f"{wish} was sent and called interrupted"
            assert any("broke off" in text for text in told), f"{wish}: its user was not told"
        elif state is State.UNCONFIRMED:
            assert any("did not confirm" in text for text in texts), wish
        else:
            raise AssertionError(f"{wish} is {state}")
    for user_id, count in refused.items():
        heard = sum(any(words in text for words in REFUSED) for text in screens[user_id])
        assert heard >= count, f"{count} refused, {heard} told: {screens[user_id]}"
    return ends


def check_quota(store: Store, user: Person, daily: int) -> None:
    """Nobody has more than the day's pictures, and what never came is not counted."""
    mine = store.jobs.history(user.id, limit=10_000)
    paid = [one for one in mine if one.state not in FREE]
    assert len(paid) <= daily, f"{user.name} has {len(paid)} of {daily}"
    assert store.jobs.drawn_today(user.id) == len(paid)
