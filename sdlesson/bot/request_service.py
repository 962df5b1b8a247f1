"""Where requests are taken in and pictures handed out.

`RequestService.handle_request` is the way of a request through the bot, from top to bottom.
"""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image
from telegram import InlineKeyboardMarkup, Message, Update, User

from sdlesson.bot import keyboards, texts
from sdlesson.bot.attachments import PhotoDownloader
from sdlesson.bot.delivery import Delivery, DeliveryOutcome, Destination
from sdlesson.bot.queue import Job, JobState, QueueFullError, TooManyJobsError
from sdlesson.bot.requests import CONTROL, Defaults, Reason, Request, RequestError
from sdlesson.bot.store import Store
from sdlesson.bot.texts import MAX_CAPTION_PART, Localizer, shorten, supported_language
from sdlesson.bot.worker import StoppedError, Worker

if TYPE_CHECKING:
    from sdlesson.bot.generator import Result

EDIT_EVERY_S = 3.0  # more often, and Telegram answers 429
TURN_CHECK_EVERY_S = 0.2

log = logging.getLogger(__name__)


class Requester(NamedTuple):
    """Who asks for something, where, and in which language to answer.

    Attributes:
        user_id: Whose it is: a user's, or below zero that of the group or channel in whose name
            somebody writes.
        chat_id: Where to answer.
        localize: Fills in a text in the language to answer in.
        thread_id: The topic to answer in, where the chat is a forum.
        title: What the chat is called; "" for a private one.
        update_id: The update that asks, where one does.
        message_id: The message that asks, where nothing but it is needed to ask again.
    """

    user_id: int
    chat_id: int
    localize: Localizer
    thread_id: int | None = None
    title: str = ""
    update_id: int | None = None
    message_id: int | None = None

    @property
    def destination(self) -> Destination:
        """Where answers go."""
        return Destination(self.chat_id, self.thread_id)


class NextPhoto(Enum):
    """How to go on with an album after one of its photos."""

    ALIKE = auto()  # the request waits now, or the fault was in this photo alone
    WITH_OTHER_WORDS = auto()  # these words are refused, below whichever photo
    NONE = auto()  # nothing of this user's would be taken now


def after_refusal(error: RequestError) -> NextPhoto:
    """How to go on with an album when one of its requests could not be made."""
    return NextPhoto.ALIKE if error.is_of_photo else NextPhoto.WITH_OTHER_WORDS


