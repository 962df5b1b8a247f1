"""In whose words? What a student reads as text, in English or in Spanish.

Logs stay in English, so that they can be searched for; so do exceptions that no lesson shows.
"""

from __future__ import annotations

from typing import NamedTuple

LANGUAGES = {"en": "English", "es": "español"}

_language = "en"


class Text(NamedTuple):
    """The same in both languages."""

    en: str
    es: str


def set_language(code: str) -> None:
    """Choose the language of everything that `say` returns from now on.

    Raises:
        ValueError: The course is not written in that language.
    """
    global _language
    if not isinstance(code, str) or code not in LANGUAGES:
        known = ", ".join(f'"{known}" ({name})' for known, name in LANGUAGES.items())
        raise ValueError(f"language {code!r} is not one of {known}")
    _language = code


def language() -> str:
    """The code of the language chosen: "en" until `set_language` says otherwise."""
    return _language


def say(en: str, es: str) -> str:
    """Return the text that is in the language chosen."""
    return {"en": en, "es": es}[_language]
