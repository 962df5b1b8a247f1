"""Requests taken in, drawn and sent as the bot does, with every step on record before it is taken.

The record is what makes a promise of "it waits": see store/jobs.py for what each state says about
a bot that was killed.
"""

from __future__ import annotations

import logging
import math
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace

from PIL import Image
from telegram import InlineKeyboardMarkup, Message

from sdlesson.bot import keyboards
from sdlesson.bot import texts as bot_texts
from sdlesson.bot.delivery import Delivery, DeliveryOutcome
from sdlesson.bot.queue import ID_BYTES, Job, JobState, QueueFullError, TooManyJobsError
from sdlesson.bot.request_service import (
    NextPhoto,
    Requester,
    RequestService,
    StatusMessage,
    after_refusal,
)
from sdlesson.bot.requests import CONTROL, Defaults, Reason, Request, RequestError
from sdlesson.bot.texts import MAX_CAPTION_PART, Localizer, shorten
from sdlesson.bot.worker import StoppedError
from sdlesson.bot_service.events import Events
from sdlesson.bot_service.limits import LimitError, Limits
from sdlesson.bot_service.models.cards import cards_of
from sdlesson.bot_service.models.catalogue import full_name
from sdlesson.bot_service.models.metrics import ModelMetrics
from sdlesson.bot_service.moderation import Moderation, ModerationError
from sdlesson.bot_service.service import model_texts, texts
from sdlesson.bot_service.service.choices import Chosen, ModelChoice, thumbs
from sdlesson.bot_service.service.memory import StoreView
from sdlesson.bot_service.service.worker import RecordingWorker
from sdlesson.bot_service.store import (
    NewJob,
    Store,
    StoredJob,
    StoredJobState,
    StoreError,
    StoreThread,
)
from sdlesson.language import Text

ENDS = {
    JobState.CANCELLED: StoredJobState.CANCELLED,
    JobState.FAILED: StoredJobState.FAILED,
    JobState.FLAGGED: StoredJobState.FLAGGED,
}
OUTCOMES = {
    DeliveryOutcome.DELIVERED: StoredJobState.SENT,
    DeliveryOutcome.REFUSED: StoredJobState.REFUSED,
    DeliveryOutcome.UNCONFIRMED: StoredJobState.UNCONFIRMED,
}
TOLD_LATER = {  # what a user hears at the next start of how a job ended
    StoredJobState.CANCELLED: bot_texts.CANCELLED,
    StoredJobState.FAILED: bot_texts.WENT_WRONG,
    StoredJobState.FLAGGED: bot_texts.FLAGGED,
    StoredJobState.INTERRUPTED: texts.INTERRUPTED,
    StoredJobState.UNCONFIRMED: bot_texts.UNCONFIRMED,
    StoredJobState.REFUSED: bot_texts.NO_PICTURES_HERE,
}
DRAW_AGAIN = (StoredJobState.INTERRUPTED, StoredJobState.UNCONFIRMED, StoredJobState.FAILED)

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Coming:
    """A request that is being looked at, and not on record yet."""

    user_id: int
    is_called_off: bool = False


class CalledOffError(RuntimeError):
    """Whoever asked was forgotten or shut out before the request was on record."""


# What was pressed in the update that is being handled; None for a message.
button_pressed: ContextVar[str | None] = ContextVar("button_pressed", default=None)


