"""Turn a plain idea into a fuller prompt, by rules that anyone can read.

Each rule looks for one thing that the idea does not say yet, and adds words for it. It never
changes a word that is there: what you ask for stays what you ask for.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from sdlesson.language import Text, say
from sdlesson.prompts import cut_words, guess_language, without_accents
from sdlesson.settings import check_prompt


class Rule(NamedTuple):
    """One thing that a prompt can say.

    Attributes:
        name: What the reader calls it.
        said: Finds it in a prompt of lowercase letters without accents; then nothing is added.
        options: What suits a prompt; none where the rule has no say.
        join: Puts the chosen words into a prompt.
    """

    name: Text
    said: Text
    options: Callable[[str], Sequence[Text]]
    join: Callable[[str, str], str]


@dataclass(frozen=True)
class FullerPrompt:
    """A fuller prompt, and the words that each rule added, by the rule's name."""

    prompt: str
    added: dict[str, str]

    def __str__(self) -> str:
        return "\n".join([self.prompt, *(f"  + {name}: {w}" for name, w in self.added.items())])


PLACES = {
    "mars": Text("on Mars", "en Marte"),
    "space": Text("in space", "en el espacio"),
    "beach": Text("on the beach", "en la playa"),
    "snow": Text("in the snow", "en la nieve"),
    "forest": Text("in the forest", "en el bosque"),
    "city": Text("in the city", "en la ciudad"),
    "field": Text("in a field", "en el campo"),
}
HOMES = (
    ("astronaut robot rocket astronauta cohete", {"mars", "space"}),
    ("fish whale crab octopus boat pez peces ballena cangrejo pulpo barco", {"beach"}),
    ("penguin snowman snowmen pinguino muneco", {"snow"}),
    ("fox squirrel frog mushroom zorro ardilla rana seta hongo", {"forest"}),
    ("cow pig vaca cerdo", {"field"}),
    ("flower flor", {"field", "forest"}),
    ("horse camel caballo camello", {"field", "mars"}),
    ("car bicycle guitar cake sushi coche bicicleta guitarra pastel tarta", {"city"}),
)
"""Things and where they are at home."""
ANY_HOME = {"forest", "city", "field"}
"""For an idea without any of those things."""
NO_HOME = Text("on a white background", "sobre un fondo blanco")
"""For things that are nowhere at home together."""

COLOURS = (
    Text("red", "roj@"),  # @ is o or a
    Text("yellow", "amarill@"),
    Text("green", "verde"),
    Text("blue", "azul"),
    Text("purple", "morad@"),
)
STYLES = (
    Text("in the style of Monet", "al estilo de Monet"),
    Text("pencil sketch", "dibujo a lápiz"),
    Text("pixel art", "pixel art"),
    Text("at night", "de noche"),
    Text("old photograph", "fotografía antigua"),
)
MEDIA = (*STYLES, Text("oil painting", "pintura al óleo"), Text("watercolour", "acuarela"))
LIGHTS = (
    Text("soft morning light", "luz suave de la mañana"),
    Text("warm light at sunset", "luz cálida del atardecer"),
    Text("studio lighting", "iluminación de estudio"),
)
DETAILS = (Text("finely detailed", "con todo detalle"), Text("sharp focus", "enfoque nítido"))

PLACE_SAID = Text(
    r"\b(in(?! the style)|on|at(?! night)|under|inside|mars|beach|forest|woods|city|background)\b",
    r"(?<!montad[oa] )\ben\b|\b(sobre|bajo|dentro|marte|playa|bosque|ciudad|campo|fondo)\b",
)
COLOUR_SAID = Text(
    r"\b(red|yellow|green|blue|purple|orange|pink|black|brown|gr[ae]y|(?<!on )white(?! backg))\b",
    r"\b(roj|amarill|verde|azul|morad|naranja|rosa|negr|marron|gris|(?<!fondo )blanc)",
)
STYLE_SAID = Text(
    r"\b(style|monet|sketch|draw|pixel|photo|paint|watercolou?r|night)",
    r"\b(estilo|manera|monet|boceto|dibujo|pixel|foto|pint|oleo|acuarela|noche)",
)
LIGHT_SAID = Text(
    r"light|\blit\b|sun|dawn|dusk|night", r"\bluz|luces|ilumin|sol|amanec|atard|noche"
)
DETAIL_SAID = Text(r"detail|sharp|focus", r"detall|nitid|enfo")

