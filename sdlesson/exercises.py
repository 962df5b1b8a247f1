"""Exercises answer at once: solved, not yet (with a hint), or what differs and by how much."""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from sdlesson.images import picture_difference, same_picture
from sdlesson.language import say

TOLERANCE = 1e-4  # the project's tolerance for latents in fp32 on one device


@dataclass(frozen=True, repr=False)
class Verdict:
    """What a check says; a notebook shows its message, a program reads `solved`."""

    solved: bool
    message: str

    def __repr__(self) -> str:
        return f"{'✓' if self.solved else '○'} {self.message}"

    def _repr_html_(self) -> str:
        colour = "#2e9e5b" if self.solved else "#e0a100"
        style = f"border-left: 4px solid {colour}; padding: 2px 10px; white-space: pre-line"
        return f'<div style="{style}">{html.escape(repr(self))}</div>'


def check(answer: Any, expected: Any, *, hint: str = "", tolerance: float = TOLERANCE) -> Verdict:
    """Compare an answer with what was asked; errors in a student's code become feedback.

    Args:
        answer: The student's value, or a function without arguments that returns it.
        expected: The right value, or a condition: a function that is true of a right answer.
        hint: One sentence shown while the answer is not right.
        tolerance: The largest difference accepted between numbers, arrays or tensors.
    """
    try:
        value = answer() if callable(answer) else answer
        if _is_unfilled(value):
            return _not_yet(say("Fill in the cell above.", "Completa la celda de arriba."), hint)
        if callable(expected):
            return _check_condition(value, expected, hint)
        return _check_value(value, expected, hint, tolerance)
    except NotImplementedError:
        return _not_yet(say("Fill in the cell above.", "Completa la celda de arriba."), hint)
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        return _not_yet(say(f"The code stops: {problem}", f"El código se detiene: {problem}"), hint)


def difference(value: Any, expected: Any, tolerance: float = TOLERANCE) -> str:
    """Say what differs and by how much, in the reader's language; "" where nothing does."""
    if isinstance(expected, Image.Image) and isinstance(value, Image.Image):
        return _between_pictures(value, expected)
    if _is_numeric(expected) and _is_numeric(value):
        return _between_numbers(value, expected, tolerance)
    if isinstance(expected, list | tuple) and isinstance(value, list | tuple):
        return _between_sequences(value, expected, tolerance)
    if type(value) is not type(expected):
        got, wanted = type(value).__name__, type(expected).__name__
        return say(f"Its type is {got}, not {wanted}.", f"Es de tipo {got}, no {wanted}.")
    if value != expected:
        return say(f"It is {value!r}, not what was asked.", f"Es {value!r}, no lo que se pedía.")
    return ""


def _check_condition(value: Any, holds: Callable[[Any], object], hint: str) -> Verdict:
    if holds(value):
        return Verdict(True, say("Solved!", "¡Resuelto!"))
    return _not_yet(say("The answer is not right.", "La respuesta no es correcta."), hint)


def _check_value(value: Any, expected: Any, hint: str, tolerance: float) -> Verdict:
    found = difference(value, expected, tolerance)
    return _not_yet(found, hint) if found else Verdict(True, say("Solved!", "¡Resuelto!"))


def _not_yet(found: str, hint: str) -> Verdict:
    lines = [say("Not yet. ", "Todavía no. ") + found]
    if hint:
        lines.append(say("Hint: ", "Pista: ") + hint)
    return Verdict(False, "\n".join(lines))


def _is_unfilled(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_is_unfilled(item) for item in value)
    return value is None or value is ...


def _is_numeric(value: Any) -> bool:
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return is_number or isinstance(value, np.ndarray | torch.Tensor)


def _between_pictures(value: Image.Image, expected: Image.Image) -> str:
    if value.size != expected.size:
        got, wanted = "x".join(map(str, value.size)), "x".join(map(str, expected.size))
        return say(f"It is {got} pixels, not {wanted}.", f"Mide {got} píxeles, no {wanted}.")
    if same_picture(value, expected):
        return ""
    mean, share = picture_difference(value, expected)
    return say(
        f"The picture differs: by {255 * mean:.1f}/255 on average, in {share:.1%} of its pixels.",
        f"La imagen es distinta: {255 * mean:.1f}/255 de media, en el {share:.1%} de sus píxeles.",
    )


def _between_numbers(value: Any, expected: Any, tolerance: float) -> str:
    ours, theirs = _as_tensor(value), _as_tensor(expected)
    if ours.shape != theirs.shape:
        got, wanted = tuple(ours.shape), tuple(theirs.shape)
        return say(f"Its shape is {got}, not {wanted}.", f"Su forma es {got}, no {wanted}.")
    gap = float((ours - theirs).abs().max()) if ours.numel() else 0.0
    if gap <= tolerance:  # a NaN fails this too
        return ""
    return say(f"It differs by up to {gap:.3g}.", f"La diferencia llega a {gap:.3g}.")


def _between_sequences(value: Sequence, expected: Sequence, tolerance: float) -> str:
    if len(value) != len(expected):
        got, wanted = len(value), len(expected)
        return say(f"Its length is {got}, not {wanted}.", f"Su longitud es {got}, no {wanted}.")
    for index, (ours, theirs) in enumerate(zip(value, expected, strict=True)):
        if found := difference(ours, theirs, tolerance):
            return say(f"Item [{index}]: {found}", f"Elemento [{index}]: {found}")
    return ""


def _as_tensor(value: Any) -> torch.Tensor:
    return torch.as_tensor(value).detach().to("cpu", torch.float64)
