"""A job: one request of one user, from the queue to its end."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from sdlesson.bot.requests import Request

if TYPE_CHECKING:
    from PIL import Image

    from sdlesson.bot.generator import Result

ID_BYTES = 4  # shown to users as 8 hex digits


class State(StrEnum):
    """Where a job stands. The last four are ends: exactly one of them comes, and once."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FLAGGED = "flagged"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def is_end(self) -> bool:
        """Whether nothing follows."""
        return self not in NEXT


NEXT = {
    State.QUEUED: {State.RUNNING, State.CANCELLED},
    State.RUNNING: {State.DONE, State.FLAGGED, State.CANCELLED, State.FAILED},
}


@dataclass(eq=False)
class Job:
    """One request of one user; only the worker changes it, and only in its event loop.

    Attributes:
        batch_key: Jobs with equal keys may be drawn in one batch.
        id: Named to the user and in every log line about the job.
        step: How many steps are done, of `steps`.
        cancel_asked: Whether a running job is to stop at its next step.
        preview: The latest picture on the way, while it runs.
        result: What was drawn, once it is done or flagged.
        error: Why it failed, or that the bot was stopped; for the log, not for the user.
        promised_s: How long it was to take when it was submitted, if that could be said.
        chat_id: The chat in which it was asked for, and nowhere else told of.
        created_s, started_s, ended_s: On the clock of `time.monotonic`.
    """

    user_id: int
    request: Request
    batch_key: Hashable = None
    id: str = field(default_factory=lambda: secrets.token_hex(ID_BYTES))
    state: State = State.QUEUED
    step: int = 0
    steps: int = 0
    cancel_asked: bool = False
    preview: Image.Image | None = None
    result: Result | None = None
    error: Exception | None = None
    promised_s: float | None = None
    created_s: float = field(default_factory=time.monotonic)
    started_s: float | None = None
    ended_s: float | None = None
    chat_id: int | None = None
    _ended: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def __post_init__(self) -> None:
        self.steps = self.steps or self.request.steps_to_take

    def move(self, state: State) -> None:
        """Go on to the next state.

        Raises:
            ValueError: That state does not follow on this one, so somebody acts on an old view.
        """
        allowed = NEXT.get(self.state, set())
        if state not in allowed:
            follow = ", ".join(sorted(allowed)) or "nothing"
            raise ValueError(f"job {self.id} is {self.state}; {follow} follows, not {state}")
        self.state = state
        if state is State.RUNNING:
            self.started_s = time.monotonic()
        else:
            self.ended_s, self.preview = time.monotonic(), None
            self._ended.set()

    async def finished(self) -> Job:
        """Wait until the job has ended, however it ends."""
        await self._ended.wait()
        return self
