"""Exercises answer at once; what each lesson asks, and expects, stands in a module of its own."""

from sdlesson.exercises.checking import (
    TOLERANCE,
    Case,
    Mistake,
    Verdict,
    check,
    check_function,
    difference,
)

__all__ = [
    "TOLERANCE",
    "Case",
    "Mistake",
    "Verdict",
    "check",
    "check_function",
    "difference",
]