class RecordingService(RequestService):
    """Gives requests to the worker, and what it draws to those who asked, all of it on record.

    Args:
        worker: What draws.
        view: The users, as the bot asks for them.
        delivery: What sends.
        store, call: The record, and the thread in which it is written.
        limits: What one user may ask for.
        moderation: What looks at a request before it is taken.
        events: Who counts.
        is_banned: Whether somebody has been shut out meanwhile, such as while an album came in.
        models: Which model draws for whom.
        model_metrics: Who counts by model.
        retention_days: How long requests are kept.
        also_kept: What else there is to say about what is kept of people.
        help_commands: What /help names besides what the bot itself can do.
    """

    worker: RecordingWorker
    store: StoreView

    def __init__(
        self,
        worker: RecordingWorker,
        view: StoreView,
        delivery: Delivery,
        *,
        store: Store,
        call: StoreThread,
        limits: Limits,
        moderation: Moderation,
        events: Events,
        is_banned: Callable[[int], bool],
        models: ModelChoice,
        model_metrics: ModelMetrics,
        retention_days: float = 30.0,
        also_kept: Sequence[Text] = (),
        help_commands: Mapping[str, Text] = texts.COMMANDS,
    ) -> None:
        super().__init__(worker, view, delivery)
        self.record, self.call, self.limits = store, call, limits
        self._moderation, self.events, self._is_banned = moderation, events, is_banned
        self.models, self.model_metrics = models, model_metrics
        self._days, self.also_kept, self._help = retention_days, also_kept, help_commands
        self._coming: set[Coming] = set()
        self._sending: Counter[int] = Counter()
        self._accepted_at: dict[str, float] = {}
        self._model_of: dict[str, str] = {}
        worker.begin = self._begin

    async def handle_request(
        self,
        requester: Requester,
        make_request: Callable[[], Request],
        download_photo: Callable[[], Awaitable[Image.Image]] | None = None,
    ) -> NextPhoto:
        """Take a request on its way, as the bot does, once it is on record."""
        if not await self.has_agreed(requester):
            return NextPhoto.NONE
        coming, prompt = Coming(requester.user_id), ""
        self._coming.add(coming)
        try:
            if await self._is_on_record(requester):  # and the bot was killed before it said so
                return NextPhoto.ALIKE
            request = make_request()
            prompt = shorten(request.prompt, MAX_CAPTION_PART)
            await self._moderation.check(request)
            request = await self._settle_model(requester, request)
            self._check_room(requester)
            if download_photo is not None:
                request = replace(request, photo=await download_photo())
            if coming.is_called_off or self._is_banned(requester.user_id):
                raise CalledOffError
            job = await self._accept(requester, request)
        except CalledOffError:
            await self.reply(requester, requester.localize(bot_texts.CANCELLED, prompt=prompt))
        except RequestError as error:
            await self.reply(requester, requester.localize.refusal(error))
            return after_refusal(error)
        except (ModerationError, LimitError, QueueFullError, NotRecordedError) as error:
            await self._refuse(requester, error)
            if isinstance(error, ModerationError) and not error.is_away:
                return NextPhoto.WITH_OTHER_WORDS
        else:
            if job is not None:
                self._begin_to_serve(requester, job)
            return NextPhoto.ALIKE
        finally:
            self._coming.discard(coming)
        return NextPhoto.NONE

    def welcome(self, requester: Requester) -> str:
        """Say what the bot does and how long it keeps what."""
        model, days = self.model_of(requester).model, self.days(requester)
        return requester.localize(texts.WELCOME, model=model, days=days)

    def days(self, requester: Requester) -> str:
        """Say how long requests are kept, such as "30 days"."""
        count = math.ceil(self._days)
        return requester.localize(texts.ONE_DAY if count == 1 else texts.DAYS, count=count)

    def can_control(self, requester: Requester) -> bool:
        """Whether the model that draws for a user can follow the outline of a photo."""
        card = cards_of(self.worker.generator).get(self.model_of(requester).model)
        return card.has_control if card else super().can_control(requester)

    def more_help(self, requester: Requester) -> str:
        """Name the service's commands."""
        lines = (f"\n/{name} {requester.localize(text)}" for name, text in self._help.items())
        return "".join(lines)

    async def look_back(self) -> tuple[list[StoredJob], list[StoredJob]]:
        """End on record what an earlier run left under way; before any user of this one is heard.

        Returns:
            The jobs that wait, and those of whose end the user does not know.

        Raises:
            StoreError: The database is away.
        """
        jobs = self.record.jobs
        await self.call(jobs.recover)
        return await self.call(jobs.waiting), await self.call(jobs.untold)

    async def take_up(self, waiting: list[StoredJob], untold: list[StoredJob]) -> None:
        """Let what waits wait again, and tell how the rest has ended.

        Raises:
            StoreError: The database is away.
        """
        for stored in [*waiting, *untold]:
            await self.store.load(stored.user_id)
        for stored in untold:
            self._in_background(stored, self._tell_late(stored))
        back = [stored for stored in waiting if await self._take_up(stored)]
        # One word to each user in each chat, however many pictures wait.
        counts = Counter((one.user_id, one.chat_id) for one in back)
        for stored in {(one.user_id, one.chat_id): one for one in back}.values():
            count = counts[stored.user_id, stored.chat_id]
            requester = _requester(stored)
            text = requester.localize(texts.BACK, count=count)
            self._in_background(stored, self.reply(requester, text, at_least_once=True))

    async def apologize(self, requester: Requester, number: int) -> None:
        """Tell a user that something is not done, and never will be."""
        await self.reply(requester, requester.localize(bot_texts.WENT_WRONG, id=number))

    async def forget(self, requester: Requester) -> bool:
        """Delete all that is kept of a user, and what is on its way to that user.

        Returns:
            Whether a picture is already being sent, which nothing can hold back.

        Raises:
            StoreError: The database is away.
        """
        for coming in self._coming_of(requester.user_id):
            coming.is_called_off = True  # before the record is asked, or one could slip in behind
        await self.store.forget(requester.user_id)
        self.call_off(requester.user_id)
        self.worker.cache.forget(requester.user_id)  # last: from now on nothing comes in any more
        return self._sending[requester.user_id] > 0

    def call_off(self, user_id: int) -> None:
        """End all that a user has on the way, and what is not on record yet."""
        for coming in self._coming_of(user_id):
            coming.is_called_off = True
        for job in self.worker.jobs_of(user_id):
            self.worker.cancel(job)

    def _coming_of(self, user_id: int) -> list[Coming]:
        return [one for one in self._coming if one.user_id == user_id]

    # Which model draws.

    def model_of(self, requester: Requester) -> Chosen:
        """Say with what a user draws."""
        return self.models.of_user(requester.user_id, self.store.load_user(requester.user_id))

    def defaults_of(self, requester: Requester) -> Defaults:
        """The settings that a user chose, else the model's."""
        user, cards = self.store.load_user(requester.user_id), cards_of(self.worker.generator)
        card = cards.get(self.model_of(requester).model)
        return user.defaults or (card.defaults if card else self.worker.generator.defaults)

    async def _settle_model(self, requester: Requester, request: Request) -> Request:
        """Say in a request what draws it; what is no longer offered is told, and forgotten.

        Raises:
            RequestError: What draws it then cannot.
        """
        user = self.store.load_user(requester.user_id)
        settled, gone = self.models.settle(requester.user_id, user, request)
        self._check_control(settled)
        if gone:
            if gone == user.model:
                self.store.save_user(requester.user_id, replace(user, model="", lora=""))
            elif gone == user.lora:
                self.store.save_user(requester.user_id, replace(user, lora=""))
            instead = full_name(settled.model, settled.lora)
            text = requester.localize(model_texts.NO_LONGER, gone=gone, instead=instead)
            await self.reply(requester, text)
        return settled

    def _check_control(self, request: Request) -> None:
        """See whether the model of a request can draw it.

        Raises:
            RequestError: It cannot: another model may have a ControlNet, and this one has none.
        """
        card = cards_of(self.worker.generator).get(request.model)
        if request.control and card and not card.has_control:
            raise RequestError(Reason.NO_CONTROL, option=CONTROL.name, model=request.model)

    # On the way in.

    def _check_room(self, requester: Requester) -> None:
        """See whether there is room, before anything slow; a bot that stops still takes notes.

        Raises:
            QueueFullError: No more can wait.
        """
        with suppress(StoppedError):
            self.worker.check_room(requester.user_id)

    async def _is_on_record(self, requester: Requester) -> bool:
        """Whether this very update has asked before, whatever there is room for now.

        Raises:
            NotRecordedError: The database is away.
        """
        if requester.update_id is None:
            return False
        with self._store_needed():
            return await self.call(self.record.jobs.has_of, requester.update_id)

    @contextmanager
    def _store_needed(self) -> Iterator[None]:
        """Refuse a request for which the store is needed, and is away.

        Raises:
            NotRecordedError: It is.
        """
        try:
            yield
        except StoreError as error:
            log.error("a request could not be written down: %s", error)
            self.events.error("store")
            raise NotRecordedError from error

    async def _accept(self, requester: Requester, request: Request) -> Job | None:
        """Put a request on record and into the queue; None where it is there already.

        Raises:
            LimitError: The user may have no more for now.
            QueueFullError: No more can wait.
            NotRecordedError: It could not be written down, or the bot is being stopped.
        """
        user = self.store.load_user(requester.user_id)
        new = NewJob(
            secrets.token_hex(ID_BYTES),
            requester.user_id,
            requester.chat_id,
            request,
            requester.localize.language,
            requester.thread_id,
            requester.update_id,
            self.models.is_by_lot(requester.user_id, user, request),
            button_pressed.get(),
        )
        with self._store_needed():
            if not await self.call(self.record.jobs.accept, new, self.limits):
                return None
        self.events.accepted(new.id)
        job = Job(requester.user_id, request, id=new.id, chat_id=requester.chat_id)
        self._accepted_at[job.id], self._model_of[job.id] = time.time(), request.model
        if new.button is not None:
            self.model_metrics.again(request.model)
        try:
            return self.worker.enqueue(job)
        except StoppedError:  # it is on record, and waits for the next start
            await self._say_kept(requester, request)
            return None
        except QueueFullError:  # which others have filled meanwhile
            await self._record(job.id, StoredJobState.CANCELLED, told=True)
            raise

    async def _refuse(self, requester: Requester, error: Exception) -> None:
        """Say why a request is not taken, and count it."""
        localize = requester.localize
        if isinstance(error, ModerationError):
            reason = "moderation_away" if error.is_away else "moderation"
            text = _moderated(localize, error)
        elif isinstance(error, LimitError):
            reason, text = error.reason, _limited(localize, error)
        elif isinstance(error, TooManyJobsError):
            reason, text = "queue", localize(bot_texts.TOO_MANY_JOBS, limit=error.limit)
        elif isinstance(error, QueueFullError):
            reason, text = "queue", localize(bot_texts.QUEUE_FULL, limit=error.limit)
        else:
            reason, text = "store", localize(texts.STORE_AWAY)
        self.events.refused(reason)
        await self.reply(requester, text)

    def _in_background(self, stored: StoredJob, work: Coroutine[None, None, None]) -> None:
        job = Job(stored.user_id, stored.request, id=stored.id)
        self._run_in_background(_requester(stored), job, work)

    # On the way out.

    async def _begin(self, job_ids: Sequence[str]) -> Sequence[str]:
        """Put jobs on record as running, and return those that are still to be drawn."""
        granted = await self.call.retry(self.record.jobs.move, job_ids, StoredJobState.RUNNING)
        self.events.started(granted)
        return granted

    def _begin_to_serve(self, requester: Requester, job: Job) -> None:
        self._run_in_background(requester, job, self._follow_and_deliver(requester, job))

    async def _follow_and_deliver(self, requester: Requester, job: Job) -> None:
        """Tell how a job stands until it ends, and then how it ended."""
        status = RecordedStatusMessage(self, requester, job)
        if await status.follow():
            await self._tell_end(self.in_chosen_language(requester), job)
        else:
            self.worker.cancel(job)
            await job.wait_until_ended()
            await self._record(job.id, StoredJobState.CANCELLED, told=True)
            await self._reply_privately(requester)
        await status.remove()
        self._accepted_at.pop(job.id, None)
        self._model_of.pop(job.id, None)

    def _below_picture(
        self, requester: Requester, token: str, job: Job, request: Request
    ) -> InlineKeyboardMarkup:
        """Make the buttons of a picture, with thumbs below."""
        keyboard = super()._below_picture(requester, token, job, request)
        return InlineKeyboardMarkup([*keyboard.inline_keyboard, thumbs(job.id)])

    async def _tell_end(self, requester: Requester, job: Job) -> None:
        """Send what was drawn, or tell why nothing was, once that is on record."""
        if isinstance(job.error, StoppedError):
            await self._keep_for_later(requester, job)
        elif job.state is JobState.DONE and job.result:
            seed, seconds = job.result.request.seed, job.result.seconds or None
            if seconds is not None:
                self.model_metrics.drawn(job.request.model, seconds)
            with self._marked_as_sending(requester.user_id):
                if not await self._record(
                    job.id, StoredJobState.SENDING, seed=seed, seconds=seconds
                ):
                    return
                outcome = await self._send_picture(requester, job, job.result)
            if not await self._record(job.id, OUTCOMES[outcome], told=True):
                # The user was forgotten while the picture left: so are the buttons below it.
                await self.store.forget_requests(requester.user_id)
        else:
            if job.state is JobState.FLAGGED:
                self.events.refused("flagged")
            if await self._record(job.id, ENDS[job.state]):
                await super()._tell_end(requester, job)
                await self.call.retry(self.record.jobs.told, job.id)

    @contextmanager
    def _marked_as_sending(self, user_id: int) -> Iterator[None]:
        """Count a picture of a user as being sent, from before that is on record."""
        self._sending[user_id] += 1
        try:
            yield
        finally:
            self._sending[user_id] -= 1
            self._sending += Counter()  # without those that are at zero

    async def _keep_for_later(self, requester: Requester, job: Job) -> None:
        """Put a job that the bot's stop has ended back among those that wait."""
        await self._record(job.id, StoredJobState.ACCEPTED)
        await self._say_kept(requester, job.request)

    async def _say_kept(self, requester: Requester, request: Request) -> None:
        prompt = shorten(request.prompt, MAX_CAPTION_PART)
        text = requester.localize(texts.KEPT_FOR_LATER, prompt=prompt)
        await self.delivery.send_text(requester.destination, text, retry=False)

    async def _record(
        self,
        job_id: str,
        state: StoredJobState,
        *,
        seed: int | None = None,
        seconds: float | None = None,
        told: bool = False,
    ) -> bool:
        """Put a job's next state on record; False where it does not follow, so nothing may."""
        moved = await self.call.retry(
            self.record.jobs.move, job_id, state, seed=seed, seconds=seconds, told=told
        )
        if moved and state.is_end:
            now = time.time()
            since_accepted = now - self._accepted_at.get(job_id, now)
            log.info("job %s has ended after %.1f s: %s", job_id, since_accepted, state)
            self.events.ended(job_id, state, since_accepted)
            self.model_metrics.ended(self._model_of.get(job_id, ""), state)
        return bool(moved)

    # After a restart.

    async def _take_up(self, stored: StoredJob) -> bool:
        """Let a job wait again that an earlier run has accepted; False where none can draw it."""
        requester = _requester(stored)
        try:
            request = await self._settle_model(requester, stored.request)
        except RequestError as error:
            if await self._record(stored.id, StoredJobState.CANCELLED):
                self._in_background(stored, self._tell_refusal(stored, error))
            return False
        if request is not stored.request:
            await self.call.retry(self.record.jobs.change_model, stored.id, request)
        job = Job(stored.user_id, request, id=stored.id, chat_id=stored.chat_id)
        self._accepted_at[job.id], self._model_of[job.id] = stored.created_at, request.model
        # Users are heard already, who may have filled the queue: this one came before them.
        self.worker.enqueue(job, is_promised=True)
        await self._remove_status(stored)
        self._begin_to_serve(requester, job)
        return True

    async def _tell_refusal(self, stored: StoredJob, error: RequestError) -> None:
        """Tell a user why a job is not drawn that an earlier run has accepted."""
        requester, prompt = _requester(stored), shorten(stored.request.prompt, MAX_CAPTION_PART)
        cancelled = requester.localize(bot_texts.CANCELLED, prompt=prompt)
        await self._remove_status(stored)
        why = requester.localize.refusal(error)
        await self.reply(requester, f"{cancelled}\n{why}", at_least_once=True)
        await self.call.retry(self.record.jobs.told, stored.id)

    async def _tell_late(self, stored: StoredJob) -> None:
        """Tell a user how a job has ended, of which only the record knows."""
        requester, buttons = _requester(stored), None
        if stored.state in DRAW_AGAIN:
            again = replace(stored.request, seed=stored.seed or stored.request.seed)
            buttons = keyboards.ask_again(
                requester.localize, self.store.save_request(stored.user_id, again)
            )
        await self._remove_status(stored)
        if stored.state in TOLD_LATER:
            prompt = shorten(stored.request.prompt, MAX_CAPTION_PART)
            text = requester.localize(TOLD_LATER[stored.state], prompt=prompt, id=stored.id)
            await self.reply(requester, text, buttons, at_least_once=True)
        await self.call.retry(self.record.jobs.told, stored.id)

    async def _remove_status(self, stored: StoredJob) -> None:
        """Take back the message that an earlier run has left, and that would stand still."""
        if stored.status_id is not None:
            await self.delivery.delete(stored.chat_id, stored.status_id)


