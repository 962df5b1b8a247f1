"""How much one user may ask for: so many at once, so many a minute, so many a day.

Nothing here counts anything. What was taken is kept with the job, in one transaction with it, so
that a bot that is killed neither forgets what was spent nor charges what was never drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True)
class Limits:
    """What one user may ask for.

    Attributes:
        burst: Requests at once, after a while of silence.
        per_minute: How fast they may follow each other from then on.
        daily: Pictures from midnight to midnight, in UTC.
    """

    burst: int = 5
    per_minute: float = 6.0
    daily: int = 50


class LimitError(RuntimeError):
    """A user has asked for more than one may.

    Attributes:
        reason: "rate" or "quota".
        limit: Of which limit it is too much.
        wait_s: When to ask again.
    """

    def __init__(self, reason: str, limit: int, wait_s: float) -> None:
        super().__init__(f"over the {reason} of {limit}; try again in {wait_s:.0f} s")
        self.reason, self.limit, self.wait_s = reason, limit, wait_s


@dataclass(frozen=True)
class Bucket:
    """A token bucket as it stands in the store: how many tokens, counted when."""

    tokens: float
    at: float

    def take(self, limits: Limits, now: float) -> Bucket:
        """Return the bucket without one token.

        Raises:
            LimitError: There is none.
        """
        per_s = limits.per_minute / 60
        # A clock that was set back gives nothing, and takes nothing away.
        tokens = min(float(limits.burst), self.tokens + max(0.0, now - self.at) * per_s)
        if tokens < 1:
            raise LimitError("rate", limits.burst, (1 - tokens) / per_s)
        return Bucket(tokens - 1, now)


def full_bucket(limits: Limits, now: float) -> Bucket:
    """Return the bucket of somebody new."""
    return Bucket(float(limits.burst), now)


def check_quota(drawn: int, limits: Limits, now: float) -> None:
    """See whether a user may have another picture today.

    Raises:
        LimitError: The day's pictures are used up.
    """
    if drawn >= limits.daily:
        raise LimitError("quota", limits.daily, math.ceil(end_of_day(now) - now))


def day_of(now: float) -> str:
    """Name the day, in UTC, such as "2026-11-28"."""
    return datetime.fromtimestamp(now, UTC).date().isoformat()


def start_of_day(now: float) -> float:
    """When the day began, in UTC."""
    moment = datetime.fromtimestamp(now, UTC)
    return moment.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()


def end_of_day(now: float) -> float:
    """When the next day begins, in UTC."""
    return start_of_day(now) + timedelta(days=1).total_seconds()
