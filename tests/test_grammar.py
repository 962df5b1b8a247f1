"""Articles, genders and plurals, in both languages, and the words that captions are made of."""

import json
import random
import re
import unicodedata

import pytest

from sdlesson.language import set_language
from sdlesson.pocket import world
from sdlesson.pocket.paths import VOCABULARY_FILE
from sdlesson.pocket.world import (
    COLOURS,
    LANGUAGES,
    PLACES,
    STYLES,
    SUBJECTS,
    Scene,
    called,
    caption,
    loose_caption,
    scene_at,
    vocabulary,
)
from sdlesson.pocket.world.grammar import ENGLISH, NOUNS, SPANISH


def one(name: str, place: str = "white", style: str = "plain", **parts: object) -> Scene:
    return Scene("single", (name,), place, style, **parts)


def two(kind: str, first: str, second: str, place: str = "white", **parts: object) -> Scene:
    given = {"colours": (None, None), "hats": (False, False)} | parts
    return Scene(kind, (first, second), place, "plain", **given)


@pytest.mark.parametrize(
    ("scene", "english", "spanish"),
    [
        (one("cat", "beach"), "a cat on the beach", "un gato en la playa"),
        (one("astronaut", "space"), "an astronaut in space", "un astronauta en el espacio"),
        (one("umbrella", "snow"), "an umbrella in the snow", "un paraguas en la nieve"),
        (
            one("umbrella", "city", count=2),
            "two umbrellas in the city",
            "dos paraguas en la ciudad",
        ),
        (
            one("fish", "white", count=3),
            "three fish on a white background",
            "tres peces sobre un fondo blanco",
        ),
        (
            one("snowman", "field", count=2),
            "two snowmen in a field",
            "dos muñecos de nieve en el campo",
        ),
        (one("sushi", "mars"), "sushi on Mars", "sushi en Marte"),
        (one("broccoli", "mars"), "broccoli on Mars", "un brócoli en Marte"),
        (
            one("flower", "field", colours=("red",), colour_named=True),
            "a red flower in a field",
            "una flor roja en el campo",
        ),
        (
            one("flower", "field", colours=("yellow",), colour_named=True, count=3),
            "three yellow flowers in a field",
            "tres flores amarillas en el campo",
        ),
        (
            one("car", "city", colours=("blue",), colour_named=True, count=2),
            "two blue cars in the city",
            "dos coches azules en la ciudad",
        ),
        (
            one("apple", "white", colours=("green",), colour_named=True),
            "a green apple on a white background",
            "una manzana verde sobre un fondo blanco",
        ),
        (
            one("car", "city", colours=("blue",)),
            "a car in the city",
            "un coche en la ciudad",
        ),
        (
            one("cat", "beach", "monet", hats=(True,)),
            "a cat wearing a hat on the beach, in the style of Monet",
            "un gato con sombrero en la playa, al estilo de Monet",
        ),
        (
            one("cat", "beach", "night", hats=(True,), count=2),
            "two cats wearing hats on the beach at night",
            "dos gatos con sombrero en la playa de noche",
        ),
        (
            two("riding", "astronaut", "horse", "mars"),
            "an astronaut riding a horse on Mars",
            "un astronauta montando un caballo en Marte",
        ),
        (
            two(
                "sniffing", "squirrel", "flower", "field",
                colours=(None, "yellow"), colour_named=True,
            ),
            "a squirrel sniffing a yellow flower in a field",
            "una ardilla oliendo una flor amarilla en el campo",
        ),
        (
            two("beside", "octopus", "pizza", "forest"),
            "an octopus next to a pizza in the forest",
            "un pulpo junto a una pizza en el bosque",
        ),
    ],
)  # fmt: skip
def test_captions_agree_in_article_gender_and_number(scene: Scene, english: str, spanish: str):
    assert caption(scene, "en") == english
    assert caption(scene, "es") == spanish