class RequestService:
    """Gives requests to the worker, and what it draws to those who asked."""

    def __init__(self, worker: Worker, store: Store, delivery: Delivery) -> None:
        self.worker, self.store, self.delivery = worker, store, delivery
        self.photos = PhotoDownloader(worker.generator.size)
        self._tasks: set[asyncio.Task[None]] = set()

    async def handle_request(
        self,
        requester: Requester,
        make_request: Callable[[], Request],
        download_photo: Callable[[], Awaitable[Image.Image]] | None = None,
    ) -> NextPhoto:
        """Take a request on its way through the bot, which is this list.

        It returns as soon as the request waits in the queue, so that the user can go on writing;
        what follows then is done in a task of its own.

        Args:
            requester: Who wants it.
            make_request: Makes the request, or raises a RequestError.
            download_photo: Brings the photo to start from, or raises a RequestError; it is called
                only once everything else is in order.

        Returns:
            How to go on with an album. Whoever's request does not wait has been told why.
        """
        if not await self.has_agreed(requester):
            return NextPhoto.NONE
        prompt = ""
        try:
            request = make_request()
            prompt = shorten(request.prompt, MAX_CAPTION_PART)
            self.worker.check_room(requester.user_id)
            if download_photo is not None:
                request = replace(request, photo=await download_photo())
            job = self.worker.submit(requester.user_id, request, requester.chat_id)
        except (RequestError, QueueFullError, StoppedError) as error:
            await self._explain_refusal(requester, error, prompt)
            return after_refusal(error) if isinstance(error, RequestError) else NextPhoto.NONE

        async def follow_and_deliver() -> None:
            status = StatusMessage(self.delivery, self.worker, requester, job)
            if await status.follow():  # until the worker has drawn it, or could not
                await self._tell_end(self.in_chosen_language(requester), job)
            else:
                self.worker.cancel(job)
                await self._reply_privately(requester)
            await status.remove()

        self._run_in_background(requester, job, follow_and_deliver())
        return NextPhoto.ALIKE

    def check_drawable(self, request: Request) -> Request:
        """Return a request that can be drawn here.

        Raises:
            RequestError: It cannot: what draws here has no ControlNet.
        """
        generator = self.worker.generator
        if request.control and not generator.has_control:
            raise RequestError(Reason.NO_CONTROL, option=CONTROL.name, model=generator.model)
        return request

    # Who asks, and how to answer.

    def requester(self, update: Update) -> Requester:
        """Say who sent an update, and where and in which language to answer."""
        # Where somebody writes as a group or a channel, that is the sender; Telegram's user is
        # then the same one for all of them.
        sender, chat, message = update.effective_sender, update.effective_chat, None
        assert sender is not None
        if isinstance(update.effective_message, Message):
            message = update.effective_message
        code = sender.language_code if isinstance(sender, User) else None
        chosen = self.store.load_user(sender.id).language
        localize = Localizer(chosen or supported_language(code))
        # Replies have a thread too, and nothing can be sent to those.
        thread_id = message.message_thread_id if message and message.is_topic_message else None
        title = (chat.title or "") if chat else ""
        chat_id = chat.id if chat else sender.id
        return Requester(sender.id, chat_id, localize, thread_id, title, update.update_id)

    def in_chosen_language(self, requester: Requester) -> Requester:
        """Answer somebody who may have chosen another language since the request."""
        chosen = self.store.load_user(requester.user_id).language
        return requester._replace(localize=Localizer(chosen)) if chosen else requester

    def defaults_of(self, requester: Requester) -> Defaults:
        """The settings that a user chose, else the model's."""
        return self.store.load_user(requester.user_id).defaults or self.worker.generator.defaults

    async def reply(
        self,
        requester: Requester,
        text: str,
        buttons: InlineKeyboardMarkup | None = None,
        *,
        at_least_once: bool = False,
        answers: int | None = None,
    ) -> None:
        """Answer in HTML; where the bot may not write, say so to the user alone."""
        sent = await self.delivery.send_text(
            requester.destination,
            text,
            keyboards.with_owner(buttons, requester.user_id),
            at_least_once=at_least_once,
            answers=answers,
        )
        if sent.outcome is DeliveryOutcome.REFUSED:
            await self._reply_privately(requester)

    async def ask_consent(self, requester: Requester) -> None:
        """Say what the bot does and keeps, and ask for agreement.

        Nothing is kept of what was asked for before that. The question is a reply to it instead, so
        that Telegram brings it again with the answer.
        """
        buttons = keyboards.consent(requester.localize)
        text = self.welcome(requester)
        await self.reply(requester, text, buttons, answers=requester.message_id)

    def welcome(self, requester: Requester) -> str:
        """Say what the bot does and keeps."""
        return requester.localize(texts.WELCOME, model=self.worker.generator.model)

    def can_control(self, requester: Requester) -> bool:
        """Whether what draws for a user can follow the outline of a photo."""
        return self.worker.generator.has_control

    def more_help(self, requester: Requester) -> str:
        """What /help says besides what every bot can do."""
        return ""

    async def has_agreed(self, requester: Requester) -> bool:
        """Whether the user has agreed; who has not is asked to."""
        if self.store.load_user(requester.user_id).consented:
            return True
        await self.ask_consent(requester)
        return False

    async def show_settings(self, requester: Requester, message: Message | None = None) -> None:
        """Show a user's settings, in a new message or in one that showed them before."""
        as_file = self.store.load_user(requester.user_id).as_file
        defaults, localize = self.defaults_of(requester), requester.localize
        buttons = keyboards.settings(localize, defaults, as_file=as_file)
        text = localize(texts.YOUR_SETTINGS)
        if message is None:
            await self.reply(requester, text, buttons)
        else:
            signed = keyboards.with_owner(buttons, requester.user_id)
            await self.delivery.edit(message, text, signed)

    # Jobs that are given up, and the end of the bot.

    def cancel_jobs(self, requester: Requester) -> int:
        """Cancel what a user has on the way in a chat, and return how many jobs that is."""
        jobs = self.worker.jobs_of(requester.user_id, requester.chat_id)
        return sum(map(self.worker.cancel, jobs))

    def cancel_jobs_in_chat(self, chat_id: int) -> None:
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

    # The stations of a request.

    async def _explain_refusal(
        self,
        requester: Requester,
        error: RequestError | QueueFullError | StoppedError,
        prompt: str,
    ) -> None:
        """Say why a request does not wait in the queue."""
        localize = requester.localize
        if isinstance(error, StoppedError):
            text = localize(texts.STOPPED, prompt=prompt)
            await self.reply(requester, text, at_least_once=True)
        elif isinstance(error, QueueFullError):
            own = isinstance(error, TooManyJobsError)
            text = localize(texts.TOO_MANY_JOBS if own else texts.QUEUE_FULL, limit=error.limit)
            await self.reply(requester, text)
        else:
            await self.reply(requester, localize.refusal(error))

    def _run_in_background(
        self, requester: Requester, job: Job, rest: Coroutine[None, None, None]
    ) -> None:
        """Do the rest of a request's way, and say so if it breaks off."""

        async def watch_over() -> None:
            try:
                await rest
            except asyncio.CancelledError:
                log.error("job %s: the bot stopped before its end could be told", job.id)
                raise
            except Exception:
                log.exception("job %s: its end was not told", job.id)
                await self.reply(requester, requester.localize(texts.WENT_WRONG, id=job.id))

        task = asyncio.create_task(watch_over())
        self._tasks.add(task)  # or it could be collected on its way
        task.add_done_callback(self._tasks.discard)

    async def _tell_end(self, requester: Requester, job: Job) -> None:
        """Send the picture, or say why there is none."""
        if job.state is JobState.DONE and job.result:
            await self._send_picture(requester, job, job.result)
            return
        is_stopped = isinstance(job.error, StoppedError)
        ends = {
            JobState.CANCELLED: texts.STOPPED if is_stopped else texts.CANCELLED,
            JobState.FAILED: texts.WENT_WRONG,
            JobState.FLAGGED: texts.FLAGGED,
        }
        prompt = shorten(job.request.prompt, MAX_CAPTION_PART)
        text = requester.localize(ends[job.state], prompt=prompt, id=job.id)
        await self.reply(requester, text, at_least_once=True)

    async def _send_picture(
        self, requester: Requester, job: Job, result: Result
    ) -> DeliveryOutcome:
        """Send a picture with its buttons; where nobody knows whether it came, say so."""
        request, localize = result.request, requester.localize
        as_file = self.store.load_user(requester.user_id).as_file
        token = self.store.save_request(requester.user_id, request)
        buttons = self._below_picture(requester, token, job, request)
        sent = await self.delivery.send_picture(
            requester.destination,
            await asyncio.to_thread(result.png),
            caption=localize.caption(result),
            buttons=keyboards.with_owner(buttons, requester.user_id),
            filename=f"seed-{request.seed}.png" if as_file else "",
        )
        if sent.outcome is DeliveryOutcome.UNCONFIRMED:
            log.warning("chat %s: a picture is unconfirmed", requester.chat_id)
            again = keyboards.ask_again(localize, token)
            text = localize(texts.UNCONFIRMED)
            await self.reply(requester, text, again, at_least_once=True)
        elif sent.outcome is DeliveryOutcome.REFUSED:
            prompt = shorten(request.prompt, MAX_CAPTION_PART)
            text = localize(texts.NO_PICTURES_HERE, prompt=prompt)
            await self.reply(requester, text, at_least_once=True)
        return sent.outcome

    def _below_picture(
        self, requester: Requester, token: str, _job: Job, request: Request
    ) -> InlineKeyboardMarkup:
        """Make the buttons of a picture; who knows of more adds them."""
        return keyboards.below_picture(requester.localize, token, request)

    async def _reply_privately(self, requester: Requester) -> None:
        """Tell a user alone that the bot may not write where it was asked."""
        if requester.chat_id > 0:
            return  # a private chat: the user has blocked the bot, and wants to hear nothing
        if requester.user_id > 0:
            text = requester.localize(texts.MAY_NOT_WRITE, chat=requester.title)
            alone = Destination(requester.user_id)
            sent = await self.delivery.send_text(alone, text, retry=False)
            if sent.outcome is DeliveryOutcome.DELIVERED:
                return
        log.error("chat %s: I may not write there, nor to who asked there", requester.chat_id)


