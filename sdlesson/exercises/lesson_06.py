"""What lesson 06 asks, and what usually goes wrong."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from sdlesson.exercises.checking import Case, Mistake, Verdict, check_function
from sdlesson.language import say
from sdlesson.prompts import unknown_words


def rare_words(
    answer: Callable[..., Any], tokenize: Callable[[str], list[str]], word: str
) -> Verdict:
    """Exercise 1: the candidates of which every piece is unknown to the model.

    Args:
        answer: The student's function.
        tokenize: Splits a word into pieces.
        word: One that is rare to its last piece.
    """

    def unknown(piece: str) -> bool:
        return bool(unknown_words(piece.removesuffix("</w>")))

    def kept(holds: Callable[[str], bool]) -> Callable[[list[str]], list[str]]:
        return lambda candidates: [name for name in candidates if holds(name)]

    return check_function(
        answer,
        kept(lambda name: all(map(unknown, tokenize(name)))),
        [
            Case(str(names), (names,))
            for names in (
                ["robot", word],
                ["starfish", "kvx", "sunflower"],
                ["robot", word, "starfish", "kvx", "sunflower", "bluecat", "olifant"],
            )
        ],
        name="06.1",
        mistakes=[
            Mistake(
                kept(lambda name: bool(unknown_words(name))),
                say(
                    "That asks about whole words: a known word may hide in the pieces.",
                    "Eso pregunta por palabras enteras: entre los trozos puede haber una conocida.",
                ),
            ),
            Mistake(
                kept(lambda name: any(map(unknown, tokenize(name)))),
                say("One unknown piece is not enough.", "No basta con un trozo desconocido."),
            ),
            Mistake(
                kept(lambda name: all(bool(unknown_words(piece)) for piece in tokenize(name))),
                say(
                    "Take `</w>` off a piece before you ask about it.",
                    "Quítale `</w>` al trozo antes de preguntar por él.",
                ),
            ),
        ],
        hints=[
            say(
                "Ask unknown_words about each piece, not about the whole word.",
                "Pregúntale a unknown_words por cada trozo, no por la palabra entera.",
            ),
            say(
                "pocket.tokenizer.tokenize(word) gives the pieces; .removesuffix takes `</w>` off.",
                "pocket.tokenizer.tokenize(palabra) da los trozos; .removesuffix quita `</w>`.",
            ),
            say(
                "Keep a word if all(unknown_words(piece) for each of its pieces).",
                "Quédate con una palabra si all(unknown_words(trozo) para cada trozo).",
            ),
        ],
    )


def best_step(answer: Callable[..., Any]) -> Verdict:
    """Exercise 2: the step of highest fidelity among those that keep enough of the rest."""
    steps = [0, 50, 100, 200]
    falling = (steps, [0.0, 0.4, 0.7, 0.8], [0.9, 0.88, 0.85, 0.4])
    uneven = (steps, [0.0, 0.6, 0.7, 0.5], [0.9, 0.3, 0.86, 0.87])

    def within(kept: Sequence[float], give_up: float) -> list[int]:
        return [i for i, value in enumerate(kept) if kept[0] - value <= give_up]

    def best(
        steps: Sequence[int], fidelity: Sequence[float], kept: Sequence[float], give_up: float
    ) -> int:
        return steps[max(within(kept, give_up), key=lambda i: fidelity[i])]

    return check_function(
        answer,
        best,
        [
            Case(f"fidelity={row[1]}, kept={row[2]}, give_up={give_up}", (*row, give_up))
            for row, give_up in ((falling, 0.1), (falling, 0.03), (falling, 0.6), (uneven, 0.1))
        ],
        name="06.2",
        mistakes=[
            Mistake(
                lambda steps, fidelity, kept, give_up: steps[fidelity.index(max(fidelity))],
                say(
                    "That is the highest fidelity of all, whatever was lost.",
                    "Esa es la mayor fidelidad de todas, se pierda lo que se pierda.",
                ),
            ),
            Mistake(
                lambda steps, fidelity, kept, give_up: steps[within(kept, give_up)[-1]],
                say(
                    "That is the last step that is allowed, not the one of highest fidelity.",
                    "Ese es el último paso permitido, no el de mayor fidelidad.",
                ),
            ),
            Mistake(
                lambda steps, fidelity, kept, give_up: steps[
                    max(
                        (i for i, value in enumerate(kept) if value >= give_up),
                        key=lambda i: fidelity[i],
                    )
                ],
                say(
                    "give_up is what may be lost, not what must be left.",
                    "give_up es lo que se puede perder, no lo que debe quedar.",
                ),
            ),
        ],
        hints=[
            say("First ask which steps are allowed.", "Primero, ¿qué pasos están permitidos?"),
            say(
                "What is lost at a step is kept[0] minus kept there; look at all steps.",
                "Lo perdido en un paso es kept[0] menos kept ahí; mira todos los pasos.",
            ),
            say(
                "Of the allowed positions, max(..., key=lambda i: fidelity[i]).",
                "De las posiciones permitidas, max(..., key=lambda i: fidelity[i]).",
            ),
        ],
    )


def dreambooth_loss(answer: Callable[..., Any], noise_pred: Tensor, noise: Tensor) -> Verdict:
    """Exercise 3: the loss of a batch, photos first and pictures of the class after them."""

    def loss(noise_pred: Tensor, noise: Tensor, prior_weight: float) -> Tensor:
        of_photos, of_class = ((noise_pred - noise) ** 2).chunk(2)
        return of_photos.mean() + prior_weight * of_class.mean()

    return check_function(
        answer,
        loss,
        [
            Case(f"prior_weight={weight}", (noise_pred, noise, weight))
            for weight in (1.0, 0.5, 2.0, 0.0)
        ],
        name="06.3",
        mistakes=[
            Mistake(
                lambda noise_pred, noise, prior_weight: ((noise_pred - noise) ** 2).mean(),
                say(
                    "That is one mean of the whole batch, without the weight.",
                    "Esa es una sola media de todo el lote, sin el peso.",
                ),
            ),
            Mistake(
                lambda noise_pred, noise, prior_weight: loss(
                    noise_pred.roll(len(noise) // 2, 0),
                    noise.roll(len(noise) // 2, 0),
                    prior_weight,
                ),
                say(
                    "The halves are swapped: photos come first.",
                    "Las mitades están al revés: primero van las fotos.",
                ),
            ),
            Mistake(
                lambda noise_pred, noise, prior_weight: (
                    prior_weight * ((noise_pred - noise) ** 2).chunk(2)[0].mean()
                    + ((noise_pred - noise) ** 2).chunk(2)[1].mean()
                ),
                say(
                    "The weight belongs to the class, not to the photos.",
                    "El peso es de la clase, no de las fotos.",
                ),
            ),
            Mistake(
                lambda noise_pred, noise, prior_weight: (
                    (noise_pred - noise).chunk(2)[0].mean() ** 2
                    + prior_weight * (noise_pred - noise).chunk(2)[1].mean() ** 2
                ),
                say(
                    "Square before you average: else errors of both signs cancel.",
                    "Eleva al cuadrado antes de promediar: si no, los errores se anulan.",
                ),
            ),
        ],
        hints=[
            say(
                "Square the errors first, then split, then average.",
                "Primero el cuadrado de los errores, luego dividir y al final promediar.",
            ),
            say(
                ".chunk(2) gives both halves, and each has its own mean.",
                ".chunk(2) da las dos mitades, y cada una tiene su media.",
            ),
            say(
                "of_photos.mean() + prior_weight * of_class.mean()",
                "de_fotos.mean() + prior_weight * de_clase.mean()",
            ),
        ],
    )
