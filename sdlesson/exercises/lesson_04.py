"""What lesson 04 asks, and what usually goes wrong."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from sdlesson.exercises.checking import Case, Mistake, Verdict, check, check_function
from sdlesson.language import say
from sdlesson.metrics import share
from sdlesson.probe import Probe

NOISE_SHAPE = (4, 16, 16)
MOST_HATS = 0.5
"""Of the hats that are there without a negative prompt."""
FLOWERS, COLOURS_WANTED, MOST_YELLOW = 10, 4, 5
COLOUR_WORDS = {
    "red": ("red", "rojas"),
    "yellow": ("yellow", "amarillas"),
    "green": ("green", "verdes"),
    "blue": ("blue", "azules"),
    "purple": ("purple", "moradas"),
}
LEAST_SEEN = 6
"""Of ten flowers; the safety checker errs on some, and a black square has no flower."""


def noise_for(answer: Callable[..., Any]) -> Verdict:
    """Exercise 1: for each picture the noise of its own seed."""
    return check_function(
        answer,
        lambda seeds: torch.cat([_noise(seed) for seed in seeds]),
        [Case(f"seeds={seeds}", (seeds,)) for seeds in ([7], [5, 7], [5, 7, 5])],
        name="04.1",
        mistakes=[
            Mistake(
                lambda seeds: torch.cat([_noise(seeds[0]) for _ in seeds]),
                say(
                    "Every picture gets the first seed.",
                    "Todas las imágenes usan la primera semilla.",
                ),
            ),
            Mistake(
                lambda seeds: torch.randn(
                    (len(seeds), *NOISE_SHAPE), generator=_generator(seeds[0])
                ),
                say(
                    "There is still one generator, which moves on from picture to picture.",
                    "Sigue habiendo un solo generador, que avanza de una imagen a otra.",
                ),
            ),
            Mistake(
                lambda seeds: torch.randn(
                    (len(seeds), *NOISE_SHAPE), generator=_generator(sum(seeds))
                ),
                say(
                    "Adding the seeds up leaves one generator for all: nobody has a noise alone.",
                    "Sumar las semillas deja un solo generador: nadie tiene su propio ruido.",
                ),
            ),
            Mistake(
                lambda seeds: torch.cat(
                    [torch.randn((1, *NOISE_SHAPE), generator=torch.Generator()) for _ in seeds]
                ),
                say("Nobody gave the generators a seed.", "Los generadores no reciben su semilla."),
            ),
        ],
        hints=[
            say(
                "A generator moves on as it is used. Who needs one of their own?",
                "Un generador avanza al usarlo. ¿Quién necesita uno propio?",
            ),
            say(
                "Make a generator for each seed, inside the list.",
                "Crea un generador para cada semilla, dentro de la lista.",
            ),
            say(
                'generator=torch.Generator("cpu").manual_seed(seed), for seed in seeds.',
                'generator=torch.Generator("cpu").manual_seed(seed), con seed en seeds.',
            ),
        ],
    )


def take_off_the_hat(text: Any, draw: Callable[[str], Any], probe: Probe) -> Verdict:
    """Exercise 2: the negative prompt that takes most hats off robots.

    Args:
        text: The student's.
        draw: Draws robots with a negative prompt; what it returns has `images`.
        probe: Sees hats, and whether the robots are still there.
    """
    before = None if text is ... else _hats_and_robots(draw(""), probe)

    def takes_most_off(text: str) -> bool:
        hats, robots = _hats_and_robots(draw(text), probe)
        assert before
        return hats <= MOST_HATS * before[0] and robots >= before[1] - 0.25

    return check(
        text,
        lambda text: isinstance(text, str) and takes_most_off(text),
        name="04.2",
        asked=say(
            f"robots as before, and at most half of the {before[0]:.0%} that wear a hat"
            if before
            else "",
            f"robots como antes y, como mucho, la mitad del {before[0]:.0%} que lleva sombrero"
            if before
            else "",
        ),
        mistakes=[
            Mistake(
                lambda text: not text.strip(),
                say("An empty text keeps nothing out.", "Un texto vacío no deja nada fuera."),
            ),
            Mistake(
                lambda text: (
                    not {"hat", "hats", "sombrero", "sombreros"} & set(text.lower().split())
                ),
                say(
                    "It names no hat, and guidance walks away only from what is named.",
                    "No nombra el sombrero, y la guía solo se aleja de lo que se nombra.",
                ),
            ),
            Mistake(
                lambda text: bool({"sin", "no", "without"} & set(text.lower().split())),
                say(
                    "A denial describes robots without hats, and guidance walks away from those.",
                    "Una negación describe robots sin sombrero, y la guía se aleja de ellos.",
                ),
            ),
            Mistake(
                lambda text: text.lower().strip() in ("sombrero", "hat", "un sombrero", "a hat"),
                say(
                    "The word alone is in few captions; how would a caption say it is worn?",
                    "Sola, esa palabra está en pocos textos; ¿cómo dicen que alguien lo lleva?",
                ),
            ),
        ],
        hints=[
            say(
                "Look at the table: which negative prompt takes most hats off?",
                "Mira la tabla: ¿qué prompt negativo quita más sombreros?",
            ),
            say(
                "Say what is in the pictures that you do not want, as a caption would.",
                "Di lo que hay en las imágenes y no quieres, como lo diría su texto.",
            ),
            say(
                "Two words, in Spanish: those for *with* and for *hat*.",
                "Tres palabras en inglés: las de *con*, *un* y *sombrero*.",
            ),
        ],
    )


def balanced_bunch(
    prompts: Any,
    draw: Callable[[Sequence[str]], tuple[list[Image.Image], list[str]]],
    probe: Probe,
) -> Verdict:
    """Exercise 3: ten prompts for ten flowers of at least four colours, not too many yellow.

    Args:
        prompts: The student's.
        draw: Draws them and reads off the colours of the flowers.
        probe: Sees whether there are flowers at all.
    """
    drawn = _listed(prompts) and draw(prompts)
    seen = probe.read(drawn[0]) if drawn else []
    flowers = sum("flower" in reading.top(1) for reading in seen)
    colours = drawn[1] if drawn else []
    found = {colour: colours.count(colour) for colour in colours}
    told = ", ".join(f"{count} {say(*COLOUR_WORDS[name])}" for name, count in found.items())
    return check(
        prompts,
        lambda prompts: (
            len(prompts) == FLOWERS
            and flowers >= LEAST_SEEN
            and len(found) >= COLOURS_WANTED
            and found.get("yellow", 0) <= MOST_YELLOW
        ),
        name="04.3",
        asked=say(
            f"ten flowers, four colours, at most five yellow; {flowers} flowers came: {told}",
            f"diez flores, cuatro colores, hasta cinco amarillas; llegaron {flowers}: {told}",
        ),
        mistakes=[
            Mistake(
                lambda prompts: len(prompts) != FLOWERS,
                say("There must be ten prompts.", "Tienen que ser diez prompts."),
            ),
            Mistake(
                lambda prompts: flowers < LEAST_SEEN,
                say("Many pictures show no flower.", "En muchas imágenes no hay ninguna flor."),
            ),
            Mistake(
                lambda prompts: found.get("yellow", 0) > MOST_YELLOW,
                say(
                    "What nobody names, the data decides.",
                    "Lo que nadie nombra lo deciden los datos.",
                ),
            ),
            Mistake(
                lambda prompts: len(found) < COLOURS_WANTED,
                say("These are too few colours.", "Son muy pocos colores."),
            ),
        ],
        hints=[
            say("Each picture is drawn alone.", "Cada imagen se dibuja sola."),
            say("Name a colour in each prompt.", "Nombra un color en cada prompt."),
            say(
                "Two prompts for each of the table's five colours.",
                "Dos prompts para cada uno de los cinco colores de la tabla.",
            ),
        ],
    )


def _generator(seed: int) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(seed)


def _noise(seed: int) -> Tensor:
    return torch.randn((1, *NOISE_SHAPE), generator=_generator(seed))


def _hats_and_robots(drawn: Any, probe: Probe) -> tuple[float, float]:
    """How many of the pictures show a hat, and how many a robot."""
    readings = probe.read(drawn.images)
    hats = share(reading.hat > 0.5 for reading in readings)
    return hats.value, share("robot" in reading.top(1) for reading in readings).value


def _listed(prompts: Any) -> bool:
    return (
        isinstance(prompts, list)
        and all(isinstance(text, str) for text in prompts)
        and bool(prompts)
    )
