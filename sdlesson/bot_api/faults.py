"""What goes wrong on purpose: errors, slow answers, dropped connections, once or several times."""

from __future__ import annotations

from dataclasses import dataclass

from sdlesson.bot_api.errors import BLOCKED, CONFLICT, ApiError

DESCRIPTIONS = {
    403: BLOCKED,
    409: CONFLICT,
    429: "Too Many Requests: retry after {retry_after}",
    500: "Internal Server Error",
    502: "Bad Gateway",
}


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
        words = words.format(retry_after=self.retry_after) if self.retry_after else words
        return ApiError(self.status, words, retry_after=self.retry_after)


class Faults:
    """The faults still to come, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._coming: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Let calls fail from now on.

        Raises:
            ValueError: The status is not one of HTTP, or nothing would fail.
        """
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
            if is_meant and fault.chat_id in (None, _number(chat_id)):
                fault.times -= 1
                if fault.times == 0:
                    self._coming.remove(fault)
                return fault
        return None


def _number(chat_id: str) -> int | None:
    return int(chat_id) if chat_id.lstrip("-").isdigit() else None
