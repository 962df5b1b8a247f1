"""The live demos of the class: what each asks, what it draws, and the pictures prepared for it.

The model reads both languages, so each class draws from the words of its own. The same pictures
stand on the slides. `slides/prepared/` keeps a strip of each demo in each language, for the day on
which drawing fails in front of people; `make slides` renews them when the weights change.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from diffusers import StableDiffusionPipeline
from PIL import Image

from sdlesson.experiments import sweep
from sdlesson.language import LANGUAGES, Text
from sdlesson.metrics.tables import weights_digest

PREPARED = Path(__file__).parent / "prepared"
DRAWN_BY = PREPARED / "drawn_by.txt"
STEPS = 12  # which draw what a hundred do, by the table `steps`
GUIDANCE = 5.0


@dataclass(frozen=True)
class Show:
    """Pictures in rows, each over its label, in one language."""

    images: Sequence[Image.Image]
    labels: Sequence[str]
    columns: int


@dataclass(frozen=True)
class Demo:
    """One live demo: ask first, then draw."""

    title: Text
    question: Text
    prompt: Text  # as the class sees it
    labels: Sequence[Text]
    columns: int
    settings: dict[str, Any]  # of `sweep`; what is written as `Text` is drawn in its language

    def asked(self, language: str) -> dict[str, Any]:
        """All settings of the drawing, its words in one language."""
        settings = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE} | self.settings
        return {name: _in_language(value, language) for name, value in settings.items()}

    def draw(
        self,
        pipe: StableDiffusionPipeline,
        language: str,
        *,
        folder: str | os.PathLike[str] | None = None,
    ) -> Show:
        """Draw all pictures of the demo from the words of one language."""
        drawn = sweep(pipe, folder=folder, report=lambda note: None, **self.asked(language))
        return self.shown(drawn.images, language)

    def shown(self, images: Sequence[Image.Image], language: str) -> Show:
        """Put labels under pictures."""
        return Show(list(images), _in_language(list(self.labels), language), self.columns)


def plain(*texts: str) -> list[Text]:
    """Labels that are the same in both languages, such as numbers."""
    return [Text(text, text) for text in texts]


def seeds(count: int) -> list[Text]:
    """Labels that name the seeds from 0."""
    return [Text(f"seed {number}", f"semilla {number}") for number in range(count)]


ASTRONAUT = Text(
    "an astronaut riding a horse on Mars", "un astronauta montando un caballo en Marte"
)
DOG = Text("a dog on the beach", "un perro en la playa")
ROBOT = Text("a robot on the beach", "un robot en la playa")
FLOWER = Text("a flower in a field", "una flor en el campo")
DUCK = Text("a duck in the snow", "un pato en la nieve")
COLOURS = [
    Text("red", "roja"),
    Text("purple", "morada"),
    Text("blue", "azul"),
    Text("yellow", "amarilla"),
]
NUMBERS = [Text("two", "dos"), Text("three", "tres"), Text("four", "cuatro"), Text("five", "cinco")]
NEGATIVES = [
    Text("", ""),
    Text("without a hat", "sin sombrero"),
    Text("with a hat", "con sombrero"),
]

DEMOS: dict[str, Demo] = {
    "first": Demo(
        Text("The first picture", "La primera imagen"),
        Text(
            "It has met astronauts and horses, but never one on the other. What will come?",
            "Ha visto astronautas y caballos, pero nunca uno encima del otro. ¿Qué saldrá?",
        ),
        ASTRONAUT,
        seeds(2),
        2,
        {"prompt": ASTRONAUT, "seed": [0, 1]},
    ),
    "seeds": Demo(
        Text("One text, four noises", "Un texto, cuatro ruidos"),
        Text(
            "What will all four pictures share, and what will chance decide?",
            "¿Qué tendrán en común las cuatro imágenes y qué decidirá el azar?",
        ),
        DOG,
        seeds(4),
        4,
        {"prompt": DOG, "seed": range(4)},
    ),
    "steps": Demo(
        Text("How many steps?", "¿Cuántos pasos?"),
        Text(
            "One step, two, five, twelve: after how many will you see the scene?",
            "Un paso, dos, cinco, doce: ¿a partir de cuántos verás la escena?",
        ),
        ROBOT,
        [Text("1 step", "1 paso"), *(Text(f"{n} steps", f"{n} pasos") for n in (2, 5, 12))],
        4,
        {"prompt": ROBOT, "num_inference_steps": [1, 2, 5, 12]},
    ),
    "guidance": Demo(
        Text("The dial called guidance", "El mando llamado guía"),
        Text(
            "Guidance 1, 3, 7.5 and 15 from one noise: which picture is best?",
            "Guía 1, 3, 7.5 y 15 a partir del mismo ruido: ¿cuál es la mejor imagen?",
        ),
        ASTRONAUT,
        plain("1", "3", "7.5", "15"),
        4,
        {"prompt": ASTRONAUT, "guidance_scale": [1, 3, 7.5, 15]},
    ),
    "hats": Demo(
        Text("Take off the hat", "Fuera el sombrero"),
        Text(
            "Nobody mentions a hat. Which negative prompt takes hats off: without or with a hat?",
            "Nadie habla de sombreros. ¿Qué prompt negativo los quita: sin o con sombrero?",
        ),
        ROBOT,
        [
            *(Text("no negative prompt", "sin prompt negativo"),) * 3,
            *(negative for negative in NEGATIVES[1:] for _ in range(3)),
        ],
        3,
        {
            "prompt": ROBOT,
            "negative_prompt": NEGATIVES,
            "seed": range(3),
            "guidance_scale": 7.5,
            "num_inference_steps": 25,
        },
    ),
    "flowers": Demo(
        Text("A flower", "Una flor"),
        Text(
            "Nobody names a colour. Which colour will the flowers have?",
            "Nadie nombra un color. ¿De qué color serán las flores?",
        ),
        FLOWER,
        seeds(4),
        4,
        {"prompt": FLOWER, "seed": range(4)},
    ),
    "colours": Demo(
        Text("A flower, named", "Una flor, nombrada"),
        Text("And if the prompt names the colour?", "¿Y si el prompt nombra el color?"),
        Text("a … flower in a field", "una flor … en el campo"),
        COLOURS,
        4,
        {
            "prompt": [
                Text(f"a {c.en} flower in a field", f"una flor {c.es} en el campo") for c in COLOURS
            ]
        },
    ),
    "counting": Demo(
        Text("Can it count?", "¿Sabe contar?"),
        Text(
            "Training counted to three. What will it make of four, of five?",
            "El entrenamiento contaba hasta tres. ¿Qué hará con cuatro y con cinco?",
        ),
        Text("… penguins in the snow", "… pingüinos en la nieve"),
        NUMBERS,
        4,
        {
            "prompt": [
                Text(f"{n.en} penguins in the snow", f"{n.es} pingüinos en la nieve")
                for n in NUMBERS
            ],
            "seed": 1,
        },
    ),
    "languages": Demo(
        Text("English or Spanish?", "¿Español o inglés?"),
        Text(
            "The same noise, the same scene in two languages: the same picture?",
            "El mismo ruido y la misma escena en dos idiomas: ¿la misma imagen?",
        ),
        Text(f"{DUCK.en} · {DUCK.es}", f"{DUCK.es} · {DUCK.en}"),
        [DUCK, Text(*reversed(DUCK))],
        2,
        {"prompt": [DUCK, Text(*reversed(DUCK))], "seed": 4},
    ),
}
"""In the order of the class."""


def prepared(name: str, language: str, *, folder: Path = PREPARED) -> Show:
    """The pictures that were drawn beforehand.

    Raises:
        OSError: They are missing.
    """
    demo = DEMOS[name]
    with Image.open(folder / f"{name}.{language}.webp") as strip:
        row = strip.convert("RGB")
    side = row.height
    count = len(demo.labels)
    pictures = [row.crop((n * side, 0, (n + 1) * side, side)) for n in range(count)]
    return demo.shown(pictures, language)


def prepare(shows: dict[str, dict[str, Show]]) -> bool:
    """Renew the prepared pictures, if those that are there were drawn by other weights or words.

    Args:
        shows: All shows of each language.

    Returns:
        Whether they were renewed.
    """
    if is_prepared():
        return False
    PREPARED.mkdir(exist_ok=True)
    for old in PREPARED.glob("*.webp"):
        old.unlink()
    for language, name in product(LANGUAGES, DEMOS):
        images = shows[language][name].images
        side = images[0].height
        strip = Image.new("RGB", (side * len(images), side))
        for index, image in enumerate(images):
            strip.paste(image, (index * side, 0))
        strip.save(PREPARED / f"{name}.{language}.webp", quality=90)
    DRAWN_BY.write_text(_identity() + "\n", encoding="utf-8")
    return True


def is_prepared() -> bool:
    """Whether there is each strip that is needed, drawn by today's weights and settings."""
    strips = {path.stem for path in PREPARED.glob("*.webp")}
    needed = {f"{name}.{language}" for language, name in product(LANGUAGES, DEMOS)}
    drawn_by = DRAWN_BY.read_text(encoding="utf-8").strip() if DRAWN_BY.is_file() else ""
    return strips == needed and drawn_by == _identity()


def _identity() -> str:
    """Name all that decides the prepared pictures: the weights, and what each demo asks for."""
    asked = [repr(demo.asked(code)) for demo in DEMOS.values() for code in LANGUAGES]
    return f"{weights_digest()} {hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:12]}"


def _in_language(value: Any, language: str) -> Any:
    """Choose one language of each text in a setting."""
    if isinstance(value, Text):
        return getattr(value, language)
    if isinstance(value, list):
        return [_in_language(part, language) for part in value]
    return value
