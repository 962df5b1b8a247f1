"""What happens in the service, told to whoever counts it; here, to nobody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sdlesson.bot_service.store.jobs import StoredJobState


class Events(Protocol):
    """Called in the event loop; must be quick, and never raise."""

    def accepted(self, job_id: str) -> None:
        """A request is on record."""

    def refused(self, reason: str) -> None:
        """A request is refused: "rate", "quota", "moderation", "queue", "store", "flagged"...

        "moderation_away" is for one that nobody could look at, "code" for a code that does not
        count. Other reasons are those of `access.Standing`, such as "banned" or "logged_out", for
        whoever may not ask for anything.
        """

    def started(self, job_ids: Sequence[str]) -> None:
        """A batch begins to be drawn."""

    def ended(self, job_id: str, state: StoredJobState, seconds: float) -> None:
        """A job has ended, so long after it was accepted."""

    def error(self, where: str) -> None:
        """Something went wrong that is in the log: in the "store", the "worker", "moderation"."""


class NoEvents:
    """Counts nothing."""

    def accepted(self, job_id: str) -> None:
        """Do nothing."""

    def refused(self, reason: str) -> None:
        """Do nothing."""

    def started(self, job_ids: Sequence[str]) -> None:
        """Do nothing."""

    def ended(self, job_id: str, state: StoredJobState, seconds: float) -> None:
        """Do nothing."""

    def error(self, where: str) -> None:
        """Do nothing."""
