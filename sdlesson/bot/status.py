"""The one message that tells how a job stands, until the picture comes and it goes."""

from __future__ import annotations

import asyncio
import io
from typing import NamedTuple

from PIL import Image
from telegram import Message

from sdlesson.bot import keyboards
from sdlesson.bot.delivery import Delivery, Outcome, Place
from sdlesson.bot.jobs import Job, State
from sdlesson.bot.words import Words
from sdlesson.bot.worker import Worker

EDIT_EVERY_S = 3.0  # more often, and Telegram answers 429
LOOK_EVERY_S = 0.2


class Asker(NamedTuple):
    """Who asks for something, where, and in which language to answer.

    Attributes:
        user_id: Whose it is: a user's, or below zero that of the group or channel in whose name
            somebody writes.
        chat_id: Where to answer.
        words: The language.
        thread_id: The topic to answer in, where the chat is a forum.
        title: What the chat is called; "" for a private one.
    """

    user_id: int
    chat_id: int
    words: Words
    thread_id: int | None = None
    title: str = ""

    @property
    def place(self) -> Place:
        """Where answers go."""
        return Place(self.chat_id, self.thread_id)


def describe(job: Job, worker: Worker, words: Words) -> str:
    """Say where a job stands: its place in the queue or its step, and for how long still."""
    seconds = worker.seconds_left(job)
    if job.state is State.QUEUED:
        return words.waiting(worker.queue.position(job) + len(worker.running), seconds)
    return words.drawing(job.step, job.steps, seconds)


class Status:
    """The status message of one job."""

    def __init__(self, delivery: Delivery, worker: Worker, asker: Asker, job: Job) -> None:
        self._delivery, self._worker, self._asker, self._job = delivery, worker, asker, job
        self._buttons = keyboards.signed(keyboards.cancel(asker.words, [job]), asker.user_id)
        self._message: Message | None = None
        self._shown: tuple[str, Image.Image | None] = ("", None)

    async def follow(self) -> bool:
        """Show the message and keep it true until the job ends; False if it may not be shown."""
        while self._delivery.is_busy(self._asker.chat_id):
            if await self._has_ended_within(LOOK_EVERY_S):
                return True  # the picture comes before this could be told
        self._shown = (describe(self._job, self._worker, self._asker.words), None)
        # Once: without a line to Telegram, it would say much later what is no longer so.
        sent = await self._delivery.say(self._asker.place, self._shown[0], self._buttons, once=True)
        self._message = sent.message
        if sent.outcome is Outcome.REFUSED:
            return False
        while not await self._has_ended_within(EDIT_EVERY_S):
            await self._refresh()
        return True

    async def remove(self) -> None:
        """Take the message back."""
        if self._message is not None:
            await self._delivery.delete(self._message)

    async def _refresh(self) -> None:
        """Edit the message if there is news, and if it need not wait: later, it would be old."""
        if self._message is None or self._delivery.is_busy(self._asker.chat_id):
            return
        news = (describe(self._job, self._worker, self._asker.words), self._job.preview)
        if news == self._shown:
            return
        text, preview = news
        picture = await asyncio.to_thread(_jpeg, preview) if preview else None
        if await self._delivery.edit(self._message, text, self._buttons, picture):
            self._shown = news

    async def _has_ended_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._job.finished(), seconds)
        except TimeoutError:
            return False
        return True


def _jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG")
    return file.getvalue()
