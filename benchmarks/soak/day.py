"""A day of a small bot in an hour: what it uses of the machine must stay within bounds.

The service runs as an operator runs it, in a process of its own, on the pocket model and against
the stand-in for Telegram; its clock goes 24 times as fast, so that limits fill up again, the day's
quota begins anew at midnight, and what is older than two hours is deleted, as after two weeks. A
few dozen people ask for pictures, more by day than by night, also with photos; they press buttons,
cancel, look at their history, have all deleted and agree again.

    python benchmarks/soak/day.py --minutes 60
"""

import argparse
import math
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

from fixtures_soak import (
    Watched,
    crowd,
    growth_mb,
    lag_quantile_s,
    slope_mb_an_hour,
    until,
    watched_service,
    write_result,
)
from fixtures_talk import is_picture
from sdlesson.bot_api import Person

DAY_MIN = 1440
MINUTES = 60
USERS, ACTS = 24, 900  # of an hour
RETENTION_DAYS = 2 / 24
STEPS = 4
MAX_GROWTH_MB, MAX_HANDLES, MAX_THREADS, MAX_DATABASE_MB = 48.0, 64, 40, 64.0
PROMPTS = ("a cat on the beach", "un perro en la nieve", "a robot", "dos gatos", "a red car")


def main() -> int:
    """Let a day pass, write the table, and fail when something grows without bounds."""
    parser = argparse.ArgumentParser(description="A day of a small bot, on a clock that hurries.")
    parser.add_argument("--minutes", type=float, default=MINUTES, metavar="N")
    minutes = parser.parse_args().minutes
    speed = DAY_MIN / minutes
    settings = {"retention_days": RETENTION_DAYS, "daily_quota": 30}
    with (
        tempfile.TemporaryDirectory() as folder,
        watched_service(Path(folder), speed=speed, every_s=5.0, **settings) as watched,
    ):
        people = crowd(watched.server, USERS)
        before = watched.metrics()
        acts = live(watched, people, minutes)
        until(watched.is_at_rest, 300)
        watched.look()
        metrics = watched.metrics()
        log = (Path(folder) / "log.txt").read_text()
    ended = {
        key[1]: int(value - before.get(key, 0))
        for key, value in metrics.items()
        if key[0] == "sdlesson_jobs_ended_total"
    }
    refused = sum(
        int(value) for key, value in metrics.items() if key[0] == "sdlesson_requests_refused_total"
    )
    result: dict[str, Any] = {
        "minutes": minutes,
        "clock": f"{speed:g} times as fast",
        "users": USERS,
        "acts": dict(acts.most_common()),
        "jobs_ended": ended,
        "refused": refused,
        "errors_logged": log.count('"level": "error"'),
        "rss_mb": round(float(watched.column("rss_mb")[-1]), 1),
        "rss_growth_mb": round(growth_mb(watched), 1),
        "rss_slope_mb_an_hour": round(slope_mb_an_hour(watched), 1),
    }
    for name in ("handles", "threads", "database_mb"):
        column = watched.column(name)
        halves = column[: len(column) // 2].max(), column[len(column) // 2 :].max()
        result[f"most_{name}_by_half"] = [round(float(half), 1) for half in halves]
    result["loop_lag_p99_ms"] = round(1000 * lag_quantile_s(metrics, before, 0.99), 1)
    write_result("soak_day", result, minutes == MINUTES)
    print("\n".join(line for line in log.splitlines() if '"info"' not in line)[-3000:])
    is_bounded = (
        result["rss_growth_mb"] <= MAX_GROWTH_MB
        and watched.column("handles").max() <= MAX_HANDLES
        and watched.column("threads").max() <= MAX_THREADS
        and watched.column("database_mb").max() <= MAX_DATABASE_MB
    )
    return 0 if is_bounded and not result["errors_logged"] else 1


def live(watched: Watched, people: list[Person], minutes: float) -> Counter[str]:
    """Let people do what they do, at random moments, four times as often at noon as at night."""
    dice, acts = random.Random(0), Counter[str]()
    start_s, told_s, usual_s = time.monotonic(), 0.0, 3600 / ACTS
    while (passed := (time.monotonic() - start_s) / (60 * minutes)) < 1:
        busy = 1 - 0.6 * math.cos(2 * math.pi * passed)  # least at midnight
        time.sleep(min(60.0, dice.expovariate(busy / usual_s)))
        acts[act(dice, dice.choice(people))] += 1
        if time.monotonic() - told_s > 300:
            told_s = time.monotonic()
            print(f"{passed:.0%}: {watched.look()} {dict(acts)}", flush=True)
    return acts


def act(dice: random.Random, person: Person) -> str:
    """Let a person do one thing; what it was."""
    kinds = {"asks": 60, "sends a photo": 12, "presses": 16, "looks": 7, "cancels": 3, "goes": 2}
    (kind,) = dice.choices(list(kinds), list(kinds.values()))
    if kind == "asks":
        person.says(f"{dice.choice(PROMPTS)} --steps {STEPS}")
    elif kind == "sends a photo":
        size = dice.choice([(640, 480), (480, 640), (1280, 960)])
        photo = Image.effect_noise(size, dice.randint(20, 90)).convert("RGB")
        person.says(f"a bear --steps {STEPS}", photo=photo)
    elif kind == "presses":
        pictures = [one for one in person.messages if is_picture(one)]
        if pictures:
            rows = dice.choice(pictures)["reply_markup"]["inline_keyboard"]
            button = dice.choice([one for row in rows for one in row])
            person.presses(pictures[-1], data=button["callback_data"])
    elif kind == "looks":
        person.says(dice.choice(["/history", "/queue", "/settings", "/privacy", "/help"]))
    elif kind == "cancels":
        person.says("/cancel")
    else:
        person.says("/forget")
        person.presses(person.messages[-1], data="forget:")
        person.says("/start")
        person.presses(person.messages[-1], data="agree:")
    return kind


if __name__ == "__main__":
    raise SystemExit(main())
