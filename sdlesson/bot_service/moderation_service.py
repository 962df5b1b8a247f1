"""A moderation service over HTTP, in the manner of OpenAI's `/v1/moderations`.

On 28 November 2026 that is the manner to speak. Perspective, which had been everybody's, takes no
new users since February and ends with the year (its makers' letter of January 2026:
github.com/codyogden/killedbygoogle/pull/1631). OpenAI's answer has the shape of Mistral's, and of
gateways that one runs oneself, so the address is the operator's to choose.

Only the words of a request leave, without a name or a number.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import httpx

MAX_PAUSE_S = 60.0  # a service that asks for more silence is asked again all the same

log = logging.getLogger(__name__)


class ModerationServiceError(RuntimeError):
    """The service did not say; the message quotes neither the request nor the key, and is logged.

    The log drops the messages of exceptions, which may quote anything; this one says what to mend.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        log.error("moderation: %s", reason)


@dataclass(frozen=True)
class ModerationSettings:
    """Which service, and what it takes to be refused.

    Attributes:
        url: Where it answers, such as "https://api.openai.com/v1/moderations".
        key: Who pays; "" for a service that asks for none.
        model: What it is to look with.
        threshold: The score from which on a request is refused, of those below.
        categories: Whose scores count, such as "sexual"; none in particular stands for all.
        timeout_s: How long it may take, in all.
    """

    url: str
    key: str = field(default="", repr=False)
    model: str = "omni-moderation-latest"
    threshold: float = 0.5
    categories: Collection[str] = ()
    timeout_s: float = 5.0


class HttpModerator:
    """Asks a service about one text after another, on connections that stay open."""

    def __init__(self, settings: ModerationSettings) -> None:
        self._settings = settings
        self._client: httpx.AsyncClient | None = None
        self._silent_until = 0.0

    async def refuses(self, text: str) -> bool:
        """Whether the service gives a text a score over the threshold.

        Raises:
            ModerationServiceError: It did not say.
        """
        if time.monotonic() < self._silent_until:
            raise ModerationServiceError("the service has asked not to be asked so often")
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                answer = await self._ask(text)
        except (TimeoutError, httpx.HTTPError) as error:
            kind = type(error).__name__
            raise ModerationServiceError(f"the service does not answer ({kind})") from None
        if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            self._silent_until = time.monotonic() + _pause_s(answer)
        if answer.status_code != HTTPStatus.OK:
            raise ModerationServiceError(f"the service answers with {answer.status_code}")
        return max(self._scores(answer)) >= self._settings.threshold

    async def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _ask(self, text: str) -> httpx.Response:
        settings = self._settings
        if self._client is None:  # made in the loop that uses it
            is_local = urlsplit(settings.url).hostname in ("localhost", "127.0.0.1", "::1")
            # A proxy does not lead to this machine.
            self._client = httpx.AsyncClient(
                timeout=settings.timeout_s, trust_env=not is_local, follow_redirects=False
            )
        headers = {"Authorization": f"Bearer {settings.key}"} if settings.key else {}
        body = {"model": settings.model, "input": text}
        return await self._client.post(settings.url, json=body, headers=headers)

    def _scores(self, answer: httpx.Response) -> list[float]:
        """Read the scores that count.

        Raises:
            ModerationServiceError: The answer is none, or lacks a category that counts.
        """
        try:
            (result,) = answer.json()["results"]
            scores: dict[str, Any] = result["category_scores"]
            wanted = self._settings.categories or scores
            found = [scores[name] for name in wanted]
        except (ValueError, LookupError, TypeError, RecursionError):
            raise ModerationServiceError("the answer has not the scores that count") from None
        if not found or not all(_is_score(one) for one in found):
            raise ModerationServiceError("the answer has not the scores that count")
        return found


def _is_score(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _pause_s(answer: httpx.Response) -> float:
    """How long a service asks not to be asked, in seconds; a date counts as a second."""
    written = answer.headers.get("Retry-After", "")
    return min(float(written), MAX_PAUSE_S) if written.isascii() and written.isdigit() else 1.0
