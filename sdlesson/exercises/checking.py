"""Exercises answer at once: solved, not yet (with a hint), or what differs and by how much.

An answer that is not right is told the input, what came, what was expected, and the usual mistake
if it is one. Its hints grow from try to try.
"""

import base64
import html
import inspect
import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from sdlesson.images import picture_difference, same_picture
from sdlesson.language import say

TOLERANCE = 1e-4  # the project's tolerance for latents in fp32 on one device
SHOWN_CHARACTERS = 80
SHOWN_NUMBERS = 6
PICTURE_WIDTH_PX = 192

_tries: Counter[str] = Counter()  # how often an exercise was not yet right, by its name


class Case(NamedTuple):
    """What an answer is tried with, and how to say so: "guidance_scale=7.5"."""

    given: str
    arguments: tuple[Any, ...]


class Mistake(NamedTuple):
    """A usual wrong answer, and what to say to it.

    Attributes:
        answer: What gives the same: a value, or a condition (a function that is true of it). For
            `check_function`, a function that is wrong in the same way, or stops in the same words.
            For code that stops: an exception of its type, with some of its words.
        text: Names the mistake, in the reader's language.
    """

    answer: Any
    text: str


@dataclass(frozen=True, repr=False)
class Verdict:
    """What a check says; a notebook shows its message, a program reads `solved`.

    Attributes:
        solved: Whether the answer is right.
        message: What to read.
        pictures: What came and what was expected, where these are pictures that differ.
    """

    solved: bool
    message: str
    pictures: tuple[Image.Image, ...] = ()

    def __repr__(self) -> str:
        return f"{'✓' if self.solved else '○'} {self.message}"

    def _repr_html_(self) -> str:
        colour = "#2e9e5b" if self.solved else "#e0a100"
        style = f"border-left: 4px solid {colour}; padding: 2px 10px; white-space: pre-line"
        names = (say("came", "llegó"), say("expected", "se esperaba"))
        shown = "".join(map(_figure, self.pictures, names))
        return f'<div style="{style}">{html.escape(repr(self))}{shown}</div>'


def check(
    answer: Any,
    expected: Any,
    *,
    name: str = "",
    asked: str = "",
    mistakes: Sequence[Mistake] = (),
    hints: Sequence[str] = (),
    hint: str = "",
    tolerance: float = TOLERANCE,
) -> Verdict:
    """Compare an answer with what was asked; errors in a student's code become feedback.

    Args:
        answer: The student's value, or a function without arguments that returns it.
        expected: The right value, or a condition: a function that is true of a right answer.
        name: The exercise, "02.3", whose tries are counted.
        asked: What was expected, in words that do not give it away.
        mistakes: Usual wrong answers; the first that fits is named.
        hints: From the gentlest to the one that nearly says it: each try gets the next.
        hint: The only one.
        tolerance: The largest difference accepted between numbers, arrays or tensors; at 0,
            pictures have to agree to the last bit, too.
    """
    hints = hints or ([hint] if hint else [])
    try:
        value = answer() if callable(answer) else answer
    except NotImplementedError:
        return _unfilled(hints)
    except Exception as error:
        named = [text for known, text in mistakes if _is_like(error, known)][:1]
        return _not_yet([_stops(error), *named], hints, name)
    if _is_unfilled(value):
        return _unfilled(hints, answer)
    if not (found := _not_as_asked(value, expected, tolerance)):
        return _solved(name)
    shown = show(value)
    came = say(f"{shown[:1].upper()}{shown[1:]} came.", f"Llegó {shown}.")
    lines = [f"{came} {found}"]
    if asked:
        lines.append(say(f"Expected: {asked}", f"Se esperaba: {asked}"))
    lines += [text for known, text in mistakes if _fits(value, known, tolerance)][:1]
    pictures = () if callable(expected) else _differing_pictures(value, expected)
    return _not_yet(lines, hints, name, pictures)


