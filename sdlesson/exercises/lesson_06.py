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

    def kept(holds: Callable[..., bool]) -> Callable[[list[str]], list[str]]:
        return lambda candidates: [name for name in candidates if holds(name)]

    return check_function(
        answer,
        kept(lambda name: all(map(unknown, tokenize(name)))),
        [
            Case(str(names), (names,))
            for names in (
                ["robot", word],
                ["starfish", "kvx", "sunflower"],
                ["robot", word, "starfish", "kvx", "sunflower", "bluecat", "olifant", "inon"],
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
                say(
                    "One unknown piece is not enough: any other may be a word it knows.",
                    "No basta con un trozo desconocido: otro puede ser una palabra conocida.",
                ),
            ),
            Mistake(
                kept(lambda name: not any(map(unknown, tokenize(name)))),
                say(
                    "Those are the words it knows: keep the ones it does not.",
                    "Esas son las palabras que conoce: quédate con las que no.",
                ),
            ),
            *(
                Mistake(
                    kept(lambda name, most=most: len(tokenize(name)) <= most),
                    say(
                        "How many pieces a word has says nothing of whether the model knows them.",
                        "Cuántos trozos tiene una palabra no dice si el modelo los conoce.",
                    ),
                )
                for most in range(1, 5)
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
    rising = (steps, [0.0, 0.6, 0.7, 0.5], [0.8, 0.95, 0.75, 0.6])
    to_the_brim = (steps, [0.0, 0.4, 0.7, 0.8], [1.0, 0.75, 0.5, 0.25])  # which floats hold exactly

    def within(kept: Sequence[float], give_up: float) -> list[int]:
        return [i for i, value in enumerate(kept) if kept[0] - value <= give_up]

    def best(
        steps: Sequence[int], fidelity: Sequence[float], kept: Sequence[float], give_up: float
    ) -> int:
        return steps[max(within(kept, give_up), key=lambda i: fidelity[i])]

    def before_the_first_loss(
        steps: Sequence[int], fidelity: Sequence[float], kept: Sequence[float], give_up: float
    ) -> int:
        lost = (i for i, value in enumerate(kept) if kept[0] - value > give_up)
        return steps[next(lost, len(steps)) - 1]

    return check_function(
        answer,
        best,
        [
            Case(f"fidelity={row[1]}, kept={row[2]}, give_up={give_up}", (*row, give_up))
            for row, give_up in (
                (falling, 0.1),
                (falling, 0.03),
                (falling, 0.6),
                (uneven, 0.1),
                (rising, 0.1),
                (to_the_brim, 0.5),
            )
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
                before_the_first_loss,
                say(
                    "That stops where too much is lost for the first time; look at all steps.",
                    "Eso se detiene la primera vez que se pierde demasiado; mira todos los pasos.",
                ),
            ),
            Mistake(
                lambda steps, fidelity, kept, give_up: steps[
                    max(range(len(steps)), key=lambda i: fidelity[i] + kept[i])
                ],
                say(
                    "That weighs both alike: give_up is a limit, and below it fidelity decides.",
                    "Eso da a las dos el mismo peso: give_up es un límite, y dentro de él decide "
                    "la fidelidad.",
                ),
            ),
            Mistake(
                lambda steps, fidelity, kept, give_up: steps.index(
                    best(steps, fidelity, kept, give_up)
                ),
                say(
                    "That is its position in the list; the step itself is steps[position].",
                    "Esa es su posición en la lista; el paso es steps[posición].",
                ),
            ),
            Mistake(
                lambda steps, fidelity, kept, give_up: max(
                    fidelity[i] for i in within(kept, give_up)
                ),
                say(
                    "That is the fidelity itself; the step at which it is reached was asked for.",
                    "Esa es la propia fidelidad; se pedía el paso en que se alcanza.",
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
                lambda steps, fidelity, kept, give_up: best(
                    steps, fidelity, [max(kept), *kept[1:]], give_up
                ),
                say(
                    "What is lost is measured from the first value, kept[0], not from the highest.",
                    "Lo perdido se mide desde el primer valor, kept[0], no desde el más alto.",
                ),
            ),
            Mistake(
                lambda steps, fidelity, kept, give_up: steps[
                    max(
                        (i for i, value in enumerate(kept) if kept[0] - value < give_up),
                        key=lambda i: fidelity[i],
                    )
                ],
                say(
                    "A loss of give_up itself is still allowed: <=, not <.",
                    "También se permite perder justo give_up: <=, no <.",
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
                lambda noise_pred, noise, prior_weight: loss(noise_pred, noise, prior_weight**2),
                say(
                    "The weight was squared, too: multiply the mean by it, after the square.",
                    "También el peso quedó al cuadrado: multiplica por él la media, después.",
                ),
            ),
            Mistake(
                lambda noise_pred, noise, prior_weight: loss(noise_pred, noise, 1.0),
                say(
                    "The halves are right; prior_weight is still missing.",
                    "Las mitades están bien; todavía falta prior_weight.",
                ),
            ),
            Mistake(
                lambda noise_pred, noise, prior_weight: loss(noise_pred, noise, -prior_weight),
                say(
                    "A sign is wrong: the error of the class is added, so that it stays small.",
                    "Hay un signo mal: el error de la clase se suma, para que siga pequeño.",
                ),
            ),
            Mistake(
                lambda noise_pred, noise, prior_weight: (
                    len(noise) // 2 * loss(noise_pred, noise, prior_weight) * noise[0].numel()
                ),
                say(
                    "Those are sums; each half has its mean.",
                    "Eso son sumas; cada mitad tiene su media.",
                ),
            ),
            Mistake(
                lambda noise_pred, noise, prior_weight: loss(
                    noise_pred.roll(len(noise) // 2, 0),
                    noise.roll(len(noise) // 2, 0),
                    prior_weight,
                ),
                say(
                    "The weight is on the photos, which come first: it belongs to the class, "
                    "the second half.",
                    "El peso quedó en las fotos, que van primero: es de la clase, que va después.",
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
