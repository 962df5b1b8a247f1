"""What Telegram answers instead of a result."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

BLOCKED = "Forbidden: bot was blocked by the user"
CONFLICT = (
    "Conflict: terminated by other getUpdates request; "
    "make sure that only one bot instance is running"
)


class ApiError(Exception):
    """A call that is refused, with the status and the words that Telegram has for it.

    Attributes:
        status: As in HTTP, from 400 on.
        retry_after: Seconds to wait before the next call, where Telegram says so.
    """

    def __init__(self, status: int, description: str, *, retry_after: int | None = None) -> None:
        super().__init__(description)
        self.status, self.retry_after = status, retry_after

    @property
    def answer(self) -> Json:
        """The body of the answer."""
        body: Json = {"ok": False, "error_code": self.status, "description": str(self)}
        if self.retry_after is not None:
            body["parameters"] = {"retry_after": self.retry_after}
        return body


def bad_request(reason: str) -> ApiError:
    """The commonest refusal: something in the call is not as it must be."""
    return ApiError(400, f"Bad Request: {reason}")
