"""Which words of a prompt the pocket model knows, in which language, and which no model reads."""

import json
import re
import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from sdlesson.copies import own_tokenizer
from sdlesson.language import language
from sdlesson.pocket.paths import VOCABULARY_FILE
from sdlesson.settings import check_text

MAX_SUGGESTIONS = 3
MIN_LIKENESS = 0.7

# A word with its hyphens and apostrophes, or one sign that is neither letter, digit nor space.
_WORD = re.compile(r"\w+(?:[-'’]\w+)*|[^\w\s]")

# The same as it was typed: with accents that stand alone, emoji that are joined to one, and scripts
# without spaces, of which each sign is a word.
_LETTERS = r"[\w\u0300-\u036f]+"
_WRITTEN = re.compile(
    rf"[\u3040-\u30ff\u3400-\u9fff]|{_LETTERS}(?:[-'’]{_LETTERS})*"
    r"|[^\w\s](?:\u200d[^\w\s]|[\ufe0f\U0001f3fb-\U0001f3ff])*"
)
SEPARATORS = " \t\n,;.:"  # what may stand before the first word that is cut


class Unknown(NamedTuple):
    """A word outside the pocket model's world, and the words in it that look like it."""

    word: str
    suggestions: tuple[str, ...]


def unknown_words(prompt: str, *, taught: Iterable[str] = ()) -> list[Unknown]:
    """List the words of a prompt that the pocket model does not know, each once, in order.

    Args:
        taught: Words that it has learned since it was made.

    Raises:
        ValueError: The prompt is no text, or `taught` is one, which would be read as letters.
    """
    words_taught = list(taught) if isinstance(taught, Iterable) else [taught]
    if isinstance(taught, str) or not all(isinstance(word, str) for word in words_taught):
        raise ValueError(f"taught={taught!r} must be a list of words; try ['zwx']")
    known = frozenset(word.casefold() for word in words_taught).union(*_vocabularies().values())
    words = dict.fromkeys(word for word in _words(prompt) if not _is_known(word, known))
    return [Unknown(word, _suggestions(word, known)) for word in words]


def cut_words(tokenizer: PreTrainedTokenizerBase, prompt: str) -> str:
    """Return the end of a prompt that does not fit the tokenizer's window, "" if all of it fits."""
    return prompt[read_until(tokenizer, prompt) :].strip().lstrip(SEPARATORS)


def read_until(tokenizer: PreTrainedTokenizerBase, prompt: str) -> int:
    """Return where in a prompt the words end that fit the tokenizer's window."""
    own = own_tokenizer(tokenizer)
    encoded = own(check_text(prompt=prompt), return_offsets_mapping=True, verbose=False)
    window: int = tokenizer.model_max_length
    if len(encoded.input_ids) <= window:
        return len(prompt)
    # The model sees the first window - 1 tokens and then the end token; the rest is cut.
    start = encoded.offset_mapping[window - 1][0]
    # A word cut in half is not read as that word.
    halved = (word for word in _WRITTEN.finditer(prompt) if word.start() < start < word.end())
    return next((word.start() for word in halved), start)


def guess_language(prompt: str) -> str:
    """Return the language that more words of a prompt belong to, "en" or "es"; else the reader's.

    Accents do not matter, and only words of the pocket model's world count.
    """
    words = {without_accents(word) for word in _words(prompt)}
    found = {
        code: len(words & {without_accents(word) for word in known})
        for code, known in _vocabularies().items()
    }
    best = max(found.values())
    return language() if found[language()] == best else max(found, key=lambda code: found[code])


def without_accents(text: str) -> str:
    """Return a text with its accents left out: lápiz, lapiz."""
    decomposed = unicodedata.normalize("NFD", text)
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


@cache
def _vocabularies() -> dict[str, frozenset[str]]:
    words: dict[str, list[str]] = json.loads(VOCABULARY_FILE.read_text(encoding="utf-8"))
    return {code: frozenset(known) for code, known in words.items()}


def _words(prompt: str) -> list[str]:
    """Split a prompt into lowercase words; emoji count as words, punctuation does not."""
    text = check_text(prompt=prompt)
    found = _WORD.findall(unicodedata.normalize("NFC", text).casefold())
    return [word for word in found if not unicodedata.category(word[0]).startswith("P")]


def _is_known(word: str, known: frozenset[str]) -> bool:
    return word in known or all(part in known for part in re.split(r"[-'’]", word))


def _suggestions(word: str, known: frozenset[str]) -> tuple[str, ...]:
    """Find the nearest known words; an accent too few or too many counts as no difference."""
    spellings: dict[str, list[str]] = {}
    for candidate in sorted(known):
        spellings.setdefault(without_accents(candidate), []).append(candidate)
    near = get_close_matches(without_accents(word), spellings, MAX_SUGGESTIONS, MIN_LIKENESS)
    return tuple(word for plain in near for word in spellings[plain])[:MAX_SUGGESTIONS]