def check_function(
    answer: Any,
    reference: Callable[..., Any],
    cases: Sequence[Case],
    *,
    name: str = "",
    mistakes: Sequence[Mistake] = (),
    hints: Sequence[str] = (),
    tolerance: float = TOLERANCE,
) -> Verdict:
    """Try a student's function on each case, and compare with a function that is right.

    Args:
        answer: The student's function.
        reference: A function that is right.
        cases: What to try; the first that comes out wrong is shown.
        name: The exercise, "02.3", whose tries are counted.
        mistakes: Functions that are wrong in usual ways; one that agrees everywhere is named.
        hints: From the gentlest to the one that nearly says it: each try gets the next.
        tolerance: As for `check`.
    """
    if not callable(answer):
        return _unfilled(hints) if _is_unfilled(answer) else _no_function(answer, hints, name)
    came = []
    for case in cases:
        try:
            value = answer(*map(_copied, case.arguments))
        except NotImplementedError:
            return _unfilled(hints)
        except Exception as error:
            found = say(f"With {case.given}: ", f"Con {case.given}: ") + _stops(error)
            named = [text for known, text in mistakes if _stops_alike(known, case, error)][:1]
            return _not_yet([found, *named], hints, name)
        came.append(value)
    if all(map(_is_unfilled, came)):
        return _unfilled(hints, answer)
    for case, value in zip(cases, came, strict=True):
        wanted = reference(*case.arguments)
        if found := difference(value, wanted, tolerance):
            lines = [_compared(case.given, value, wanted, found)]
            named = [
                mistake.text
                for mistake in mistakes
                if all(map(lambda c, v: _agrees(mistake.answer, c, v, tolerance), cases, came))
            ][:1]
            lines += named or _changeable(answer, case, value)
            return _not_yet(lines, hints, name, _differing_pictures(value, wanted))
    return _solved(name)


def difference(value: Any, expected: Any, tolerance: float = TOLERANCE) -> str:
    """Say what differs and by how much, in the reader's language; "" where nothing does."""
    if iterates := _how_to_list(value):
        return iterates
    if (kind := _no_numbers(value)) and _is_numeric(expected):
        return say(f"It holds {kind}, not real numbers.", f"Contiene {kind}, no números reales.")
    if isinstance(expected, Image.Image) and isinstance(value, Image.Image):
        return _between_pictures(value, expected, exact=tolerance == 0)
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


def show(value: Any) -> str:
    """Say in a few characters what a value is."""
    if isinstance(value, Image.Image):
        size = f"{value.width} x {value.height}"
        return say(f"a picture of {size}", f"una imagen de {size}")
    if isinstance(value, float | np.floating):
        return f"{value:.4g}"
    if isinstance(value, np.integer):
        return str(value)
    if isinstance(value, np.ndarray | torch.Tensor) and not _no_numbers(value):
        return _show_tensor(_as_tensor(value))
    if isinstance(value, list | tuple) and value:
        text = f"[{', '.join(map(show, value[:SHOWN_NUMBERS]))}{', ...' * (len(value) > 6)}]"
    else:
        text = " ".join(repr(value).split())
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 4]} ..."


def _show_tensor(tensor: torch.Tensor) -> str:
    if tensor.numel() == 1:
        return f"{tensor.item():.4g}"
    if tensor.ndim == 1 and tensor.numel() <= SHOWN_NUMBERS:
        return f"[{', '.join(f'{number:.4g}' for number in tensor.tolist())}]"
    shape = " x ".join(map(str, tensor.shape))
    if not tensor.numel():
        return say(f"an empty tensor of {shape}", f"un tensor vacío de {shape}")
    low, high = (f"{end.item():.3g}" for end in (tensor.min(), tensor.max()))
    return say(
        f"a tensor of {shape} numbers from {low} to {high}",
        f"un tensor de {shape} números, de {low} a {high}",
    )


def _compared(given: str, value: Any, wanted: Any, found: str) -> str:
    came, expected = show(value), show(wanted)
    line = say(
        f"With {given}: {came} came, {expected} was expected.",
        f"Con {given}: llegó {came} y se esperaba {expected}.",
    )
    is_plain = not isinstance(wanted, torch.Tensor | Image.Image)
    is_right_kind = not _how_to_list(value) and not _no_numbers(value)
    tells_enough = came != expected and is_plain and is_right_kind
    return line if tells_enough else f"{line} {found}"


