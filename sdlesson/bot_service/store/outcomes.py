"""What became of each model's pictures: how they ended, how long they took, and users' thumbs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, case, func, select, text

from sdlesson.bot_service.store.database import Database
from sdlesson.bot_service.store.jobs import StoredJobState
from sdlesson.bot_service.store.tables import JOBS, VOTES

SEEN = (StoredJobState.SENDING, StoredJobState.SENT, StoredJobState.UNCONFIRMED)

_CAST = text(
    "INSERT INTO votes (job_id, user_id, is_up, voted_at) VALUES (:job_id, :user_id, :is_up, :now)"
    " ON CONFLICT (job_id, user_id) DO UPDATE"
    " SET is_up = excluded.is_up, voted_at = excluded.voted_at"
)


class Refusal(StrEnum):
    """Why a thumb does not count."""

    GONE = "gone"  # there is no such picture in that chat, or none any more
    NOT_YOURS = "not_yours"


class Votes(NamedTuple):
    """The thumbs for one picture, and which model drew it."""

    model: str
    ups: int
    downs: int


@dataclass(frozen=True)
class ModelOutcome:
    """What became of one model's pictures.

    Attributes:
        sent, flagged, failed: How many ended so.
        again: How many were asked for by a button under another of the model's pictures.
        seconds: A picture's share of the drawing, on average; None where nothing was drawn.
        ups, votes: Thumbs up, and thumbs in all.
    """

    model: str
    sent: int
    flagged: int
    failed: int
    again: int
    seconds: float | None
    ups: int
    votes: int


class Outcomes:
    """The table of votes, and what it says together with that of jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def vote(self, job_id: str, user_id: int, chat_id: int, *, is_up: bool) -> Votes | Refusal:
        """Take down a user's thumb for a picture, instead of the one given before.

        In a private chat only whoever asked for the picture has a say. In a group whoever sees it
        has, once.
        """
        with self._database.begin() as connection:
            found = select(JOBS.c.user_id, JOBS.c.model).where(
                JOBS.c.id == job_id, JOBS.c.chat_id == chat_id, JOBS.c.state.in_(SEEN)
            )
            job = connection.execute(found).first()
            if job is None:
                return Refusal.GONE
            if chat_id > 0 and job.user_id != user_id:
                return Refusal.NOT_YOURS
            row = {"job_id": job_id, "user_id": user_id, "is_up": int(is_up)}
            connection.execute(_CAST, row | {"now": time.time()})
            ups, votes = _thumbs(connection, VOTES.c.job_id == job_id).get(job.model, (0, 0))
        return Votes(job.model or "", ups, votes - ups)

    def by_model(self, *, only_by_lot: bool = False) -> list[ModelOutcome]:
        """Say what became of each model's pictures on record, by the models' names.

        Args:
            only_by_lot: Leave out those whose model the user chose: who likes a model chooses it.
        """
        which = [JOBS.c.model.is_not(None), *([JOBS.c.by_lot == 1] if only_by_lot else [])]
        counts = [
            func.sum(case((JOBS.c.state == state, 1), else_=0))
            for state in (StoredJobState.SENT, StoredJobState.FLAGGED, StoredJobState.FAILED)
        ]
        again = func.sum(case((JOBS.c.button.is_not(None), 1), else_=0))
        query = select(JOBS.c.model, *counts, again, func.avg(JOBS.c.seconds)).where(*which)
        with self._database.begin() as connection:
            rows = connection.execute(query.group_by(JOBS.c.model).order_by(JOBS.c.model)).all()
            thumbs = _thumbs(connection, *which)
        return [ModelOutcome(*row[:6], *thumbs.get(row[0], (0, 0))) for row in rows]


def _thumbs(
    connection: Connection, *which: ColumnElement[bool]
) -> dict[str | None, tuple[int, int]]:
    """Count thumbs up and thumbs in all, by model."""
    query = select(JOBS.c.model, func.sum(VOTES.c.is_up), func.count())
    joined = query.join(VOTES, VOTES.c.job_id == JOBS.c.id).where(*which)
    rows = connection.execute(joined.group_by(JOBS.c.model)).all()
    return {model: (int(ups), int(votes)) for model, ups, votes in rows}