_ENGLISH_NOUN = re.compile(
    r"\b(a|two|three)n? (flowers?|cars?|balloons?|houses?|umbrellas?|apples?)\b", re.IGNORECASE
)
_SPANISH_NOUN = re.compile(
    r"\b(una?|dos|tres) (flor(?:es)?|(?:coche|auto|carro|globo|casa|manzana)s?|paraguas)\b",
    re.IGNORECASE,
)


def fuller_prompt(
    idea: str,
    *,
    seed: int = 0,
    pocket: bool = True,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> FullerPrompt:
    """Add a place, a colour and a style where an idea names none, in the idea's language.

    Args:
        idea: What to draw, in English or Spanish.
        seed: Chooses the words; the same seed chooses the same.
        pocket: Add only words that the pocket model knows. With False also a light and some detail,
            and more styles, which larger models understand.
        tokenizer: Of the model that is to read the prompt; nothing is added beyond its window.

    Raises:
        ValueError: The idea is empty.
    """
    check_prompt(idea)
    language = guess_language(idea)
    prompt, added = idea.strip(), {}
    for rule in POCKET_RULES if pocket else RULES:
        options = rule.options(prompt)
        if not options or re.search(getattr(rule.said, language), _plain(prompt)):
            continue
        chance = random.Random(f"{seed}/{rule.name.en}")  # so that no rule shifts another's choice
        words = getattr(chance.choice(options), language)
        longer = rule.join(prompt, words)
        if tokenizer is None or not cut_words(tokenizer, longer):
            prompt, added[say(*rule.name)] = longer, words
    return FullerPrompt(prompt, added)


def _plain(prompt: str) -> str:
    return without_accents(prompt).lower()


def _places(prompt: str) -> Sequence[Text]:
    """Find the places where all things of a prompt are at home."""
    words = re.findall(r"\w+", _plain(prompt))
    forms = {word.removesuffix(ending) for word in words for ending in ("", "s", "es")}
    homes = [names for things, names in HOMES if forms & set(things.split())]
    suited = set.intersection(*homes) if homes else ANY_HOME
    return [text for name, text in PLACES.items() if name in suited] or [NO_HOME]


def _colours(prompt: str) -> Sequence[Text]:
    """List colours where a prompt has something that comes in many, in its gender and number."""
    if _ENGLISH_NOUN.search(prompt):
        return COLOURS
    if not (found := _SPANISH_NOUN.search(prompt)):
        return ()
    ending = "a" if found[2].lower().startswith(("flor", "casa", "manzana")) else "o"
    agreed = [Text(colour.en, colour.es.replace("@", ending)) for colour in COLOURS]
    if found[1].lower() in ("un", "una"):
        return agreed
    return [Text(en, es + ("es" if es.endswith("l") else "s")) for en, es in agreed]


def _before_comma(prompt: str, words: str) -> str:
    scene, comma, rest = prompt.partition(",")
    return f"{scene} {words}{comma}{rest}"


def _at_noun(prompt: str, colour: str) -> str:
    """Put a colour before an English noun, where "an" becomes "a", or after a Spanish one."""
    if found := _SPANISH_NOUN.search(prompt):
        return f"{prompt[: found.end()]} {colour}{prompt[found.end() :]}"
    return _ENGLISH_NOUN.sub(rf"\1 {colour} \2", prompt, count=1)


def _at_end(prompt: str, words: str) -> str:
    return f"{prompt}, {words}"


PLACE = Rule(Text("place", "lugar"), PLACE_SAID, _places, _before_comma)
COLOUR = Rule(Text("colour", "color"), COLOUR_SAID, _colours, _at_noun)
POCKET_RULES = (
    PLACE,
    COLOUR,
    Rule(Text("style", "estilo"), STYLE_SAID, lambda prompt: STYLES, _at_end),
)
RULES = (
    PLACE,
    COLOUR,
    Rule(Text("medium", "técnica"), STYLE_SAID, lambda prompt: MEDIA, _at_end),
    Rule(Text("light", "luz"), LIGHT_SAID, lambda prompt: LIGHTS, _at_end),
    Rule(Text("detail", "detalle"), DETAIL_SAID, lambda prompt: DETAILS, _at_end),
)
"""For models whose world is larger."""
