"""What lesson 07 asks, and what usually goes wrong."""

from collections.abc import Callable, Sequence
from numbers import Real
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
                say(
                    "The correction is right, but for its scale: alpha / rank is missing.",
                    "La corrección está bien, salvo su escala: falta alpha / rango.",
                ),
            ),
            Mistake(
                lambda x, W, A, B, alpha: x @ W.T + alpha * x @ A.T @ B.T,
                say("alpha is to be divided by the rank.", "Hay que dividir alpha entre el rango."),
            ),
            Mistake(
                lambda x, W, A, B, alpha: x @ W.T + len(A) / alpha * x @ A.T @ B.T,
                say(
                    "The scale is upside down: alpha stands above, the rank below.",
                    "La escala está invertida: alpha va arriba y el rango, abajo.",
                ),
            ),
            Mistake(
                lambda x, W, A, B, alpha: alpha / len(A) * x @ A.T @ B.T,
                say(
                    "That is the correction alone: the frozen weights W are missing.",
                    "Eso es solo la corrección: faltan los pesos congelados, W.",
                ),
            ),
            Mistake(
                lambda x, W, A, B, alpha: x @ W.T,
                say(
                    "That is the frozen layer alone: the correction of A and B is missing.",
                    "Eso es solo la capa congelada: falta la corrección de A y B.",
                ),
            ),
            Mistake(
                lambda x, W, A, B, alpha: x @ W.T + alpha / B.shape[0] * x @ A.T @ B.T,
                say("The rank is the number of rows of A.", "El rango es el número de filas de A."),
            ),
            Mistake(
                lambda x, W, A, B, alpha: A @ B,
                say(
                    "A and B are in the wrong order: x meets A first, so the product is B @ A.",
                    "A y B están al revés: x pasa primero por A, así que el producto es B @ A.",
                ),
            ),
            *(
                Mistake(
                    untransposed,
                    say(
                        "Each row of x is a vector: multiply by W.T, A.T and B.T.",
                        "Cada fila de x es un vector: multiplica por W.T, A.T y B.T.",
                    ),
                )
                for untransposed in (
                    lambda x, W, A, B, alpha: x @ W,
                    lambda x, W, A, B, alpha: x @ A,
                    lambda x, W, A, B, alpha: x @ A.T @ B,
                    lambda x, W, A, B, alpha: W @ x,
                    lambda x, W, A, B, alpha: A @ x,
                )
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
    W, A, B, own_alpha, rank = arguments

    def right(W: Tensor, A: Tensor, B: Tensor, alpha: float, rank: int) -> Tensor:
        return by_diffusers if alpha == own_alpha else W + alpha / rank * B @ A

    return check_function(
        answer,
        right,
        [
            Case(f"alpha={alpha}, rank={rank}", (W, A, B, alpha, rank))
            for alpha in (own_alpha, 2 * own_alpha)  # so that a scale by heart does not pass
        ],
        name="07.2",
        mistakes=[
            Mistake(
                lambda W, A, B, alpha, rank: W + B @ A,
                say(
                    "W and the product are right; the scale alpha / rank is missing.",
                    "W y el producto están bien; falta la escala, alpha / rango.",
                ),
            ),
            Mistake(
                lambda W, A, B, alpha, rank: W + rank / alpha * B @ A,
                say(
                    "The scale is upside down: alpha stands above, the rank below.",
                    "La escala está invertida: alpha va arriba y el rango, abajo.",
                ),
            ),
            Mistake(
                lambda W, A, B, alpha, rank: alpha / rank * B @ A,
                say(
                    "That is the correction alone: W has to be in the sum.",
                    "Eso es solo la corrección: W tiene que estar en la suma.",
                ),
            ),
            Mistake(
                lambda W, A, B, alpha, rank: alpha / rank * (W + B @ A),
                say(
                    "The scale is for the correction alone; W stays as it is.",
                    "La escala es solo para la corrección; W se queda como está.",
                ),
            ),
            Mistake(
                lambda W, A, B, alpha, rank: W - alpha / rank * B @ A,
                say(
                    "A sign is wrong: that takes the correction out, as unfuse_lora does.",
                    "Hay un signo mal: eso quita la corrección, como hace unfuse_lora.",
                ),
            ),
            Mistake(
                lambda W, A, B, alpha, rank: A @ B,
                say(
                    "A and B are in the wrong order: only B @ A has the shape of W.",
                    "A y B están al revés: solo B @ A tiene la forma de W.",
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
        lambda scale: (
            not isinstance(scale, str | bool) and same_picture(draw(float(scale)), expected)
        ),
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
            Mistake(
                8 / 16,
                say(
                    "The two numbers are right, but upside down: alpha / rank.",
                    "Los dos números están bien, pero al revés: alpha / rango.",
                ),
            ),
            Mistake(
                16,
                say(
                    "That is alpha: for a scale, divide it by the rank.",
                    "Eso es alpha: para que sea una escala, divídela entre el rango.",
                ),
            ),
            Mistake(
                8,
                say(
                    "That is the rank: the scale is alpha divided by it.",
                    "Ese es el rango: la escala es alpha dividida entre él.",
                ),
            ),
            Mistake(
                -16 / 8,
                say(
                    "A negative scale takes away what was learnt.",
                    "Una escala negativa quita lo aprendido.",
                ),
            ),
            Mistake(
                lambda scale: isinstance(scale, str),
                say(
                    "That is a text: write the number without quotes.",
                    "Eso es un texto: escribe el número sin comillas.",
                ),
            ),
            Mistake(
                lambda scale: (
                    isinstance(scale, list | tuple | set) or getattr(scale, "ndim", 0) > 0
                ),
                say(
                    "Write the number alone, without brackets.",
                    "Escribe solo el número, sin corchetes ni paréntesis.",
                ),
            ),
            Mistake(
                lambda scale: 0 <= scale < 2,
                say(
                    "That is still too quiet: how strong was it in training?",
                    "Todavía actúa con poca fuerza: ¿con cuánta se entrenó?",
                ),
            ),
            Mistake(
                lambda scale: scale > 2,
                say(
                    "That is stronger than it was in training.",
                    "Eso es más fuerza de la que tenía al entrenar.",
                ),
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
            say("alpha was 16, the rank 8.", "alpha era 16 y el rango, 8."),
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
                lambda found: isinstance(found, dict),
                say(
                    "That is a dict: return a list of its numbers, in the order of the prompts.",
                    "Eso es un diccionario: devuelve una lista con sus números, en el orden de los "
                    "prompts.",
                ),
            ),
            Mistake(
                lambda found: any(
                    isinstance(one, list | tuple) or getattr(one, "ndim", 0) > 0 for one in found
                ),
                say(
                    "Each item is a list of its own: return one number for each prompt.",
                    "Cada elemento es a su vez una lista: devuelve un solo número por prompt.",
                ),
            ),
            Mistake(
                lambda found: any(isinstance(one, Image.Image) for one in found),
                say(
                    "Those are pictures: how far apart they are is a number, distance(one, other).",
                    "Eso son imágenes: cuánto distan es un número, distance(una, otra).",
                ),
            ),
            Mistake(
                lambda found: isinstance(found, str) or any(isinstance(one, str) for one in found),
                say(
                    "Those are words: how far apart the pictures are is a number, distance(...).",
                    "Eso son palabras: cuánto distan las imágenes es un número, distance(...).",
                ),
            ),
            Mistake(
                lambda found: isinstance(found, Real) or getattr(found, "ndim", 1) == 0,
                say(
                    "That is one number for all: return a list, with one for each prompt.",
                    "Ese es un solo número para todos: devuelve una lista, con uno por prompt.",
                ),
            ),
            Mistake(
                lambda found: len(found) != len(words),
                say(
                    "There must be one number for each prompt.", "Debe haber un número por prompt."
                ),
            ),
            Mistake(
                lambda found: max(map(abs, found)) < 1e-3,
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
            Mistake(
                lambda found: min(found) < 0,
                say(
                    "A distance is never negative: take distance(one, other) as it is.",
                    "Una distancia nunca es negativa: toma distance(one, other) tal cual.",
                ),
            ),
            Mistake(
                lambda found: any(one != one for one in found),
                say(
                    "A nan is among them, which is no number: look at the pictures it came from.",
                    "Hay un nan, que no es ningún número: mira las imágenes de las que salió.",
                ),
            ),
            Mistake(
                lambda found: sorted(found) == list(found) or sorted(found)[::-1] == list(found),
                say(
                    "Another word stands out. If you sorted the numbers, leave each in its "
                    "prompt's place; else compare each prompt's picture with its own, without "
                    "the LoRA.",
                    "Destaca otra palabra. Si ordenaste los números, deja cada uno en el lugar de "
                    "su prompt; si no, compara la imagen de cada prompt con la suya sin LoRA.",
                ),
            ),
            Mistake(
                lambda found: words[list(found).index(max(found))] != hidden,
                say(
                    "Another word stands out: compare each prompt's picture with its own, without "
                    "the LoRA.",
                    "Destaca otra palabra: compara la imagen de cada prompt con la suya sin LoRA.",
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