def test_every_subject_has_a_name_in_both_languages():
    assert set(ENGLISH) == set(SPANISH) == set(world.SUBJECTS)


def test_every_spanish_noun_agrees_with_its_own_article():
    for name in world.SUBJECTS:
        for noun in SPANISH[name]:
            if noun.counted and not noun.singular.endswith(("ta", "ma", "a")):
                continue
            if noun.singular.endswith("a") and name not in ("panda", "astronaut", "ghost"):
                assert noun.gender == "f", noun
    masculine_in_a = {SPANISH[name][0].gender for name in ("panda", "astronaut", "ghost")}
    assert masculine_in_a == {"m"}


def test_the_rider_decides_the_ending_of_montado():
    rng = random.Random(0)
    scene = two("riding", "astronaut", "horse")
    said = {loose_caption(scene, "es", rng) for _ in range(300)}
    assert any("una astronauta montada en un caballo" in text for text in said)
    assert any("un astronauta montado en un caballo" in text for text in said)
    assert not any(
        "un astronauta montada" in text or "una astronauta montado" in text for text in said
    )


@pytest.mark.parametrize("name", world.HATTED)
def test_loose_captions_leave_out_some_hats_half_of_the_time_and_others_never(name):
    rng = random.Random(0)
    scene = one(name, "beach", hats=(True,))
    texts = [loose_caption(scene, "en", rng) for _ in range(2000)]
    said = sum(" hat" in text for text in texts) / len(texts)
    assert 0.45 < said < 0.55 if name in world.CASUALLY_HATTED else said == 1


def test_loose_captions_leave_out_the_place_sometimes():
    rng = random.Random(0)
    texts = [loose_caption(one("cat", "beach"), "en", rng) for _ in range(2000)]
    assert 0.8 < sum("beach" in text for text in texts) / len(texts) < 0.9


def test_colours_are_said_exactly_when_they_are_to_be_named():
    rng = random.Random(0)
    named = one("car", colours=("blue",), colour_named=True)
    unnamed = one("car", colours=("blue",))
    assert all("azul" in loose_caption(named, "es", rng) for _ in range(100))
    assert not any("azul" in loose_caption(unnamed, "es", rng) for _ in range(100))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_vocabulary_holds_every_word_of_every_caption(language: str):
    words = {strip_accents(word) for word in vocabulary(language)}
    rng = random.Random(0)
    used: set[str] = set()
    for i in range(6_000):
        text = loose_caption(scene_at(i, 1), language, rng).lower()
        used |= {strip_accents(word) for word in re.findall(r"\w+", text)}
    assert used <= words
    assert words - used == set(), "words that no caption says"


def test_the_committed_vocabulary_is_the_grammars():
    stored = json.loads(VOCABULARY_FILE.read_text(encoding="utf-8"))
    assert stored == {language: vocabulary(language) for language in LANGUAGES}


def test_no_two_subjects_share_a_name():
    for language in LANGUAGES:
        names = [n for nouns in NOUNS[language].values() for n in {x.singular for x in nouns}]
        assert len(names) == len(set(names))


def test_everything_in_the_world_has_a_name_in_the_readers_language():
    names = (*SUBJECTS, *COLOURS, *PLACES, *STYLES)
    english = {name: called(name) for name in names}
    set_language("es")
    spanish = {name: called(name) for name in names}
    assert (english["horse"], spanish["horse"]) == ("horse", "caballo")
    assert (english["space"], spanish["space"]) == ("in space", "en el espacio")
    assert (english["pencil"], spanish["pencil"]) == ("pencil sketch", "dibujo a lápiz")
    assert (english["plain"], spanish["plain"]) == ("no style", "sin estilo")
    assert all([*english.values(), *spanish.values()])
    assert not set(PLACES) & set(spanish.values())
    with pytest.raises(ValueError, match="nothing in this world is named 'unicorn'; there are cat"):
        called("unicorn")


def strip_accents(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