def _fits(value: Any, known: Any, tolerance: float) -> bool:
    if _how_to_list(value):  # which a condition would use up
        return False
    try:
        return bool(known(value)) if callable(known) else not difference(value, known, tolerance)
    except Exception:  # a condition written for another kind of value
        return False


def _agrees(wrong: Callable[..., Any], case: Case, value: Any, tolerance: float) -> bool:
    try:
        return not difference(value, wrong(*case.arguments), tolerance)
    except Exception:  # a wrong way may fail on a case
        return False


def _stops_alike(known: Any, case: Case, error: Exception) -> bool:
    if isinstance(known, Exception):
        return _is_like(error, known)
    try:
        known(*case.arguments)
    except Exception as own:
        return type(own) is type(error) and str(own) == str(error)
    return False


def _changeable(answer: Callable[..., Any], case: Case, value: Any) -> list[str]:
    """Name the use of chance: the same question gets another answer."""
    try:
        if not _changed(answer(*map(_copied, case.arguments)), value):
            return []
    except Exception:  # it does not even answer twice
        return []
    return [
        say(
            "Asked the same again, it answers something else: it uses fresh random numbers.",
            "A la misma pregunta responde cada vez otra cosa: usa números al azar nuevos.",
        )
    ]


def _changed(again: Any, value: Any) -> bool:
    """Whether an answer is another one than before; NaN, which equals nothing, stays the same."""
    if _is_numeric(again) and _is_numeric(value):
        ours, theirs = _as_tensor(again), _as_tensor(value)
        same = ours.shape == theirs.shape
        return not (same and ours.allclose(theirs, rtol=0, atol=TOLERANCE, equal_nan=True))
    if isinstance(again, list | tuple) and isinstance(value, list | tuple):
        return len(again) != len(value) or any(map(_changed, again, value))
    # Two iterators differ always, and so do most objects of other kinds.
    return isinstance(again, str | bool | Image.Image) and bool(difference(again, value))


def _is_like(error: Exception, known: Any) -> bool:
    return type(error) is type(known) and str(known) in str(error)


def _not_as_asked(value: Any, expected: Any, tolerance: float) -> str:
    """Say why a value is not right, "" where it is; a condition may fail on an odd value."""
    if not callable(expected):
        return difference(value, expected, tolerance)
    if iterates := _how_to_list(value):
        return iterates
    try:
        return "" if expected(value) else say("It is not right.", "No es correcto.")
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        return say(f"It does not fit here: {problem}", f"No encaja aquí: {problem}")


def _copied(argument: Any) -> Any:
    """An argument of a student's function, which may change it, while others need it as it is."""
    if isinstance(argument, torch.Tensor):
        return argument.clone()
    if isinstance(argument, list | np.ndarray | Image.Image):
        return argument.copy()
    return argument


def _solved(name: str) -> Verdict:
    _tries.pop(name, None)
    return Verdict(True, say("Solved!", "¡Resuelto!"))


def _unfilled(hints: Sequence[str], answer: Any = None) -> Verdict:
    fill_in = say("Fill in the cell above.", "Completa la celda de arriba.")
    if _has_lines(answer):
        fill_in = say(
            "The function above gives back None: end it with a `return`, and not with what only "
            "changes a thing in place, such as .sort() or .paste().",
            "La función de arriba devuelve None: termínala con un `return`, y no con algo que "
            "modifica las cosas en el sitio, como .sort() o .paste().",
        )
    return Verdict(False, "\n".join([say("Not yet. ", "Todavía no. ") + fill_in, *_hint(hints, 1)]))


def _no_function(answer: Any, hints: Sequence[str], name: str) -> Verdict:
    line = say(
        f"A function was expected, and {show(answer)} came: run the cell with its `def` again.",
        f"Se esperaba una función y llegó {show(answer)}: vuelve a ejecutar la celda de su `def`.",
    )
    return _not_yet([line], hints, name)


def _not_yet(
    lines: Sequence[str],
    hints: Sequence[str],
    name: str,
    pictures: tuple[Image.Image, ...] = (),
) -> Verdict:
    if name:
        _tries[name] += 1
    first, *rest = lines
    first = say("Not yet. ", "Todavía no. ") + first
    tries = _tries[name] if name else 1
    return Verdict(False, "\n".join([first, *rest, *_hint(hints, tries)]), pictures)


