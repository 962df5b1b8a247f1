"""What a user presses: "verb:argument", which anybody can forge, so that nothing is taken on trust.

Every verb answers its query before it does anything slow, or the button goes on turning.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from telegram import CallbackQuery, Message, Update
from telegram.ext import ContextTypes

from sdlesson.bot import texts
from sdlesson.bot.attachments import PLACEHOLDER_PHOTO, image_attachment
from sdlesson.bot.request_service import Requester, RequestService
from sdlesson.bot.requests import MAX_STEPS, NUMBERS, Defaults, Request
from sdlesson.bot.texts import Localizer
from sdlesson.language import LANGUAGES

Verb: TypeAlias = Callable[[CallbackQuery, Requester, str], Awaitable[None]]

MORE_STEPS = 15
VARIATION_STRENGTH = 0.5
CHANGES: dict[str, tuple[str, float]] = {  # the buttons of /settings: which field, by how much
    "steps-": ("num_inference_steps", -5),
    "steps+": ("num_inference_steps", 5),
    "guidance-": ("guidance_scale", -1.0),
    "guidance+": ("guidance_scale", 1.0),
    "strength-": ("strength", -0.1),
    "strength+": ("strength", 0.1),
}


class ButtonData(NamedTuple):
    """What a button says: `verb:argument@owner`, without an owner where that is who presses it."""

    verb: str
    argument: str
    owner: str


def read_button(query: CallbackQuery) -> ButtonData:
    """Read what the pressed button says."""
    data, _at, owner = (query.data or "").partition("@")
    verb, _colon, argument = data.partition(":")
    return ButtonData(verb, argument, owner)


class ButtonHandlers:
    """Does what a button says, if whoever pressed it may.

    Args:
        service: What does it.
        draw_message: Draws what a message says for somebody.
    """

    def __init__(
        self,
        service: RequestService,
        draw_message: Callable[[Requester, Message], Awaitable[None]],
    ) -> None:
        self._service, self._store, self._draw_message = service, service.store, draw_message
        self._verbs: dict[str, Verb] = {
            "agree": self.agree,
            "again": self.draw_again,
            "seed": self.draw_other_seed,
            "steps": self.draw_more_steps,
            "vary": self.draw_variation,
            "cancel": self.cancel,
            "settings": self.show_settings,
            "set": self.change_setting,
            "language": self.set_language,
        }

    async def handle_press(self, update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
        """Find the verb of a pressed button and do it."""
        query = update.callback_query
        assert query is not None
        pressed, requester = read_button(query), on_behalf(query, self._service.requester(update))
        await self._verbs.get(pressed.verb, self.refuse)(query, requester, pressed.argument)

    async def refuse(self, query: CallbackQuery, requester: Requester, _argument: str = "") -> None:
        """Say that a button leads nowhere: it is forged, or older than the bot's memory."""
        await self._answer(query, requester.localize(texts.GONE_BUTTON))

    async def agree(self, query: CallbackQuery, requester: Requester, _argument: str) -> None:
        """Take down that a user agrees to what is kept, and draw what the user had asked for."""
        await self._answer(query)
        user, asked = self._store.load_user(requester.user_id), _asked_before(query, requester)
        if user.consented:
            asked = None  # the button was pressed twice
        self._store.save_user(requester.user_id, replace(user, consented=True))
        text = requester.localize(texts.AGREED_AND_DRAWS if asked else texts.AGREED)
        await self._service.reply(requester, text)
        if asked:
            await self._draw_message(requester, asked)

    async def draw_again(self, query: CallbackQuery, requester: Requester, token: str) -> None:
        """Draw the same picture: its seed is stored."""
        if request := await self._own_request(query, requester, token):
            await self._draw(requester, request)

    async def draw_other_seed(self, query: CallbackQuery, requester: Requester, token: str) -> None:
        """Draw the same words from other noise."""
        if request := await self._own_request(query, requester, token):
            await self._draw(requester, request, seed=None)

    async def draw_more_steps(self, query: CallbackQuery, requester: Requester, token: str) -> None:
        """Draw the same picture in more steps, up to the limit."""
        if request := await self._own_request(query, requester, token):
            steps = min(MAX_STEPS, request.num_inference_steps + MORE_STEPS)
            await self._draw(requester, request, num_inference_steps=steps)

    async def draw_variation(self, query: CallbackQuery, requester: Requester, token: str) -> None:
        """Draw a picture anew, starting from itself as Telegram keeps it."""
        request = await self._own_request(query, requester, token)
        if request is None:
            return
        source = image_attachment(query.message) if isinstance(query.message, Message) else None
        if source is None:
            await self._service.reply(requester, requester.localize(texts.GONE_BUTTON))
            return
        await self._service.handle_request(
            requester,
            lambda: _variation(request),
            lambda: self._service.photos.download(source),
        )

    async def cancel(self, query: CallbackQuery, requester: Requester, job_id: str) -> None:
        """Cancel one job, if it is the user's own."""
        worker = self._service.worker
        jobs = {job.id: job for job in worker.jobs}
        if job_id not in jobs:
            await self.refuse(query, requester)
        elif jobs[job_id].user_id != requester.user_id:
            await self._answer(query, requester.localize(texts.NOT_YOURS))
        else:
            worker.cancel(jobs[job_id])
            await self._answer(query)

    async def show_settings(
        self, query: CallbackQuery, requester: Requester, _argument: str
    ) -> None:
        """Show what /settings shows."""
        await self._answer(query)
        await self._service.show_settings(requester)

    async def change_setting(self, query: CallbackQuery, requester: Requester, change: str) -> None:
        """Change one setting by a step, as far as its range goes."""
        user = self._store.load_user(requester.user_id)
        if change == "file":
            changed = replace(user, as_file=not user.as_file)
        elif change in CHANGES:
            defaults = _changed(self._service.defaults_of(requester), *CHANGES[change])
            changed = replace(user, defaults=defaults)
        else:
            await self.refuse(query, requester)
            return
        await self._answer(query)
        self._store.save_user(requester.user_id, changed)
        if isinstance(query.message, Message):
            await self._service.show_settings(requester, query.message)

    async def set_language(self, query: CallbackQuery, requester: Requester, code: str) -> None:
        """Speak this language to the user from now on."""
        if code not in LANGUAGES:
            await self.refuse(query, requester)
            return
        await self._answer(query)
        user = self._store.load_user(requester.user_id)
        self._store.save_user(requester.user_id, replace(user, language=code))
        await self._service.reply(requester, Localizer(code)(texts.LANGUAGE_SET))

    async def _draw(self, requester: Requester, request: Request, **changes: Any) -> None:
        """Request what was requested before, with these fields changed."""
        service = self._service
        await service.handle_request(
            requester, lambda: service.check_drawable(replace(request, **changes))
        )

    async def _answer(self, query: CallbackQuery, text: str = "") -> None:
        await self._service.delivery.answer_press(query, text)

    async def _own_request(
        self, query: CallbackQuery, requester: Requester, token: str
    ) -> Request | None:
        """Find the request that a button means, if it is the user's own; answers the query."""
        stored = self._store.load_request(token)
        if stored is None:
            await self.refuse(query, requester)
        elif stored.user_id != requester.user_id:
            await self._answer(query, requester.localize(texts.NOT_YOURS))
        else:
            await self._answer(query)
            return stored.request
        return None


