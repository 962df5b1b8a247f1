"""The rules that make a plain idea a fuller prompt."""

import random
import re

import pytest
from diffusers import StableDiffusionPipeline

from sdlesson.language import set_language
from sdlesson.pocket.world import (
    COLOURED,
    HELD_OUT_SETTINGS,
    LANGUAGES,
    PLACE_WORDS,
    SUBJECTS,
    Scene,
    caption,
    loose_caption,
    scene_at,
)
from sdlesson.prompting import HOMES, PLACES, fuller_prompt
from sdlesson.prompts import cut_words, unknown_words

SEEDS = range(8)
OF_TRAINING = 1_000  # any seed of scenes will do


def idea_of(name: str, language: str, count: int = 1) -> str:
    """A subject with its article, or a number of them, and nothing else."""
    scene = Scene("single", (name,), "white", "plain", count)
    return caption(scene, language).removesuffix(f" {PLACE_WORDS[language]['white'][0]}")


def loose_captions(count: int) -> list[str]:
    rng = random.Random(0)
    return [
        loose_caption(scene_at(i, OF_TRAINING, held_out=i % 5 == 0), LANGUAGES[i % 2], rng)
        for i in range(count)
    ]


def test_a_place_a_colour_and_a_style_are_added_where_an_idea_names_none() -> None:
    assert list(fuller_prompt("a balloon").added) == ["place", "colour", "style"]
    assert list(fuller_prompt("a cat").added) == ["place", "style"]
    assert list(fuller_prompt("a red car on Mars").added) == ["style"]
    assert fuller_prompt("a red car on Mars, pixel art").added == {}


def test_larger_models_also_get_a_medium_a_light_and_detail() -> None:
    added = fuller_prompt("a balloon", pocket=False).added
    assert list(added) == ["place", "colour", "medium", "light", "detail"]


@pytest.mark.parametrize("pocket", [True, False])
def test_a_fuller_prompt_cannot_be_made_fuller(pocket: bool) -> None:
    for idea in loose_captions(200):
        prompt = fuller_prompt(idea, pocket=pocket).prompt
        assert fuller_prompt(prompt, pocket=pocket, seed=1).added == {}, prompt


def test_a_caption_that_says_all_stays_as_it_is() -> None:
    for index in range(100):
        scene = scene_at(index, OF_TRAINING, held_out=index % 5 == 0)
        if scene.style == "plain" or (not scene.colour_named and set(scene.subjects) & {*COLOURED}):
            continue
        for language in LANGUAGES:
            assert fuller_prompt(caption(scene, language)).prompt == caption(scene, language)


def test_the_words_of_an_idea_stay_in_their_order() -> None:
    for idea in loose_captions(100):
        given, fuller = (re.findall(r"\w+", t) for t in (idea, fuller_prompt(idea).prompt))
        rest = iter(word if word != "a" else "an" for word in fuller)  # "an apple", "a red apple"
        assert all((word if word != "a" else "an") in rest for word in given), fuller


def test_the_pocket_model_knows_every_word_added_for_it() -> None:
    for name in SUBJECTS:
        for language in LANGUAGES:
            for seed in SEEDS:
                prompt = fuller_prompt(idea_of(name, language), seed=seed).prompt
                assert unknown_words(prompt) == [], prompt


def test_no_seed_takes_a_thing_where_it_was_never_shown() -> None:
    ideas = [(n, None) for n in SUBJECTS] + [(n, m) for n, _ in HELD_OUT_SETTINGS for m in SUBJECTS]
    for name, other in ideas:
        for seed in SEEDS:
            both = idea_of(name, "en") + (f" and {idea_of(other, 'en')}" if other else "")
            prompt = fuller_prompt(both, seed=seed).prompt
            for thing, place in HELD_OUT_SETTINGS:
                held_out = thing in {name, other} and PLACES[place].en in prompt
                assert not held_out, prompt


def test_what_is_at_home_somewhere_is_written_as_captions_write_it() -> None:
    for things, places in HOMES:
        unknown = [word.word for word in unknown_words(things) if not word.suggestions]
        assert unknown == [], "a word here may lack its accent, but no caption has one like it"
        assert places <= PLACES.keys()


