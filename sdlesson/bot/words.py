"""The bot's texts filled in for one reader: escaped, with numbers as the reader writes them."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from sdlesson.bot import texts
from sdlesson.bot.options import NEGATIVE, STRENGTH, Reason, RequestError
from sdlesson.bot.requests import Request
from sdlesson.language import LANGUAGES, Text
from sdlesson.prompts import Unknown

if TYPE_CHECKING:
    from sdlesson.bot.results import Result

MAX_CAPTION_PROMPT = 480  # a caption's 1,024 characters hold this and three shorter parts
MAX_CAPTION_PART = 120
BAR_CELLS = 10
SPANISH_OPTIONS = {
    "--steps": "--pasos",
    "--guidance": "--guia",
    "--seed": "--semilla",
    NEGATIVE.name: "--sin",
    STRENGTH.name: "--fuerza",
}


def language_of(code: str | None) -> str:
    """Return the course's language for a Telegram user's, such as "es-MX"; else English."""
    short = (code or "").lower().partition("-")[0]
    return short if short in LANGUAGES else "en"


def shorten(text: str, most: int) -> str:
    """Return a text of at most so many UTF-16 units, which is what Telegram counts."""
    if _units(text) <= most:
        return text
    kept = text[:most]
    while _units(kept) >= most:
        kept = kept[:-1]
    return f"{kept}…"


class Words:
    """Speaks one language: `words(texts.CANCELLED, prompt="a <b> cat")` is safe HTML."""

    def __init__(self, language: str) -> None:
        self.language = language

    def __call__(self, text: Text, **values: object) -> str:
        """Fill in a text: this is the one place where values become HTML."""
        shown = {name: html.escape(self._show(value)) for name, value in values.items()}
        return getattr(text, self.language).format(**shown)

    def refusal(self, error: RequestError) -> str:
        """Say why a request is not drawn, and what would be."""
        values = dict(error.values)
        if self.language == "es" and "option" in values:
            values["option"] = SPANISH_OPTIONS.get(values["option"], values["option"])
        if values.get("whole"):
            return self(texts.WHOLE_NUMBER, **values)
        if values.get("near"):
            return self(texts.DID_YOU_MEAN, **values)
        return self(texts.REFUSALS[Reason(error.reason)], **values)

    def waiting(self, ahead: int, seconds: float | None) -> str:
        """Say how long a job will wait."""
        place = self(texts.WAITING, ahead=ahead) if ahead else self(texts.NEXT)
        return place + self._left(seconds)

    def drawing(self, step: int, steps: int, seconds: float | None) -> str:
        """Say how far a picture is."""
        full = BAR_CELLS * step // max(1, steps)
        bar = "▓" * full + "░" * (BAR_CELLS - full)
        return self(texts.DRAWING, bar=bar, step=step, steps=steps) + self._left(seconds)

    def caption(self, result: Result) -> str:
        """Say below a picture what it was made from, and what of it was not read."""
        request = result.request
        lines = [self(texts.PROMPT, prompt=shorten(request.prompt, MAX_CAPTION_PROMPT))]
        if request.negative_prompt:
            kept_out = shorten(request.negative_prompt, MAX_CAPTION_PART)
            lines.append(self(texts.KEPT_OUT, words=kept_out))
        lines.append(self._settings(request))
        if result.unknown:
            named = "; ".join(self._unknown(word) for word in result.unknown)
            lines.append(self(texts.UNKNOWN_WORDS, words=shorten(named, MAX_CAPTION_PART)))
        if result.cut:
            lines.append(self(texts.CUT_WORDS, words=shorten(result.cut, MAX_CAPTION_PART)))
        return "\n".join(lines)

    def _settings(self, request: Request) -> str:
        parts = [
            self(texts.SEED, seed=request.seed),
            self(texts.STEPS, steps=request.num_inference_steps),
            self(texts.GUIDANCE, guidance=float(request.guidance_scale)),
        ]
        if request.photo is not None:
            parts.append(self(texts.STRENGTH, strength=float(request.strength)))
        return " · ".join(parts)

    def _unknown(self, unknown: Unknown) -> str:
        """Name a word, as plain text, with those like it."""
        if not unknown.suggestions:
            return unknown.word
        near = ", ".join(unknown.suggestions)
        return getattr(texts.TRY_INSTEAD, self.language).format(word=unknown.word, near=near)

    def _left(self, seconds: float | None) -> str:
        if seconds is None:
            return ""
        if seconds < 60:
            return self(texts.SECONDS_LEFT, seconds=max(1, round(seconds)))
        return self(texts.MINUTES_LEFT, minutes=round(seconds / 60))

    def _show(self, value: object) -> str:
        if not isinstance(value, float):
            return str(value)
        return f"{value:g}".replace(".", "," if self.language == "es" else ".")


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2
