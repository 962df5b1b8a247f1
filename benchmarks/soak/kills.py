"""A bot that is killed with -9 at fifty random moments under load.

No request may be lost, drawn twice or sent twice unless it is said; the day's quotas hold over all
the kills, and each user is told how each request ended. `make test` does five of the fifty.

    python benchmarks/soak/kills.py
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from fixtures_kills import endure
from fixtures_soak import write_result

KILLS, PEOPLE, DAILY = 50, 10, 14


def main() -> int:
    """Kill, count, and write the table; a promise that is broken ends in an error."""
    parser = argparse.ArgumentParser(description="A bot that is killed again and again.")
    parser.add_argument("--kills", type=int, default=KILLS, metavar="N")
    parser.add_argument("--seed", type=int, default=2, metavar="N")
    given = parser.parse_args()
    start_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        ends = endure(Path(folder), given.kills, given.seed, DAILY, PEOPLE)
    result = {
        "kills": given.kills,
        "users": PEOPLE,
        "daily_quota": DAILY,
        "requests": ends.total(),
        "ends": {str(end): count for end, count in ends.most_common()},
        "lost": 0,
        "sent_twice": 0,
        "over_quota": 0,
        "minutes": round((time.monotonic() - start_s) / 60, 1),
    }
    write_result("soak_kills", result, given.kills == KILLS)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
