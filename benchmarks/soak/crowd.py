"""Two hundred people and two thousand requests in bursts, through the whole service.

The service runs as an operator runs it, in a process of its own, on the pocket model and against
the stand-in for Telegram, at Telegram's own rates. More is asked for than fits, so that some of it
is refused. Then each request is looked up, in the service's record and on its user's screen: an
accepted one has exactly one picture, or one sentence on why there is none; and every other has one
sentence of refusal. Memory must be flat, and the event loop at most 50 ms late, 99 times in 100;
beside it an event loop with nothing to do says how late this machine makes anybody's.

    python benchmarks/soak/crowd.py
"""

import argparse
import json
import os
import random
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

import numpy as np
from PIL import Image

from fixtures_soak import (
    Watched,
    crowd,
    growth_mb,
    idle_loop,
    lag_quantile_s,
    share_later_than,
    slope_mb_an_hour,
    until,
    watched_service,
    write_result,
)
from fixtures_talk import is_picture
from sdlesson.bot_api import Person

USERS, REQUESTS, BURSTS = 200, 2000, 10
CHEAP = "--steps 1 --guidance 1"  # what is tried here is the service, not the model
MAX_LAG_S = 0.05
MAX_GROWTH_MB = 48.0
PATIENCE_S = 1800.0
PHOTO_EVERY = 20  # requests come with a photo
PROMPTS = (
    "a cat on the beach",
    "un perro en la nieve",
    "an astronaut riding a horse on Mars",
    "a robot beside a pizza",
    "una casa en la playa, al estilo de Monet",
    "two foxes in the snow",
)
REFUSALS = {
    "too many of one user": "pictures waiting already",
    "queue full": "no more fit",
    "too often": "faster than I can draw",
    "quota": "pictures of today",
    "too many updates": "more at once than I can answer",
}
FLAGGED = "The safety checker flagged"