class StatusMessage:
    """The one message that tells how a job stands, until the picture comes and it goes."""

    def __init__(self, delivery: Delivery, worker: Worker, requester: Requester, job: Job) -> None:
        self._delivery, self._worker, self._requester, self._job = delivery, worker, requester, job
        buttons = keyboards.cancel(requester.localize, [job])
        self._buttons = keyboards.with_owner(buttons, requester.user_id)
        self._message: Message | None = None
        self._shown: tuple[str, Image.Image | None] = ("", None)

    async def follow(self) -> bool:
        """Show the message and keep it true until the job ends; False if it may not be shown."""
        while self._delivery.must_wait(self._requester.chat_id):
            if await self._has_ended_within(TURN_CHECK_EVERY_S):
                return True  # the picture comes before this could be told
        text = self._progress()
        sent = await self._delivery.send_text(
            self._requester.destination,
            text,
            self._buttons,
            retry=False,  # without a line to Telegram, it would say much later what is not so
        )
        self._shown, self._message = (text, None), sent.message
        await self._on_shown(sent.message)
        if sent.outcome is DeliveryOutcome.REFUSED:
            return False
        while not await self._has_ended_within(EDIT_EVERY_S):
            await self._refresh()
        return True

    async def remove(self) -> None:
        """Delete the message, once what it told of has ended."""
        if self._message is not None:
            await self._delivery.delete(self._message.chat_id, self._message.message_id)

    async def _on_shown(self, message: Message | None) -> None:
        """Called with the message; what keeps a record of it overrides this."""

    async def _refresh(self) -> None:
        """Edit the message if there is news, and if it need not wait: later, it would be old."""
        if self._message is None or self._delivery.must_wait(self._requester.chat_id):
            return
        text, preview = self._progress(), self._job.preview
        if (text, preview) == self._shown:
            return
        picture = await asyncio.to_thread(_jpeg, preview) if preview else None
        if await self._delivery.edit(self._message, text, self._buttons, picture):
            self._shown = (text, preview)

    def _progress(self) -> str:
        return describe_progress(self._job, self._worker, self._requester.localize)

    async def _has_ended_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._job.wait_until_ended(), seconds)
        except TimeoutError:
            return False
        return True


def describe_progress(job: Job, worker: Worker, localize: Localizer) -> str:
    """Say where a job stands: its place in the queue or its step, and for how long still."""
    seconds = worker.seconds_left(job)
    if job.state is JobState.QUEUED:
        return localize.waiting(worker.queue.position(job) + len(worker.running), seconds)
    return localize.drawing(job.step, job.steps, seconds)


def _jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG")
    return file.getvalue()
