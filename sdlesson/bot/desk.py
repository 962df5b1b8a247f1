"""Where requests are taken in and pictures handed out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from telegram import InlineKeyboardMarkup, Message, Update

from sdlesson.bot import keyboards, texts
from sdlesson.bot.delivery import Delivery, UnconfirmedError
from sdlesson.bot.jobs import Job, State
from sdlesson.bot.options import RequestError
from sdlesson.bot.queue import QueueFullError, TooManyJobsError
from sdlesson.bot.requests import Defaults, Request
from sdlesson.bot.results import Result
from sdlesson.bot.status import Asker, Status
from sdlesson.bot.store import Store
from sdlesson.bot.words import MAX_CAPTION_PART, Words, language_of, shorten
from sdlesson.bot.worker import StoppedError, Worker

log = logging.getLogger(__name__)


class Desk:
    """Gives requests to the worker, and what it draws to those who asked."""

    def __init__(self, worker: Worker, store: Store, delivery: Delivery) -> None:
        self.worker, self.store, self.delivery = worker, store, delivery
        self._tasks: set[asyncio.Task[None]] = set()

    def asker(self, update: Update) -> Asker:
        """Say who sent an update, and in which language to answer."""
        user, chat = update.effective_user, update.effective_chat
        assert user is not None
        language = self.store.user(user.id).language or language_of(user.language_code)
        return Asker(user.id, chat.id if chat else user.id, Words(language))

    def defaults_of(self, asker: Asker) -> Defaults:
        """The settings that a user chose, else the model's."""
        return self.store.user(asker.user_id).defaults or self.worker.generator.defaults

    async def say(
        self, asker: Asker, text: str, buttons: InlineKeyboardMarkup | None = None
    ) -> None:
        """Answer in HTML."""
        await self.delivery.say(asker.chat_id, text, buttons)

    async def welcome(self, asker: Asker) -> None:
        """Say what the bot does and keeps, and ask for agreement."""
        text = asker.words(texts.WELCOME, model=self.worker.generator.model)
        await self.say(asker, text, keyboards.agree(asker.words))

    async def has_agreed(self, asker: Asker) -> bool:
        """Whether the user has agreed; who has not is asked to."""
        if self.store.user(asker.user_id).consented:
            return True
        await self.welcome(asker)
        return False

    async def order(self, asker: Asker, make: Callable[[], Request]) -> None:
        """Let a request wait for its picture, or say why not; returns before it is drawn.

        Args:
            asker: Who wants it.
            make: Makes the request, or raises a RequestError.
        """
        if not await self.has_agreed(asker):
            return
        try:
            job = self.worker.submit(asker.user_id, make())
        except RequestError as error:
            await self.say(asker, asker.words.refusal(error))
        except TooManyJobsError as error:
            await self.say(asker, asker.words(texts.TOO_MANY_JOBS, limit=error.limit))
        except QueueFullError as error:
            await self.say(asker, asker.words(texts.QUEUE_FULL, limit=error.limit))
        else:
            task = asyncio.create_task(self._serve(asker, job))
            self._tasks.add(task)  # or it could be collected on its way
            task.add_done_callback(self._tasks.discard)

    async def show_settings(self, asker: Asker, message: Message | None = None) -> None:
        """Show a user's settings, in a new message or in one that showed them before."""
        as_file = self.store.user(asker.user_id).as_file
        buttons = keyboards.settings(asker.words, self.defaults_of(asker), as_file=as_file)
        text = asker.words(texts.YOUR_SETTINGS)
        if message is None:
            await self.say(asker, text, buttons)
        else:
            await self.delivery.edit(message, text, buttons)

    def give_up(self, user_id: int) -> int:
        """Cancel all that a user has on the way, and return how many jobs that is."""
        return sum(self.worker.cancel(job) for job in self.worker.jobs_of(user_id))

    async def close(self, within_s: float) -> None:
        """Wait until everybody has been told how their jobs ended, but no longer than this."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=within_s)
            for task in late:
                task.cancel()

    async def _serve(self, asker: Asker, job: Job) -> None:
        """Tell how a job stands until it ends, and then how it ended."""
        status = Status(self.delivery, self.worker, asker, job)
        try:
            await status.follow()
            await self._hand_out(asker, job)
            await status.remove()
        except Exception:
            log.exception("job %s: its end was not told", job.id)
            await self.say(asker, asker.words(texts.WENT_WRONG, id=job.id))

    async def _hand_out(self, asker: Asker, job: Job) -> None:
        if job.state is State.DONE and job.result:
            await self._send(asker, job.result)
            return
        is_stopped = isinstance(job.error, StoppedError)
        ends = {
            State.CANCELLED: texts.STOPPED if is_stopped else texts.CANCELLED,
            State.FAILED: texts.WENT_WRONG,
            State.FLAGGED: texts.FLAGGED,
        }
        prompt = shorten(job.request.prompt, MAX_CAPTION_PART)
        await self.say(asker, asker.words(ends[job.state], prompt=prompt, id=job.id))

    async def _send(self, asker: Asker, result: Result) -> None:
        """Send a picture with its buttons; where nobody knows whether it came, say so."""
        request, words = result.request, asker.words
        as_file = self.store.user(asker.user_id).as_file
        token = self.store.remember(asker.user_id, request)
        try:
            await self.delivery.send_picture(
                asker.chat_id,
                await asyncio.to_thread(result.png),
                caption=words.caption(result),
                buttons=keyboards.below_picture(words, token, request),
                filename=f"seed-{request.seed}.png" if as_file else "",
            )
        except UnconfirmedError as error:
            log.warning("chat %s: a picture is unconfirmed (%s)", asker.chat_id, error)
            await self.say(asker, words(texts.UNCONFIRMED), keyboards.ask_again(words, token))