def main() -> int:
    """Let them ask, count, write the table, and fail when a promise is broken."""
    parser = argparse.ArgumentParser(description="A crowd asks the bot's service for pictures.")
    parser.add_argument("--users", type=int, default=USERS, metavar="N")
    parser.add_argument("--requests", type=int, default=REQUESTS, metavar="N")
    parser.add_argument("--minutes", type=float, default=60.0, metavar="N", help="then ask no more")
    given = parser.parse_args()
    waiting = max(2, 3 * given.users // 4)
    with (
        tempfile.TemporaryDirectory() as folder,
        watched_service(Path(folder), max_waiting=waiting) as watched,
        idle_loop() as idle_s,
    ):
        people = crowd(watched.server, given.users)
        before, start_s = watched.metrics(), time.monotonic()
        idle_s.clear()
        asked = ask_in_bursts(watched, people, given.requests, given.minutes)
        until(watched.is_at_rest, PATIENCE_S)
        time.sleep(2.0)  # for what should not come
        taken_s, metrics, idle_s = time.monotonic() - start_s, watched.metrics(), list(idle_s)
        ends, broken = check(watched, people, asked)
        log = (Path(folder) / "log.txt").read_text()
    late = share_later_than(metrics, before, MAX_LAG_S)
    result = {
        "users": given.users,
        "requests": len(asked),
        "asked_for_at_once": given.requests // BURSTS,
        "settings": CHEAP,
        "ends": dict(ends.most_common()),
        "promises_broken": len(broken),
        "lines_logged": len(log.splitlines()),
        "minutes": round(taken_s / 60, 1),
        "pictures_a_second": round(ends["one picture"] / taken_s, 2),
        "loop_lag_p50_ms": round(1000 * lag_quantile_s(metrics, before, 0.5), 1),
        "loop_lag_p99_ms": round(1000 * lag_quantile_s(metrics, before, 0.99), 1),
        "idle_loop_lag_p99_ms": round(1000 * float(np.quantile(idle_s, 0.99)), 1),
        "rss_mb": round(float(watched.column("rss_mb")[-1]), 1),
        "rss_growth_mb": round(growth_mb(watched), 1),
        "rss_slope_mb_an_hour": round(slope_mb_an_hour(watched), 1),
        "most_handles": int(watched.column("handles").max()),
        "most_threads": int(watched.column("threads").max()),
    }
    write_result("soak_crowd", result, given.users == USERS)
    print("\n".join(broken[:20]) or log[-3000:])
    is_flat = result["rss_growth_mb"] <= MAX_GROWTH_MB
    return 0 if not broken and late <= 0.01 and is_flat else 1


def ask_in_bursts(
    watched: Watched, people: list[Person], requests: int, minutes: float
) -> dict[int, Person]:
    """Ask, a burst as soon as most of the last is done; who asked for the picture of which seed."""
    dice, asked, end_s = random.Random(0), {}, time.monotonic() + 60 * minutes
    for burst in range(BURSTS):
        if time.monotonic() > end_s:
            break
        for seed in range(requests * burst // BURSTS, requests * (burst + 1) // BURSTS):
            person, prompt = dice.choice(people), dice.choice(PROMPTS)
            photo = Image.new("RGB", (160, 120), "teal") if seed % PHOTO_EVERY == 0 else None
            person.says(f"{prompt} --seed {seed} {CHEAP}", photo=photo)
            asked[seed] = person
        until(lambda: waits(watched) <= len(people) // 10, PATIENCE_S)
        print(f"burst {burst + 1} of {BURSTS}: {watched.look()}", flush=True)
    return asked


def waits(watched: Watched) -> int:
    """How much is on its way: updates not handled, and jobs without an end."""
    jobs = "SELECT count(*) FROM jobs WHERE state IN ('accepted', 'running', 'sending')"
    inbox = "SELECT count(*) FROM inbox WHERE body IS NOT NULL"
    pending = watched.server.run(lambda telegram: telegram.updates.pending)
    return pending + watched.rows(jobs)[0][0] + watched.rows(inbox)[0][0]


def check(
    watched: Watched, people: list[Person], asked: dict[int, Person]
) -> tuple[Counter[str], list[str]]:
    """Count how the requests ended, and list each that did not end as promised."""
    ends: Counter[str] = Counter()
    broken: list[str] = []
    states = {
        json.loads(request)["seed"]: (user, state)
        for user, state, request in watched.rows("SELECT user_id, state, request FROM jobs")
    }
    for person in people:
        seeds = [seed for seed, whose in asked.items() if whose is person]
        pictures, sentences = what_came(person)
        for seed in seeds:
            user, state = states.get(seed, (person.id, ""))
            came = pictures.pop(seed, 0)
            if came != (state == "sent") or user != person.id:
                broken.append(f"seed {seed} is {state or 'not accepted'} and came {came} times")
            ends["one picture"] += state == "sent"
        broken += [f"{person.name} got a picture of {seed}, unasked" for seed in pictures]
        ends.update(sentences)
        withheld = sum(states.get(seed, ("", ""))[1] == "flagged" for seed in seeds)
        refused = sum(seed not in states for seed in seeds)
        told = sentences.total() - sentences["flagged"]
        others = {states[seed][1] for seed in seeds if seed in states} - {"sent", "flagged"}
        if sentences["flagged"] != withheld or told != refused or others:
            broken.append(
                f"{person.name}: {refused} refused and told {told} times, {withheld} withheld and "
                f"told {sentences['flagged']} times, other ends: {others}"
            )
    return ends, broken


def what_came(person: Person) -> tuple[dict[int, int], Counter[str]]:
    """How often a picture of each seed stands on a user's screen, and each kind of sentence."""
    pictures: dict[int, int] = {}
    sentences: Counter[str] = Counter()
    for message in person.messages:
        if not message["from"]["is_bot"]:
            continue
        text: Any = message.get("text") or message.get("caption") or ""
        if is_picture(message):
            seed = int(re.search(r"(?:seed|semilla) (\d+)", text)[1])
            pictures[seed] = pictures.get(seed, 0) + 1
        elif FLAGGED in text:
            sentences["flagged"] += 1
        else:
            found = [name for name, words in REFUSALS.items() if words in text]
            sentences.update(found)
    return pictures, sentences


if __name__ == "__main__":
    raise SystemExit(main())
