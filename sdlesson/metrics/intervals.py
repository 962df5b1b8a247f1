"""Shares and means, with the interval that says how far chance may have moved them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from numbers import Integral
from typing import Any, NamedTuple

from sdlesson.language import say

MAX_VALUES = 10**7
Z_95 = 1.959964
"""The 97.5% quantile of the standard normal: a two-sided 95% interval."""
T_95 = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764}
"""The same of Student's t, by degrees of freedom, where the series in 1/freedom is too coarse."""


class _Figure(NamedTuple):
    value: float
    low: float
    high: float
    n: int

    def __repr__(self) -> str:
        return str(self)  # what a notebook shows


class Share(_Figure):
    """A proportion in [0, 1], with its 95% interval, of `n` trials."""

    def __str__(self) -> str:
        to = say("to", "a")
        return f"{self.value:.0%} ({100 * self.low:.0f} {to} {self.high:.0%}, n={self.n})"


class Mean(_Figure):
    """The mean of `n` values, with its 95% interval."""

    def __str__(self) -> str:
        to = say("to", "a")
        return f"{self.value:.3g} ({self.low:.3g} {to} {self.high:.3g}, n={self.n})"


def share(flags: Iterable[bool]) -> Share:
    """Count how often something holds, with Wilson's 95% interval.

    It lies when trials are not independent: pictures that share a seed or a prompt are fewer
    trials than they look.

    Raises:
        ValueError: There is nothing to count, or something is neither true nor false.
    """
    values = _truths(flags=flags)
    successes = sum(bool(value) for value in values)
    low, high = wilson_interval(successes, len(values))
    return Share(successes / len(values), low, high, len(values))


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """The 95% score interval of a proportion, in [0, 1]: sound for few trials, and for 0 of n.

    Raises:
        ValueError: n is not positive, or successes are not from 0 to n.

    Source: Wilson 1927, doi:10.2307/2276774.
    """
    if not all(isinstance(count, Integral) for count in (successes, n)) or not (
        0 <= successes <= n >= 1
    ):
        raise ValueError(f"successes={successes} must be from 0 to n={n}, and n at least 1")
    p, z2 = successes / n, Z_95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def mean(values: Iterable[float]) -> Mean:
    """Average values, with Student's 95% interval.

    It lies when values are not independent, or when a few lie far from all others.

    Raises:
        ValueError: There are fewer than two values, or one is not finite.

    Source: Student 1908, doi:10.2307/2331554.
    """
    numbers = _numbers(values=values)
    n = len(numbers)
    if n < 2:
        raise ValueError(f"values={numbers} must be 2 or more, to show how they vary")
    middle = math.fsum(numbers) / n
    variance = math.fsum((x - middle) ** 2 for x in numbers) / (n - 1)
    half = _student_quantile(n - 1) * math.sqrt(variance / n)
    return Mean(middle, middle - half, middle + half, n)


def share_change(flags: Sequence[bool], reference: Sequence[bool]) -> Mean:
    """How much a share changes between two ways to draw the same things from the same noise.

    Pairs that agree say nothing of the change, and take their chance out of it; what counts is how
    many are right only here, and how many only there. The interval is Agresti and Min's.

    Raises:
        ValueError: There is nothing to compare, not one for one, or something is neither true nor
            false.

    Source: Agresti & Min 2005, doi:10.1002/sim.1781.
    """
    ours, theirs = _truths(flags=flags), _truths(reference=reference)
    n = _require_pairs(ours, theirs)
    gained = sum(a and not b for a, b in zip(ours, theirs, strict=True))
    lost = sum(b and not a for a, b in zip(ours, theirs, strict=True))
    b, c, m = gained + 0.5, lost + 0.5, n + 2  # half a pair more of each of the four kinds
    middle, half = (b - c) / m, Z_95 * math.sqrt(b + c - (b - c) ** 2 / m) / m
    return Mean((gained - lost) / n, max(-1.0, middle - half), min(1.0, middle + half), n)


def mean_change(values: Sequence[float], reference: Sequence[float]) -> Mean:
    """How much a mean changes, each value taken with the one that it is paired with.

    Raises:
        ValueError: There are fewer than two, not one for one, or one is not finite.
    """
    ours, theirs = _numbers(values=values), _numbers(reference=reference)
    _require_pairs(ours, theirs)
    return mean(a - b for a, b in zip(ours, theirs, strict=True))


def _listed(name: str, values: Any, kind: str) -> list[Any]:
    """List values; a text or bytes would be read as letters."""
    if isinstance(values, str | bytes | bytearray | Mapping) or not isinstance(values, Iterable):
        raise ValueError(f"{name}={values!r} must be a list of {kind}, one for each picture")
    found = list(islice(values, MAX_VALUES + 1))
    if len(found) > MAX_VALUES:
        raise ValueError(f"{name} has more than {MAX_VALUES:,} values, or no end")
    return found


def _truths(**named: Iterable[bool]) -> list[bool]:
    ((name, values),) = named.items()
    found = _listed(name, values, "True and False")
    if not all(getattr(value, "shape", ()) == () and value in (True, False) for value in found):
        raise ValueError(f"{name}={found!r} must each be True or False; compare first, then count")
    return [bool(value) for value in found]


def _numbers(**named: Iterable[float]) -> list[float]:
    ((name, values),) = named.items()
    found = _listed(name, values, "numbers")
    numbers = [_as_float(value) for value in found]
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"{name}={found!r} must each be a finite number")
    return numbers


def _as_float(value: Any) -> float:
    """Read a number, also a tensor's or numpy's; what is none, a text above all, is NaN."""
    try:
        return math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # the last of a tensor of several
        return math.nan


def _require_pairs(first: Sequence, second: Sequence) -> int:
    if not first or len(first) != len(second):
        raise ValueError(
            f"{len(first)} values against {len(second)}; give one of each pair in both lists"
        )
    return len(first)


def _student_quantile(freedom: int) -> float:
    """The 97.5% quantile of Student's t, to 0.2% (Abramowitz & Stegun 1964, eq. 26.7.5)."""
    if freedom in T_95:
        return T_95[freedom]
    z, v = Z_95, freedom
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / v + second / v**2 + third / v**3
