"""What goes wrong on purpose: errors, slow answers, dropped connections, once or several times."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from sdlesson.bot_api.errors import BLOCKED, CONFLICT, ApiError
from sdlesson.bot_api.parameters import whole_number

DESCRIPTIONS = {
    403: BLOCKED,
    409: CONFLICT,
    429: "Too Many Requests: retry after {retry_after}",
    500: "Internal Server Error",
    502: "Bad Gateway",
}
KINDS: dict[str, Any] = {
    "method": str,
    "status": int,
    "description": str,
    "retry_after": int | None,
    "times": int,
    "drop": bool,
    "delay_s": int | float,
    "after": bool,
    "chat_id": int | None,
}
MAX_DELAY_S = 3600


@dataclass
class Fault:
    """How calls of one method fail, `times` times.

    Attributes:
        method: Such as "sendPhoto"; "file" for downloads, "*" for every method.
        status: As in HTTP; 200 for an answer without error, which may be late or lost.
        description: What the answer says; "" for Telegram's own words for that status.
        retry_after: Seconds that a 429 asks the bot to wait.
        drop: The connection is closed in the place of an answer.
        delay_s: How late the answer is, in seconds.
        after: The call has its effect, and only the answer is wrong, lost or late.
        chat_id: Only calls for this chat fail; None for all.
    """

    method: str
    status: int = 200
    description: str = ""
    retry_after: int | None = None
    times: int = 1
    drop: bool = False
    delay_s: float = 0.0
    after: bool = False
    chat_id: int | None = None

    @property
    def has_effect(self) -> bool:
        """Whether Telegram does what it is asked."""
        return self.after or (self.status == 200 and not self.drop)

    @property
    def error(self) -> ApiError:
        """The answer, where the status is an error."""
        words = self.description or DESCRIPTIONS.get(self.status, "Bad Request")
        words = words.replace("{retry_after}", str(self.retry_after))
        return ApiError(self.status, words, retry_after=self.retry_after)


class Faults:
    """The faults still to come, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._coming: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Let calls fail from now on.

        Raises:
            ValueError: The status is not one of HTTP, nothing would fail, or a field is of a wrong
                kind.
        """
        for field in fields(Fault):
            value, kinds = getattr(fault, field.name), KINDS[field.name]
            if not isinstance(value, kinds) or isinstance(value, bool) is not (kinds is bool):
                raise ValueError(f"{field.name}={value!r} is not of the kind that a fault has")
        if not 0 <= fault.delay_s <= MAX_DELAY_S:
            raise ValueError(f"delay_s={fault.delay_s} must be from 0 to {MAX_DELAY_S} seconds")
        if not (fault.status == 200 or 400 <= fault.status < 600) or fault.times < 1:
            raise ValueError(
                f"status={fault.status}, times={fault.times}: a fault has a status of 400 to 599, "
                "or 200 with drop=True or delay_s, and happens at least once"
            )
        if fault.status == 429 and fault.retry_after is None:
            raise ValueError("status=429 needs retry_after, in seconds, as Telegram always has it")
        self._coming.append(fault)

    def clear(self) -> None:
        """Let nothing fail any more."""
        self._coming.clear()

    def take(self, method: str, chat_id: str) -> Fault | None:
        """The fault that meets this call, if one does."""
        for fault in self._coming:
            is_meant = fault.method.lower() in (method.lower(), "*")
            if is_meant and fault.chat_id in (None, whole_number(chat_id)):
                fault.times -= 1
                if fault.times == 0:
                    self._coming.remove(fault)
                return fault
        return None