def _hint(hints: Sequence[str], tries: int) -> list[str]:
    if not hints:
        return []
    number = min(tries, len(hints))
    count = "" if len(hints) == 1 else f" {number}/{len(hints)}"
    return [say(f"Hint{count}: ", f"Pista{count}: ") + hints[number - 1]]


def _stops(error: Exception) -> str:
    problem = f"{type(error).__name__}: {error}"
    return say(f"The code stops: {problem}", f"El código se detiene: {problem}")


def _is_unfilled(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_is_unfilled(item) for item in value)
    return value is None or value is ...


def _has_lines(answer: Any) -> bool:
    """Whether a `def` does something, unlike a stub, which only returns a constant."""
    code = getattr(inspect.unwrap(answer) if callable(answer) else answer, "__code__", None)
    if code is None or code.co_name == "<lambda>":
        return False
    return len(code.co_code) > len(_stub.__code__.co_code)


def _stub() -> None: ...


def _is_numeric(value: Any) -> bool:
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return (is_number or isinstance(value, np.ndarray | torch.Tensor)) and not _no_numbers(value)


def _no_numbers(value: Any) -> str:
    """Name what an array or tensor holds instead of real numbers, "" where it holds those."""
    if isinstance(value, np.ndarray | np.number):
        return "" if value.dtype.kind in "biuf" else str(value.dtype)
    if isinstance(value, torch.Tensor):
        if value.is_meta:
            return "meta"
        return str(value.dtype).removeprefix("torch.") if value.is_complex() else ""
    return ""


def _how_to_list(value: Any) -> str:
    """Say of what only promises its items, such as `filter(...)`, how to have them, else ""."""
    if not isinstance(value, Iterator):
        return ""
    kind = type(value).__name__
    return say(
        f"It is a {kind}, which has not made its items yet: put list(...) around it.",
        f"Es un {kind}, que aún no ha creado sus elementos: ponlo dentro de list(...).",
    )


def _between_pictures(value: Image.Image, expected: Image.Image, *, exact: bool = False) -> str:
    if value.size != expected.size:
        got, wanted = "x".join(map(str, value.size)), "x".join(map(str, expected.size))
        return say(f"It is {got} pixels, not {wanted}.", f"Mide {got} píxeles, no {wanted}.")
    same = _same_bits if exact else same_picture
    if same(value, expected):
        return ""
    mean, share = picture_difference(value, expected)
    return say(
        f"The picture differs: by {255 * mean:.1f}/255 on average, in {share:.1%} of its pixels.",
        f"La imagen es distinta: {255 * mean:.1f}/255 de media, en el {share:.1%} de sus píxeles.",
    )


def _same_bits(value: Image.Image, expected: Image.Image) -> bool:
    return value.convert("RGB").tobytes() == expected.convert("RGB").tobytes()


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
    """Return real numbers as torch compares them; numpy has kinds and orders that torch has not."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", torch.float64).to_dense()
    try:
        return torch.from_numpy(np.array(value, dtype=np.float64, order="C"))
    except OverflowError:  # of a whole number that no float can hold
        return torch.tensor(float("inf"), dtype=torch.float64)


def _differing_pictures(value: Any, expected: Any) -> tuple[Image.Image, ...]:
    """Find the first picture that came otherwise than expected, and the expected one."""
    if isinstance(value, Image.Image) and isinstance(expected, Image.Image):
        return (value, expected) if _between_pictures(value, expected) else ()
    if isinstance(value, list | tuple) and isinstance(expected, list | tuple):
        pairs = (_differing_pictures(*pair) for pair in zip(value, expected, strict=False))
        return next(filter(None, pairs), ())
    return ()


def _figure(image: Image.Image, name: str) -> str:
    """Show a picture under its name, within a line of others."""
    file = io.BytesIO()
    image.convert("RGB").save(file, "PNG")
    source = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    picture = f'<img src="{source}" width="{PICTURE_WIDTH_PX}" alt="{name}">'
    return f'<span style="display: inline-block; margin: 6px 8px 0 0">{picture}<br>{name}</span>'