@pytest.mark.parametrize(
    ("idea", "places"),
    [
        ("a fish", {"on the beach"}),
        ("dos peces", {"en la playa"}),
        ("an astronaut riding a horse", {"on Mars"}),
        ("a whale and a fox", {"on a white background"}),  # at home nowhere together
        ("three snowmen", {"in the snow"}),
        ("a piano", {"in the forest", "in the city", "in a field"}),
    ],
)
def test_the_place_suits_everything_in_the_idea(idea: str, places: set[str]) -> None:
    assert {next(iter(fuller_prompt(idea, seed=s).added.values())) for s in range(40)} == places


@pytest.mark.parametrize(
    ("idea", "pattern"),
    [
        ("an apple", r"a \w+ apple "),
        ("An umbrella in the snow", r"A \w+ umbrella in the snow"),
        ("three flowers", r"three \w+ flowers "),
        ("a cat and an apple", r"a cat and a \w+ apple "),
        ("una flor", r"una flor (roja|amarilla|verde|azul|morada) "),
        ("un coche", r"un coche (rojo|amarillo|verde|azul|morado) "),
        ("dos manzanas", r"dos manzanas (rojas|amarillas|verdes|azules|moradas) "),
        ("un paraguas", r"un paraguas (rojo|amarillo|verde|azul|morado) "),
        ("tres paraguas", r"tres paraguas (rojos|amarillos|verdes|azules|morados) "),
        ("una ardilla oliendo una flor", r"una ardilla oliendo una flor \w+ "),
        ("a flower on a white background", r"a (red|yellow|green|blue|purple) flower on a white"),
        ("una casa sobre un fondo blanco", r"una casa (roja|amarilla|verde|azul|morada) sobre"),
    ],
)
def test_a_colour_agrees_with_what_it_colours(idea: str, pattern: str) -> None:
    for seed in SEEDS:
        assert re.match(pattern, fuller_prompt(idea, seed=seed).prompt)


@pytest.mark.parametrize("idea", ["a white flower", "una manzana negra", "dos flores blancas"])
def test_a_colour_beyond_the_world_counts_as_named(idea: str) -> None:
    assert "colour" not in fuller_prompt(idea).added


@pytest.mark.parametrize(
    ("idea", "prompt"),
    [
        ("a cat, in the style of Monet", r"a cat in \w+ \w+, in the style of Monet"),
        ("a cat at night", r"a cat at night in \w+ \w+"),
        ("un mago montado en un dragón de noche", r"un mago .* de noche en .*"),
        ("un muñeco de nieve, pixel art", r"un muñeco de nieve en la nieve, pixel art"),
    ],
)
def test_what_only_looks_like_a_place_does_not_count_as_one(idea: str, prompt: str) -> None:
    assert re.fullmatch(prompt, fuller_prompt(idea).prompt)


def test_the_language_is_the_ideas_own_and_rules_are_named_in_the_readers() -> None:
    set_language("es")
    english = fuller_prompt("a cat in the snow", seed=1)
    assert english.prompt == f"a cat in the snow, {english.added['estilo']}"
    assert unknown_words(english.added["estilo"]) == []
    assert "\n  + estilo: " in str(english)


def test_a_seed_chooses_and_both_languages_choose_alike() -> None:
    assert fuller_prompt("a cat", seed=3) == fuller_prompt("a cat", seed=3)
    assert len({fuller_prompt("a cat", seed=seed).prompt for seed in range(30)}) > 5
    english, spanish = (list(fuller_prompt(i, seed=5).added.values()) for i in ("a cat", "un gato"))
    index = [place.en for place in PLACES.values()].index(english[0])
    assert list(PLACES.values())[index].es == spanish[0]


def test_one_rule_does_not_change_the_choice_of_another() -> None:
    for seed in SEEDS:
        both, one = fuller_prompt("a cat", seed=seed), fuller_prompt("a cat on Mars", seed=seed)
        assert both.added["style"] == one.added["style"]


def test_nothing_is_added_beyond_the_window(pocket: StableDiffusionPipeline) -> None:
    long = "a cat and a dog and a fox and a frog and a cow and a pig and a duck and a crab"
    fuller = fuller_prompt(long, tokenizer=pocket.tokenizer, pocket=False)
    without = fuller_prompt(long, pocket=False)
    assert cut_words(pocket.tokenizer, fuller.prompt) == ""
    assert cut_words(pocket.tokenizer, without.prompt) != ""
    assert fuller.added.items() < without.added.items()


def test_an_idea_without_words_is_refused() -> None:
    with pytest.raises(ValueError, match="must be a text that says what to draw"):
        fuller_prompt("  ")
