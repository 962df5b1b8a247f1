"""Where requests are taken in and pictures handed out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from PIL import Image
from telegram import InlineKeyboardMarkup, Message, Update, User

from sdlesson.bot import keyboards, texts
from sdlesson.bot.delivery import Delivery, Outcome, Place
from sdlesson.bot.incoming import Pictures
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
        self.pictures = Pictures(worker.generator.size)
        self._tasks: set[asyncio.Task[None]] = set()

    def asker(self, update: Update) -> Asker:
        """Say who sent an update, and where and in which language to answer."""
        # Where somebody writes as a group or a channel, that is the sender; Telegram's user is
        # then the same one for all of them.
        sender, chat, message = update.effective_sender, update.effective_chat, None
        assert sender is not None
        if isinstance(update.effective_message, Message):
            message = update.effective_message
        code = sender.language_code if isinstance(sender, User) else None
        words = Words(self.store.user(sender.id).language or language_of(code))
        # Replies have a thread too, and nothing can be sent to those.
        thread_id = message.message_thread_id if message and message.is_topic_message else None
        title = (chat.title or "") if chat else ""
        return Asker(sender.id, chat.id if chat else sender.id, words, thread_id, title)

    def defaults_of(self, asker: Asker) -> Defaults:
        """The settings that a user chose, else the model's."""
        return self.store.user(asker.user_id).defaults or self.worker.generator.defaults

    async def say(
        self,
        asker: Asker,
        text: str,
        buttons: InlineKeyboardMarkup | None = None,
        *,
        surely: bool = False,
    ) -> None:
        """Answer in HTML; where the bot may not write, say so to the user alone."""
        buttons = keyboards.signed(buttons, asker.user_id)
        sent = await self.delivery.say(asker.place, text, buttons, surely=surely)
        if sent.outcome is Outcome.REFUSED:
            await self._say_elsewhere(asker)

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

    async def order(
        self,
        asker: Asker,
        make: Callable[[], Request],
        fetch: Callable[[], Awaitable[Image.Image]] | None = None,
    ) -> bool:
        """Let a request wait for its picture, or say why not; returns before it is drawn.

        Args:
            asker: Who wants it.
            make: Makes the request, or raises a RequestError.
            fetch: Brings the photo to start from, or raises a RequestError; it is called only
                once everything else is in order.

        Returns:
            Whether the request waits now.
        """
        if not await self.has_agreed(asker):
            return False
        prompt = ""
        try:
            request = make()
            prompt = shorten(request.prompt, MAX_CAPTION_PART)
            self.worker.check_room(asker.user_id)
            if fetch is not None:
                request = replace(request, photo=await fetch())
            job = self.worker.submit(asker.user_id, request, asker.chat_id)
        except RequestError as error:
            await self.say(asker, asker.words.refusal(error))
        except TooManyJobsError as error:
            await self.say(asker, asker.words(texts.TOO_MANY_JOBS, limit=error.limit))
        except QueueFullError as error:
            await self.say(asker, asker.words(texts.QUEUE_FULL, limit=error.limit))
        except StoppedError:
            await self.say(asker, asker.words(texts.STOPPED, prompt=prompt), surely=True)
        else:
            task = asyncio.create_task(self._serve(asker, job))
            self._tasks.add(task)  # or it could be collected on its way
            task.add_done_callback(self._tasks.discard)
            return True
        return False

    async def show_settings(self, asker: Asker, message: Message | None = None) -> None:
        """Show a user's settings, in a new message or in one that showed them before."""
        as_file = self.store.user(asker.user_id).as_file
        buttons = keyboards.settings(asker.words, self.defaults_of(asker), as_file=as_file)
        text = asker.words(texts.YOUR_SETTINGS)
        if message is None:
            await self.say(asker, text, buttons)
        else:
            await self.delivery.edit(message, text, keyboards.signed(buttons, asker.user_id))

    def give_up(self, asker: Asker) -> int:
        """Cancel what a user has on the way in a chat, and return how many jobs that is."""
        return sum(map(self.worker.cancel, self.worker.jobs_of(asker.user_id, asker.chat_id)))

    def give_up_chat(self, chat_id: int) -> None:
        """Cancel all that was asked for in a chat, since nothing can be sent there."""
        for job in self.worker.jobs:
            if job.chat_id == chat_id:
                self.worker.cancel(job)

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
            if await status.follow():
                await self._hand_out(asker, job)
            else:
                self.worker.cancel(job)
                await self._say_elsewhere(asker)
            await status.remove()
        except asyncio.CancelledError:
            log.error("job %s: the bot stopped before its end could be told", job.id)
            raise
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
        text = asker.words(ends[job.state], prompt=prompt, id=job.id)
        await self.say(asker, text, surely=True)

    async def _send(self, asker: Asker, result: Result) -> None:
        """Send a picture with its buttons; where nobody knows whether it came, say so."""
        request, words = result.request, asker.words
        as_file = self.store.user(asker.user_id).as_file
        token = self.store.remember(asker.user_id, request)
        buttons = keyboards.below_picture(words, token, request)
        sent = await self.delivery.send_picture(
            asker.place,
            await asyncio.to_thread(result.png),
            caption=words.caption(result),
            buttons=keyboards.signed(buttons, asker.user_id),
            filename=f"seed-{request.seed}.png" if as_file else "",
        )
        if sent.outcome is Outcome.UNCONFIRMED:
            log.warning("chat %s: a picture is unconfirmed", asker.chat_id)
            again = keyboards.ask_again(words, token)
            await self.say(asker, words(texts.UNCONFIRMED), again, surely=True)
        elif sent.outcome is Outcome.REFUSED:
            prompt = shorten(request.prompt, MAX_CAPTION_PART)
            await self.say(asker, words(texts.NO_PICTURES_HERE, prompt=prompt), surely=True)

    async def _say_elsewhere(self, asker: Asker) -> None:
        """Tell a user alone that the bot may not write where it was asked."""
        if asker.chat_id > 0:
            return  # a private chat: the user has blocked the bot, and wants to hear nothing
        if asker.user_id > 0:
            text = asker.words(texts.MAY_NOT_WRITE, chat=asker.title)
            sent = await self.delivery.say(Place(asker.user_id), text, once=True)
            if sent.outcome is Outcome.ARRIVED:
                return
        log.error("chat %s: I may not write there, nor to who asked there", asker.chat_id)
