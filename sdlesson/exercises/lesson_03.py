"""What lesson 03 asks, and what usually goes wrong."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from sdlesson.exercises.checking import Case, Mistake, Verdict, check, check_function
from sdlesson.language import say
from sdlesson.metrics import Mean

GUIDANCE_TOLERANCE = 0.1  # half precision, on a GPU, rounds that much


def guidance_without_the_model(at_15: Any, at_1: Tensor, at_3: Tensor) -> Verdict:
    """Exercise 1: the prediction at guidance 15, from those at 1 and at 3."""
    each = (at_3 - at_1) / 2
    return check(
        at_15,
        at_1 + 14 * each,
        name="03.1",
        mistakes=[
            Mistake(
                at_1 + 15 * (at_3 - at_1),
                say(
                    "at_3 - at_1 is two steps of guidance, from 1 to 3, and not one.",
                    "at_3 - at_1 son dos pasos de guía, de 1 a 3, y no uno.",
                ),
            ),
            Mistake(
                at_1 + 14 * (at_3 - at_1),
                say(
                    "The start is right; but at_3 - at_1 is two steps of guidance, not one.",
                    "El comienzo está bien, pero at_3 - at_1 son dos pasos de guía, no uno.",
                ),
            ),
            Mistake(
                at_3 + 14 * each,
                say(
                    "That begins at at_3, and goes as far as if it began at at_1.",
                    "Eso parte de at_3 y avanza como si partiera de at_1.",
                ),
            ),
            Mistake(
                5 * at_3,
                say(
                    "The line passes through at_1 and at_3, not through zero.",
                    "La recta pasa por at_1 y at_3, no por cero.",
                ),
            ),
            Mistake(
                at_1 - 14 * each,
                say(
                    "A sign is wrong: from at_1 the way goes towards at_3.",
                    "Hay un signo mal: desde at_1 se va hacia at_3.",
                ),
            ),
        ],
        hints=[
            say(
                "Draw a line with 1 and 3 on it. Where is 15?",
                "Dibuja una recta con el 1 y el 3. ¿Dónde queda el 15?",
            ),
            say(
                "From 1 to 3 is two steps along the line. How many such steps from 1 to 15?",
                "De 1 a 3 hay dos pasos por la recta. ¿Cuántos de esos pasos hay de 1 a 15?",
            ),
            say(
                "at_1 plus seven times the way from at_1 to at_3.",
                "at_1 más siete veces el camino de at_1 a at_3.",
            ),
        ],
        tolerance=GUIDANCE_TOLERANCE,
    )


def only_in_each(answer: Callable[..., Any]) -> Verdict:
    """Exercise 2: how many are right only in the first list, and only in the second."""
    cases = [
        Case(f"first={first}, second={second}", (first, second))
        for first, second in (
            ([True, True, False, True, False], [True, False, False, False, True]),
            ([False, False, False], [True, True, False]),
            ([True, False], [True, False]),
        )
    ]
    return check_function(
        answer,
        lambda first, second: [
            sum(a and not b for a, b in zip(first, second, strict=True)),
            sum(b and not a for a, b in zip(first, second, strict=True)),
        ],
        cases,
        name="03.2",
        mistakes=[
            Mistake(
                lambda first, second: [sum(first), sum(second)],
                say(
                    "That counts all that are right, also those right in both.",
                    "Eso cuenta todas las que están bien, también las que lo están en ambas.",
                ),
            ),
            Mistake(
                lambda first, second: [
                    sum(b and not a for a, b in zip(first, second, strict=True)),
                    sum(a and not b for a, b in zip(first, second, strict=True)),
                ],
                say("The two are swapped.", "Los dos están al revés."),
            ),
            Mistake(
                lambda first, second: [sum(a != b for a, b in zip(first, second, strict=True))] * 2,
                say(
                    "Those are all that changed: tell one direction from the other.",
                    "Esas son todas las que cambiaron: distingue en qué sentido.",
                ),
            ),
            Mistake(
                lambda first, second: [
                    max(sum(first) - sum(second), 0),
                    max(sum(second) - sum(first), 0),
                ],
                say(
                    "A difference of totals hides losses behind gains: look at each scene.",
                    "Una resta de totales esconde pérdidas tras ganancias: mira cada escena.",
                ),
            ),
        ],
        hints=[
            say("Go through both lists at once.", "Recorre las dos listas a la vez."),
            say(
                "`a and not b` is: right in the first alone.",
                "`a and not b` significa: bien solo en la primera.",
            ),
            say(
                "sum(a and not b for a, b in zip(first, second)), and the other way round.",
                "sum(a and not b for a, b in zip(first, second)), y lo mismo al revés.",
            ),
        ],
    )


def count_clipped(answer: Callable[..., Any], levels: np.ndarray) -> Verdict:
    """Exercise 3: the share of pixels of which a channel is 0 or 255."""
    small = np.array([[[0, 9, 9], [255, 255, 255], [7, 8, 9], [1, 255, 0]]], dtype=np.uint8)
    return check_function(
        answer,
        lambda levels: float(((levels == 0) | (levels == 255)).any(axis=2).mean()),
        [
            Case(
                say(f"the pixels {small[0].tolist()}", f"los píxeles {small[0].tolist()}"), (small,)
            ),
            Case(say("the panda", "el panda"), (levels,)),
            Case(say("its negative", "su negativo"), (255 - levels,)),
        ],
        name="03.3",
        mistakes=[
            Mistake(
                lambda levels: float(((levels == 0) | (levels == 255)).mean()),
                say(
                    "That counts channels, of which each pixel has three.",
                    "Eso cuenta canales, y cada píxel tiene tres.",
                ),
            ),
            Mistake(
                lambda levels: float((levels == 255).all(axis=2).mean()),
                say("That counts white pixels alone.", "Eso cuenta solo los píxeles blancos."),
            ),
            Mistake(
                lambda levels: float(((levels == 0) | (levels == 255)).all(axis=2).mean()),
                say("One clipped channel is enough.", "Basta con un canal quemado."),
            ),
            Mistake(
                lambda levels: float((levels == 255).any(axis=2).mean()),
                say("0 is clipped too.", "El 0 también cuenta como quemado."),
            ),
            Mistake(
                lambda levels: int(((levels == 0) | (levels == 255)).any(axis=2).sum()),
                say(
                    "That is how many, and not which share of all.",
                    "Eso es cuántos son, no qué proporción del total.",
                ),
            ),
        ],
        hints=[
            say("First ask each number: 0 or 255?", "Primero, a cada número: ¿0 o 255?"),
            say(
                "Then ask each pixel once: is it so for any of its channels?",
                "Luego, una vez a cada píxel: ¿le pasa a alguno de sus canales?",
            ),
            say(".any(axis=2) before .mean().", ".any(axis=2) antes de .mean()."),
        ],
    )


def enough_steps(answer: Callable[..., Any]) -> Verdict:
    """Exercise 4: the fewest steps that are shown to lose at most `spare`."""
    steps = [1, 2, 4, 8, 16, 32]
    # Such that every mistake below gives another answer to some case.
    values, halves = [-0.8, -0.2, -0.08, -0.03, 0.45, 0.4], [0.1, 0.25, 0.04, 0.05, 0.05, 0.08]
    changes = [Mean(v, v - h, v + h, n=100) for v, h in zip(values, halves, strict=True)]
    told = ", ".join(f"{n}: {c.low:.2f}/{c.high:.2f}" for n, c in zip(steps, changes, strict=True))

    def first(holds: Callable[[Mean, float], bool]) -> Callable[..., int]:
        def chosen(steps: Sequence[int], changes: Sequence[Mean], spare: float) -> int:
            return next(n for n, c in zip(steps, changes, strict=True) if holds(c, spare))

        return chosen

    return check_function(
        answer,
        first(lambda change, spare: change.low > -spare),
        [
            Case(
                say(
                    f"steps and intervals {told} and spare={spare}",
                    f"pasos e intervalos {told} y spare={spare}",
                ),
                (steps, changes, spare),
            )
            for spare in (0.1, 0.05, 0.3)
        ],
        name="03.4",
        mistakes=[
            Mistake(
                first(lambda change, spare: change.value > -spare),
                say(
                    "That looks at the value alone; the interval may reach much lower.",
                    "Eso mira solo el valor; el intervalo puede llegar mucho más abajo.",
                ),
            ),
            Mistake(
                first(lambda change, spare: change.high > 0),
                say(
                    "Not shown to be worse: that is no proof yet that the loss is small.",
                    "No se demuestra que sea peor, pero eso aún no prueba que pierda poco.",
                ),
            ),
            Mistake(
                lambda steps, changes, spare: [
                    n for n, c in zip(steps, changes, strict=True) if c.low > -spare
                ][-1],
                say(
                    "That is the largest number of steps that will do, not the smallest.",
                    "Ese es el mayor número de pasos que sirve, no el menor.",
                ),
            ),
            Mistake(
                lambda steps, changes, spare: next(
                    (n for n, c in zip(steps, changes, strict=True) if c.low > spare), steps[-1]
                ),
                say(
                    "A sign is wrong: a loss is a change below zero, so it is -spare.",
                    "Hay un signo mal: perder es un cambio por debajo de cero, así que es -spare.",
                ),
            ),
        ],
        hints=[
            say(
                "Go through both lists together, from few steps to many.",
                "Recorre las dos listas a la vez, de pocos pasos a muchos.",
            ),
            say(
                "`.low` is the lower end of an interval.",
                "`.low` es el extremo inferior del intervalo.",
            ),
            say(
                "Return the first number for which change.low > -spare.",
                "Devuelve el primer número con change.low > -spare.",
            ),
        ],
    )