class NotRecordedError(RuntimeError):
    """Whether a request is on record is not known, so it is not taken."""


class RecordedStatusMessage(StatusMessage):
    """The status message of one job, which the next run can take back."""

    def __init__(self, service: RecordingService, requester: Requester, job: Job) -> None:
        super().__init__(service.delivery, service.worker, requester, job)
        self._service = service

    async def _on_shown(self, message: Message | None) -> None:
        if message is not None:
            jobs = self._service.record.jobs
            await self._service.call.retry(jobs.show_in, self._job.id, message.message_id)


def _requester(stored: StoredJob) -> Requester:
    return Requester(stored.user_id, stored.chat_id, Localizer(stored.language), stored.thread_id)


def _moderated(localize: Localizer, error: ModerationError) -> str:
    if error.is_away:
        return localize(texts.MODERATION_AWAY)
    if error.word:
        return localize(texts.BLOCKED_WORD, word=error.word)
    return localize(texts.BLOCKED_BY_MODEL)


def _limited(localize: Localizer, error: LimitError) -> str:
    if error.reason == "quota":
        hours = math.ceil(error.wait_s / 3600)
        return localize(texts.QUOTA_USED, limit=error.limit, hours=hours)
    return localize(texts.TOO_OFTEN, seconds=math.ceil(error.wait_s))