def on_behalf(query: CallbackQuery, requester: Requester) -> Requester:
    """Name whose a pressed button is: a group's or channel's that wrote, else who pressed it."""
    owner = read_button(query).owner
    if owner and _stands_below(query):  # so the owner is one that the bot wrote there
        return requester._replace(user_id=int(owner))
    return requester


def _asked_before(query: CallbackQuery, requester: Requester) -> Message | None:
    """The user's own message that the pressed button's is a reply to."""
    asked = query.message.reply_to_message if isinstance(query.message, Message) else None
    sender = asked and (asked.sender_chat or asked.from_user)
    return asked if sender and sender.id == requester.user_id else None


def _variation(request: Request) -> Request:
    """The same words, to start from a picture of theirs, whichever way that was made."""
    photo = request.photo or PLACEHOLDER_PHOTO
    return replace(
        request, photo=photo, control="", widen="", strength=VARIATION_STRENGTH, seed=None
    )


def _stands_below(query: CallbackQuery) -> bool:
    """Whether the pressed button is really there; a user's app may send whatever it likes."""
    markup = query.message.reply_markup if isinstance(query.message, Message) else None
    rows = markup.inline_keyboard if markup else ()
    return any(button.callback_data == query.data for row in rows for button in row)


def _changed(defaults: Defaults, field: str, step: float) -> Defaults:
    value = round(getattr(defaults, field) + step, 1)
    option = next(option for option in NUMBERS if option.field == field)
    return replace(defaults, **{field: value}) if option.allows(value) else defaults
