"""Captions in English and Spanish for the same scene, from one grammar.

`caption` says everything that a scene's caption should; `loose_caption` speaks as people do,
leaving out the place or the hat now and then, which is what the model is trained on.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from sdlesson.language import language as reading_language
from sdlesson.language import say
from sdlesson.pocket.world.scenes import CASUALLY_HATTED, HATTED, UNCOUNTED, Scene

LANGUAGES = ("en", "es")

Option = TypeVar("Option")


@dataclass(frozen=True)
class Noun:
    """One thing's name in one language.

    Attributes:
        gender: "m" or "f"; English nouns have "m", which changes nothing there.
        counted: False for a mass noun, which takes no article.
    """

    singular: str
    plural: str
    gender: str = "m"
    counted: bool = True


_COUNTED_ENGLISH = {
    "cat": "cats", "dog": "dogs", "horse": "horses", "panda": "pandas", "fox": "foxes",
    "squirrel": "squirrels", "octopus": "octopuses", "dragon": "dragons",
    "elephant": "elephants", "rabbit": "rabbits", "monkey": "monkeys", "cow": "cows",
    "pig": "pigs", "duck": "ducks", "penguin": "penguins", "frog": "frogs",
    "turtle": "turtles", "fish": "fish", "whale": "whales", "butterfly": "butterflies",
    "snail": "snails", "dinosaur": "dinosaurs", "camel": "camels",
    "teddy bear": "teddy bears", "robot": "robots", "astronaut": "astronauts",
    "cowboy": "cowboys", "wizard": "wizards", "ghost": "ghosts", "snowman": "snowmen",
    "rocket": "rockets", "house": "houses", "tree": "trees", "flower": "flowers",
    "car": "cars", "bicycle": "bicycles", "motorcycle": "motorcycles", "guitar": "guitars",
    "balloon": "balloons", "apple": "apples", "pizza": "pizzas", "cake": "cakes",
    "mushroom": "mushrooms", "boat": "boats", "umbrella": "umbrellas", "crab": "crabs",
}  # fmt: skip

ENGLISH: dict[str, tuple[Noun, ...]] = {
    **{name: (Noun(name, plural),) for name, plural in _COUNTED_ENGLISH.items()},
    "sushi": (Noun("sushi", "sushi", counted=False),),
    "broccoli": (Noun("broccoli", "broccoli", counted=False),),
}

SPANISH: dict[str, tuple[Noun, ...]] = {
    "cat": (Noun("gato", "gatos"),),
    "dog": (Noun("perro", "perros"),),
    "horse": (Noun("caballo", "caballos"),),
    "panda": (Noun("panda", "pandas"),),
    "fox": (Noun("zorro", "zorros"),),
    "squirrel": (Noun("ardilla", "ardillas", "f"),),
    "octopus": (Noun("pulpo", "pulpos"),),
    "dragon": (Noun("dragón", "dragones"),),
    "elephant": (Noun("elefante", "elefantes"),),
    "rabbit": (Noun("conejo", "conejos"),),
    "monkey": (Noun("mono", "monos"),),
    "cow": (Noun("vaca", "vacas", "f"),),
    "pig": (Noun("cerdo", "cerdos"),),
    "duck": (Noun("pato", "patos"),),
    "penguin": (Noun("pingüino", "pingüinos"),),
    "frog": (Noun("rana", "ranas", "f"),),
    "turtle": (Noun("tortuga", "tortugas", "f"),),
    "fish": (Noun("pez", "peces"),),
    "whale": (Noun("ballena", "ballenas", "f"),),
    "butterfly": (Noun("mariposa", "mariposas", "f"),),
    "snail": (Noun("caracol", "caracoles"),),
    "dinosaur": (Noun("dinosaurio", "dinosaurios"),),
    "camel": (Noun("camello", "camellos"),),
    "teddy bear": (Noun("oso de peluche", "osos de peluche"),),
    "robot": (Noun("robot", "robots"),),
    "astronaut": (Noun("astronauta", "astronautas"), Noun("astronauta", "astronautas", "f")),
    "cowboy": (Noun("vaquero", "vaqueros"),),
    "wizard": (Noun("mago", "magos"),),
    "ghost": (Noun("fantasma", "fantasmas"),),
    "snowman": (Noun("muñeco de nieve", "muñecos de nieve"),),
    "rocket": (Noun("cohete", "cohetes"),),
    "house": (Noun("casa", "casas", "f"),),
    "tree": (Noun("árbol", "árboles"),),
    "flower": (Noun("flor", "flores", "f"),),
    "sushi": (Noun("sushi", "sushi", counted=False),),
    "car": (Noun("coche", "coches"), Noun("auto", "autos"), Noun("carro", "carros")),
    "bicycle": (Noun("bicicleta", "bicicletas", "f"),),
    "motorcycle": (Noun("motocicleta", "motocicletas", "f"), Noun("moto", "motos", "f")),
    "guitar": (Noun("guitarra", "guitarras", "f"),),
    "balloon": (Noun("globo", "globos"),),
    "apple": (Noun("manzana", "manzanas", "f"),),
    "pizza": (Noun("pizza", "pizzas", "f"),),
    "cake": (Noun("pastel", "pasteles"), Noun("tarta", "tartas", "f")),
    "mushroom": (Noun("seta", "setas", "f"), Noun("hongo", "hongos")),
    "boat": (Noun("barco", "barcos"),),
    "umbrella": (Noun("paraguas", "paraguas"),),
    "crab": (Noun("cangrejo", "cangrejos"),),
    "broccoli": (Noun("brócoli", "brócolis"),),
}

NOUNS: dict[str, dict[str, tuple[Noun, ...]]] = {"en": ENGLISH, "es": SPANISH}

COLOUR_WORDS: dict[str, dict[str, str]] = {
    "en": {c: c for c in ("red", "yellow", "green", "blue", "purple")},
    "es": {
        "red": "rojo", "yellow": "amarillo", "green": "verde", "blue": "azul", "purple": "morado",
    },
}  # fmt: skip
NUMBERS: dict[str, dict[int, str]] = {
    "en": {2: "two", 3: "three"},
    "es": {2: "dos", 3: "tres"},
}

# In each tuple the first wording is the one that `caption` uses.
PLACE_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "mars": ("on Mars",),
        "beach": ("on the beach", "at the beach"),
        "forest": ("in the forest", "in a forest", "in the woods"),
        "snow": ("in the snow",),
        "space": ("in space", "in outer space"),
        "city": ("in the city", "in a city"),
        "field": ("in a field", "in the field"),
        "white": ("on a white background", "on white"),
    },
    "es": {
        "mars": ("en Marte",),
        "beach": ("en la playa", "en una playa"),
        "forest": ("en el bosque", "en un bosque"),
        "snow": ("en la nieve",),
        "space": ("en el espacio",),
        "city": ("en la ciudad", "en una ciudad"),
        "field": ("en el campo", "en un prado"),
        "white": ("sobre un fondo blanco", "sobre fondo blanco"),
    },
}
STYLE_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "plain": ("{}", "{}", "{}", "a photo of {}", "a picture of {}"),
        "monet": ("{}, in the style of Monet", "{}, Monet style", "{} painted by Monet"),
        "pencil": ("{}, pencil sketch", "a pencil sketch of {}", "{}, pencil drawing"),
        "pixel": ("{}, pixel art", "pixel art of {}"),
        "night": ("{} at night", "{}, at night"),
        "old photo": ("{}, old photograph", "an old photograph of {}", "{}, old photo"),
    },
    "es": {
        "plain": ("{}", "{}", "{}", "una foto de {}", "una imagen de {}"),
        "monet": ("{}, al estilo de Monet", "{}, estilo Monet", "{}, a la manera de Monet"),
        "pencil": ("{}, dibujo a lápiz", "un dibujo a lápiz de {}", "{}, boceto a lápiz"),
        "pixel": ("{}, pixel art", "pixel art de {}", "{}, arte de píxeles"),
        "night": ("{} de noche", "{}, de noche"),
        "old photo": ("{}, fotografía antigua", "una fotografía antigua de {}", "{}, foto antigua"),
    },
}
HAT_WORDS: dict[str, dict[tuple[bool, bool], tuple[str, ...]]] = {
    "en": {
        (True, False): ("wearing a hat", "with a hat"),
        (True, True): ("wearing hats", "with hats"),
        (False, False): ("without a hat", "with no hat"),
        (False, True): ("without hats", "with no hats"),
    },
    "es": {
        (True, False): ("con sombrero", "con un sombrero"),
        (True, True): ("con sombrero", "con sombreros"),
        (False, False): ("sin sombrero",),
        (False, True): ("sin sombrero", "sin sombreros"),
    },
}
"""By (hat worn, more than one wearer)."""
LINKS: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "beside": ("{} next to {}", "{} beside {}", "{} and {}"),
        "riding": ("{} riding {}",),
        "sniffing": ("{} sniffing {}", "{} smelling {}"),
    },
    "es": {
        "beside": ("{} junto a {}", "{} al lado de {}", "{} y {}"),
        "riding": ("{} montando {}", "{} montad@ en {}"),
        "sniffing": ("{} oliendo {}", "{} olfateando {}"),
    },
}
"""How two things are joined; `@` takes the ending of the first one's gender."""

