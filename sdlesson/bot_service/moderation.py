"""What is not drawn: words of the operator's list, and what a moderation service refuses.

Words are compared as people read them: without accents, without invisible characters, with digits
read as the letters that they stand for. They match whole words only, or "grass" would be refused
for its end. What looks alike is listed below; what merely sounds alike is not.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path
from typing import Protocol

from sdlesson.bot.requests import Request

# Letters that are written with something else. What stands for two letters has both.
LEET = {
    **{"0": "o", "1": "il", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "9": "g"},
    **{"@": "a", "$": "s", "!": "i", "|": "il", "€": "e", "+": "t", "(": "c"},
}
# Cyrillic and Greek letters that look like Latin ones.
ALIKE = str.maketrans(
    dict(zip("авеіјокмнрсѕтухԁɡӏαεικνορτυχ", "abeijokmhpcstyxdglaeikvoptux", strict=True))
)
INVISIBLE_LETTERS = "\u115f\u1160\u3164\uffa0"  # fillers of Korean, which count as letters
TILDE_N = "\ue000"  # stands for "ñ" while accents are taken off
SEPARATORS = r"[\W_]"
_SPELT_OUT = re.compile(r"(?<![^\W_])(?:[^\W_][\W_]+){2,}[^\W_](?![^\W_])")
MAX_WORD_CHARS = 60
RULES = Path(__file__).parent / "blocked_words.txt"

log = logging.getLogger(__name__)


class ModerationError(RuntimeError):
    """A request that is not drawn.

    Attributes:
        word: The word of the list that it has; "" where a service has refused it.
        is_away: Nobody could look at it.
    """

    def __init__(self, word: str = "", *, is_away: bool = False) -> None:
        super().__init__("moderation is away" if is_away else "moderation has refused a request")
        self.word, self.is_away = word, is_away


class Moderator(Protocol):
    """A moderation model or service, such as `moderation_service.HttpModerator`."""

    async def refuses(self, text: str) -> bool:
        """Whether a text is not to be drawn.

        Raises:
            Exception: It could not say.
        """


class Moderation:
    """Looks at a request before it is taken.

    Args:
        words: What is not drawn; each word or phrase matches in both languages.
        moderator: Asked about what the words let through.
        is_needed: Whether nothing is taken while the moderator cannot say; else the words alone
            decide then.
        on_away: Called when the moderator could not say.
    """

    def __init__(
        self,
        words: Iterable[str] = (),
        moderator: Moderator | None = None,
        *,
        is_needed: bool = True,
        on_away: Callable[[], object] = bool,
    ) -> None:
        self._rules = [(word, _pattern(word)) for word in words]
        self._moderator, self._is_needed, self._on_away = moderator, is_needed, on_away

    async def check(self, request: Request) -> None:
        """Let a request pass; what is to be kept out of a picture may be anything.

        Raises:
            ModerationError: It is not to be drawn.
        """
        if word := self.blocked_word(request.prompt):
            raise ModerationError(word)
        if self._moderator is None:
            return
        try:
            is_refused = await self._moderator.refuses(request.prompt)
        except Exception as error:  # whatever a service may fail with
            log.error("the moderation service could not say (%s)", type(error).__name__)
            self._on_away()
            if not self._is_needed:
                return
            raise ModerationError(is_away=True) from error
        if is_refused:
            raise ModerationError()

    def blocked_word(self, text: str) -> str:
        """Find the first word of the list that a text has; "" if it has none."""
        plain = plain_text(text)
        # A word of one letter may stand beside one that is spelt out: "a n.u.d.e robot".
        cuts = (slice(None), slice(1, None), slice(None, -1), slice(1, -1))
        readings = (plain, *(_joined(plain, cut) for cut in cuts))
        return next(
            (word for word, pattern in self._rules if any(map(pattern.search, readings))), ""
        )


def read_words(path: Path = RULES) -> list[str]:
    """Read a list: one word or phrase a line; what follows a # is a note.

    Raises:
        ValueError: A line holds no letters, or is too long for a word.
    """
    words = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        word = line.partition("#")[0].strip()
        if word and (not re.search(r"[^\W\d_]", word) or len(word) > MAX_WORD_CHARS):
            raise ValueError(
                f"{path}, line {number}: {word[:MAX_WORD_CHARS]!r} is no word or phrase of at "
                f"most {MAX_WORD_CHARS} characters with letters in it"
            )
        if word:
            words.append(word)
    return words


def plain_text(text: str) -> str:
    """Return a text in small letters without accents and without what cannot be seen.

    "ñ" stays, since it is a letter and not an accent: "año" is a year.
    """
    marked = unicodedata.normalize("NFC", text.casefold()).replace("ñ", TILDE_N)
    apart = unicodedata.normalize("NFKD", marked)
    spaced = "".join(" " if unicodedata.category(one) == "Cc" else one for one in apart)
    kept = (one for one in spaced if unicodedata.category(one) not in ("Mn", "Me", "Cf"))
    plain = "".join(one for one in kept if one not in INVISIBLE_LETTERS)
    return plain.translate(ALIKE).replace(TILDE_N, "ñ")


def _joined(plain: str, cut: slice) -> str:
    """Write words together that are spelt out, such as "n u d e" or "n.u.d.e", and cut each."""
    return _SPELT_OUT.sub(lambda found: re.sub(SEPARATORS, "", found[0])[cut], plain)


def _pattern(word: str) -> re.Pattern[str]:
    """Match a word however its letters are written or drawn out, whole or in the plural."""
    parts = [_run(letter, len(list(run))) for letter, run in groupby(plain_text(word))]
    return re.compile(rf"(?<![^\W_]){''.join(parts)}(?:e?s)?(?![^\W_])")


def _run(letter: str, times: int) -> str:
    if letter.isspace():
        return f"{SEPARATORS}+"
    signs = [letter, *(sign for sign, letters in LEET.items() if letter in letters)]
    return f"(?:{'|'.join(map(re.escape, signs))}){{{times},}}"
