import pytest
from transformers import CLIPTokenizer

from fixtures_pipeline import WINDOW, make_tiny_pipeline
from sdlesson.language import set_language
from sdlesson.prompts import cut_words, guess_language, unknown_words


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    """A tokenizer with one token a letter, and room for 14 letters."""
    return make_tiny_pipeline(tmp_path_factory.mktemp("letters")).tokenizer


@pytest.mark.parametrize(
    "prompt",
    [
        "an astronaut riding a horse on Mars",
        "A CAT on the beach, in the style of Monet!",
        "a squirrel sniffing a yellow flower in a field",
        "a cowboy without a hat",
        "un astronauta montando un caballo en Marte",
        "un gato en la playa, dibujo a lápiz",
        "un gato en la nieve, fotografi\u0301a antigua",  # accent written as a sign of its own
        "",
        " ... ",
    ],
)
def test_words_of_the_world_are_known(prompt: str) -> None:
    assert unknown_words(prompt) == []


def test_unknown_words_are_named_once_and_in_order() -> None:
    found = unknown_words("a quokka beside a cat, a Quokka and a xylophone")
    assert [word.word for word in found] == ["quokka", "xylophone"]


def test_a_misspelt_word_finds_its_neighbour() -> None:
    (unknown,) = unknown_words("an astronat on Mars")
    assert unknown.suggestions[0] == "astronaut"


@pytest.mark.parametrize(("word", "meant"), [("lapiz", "lápiz"), ("fotografia", "fotografía")])
def test_a_forgotten_accent_is_forgiven_in_suggestions(word: str, meant: str) -> None:
    (unknown,) = unknown_words(word)
    assert unknown.suggestions[0] == meant


def test_signs_that_are_words_are_named_too() -> None:
    assert [unknown.word for unknown in unknown_words("a 🐱 of 猫, 42!")] == ["🐱", "猫", "42"]


def test_suggestions_are_few() -> None:
    assert all(len(unknown.suggestions) <= 3 for unknown in unknown_words("ca hore dogg appl"))


def test_a_prompt_that_fills_the_window_is_not_cut(tokenizer: CLIPTokenizer) -> None:
    assert cut_words(tokenizer, "a" * (WINDOW - 2)) == ""
    assert cut_words(tokenizer, "") == ""


def test_the_words_past_the_window_are_named(tokenizer: CLIPTokenizer) -> None:
    fits = "abc def ghij kl m"  # 13 letters
    assert cut_words(tokenizer, f"{fits} n") == ""
    assert cut_words(tokenizer, f"{fits} n Opq, rs") == "Opq, rs"


def test_a_word_cut_in_half_is_named_whole(tokenizer: CLIPTokenizer) -> None:
    assert cut_words(tokenizer, "abcdefghijkl mnop qr") == "mnop qr"


@pytest.mark.parametrize(
    ("prompt", "cut"),
    [
        ("abcde,fghij,klmno,pqrst", "klmno,pqrst"),
        ("abcde,fghij,klmno,pqrst\n", "klmno,pqrst"),
        ("abcde;fghij.klmno", "klmno"),
        ("abcdefghijkl,well-known", "well-known"),
        ("abcdefghijk/mno/pqr", "mno/pqr"),
        ("abcdefghijklm\tnopq rs", "nopq rs"),
        ("abcdefghijklmn, opq", "opq"),
        ("abcdefghijklm\n\n\nnop", "nop"),
    ],
)
def test_words_are_parted_by_signs_as_by_spaces(
    tokenizer: CLIPTokenizer, prompt: str, cut: str
) -> None:
    assert cut_words(tokenizer, prompt) == cut


@pytest.mark.parametrize(
    ("prompt", "code"),
    [
        ("a cat on a motorcycle", "en"),
        ("una moto", "es"),
        ("un gato en Marte", "es"),
        ("un dibujo a lapiz de un arbol", "es"),  # written without accents
        ("panda, pixel art", "en"),  # words of both languages: the reader's decides
        ("", "en"),
    ],
)
def test_the_language_of_a_prompt_is_guessed_from_its_words(prompt: str, code: str) -> None:
    assert guess_language(prompt) == code


def test_words_of_both_languages_count_as_the_readers() -> None:
    set_language("es")
    assert guess_language("panda, pixel art") == "es"
    assert guess_language("two cats") == "en"


def test_a_word_that_was_taught_is_known() -> None:
    assert [unknown.word for unknown in unknown_words("a ZWX robot and a qvb", taught=["zwx"])] == [
        "qvb"
    ]
