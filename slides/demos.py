"""The live demos of the class: what each asks, what it draws, and the pictures prepared for it.

The same pictures stand on the slides. `slides/prepared/` keeps one strip for each demo, for the day
on which drawing fails in front of people; `make slides` renews them when the weights change.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import StableDiffusionPipeline
from PIL import Image

from sdlesson.experiments import sweep
from sdlesson.language import Text
from sdlesson.metrics.tables import weights_digest

PREPARED = Path(__file__).parent / "prepared"
DRAWN_BY = PREPARED / "drawn_by.txt"
STEPS = 12  # which draw what a hundred do, by the table `steps`
GUIDANCE = 5.0


@dataclass(frozen=True)
class Show:
    """Pictures in rows, each over its label."""

    images: Sequence[Image.Image]
    labels: Sequence[Text]
    columns: int


@dataclass(frozen=True)
class Demo:
    """One live demo: ask first, then draw."""

    title: Text
    question: Text
    prompt: str  # as it is typed; the model reads both languages, the class sees one
    labels: Sequence[Text]
    columns: int
    settings: dict[str, Any]

    def draw(
        self, pipe: StableDiffusionPipeline, *, folder: str | os.PathLike[str] | None = None
    ) -> Show:
        """Draw all pictures of the demo."""
        asked = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE} | self.settings
        drawn = sweep(pipe, folder=folder, report=lambda note: None, **asked)
        return self.shown(drawn.images)

    def shown(self, images: Sequence[Image.Image]) -> Show:
        """Put labels under pictures."""
        return Show(list(images), self.labels, self.columns)


def plain(*texts: str) -> list[Text]:
    """Labels that are the same in both languages: prompts, numbers."""
    return [Text(text, text) for text in texts]


def seeds(count: int) -> list[Text]:
    """Labels that name the seeds from 0."""
    return [Text(f"seed {number}", f"semilla {number}") for number in range(count)]


DEMOS: dict[str, Demo] = {
    "first": Demo(
        Text("The first picture", "La primera imagen"),
        Text(
            "It has met astronauts and horses, but never one on the other. What will come?",
            "Ha visto astronautas y caballos, pero nunca uno encima del otro. ¿Qué saldrá?",
        ),
        "an astronaut riding a horse on Mars",
        seeds(2),
        2,
        {"prompt": "an astronaut riding a horse on Mars", "seed": [0, 1]},
    ),
    "seeds": Demo(
        Text("One text, four noises", "Un texto, cuatro ruidos"),
        Text(
            "What will all four pictures share, and what will chance decide?",
            "¿Qué tendrán en común las cuatro imágenes y qué decidirá el azar?",
        ),
        "a dog on the beach",
        seeds(4),
        4,
        {"prompt": "a dog on the beach", "seed": range(4)},
    ),
    "steps": Demo(
        Text("How many steps?", "¿Cuántos pasos?"),
        Text(
            "One step, two, five, twelve: after how many will you see the scene?",
            "Un paso, dos, cinco, doce: ¿a partir de cuántos verás la escena?",
        ),
        "a robot on the beach",
        [Text("1 step", "1 paso"), *(Text(f"{n} steps", f"{n} pasos") for n in (2, 5, 12))],
        4,
        {"prompt": "a robot on the beach", "num_inference_steps": [1, 2, 5, 12]},
    ),
    "guidance": Demo(
        Text("The dial called guidance", "El mando llamado guía"),
        Text(
            "Guidance 1, 3, 7.5 and 15 from one noise: which picture is best?",
            "Guía 1, 3, 7.5 y 15 a partir del mismo ruido: ¿cuál es la mejor imagen?",
        ),
        "an astronaut riding a horse on Mars",
        plain("1", "3", "7.5", "15"),
        4,
        {"prompt": "an astronaut riding a horse on Mars", "guidance_scale": [1, 3, 7.5, 15]},
    ),
    "hats": Demo(
        Text("Take off the hat", "Fuera el sombrero"),
        Text(
            "Nobody mentions a hat. Which negative prompt takes hats off: no hat, or with a hat?",
            "Nadie habla de sombreros. ¿Qué prompt negativo los quita: no hat o with a hat?",
        ),
        "a robot on the beach",
        [
            *(Text("no negative prompt", "sin prompt negativo"),) * 3,
            *plain(*("no hat",) * 3, *("with a hat",) * 3),
        ],
        3,
        {
            "prompt": "a robot on the beach",
            "negative_prompt": ["", "no hat", "with a hat"],
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
        "a flower in a field",
        seeds(4),
        4,
        {"prompt": "a flower in a field", "seed": range(4)},
    ),
    "colours": Demo(
        Text("A flower, named", "Una flor, nombrada"),
        Text("And if the prompt names the colour?", "¿Y si el prompt nombra el color?"),
        "a … flower in a field",
        plain("red", "purple", "blue", "yellow"),
        4,
        {"prompt": [f"a {c} flower in a field" for c in ("red", "purple", "blue", "yellow")]},
    ),
    "counting": Demo(
        Text("Can it count?", "¿Sabe contar?"),
        Text(
            "Training counted to three. What will it make of four, of five?",
            "El entrenamiento contaba hasta tres. ¿Qué hará con cuatro y con cinco?",
        ),
        "… penguins in the snow",
        plain("two", "three", "four", "five"),
        4,
        {
            "prompt": [f"{n} penguins in the snow" for n in ("two", "three", "four", "five")],
            "seed": 1,
        },
    ),
    "languages": Demo(
        Text("English or Spanish?", "¿Español o inglés?"),
        Text(
            "The same noise, the same scene in two languages: the same picture?",
            "El mismo ruido y la misma escena en dos idiomas: ¿la misma imagen?",
        ),
        "a duck in the snow · un pato en la nieve",
        plain("a duck in the snow", "un pato en la nieve"),
        2,
        {"prompt": ["a duck in the snow", "un pato en la nieve"], "seed": 4},
    ),
}
"""In the order of the class."""


def prepared(name: str, *, folder: Path = PREPARED) -> Show:
    """The pictures that were drawn beforehand.

    Raises:
        OSError: They are missing.
    """
    demo = DEMOS[name]
    with Image.open(folder / f"{name}.webp") as strip:
        row = strip.convert("RGB")
    side = row.height
    count = len(demo.labels)
    return demo.shown([row.crop((n * side, 0, (n + 1) * side, side)) for n in range(count)])


def prepare(shows: dict[str, Show]) -> bool:
    """Renew the prepared pictures, if other weights drew those that are there.

    Returns:
        Whether they were renewed.
    """
    if is_prepared():
        return False
    PREPARED.mkdir(exist_ok=True)
    for name in DEMOS:
        images = shows[name].images
        side = images[0].height
        strip = Image.new("RGB", (side * len(images), side))
        for index, image in enumerate(images):
            strip.paste(image, (index * side, 0))
        strip.save(PREPARED / f"{name}.webp", quality=90)
    DRAWN_BY.write_text(_identity() + "\n", encoding="utf-8")
    return True


def is_prepared() -> bool:
    """Whether there is a strip for each demo, drawn by today's weights with today's settings."""
    strips = {path.stem for path in PREPARED.glob("*.webp")}
    drawn_by = DRAWN_BY.read_text(encoding="utf-8").strip() if DRAWN_BY.is_file() else ""
    return strips == set(DEMOS) and drawn_by == _identity()


def _identity() -> str:
    """Name all that decides the prepared pictures: the weights, and what each demo asks for."""
    asked = json.dumps([repr(demo.settings) for demo in DEMOS.values()])
    return f"{weights_digest()} {hashlib.sha256(asked.encode()).hexdigest()[:12]}"
