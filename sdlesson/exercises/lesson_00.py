"""What lesson 00 asks: a picture of one's own, two from the same noise, a prompt mended."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np
from PIL import Image

from sdlesson.exercises.checking import Mistake, Verdict, check
from sdlesson.images import same_picture
from sdlesson.language import say
from sdlesson.metrics import pocket_probe
from sdlesson.prompts import unknown_words

SURE = 0.9  # of the probe that a subject is there: nearly 1 if so, below 0.4 in an empty scene
MIN_SPREAD = 8  # of 255: a picture of one colour has none, the flattest scenes have three times it


def my_picture(answer: Any, seen: Sequence[Image.Image]) -> Verdict:
    """Exercise 1: a picture that the lesson has not drawn yet, with something in it."""
    return check(
        answer,
        lambda picture: (
            _is_picture(picture)
            and not _is_flat(picture)
            and _is_new(picture, seen)
            and _shows_something(picture)
        ),
        name="00.1",
        asked=say(
            "a picture that this lesson has not drawn yet, with a subject in it",
            "una imagen que no haya salido en esta lección, con algo dibujado",
        ),
        mistakes=[
            Mistake(
                lambda value: hasattr(value, "image"),
                say(
                    "draw gives a drawing with its settings; the picture in it is .image.",
                    "draw da un dibujo con sus ajustes; la imagen está en .image.",
                ),
            ),
            Mistake(
                lambda value: isinstance(value, str),
                say(
                    "That is a text: hand it to draw.",
                    "Eso es un texto: pásaselo a draw.",
                ),
            ),
            Mistake(
                lambda value: _is_flat(value),
                say(
                    "It is all of one colour. If the safety checker blacked it out, try another "
                    "seed or other words.",
                    "Es toda de un color. Si el filtro de seguridad la dejó en negro, prueba otra "
                    "semilla u otras palabras.",
                ),
            ),
            Mistake(
                lambda value: not _is_new(value, seen),
                say(
                    "That picture has been drawn above: change the words or the seed.",
                    "Esa imagen ya ha salido arriba: cambia las palabras o la semilla.",
                ),
            ),
            Mistake(
                lambda value: not _shows_something(value),
                say(
                    "The probe, a small network that reads pictures, finds no subject in it.",
                    "La sonda, una red pequeña que lee imágenes, no encuentra nada dibujado.",
                ),
            ),
        ],
        hints=[
            say("Use words of your own from the list above.", "Usa palabras tuyas de la lista."),
            say(
                'It has the form draw("...", pipe=pipe, seed=...).image.',
                'Tiene la forma draw("...", pipe=pipe, seed=...).image.',
            ),
            say(
                'For example draw("a robot in the snow", pipe=pipe, seed=1).image.',
                'Por ejemplo, draw("un robot en la nieve", pipe=pipe, seed=1).image.',
            ),
        ],
    )


def draw_pair(
    answer: Callable[..., Any],
    prompts: Sequence[str],
    pictures: Sequence[Image.Image],
    draw: Callable[[str, int], Image.Image],
) -> Verdict:
    """Exercise 2: two prompts from the noise of seed 0, whose pictures are known.

    Args:
        answer: The student's function of two prompts and a seed.
        prompts: Two of them.
        pictures: What they look like from seed 0.
        draw: Draws a prompt from a seed, to recognise usual mistakes; asked only if need be.
    """
    second = prompts[1]

    @wraps(answer)
    def drawn() -> Any:
        return _as_list(answer(*prompts, seed=0))

    return check(
        drawn,
        list(pictures),
        name="00.2",
        asked=say(
            "a list of two pictures, each from the noise of seed 0",
            "una lista de dos imágenes, cada una a partir del ruido de la semilla 0",
        ),
        mistakes=[
            Mistake(
                lambda value: any(hasattr(item, "image") for item in value),
                say(
                    "Those are drawings with their settings; the pictures in them are .image.",
                    "Son dibujos con sus ajustes; las imágenes están en .image.",
                ),
            ),
            Mistake(
                lambda value: _match(value, pictures[::-1]),
                say("The two are swapped.", "Están al revés."),
            ),
            Mistake(
                lambda value: (
                    _match(value[:1], pictures[:1]) and same_picture(value[1], draw(second, 1))
                ),
                say(
                    "The second began with the noise of another seed.",
                    "La segunda partió del ruido de otra semilla.",
                ),
            ),
            Mistake(
                lambda value: _match(value[:1], pictures[:1]),
                say(
                    "The first is right; the second began with other noise. A generator moves on "
                    "as it is used.",
                    "La primera está bien; la segunda partió de otro ruido. Un generador avanza al "
                    "usarlo.",
                ),
            ),
        ],
        hints=[
            say(
                "What must be the same in both pictures, and what may differ?",
                "¿Qué tiene que ser igual en las dos imágenes y qué puede cambiar?",
            ),
            say(
                "Call draw once for each prompt, with the same seed.",
                "Llama a draw una vez por cada prompt, con la misma semilla.",
            ),
            say(
                "return [draw(first_prompt, pipe=pipe, seed=seed).image, ...], and the same "
                "with second_prompt.",
                "return [draw(first_prompt, pipe=pipe, seed=seed).image, ...], y lo mismo con "
                "second_prompt.",
            ),
        ],
    )


def my_prompt(answer: Any) -> Verdict:
    """Exercise 3: a cat in the forest, in words that the pocket model knows."""
    return check(
        answer,
        lambda words: (
            _is_text(words)
            and not unknown_words(words)
            and _names(words, "cat", "gato", "gata")
            and _names(words, "forest", "bosque", "woods")
        ),
        name="00.3",
        asked=say(
            "the animal and the place, each in a word that the model knows",
            "el animal y el lugar, cada uno con una palabra que el modelo conozca",
        ),
        mistakes=[
            Mistake(
                lambda words: not _is_text(words),
                say("Write a text between quotes.", "Escribe un texto entre comillas."),
            ),
            Mistake(
                lambda words: bool(unknown_words(words)),
                say("It does not know: ", "No conoce: ") + _listed(answer),
            ),
            Mistake(
                lambda words: not _names(words, "cat", "gato", "gata"),
                say(
                    "It knows all these words, but where is the kitten?",
                    "Conoce todas esas palabras, pero ¿dónde está el gatito?",
                ),
            ),
            Mistake(
                lambda words: not _names(words, "forest", "bosque", "woods"),
                say(
                    "It knows all these words, but where is the jungle?",
                    "Conoce todas esas palabras, pero ¿dónde está la selva?",
                ),
            ),
        ],
        hints=[
            say(
                "Ask unknown_words(my_prompt) which words it does not know.",
                "Pregúntale a unknown_words(my_prompt) qué palabras no conoce.",
            ),
            say(
                "What is a kitten when it is grown up? Which place of this world has trees?",
                "¿Qué es un gatito cuando crece? ¿Qué lugar de este mundo tiene árboles?",
            ),
            say("a ... in the forest", "un ... en el bosque"),
        ],
    )


def _is_picture(value: Any) -> bool:
    return isinstance(value, Image.Image)


def _is_flat(picture: Image.Image) -> bool:
    return _is_picture(picture) and float(np.asarray(picture.convert("L")).std()) < MIN_SPREAD


def _is_new(picture: Image.Image, seen: Sequence[Image.Image]) -> bool:
    alike = [old for old in seen if old.size == picture.size]
    return not any(same_picture(picture, old) for old in alike)


def _shows_something(picture: Image.Image) -> bool:
    return max(pocket_probe().read([picture])[0].subjects.values()) > SURE


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _names(words: str, *any_of: str) -> bool:
    return any(word in words.casefold().split() for word in any_of)


def _listed(prompt: Any) -> str:
    words = unknown_words(prompt) if isinstance(prompt, str) else []
    return ", ".join(unknown.word for unknown in words)


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _match(value: Sequence[Image.Image], pictures: Sequence[Image.Image]) -> bool:
    return all(map(same_picture, value, pictures))