PLACE_SAID = 0.85
HAT_SAID = 0.5
NO_HAT_SAID = {"cowboy": 0.4}
NO_HAT_SAID_OTHERWISE = 0.06
ACCENTS_DROPPED = 0.08


def caption(scene: Scene, language: str = "en") -> str:
    """The full caption: number, colours that are to be named, worn hats, place, style."""
    return _compose(scene, language, hats=[True if hat else None for hat in scene.hats])


def loose_caption(scene: Scene, language: str, rng: random.Random) -> str:
    """A caption as people write them, one of many: synonyms, no place, an unmentioned hat.

    Colours are said exactly when `scene.colour_named`, styles always. Spanish is sometimes written
    without its accents, as students do.
    """
    hats = [_said(name, hat, rng) for name, hat in zip(scene.subjects, scene.hats, strict=True)]
    text = _compose(scene, language, hats, rng.random() < PLACE_SAID, rng)
    if language == "es" and rng.random() < ACCENTS_DROPPED:
        return "".join(
            c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c)
        )
    return text


def called(name: str) -> str:
    """What the reader's language calls a subject, a colour, a place or a style of this world.

    Raises:
        ValueError: There is nothing of this name.
    """
    code = reading_language()
    if name == "plain":
        return say("no style", "sin estilo")
    if name in NOUNS[code]:
        return NOUNS[code][name][0].singular
    if name in COLOUR_WORDS[code]:
        return COLOUR_WORDS[code][name]
    wordings = PLACE_WORDS[code] | STYLE_WORDS[code]
    if name not in wordings:
        known = ", ".join([*NOUNS[code], *COLOUR_WORDS[code], *wordings])
        raise ValueError(f"nothing in this world is named {name!r}; there are {known}")
    return wordings[name][0].format("").strip(", ")


