import pytest

from sdlesson.language import LANGUAGES, language, say, set_language


def test_english_is_spoken_until_another_language_is_set():
    assert language() == "en"
    assert say("hat", "sombrero") == "hat"


def test_the_language_set_is_the_one_spoken():
    set_language("es")
    assert language() == "es"
    assert say("hat", "sombrero") == "sombrero"


def test_the_language_can_be_set_back():
    set_language("es")
    set_language("en")
    assert say("hat", "sombrero") == "hat"


@pytest.mark.parametrize("code", ["fr", "", "ES", "español"])
def test_an_unknown_language_is_refused_with_the_known_ones_named(code):
    with pytest.raises(ValueError, match="is not one of") as caught:
        set_language(code)
    assert repr(code) in str(caught.value)
    assert all(f'"{known}"' in str(caught.value) for known in LANGUAGES)
    assert language() == "en", "a refused language changes nothing"


def test_every_language_can_be_set_and_spoken():
    for code in LANGUAGES:
        set_language(code)
        assert say("hat", "sombrero")
