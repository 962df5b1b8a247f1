"""What lesson 07 asks, and what usually goes wrong."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from PIL import Image
from torch import Tensor

from sdlesson.exercises.checking import Case, Mistake, Verdict, check, check_function
from sdlesson.images import same_picture
from sdlesson.language import say

MERGE_TOLERANCE = 1e-6
CLEAR_FACTOR = 2.0
"""How many times the median change the hidden word's must be."""


def lora_layer(
    answer: Callable[..., Any], x: Tensor, W: Tensor, A: Tensor, B: Tensor, by_peft: Tensor
) -> Verdict:
    """Exercise 1: what a layer gives once a LoRA is on it; peft's gives `by_peft` at alpha 8."""
    rank_2 = (x, W, A[:2], B[:, :2], 2)

    def right(x: Tensor, W: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
        return by_peft if alpha == 8 else x @ (W + alpha / len(A) * B @ A).T

    return check_function(
        answer,
        right,
        [Case("alpha=8, rank 4", (x, W, A, B, 8)), Case("alpha=2, rank 2", rank_2)],
        name="07.1",
        mistakes=[
            Mistake(
                lambda x, W, A, B, alpha: x @ W.T + x @ A.T @ B.T,
                say("The scale alpha / rank is missing.", "Falta la escala, alpha / rango."),
            ),
            Mistake(
                lambda x, W, A, B, alpha: x @ W.T + alpha * x @ A.T @ B.T,
                say("alpha is to be divided by the rank.", "Hay que dividir alpha entre el rango."),
            ),
            Mistake(
                lambda x, W, A, B, alpha: alpha / len(A) * x @ A.T @ B.T,
                say("The frozen weights W are missing.", "Faltan los pesos congelados, W."),
            ),
            Mistake(
                lambda x, W, A, B, alpha: x @ W.T + alpha / B.shape[0] * x @ A.T @ B.T,
                say("The rank is the number of rows of A.", "El rango es el número de filas de A."),
            ),
        ],
        hints=[
            say(
                "Begin with x @ W.T alone, and add the correction to it.",
                "Empieza con x @ W.T y súmale la corrección.",
            ),
            say(
                "x goes through A first, then through B: two products with .T.",
                "x pasa primero por A y luego por B: dos productos con .T.",
            ),
            say(
                "x @ W.T + alpha / len(A) * x @ A.T @ ...",
                "x @ W.T + alpha / len(A) * x @ A.T @ ...",
            ),
        ],
    )


def merge(answer: Callable[..., Any], arguments: tuple[Any, ...], by_diffusers: Tensor) -> Verdict:
    """Exercise 2: plain weights that hold the correction; diffusers' own are `by_diffusers`."""
    _, _, _, alpha, rank = arguments
    return check_function(
        answer,
        lambda W, A, B, alpha, rank: by_diffusers,
        [Case(f"alpha={alpha}, rank={rank}", arguments)],
        name="07.2",
        mistakes=[
            Mistake(
                lambda W, A, B, alpha, rank: W + B @ A,
                say("The scale alpha / rank is missing.", "Falta la escala, alpha / rango."),
            ),
            Mistake(
                lambda W, A, B, alpha, rank: W + rank / alpha * B @ A,
                say("The scale is upside down.", "La escala está invertida."),
            ),
            Mistake(
                lambda W, A, B, alpha, rank: alpha / rank * B @ A,
                say(
                    "That is the correction alone, without W.", "Eso es solo la corrección, sin W."
                ),
            ),
        ],
        hints=[
            say(
                "Which product of A and B has the shape of W?",
                "¿Qué producto de A y B tiene la forma de W?",
            ),
            say(
                "W plus the scale times that product.",
                "W más la escala por ese producto.",
            ),
            say("W + alpha / rank * B @ ...", "W + alpha / rank * B @ ..."),
        ],
        tolerance=MERGE_TOLERANCE,
    )


def right_scale(scale: Any, draw: Callable[[float], Image.Image], expected: Image.Image) -> Verdict:
    """Exercise 3: the scale that gives the picture back.

    Args:
        scale: The student's.
        draw: Draws the picture at a scale.
        expected: The picture that was to come back.
    """
    return check(
        scale,
        lambda scale: same_picture(draw(float(scale)), expected),
        name="07.3",
        asked=say("a scale that gives the first picture", "una escala que dé la primera imagen"),
        mistakes=[
            Mistake(
                1.0,
                say(
                    "1 is how it is applied now, too quietly.",
                    "1 es como se aplica ahora, con poca fuerza.",
                ),
            ),
            Mistake(4 / 8, say("That is upside down.", "Está invertida.")),
            Mistake(
                8, say("That is alpha, not yet a scale.", "Eso es alpha, todavía no una escala.")
            ),
        ],
        hints=[
            say(
                "How strong was the correction in training, and how strong is it now?",
                "¿Con qué fuerza actuaba al entrenar y con cuál actúa ahora?",
            ),
            say(
                "It was trained at alpha / rank, and is now applied at rank / rank.",
                "Se entrenó con alpha / rango y ahora se aplica con rango / rango.",
            ),
            say("alpha was 8, the rank 4.", "alpha era 8 y el rango, 4."),
        ],
    )


def changes(answer: Callable[[], Any], words: Sequence[str], hidden: str) -> Verdict:
    """Exercise 4: how far each picture moves; the hidden word's must stand out."""
    return check(
        answer,
        lambda found: (
            len(found) == len(words)
            and words[list(found).index(max(found))] == hidden
            and float(max(found)) > CLEAR_FACTOR * float(median(found))
        ),
        name="07.4",
        asked=say(
            "a number for each word, of which one stands out",
            "un número por palabra, y que uno destaque",
        ),
        mistakes=[
            Mistake(
                lambda found: len(found) != len(words),
                say(
                    "There must be one number for each prompt.", "Debe haber un número por prompt."
                ),
            ),
            Mistake(
                lambda found: max(found) < 1e-3,
                say(
                    "Nothing changed: was the LoRA on in one of them, and off in the other?",
                    "No cambió nada: ¿estaba puesta la LoRA en una y quitada en la otra?",
                ),
            ),
            Mistake(
                lambda found: float(max(found)) <= CLEAR_FACTOR * float(median(found)),
                say(
                    "All change alike: something else than the LoRA differs, such as the noise.",
                    "Todas cambian por igual: difiere algo más que la LoRA, como el ruido.",
                ),
            ),
        ],
        hints=[
            say(
                "Only one thing may differ between the two pictures of a prompt.",
                "Entre las dos imágenes de un prompt solo puede cambiar una cosa.",
            ),
            say(
                "Draw all prompts at scale 0, then all at scale 1, from the same noise.",
                "Dibuja todos los prompts con escala 0 y luego todos con 1, con el mismo ruido.",
            ),
            say(
                'fresh.set_adapters("stranger", 0.0), pictures(fresh, prompts); again with 1.0.',
                'fresh.set_adapters("stranger", 0.0) y pictures(fresh, prompts); otra vez con 1.0.',
            ),
        ],
    )