def vocabulary(language: str) -> list[str]:
    """Every word that a caption in `language` can hold, lower case, sorted."""
    texts: list[str] = []
    for name, nouns in NOUNS[language].items():
        for noun in nouns:
            texts.append(_phrase(noun, 1, None, language))
            texts += [] if name in UNCOUNTED else [noun.plural]
    for word in COLOUR_WORDS[language].values():
        texts += [_agree(word, g, n) for g in "mf" for n in (1, 2)] if language == "es" else [word]
    texts += NUMBERS[language].values()
    for table in (PLACE_WORDS, STYLE_WORDS, HAT_WORDS, LINKS):
        for wordings in table[language].values():
            texts += [w.replace("@", ending) for w in wordings for ending in "oa"]
    return sorted(set(re.findall(r"\w+", " ".join(texts).lower())))


def _compose(
    scene: Scene,
    language: str,
    hats: Sequence[bool | None],
    place_said: bool = True,
    rng: random.Random | None = None,
) -> str:
    """Put the words together; without `rng`, every choice is the first."""

    def pick(options: Sequence[Option]) -> Option:
        return options[0] if rng is None else rng.choice(options)

    nouns = [pick(NOUNS[language][name]) for name in scene.subjects]
    phrases = []
    for noun, colour, hat in zip(nouns, scene.colours, hats, strict=True):
        phrase = _phrase(noun, scene.count, colour if scene.colour_named else None, language)
        phrases.append(
            phrase if hat is None else f"{phrase} {pick(HAT_WORDS[language][hat, scene.count > 1])}"
        )
    text = phrases[0]
    if scene.kind != "single":
        link = pick(LINKS[language][scene.kind])
        if scene.kind == "beside" and rng is not None and rng.random() < 0.5:
            phrases.reverse()
        text = link.format(*phrases).replace("@", _ending(nouns[0]))
    if place_said:
        text = f"{text} {pick(PLACE_WORDS[language][scene.place])}"
    return pick(STYLE_WORDS[language][scene.style]).format(text)


def _phrase(noun: Noun, count: int, colour: str | None, language: str) -> str:
    """Article or number, noun and adjective, agreeing."""
    name = noun.singular if count == 1 else noun.plural
    if language == "en":
        words = [COLOUR_WORDS["en"][colour], name] if colour else [name]
        article = "an" if words[0][0] in "aeiou" else "a"
    else:
        words = [name, _agree(COLOUR_WORDS["es"][colour], noun.gender, count)] if colour else [name]
        article = "una" if noun.gender == "f" else "un"
    if not noun.counted:
        return " ".join(words)
    return " ".join([article if count == 1 else NUMBERS[language][count], *words])


def _agree(adjective: str, gender: str, count: int) -> str:
    """A Spanish adjective in its gender and number: rojo, roja, rojos, rojas; azul, azules."""
    if adjective.endswith("o"):
        adjective = adjective[:-1] + ("a" if gender == "f" else "o")
    if count == 1:
        return adjective
    return adjective + ("s" if adjective[-1] in "aeo" else "es")


def _ending(noun: Noun) -> str:
    return "a" if noun.gender == "f" else "o"


def _said(name: str, hat: bool, rng: random.Random) -> bool | None:
    """Whether a caption says "with a hat" (True), "without a hat" (False) or nothing (None)."""
    if name not in HATTED:
        return None
    if hat and name not in CASUALLY_HATTED:
        return True
    chance = HAT_SAID if hat else NO_HAT_SAID.get(name, NO_HAT_SAID_OTHERWISE)
    return hat if rng.random() < chance else None
