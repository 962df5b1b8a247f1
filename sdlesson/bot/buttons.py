"""What a user presses: "verb:argument", which anybody can forge, so that nothing is taken on trust.

Every verb answers its query before it does anything slow, or the button goes on turning.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeAlias

from telegram import CallbackQuery, Message, Update
from telegram.ext import ContextTypes

from sdlesson.bot import texts
from sdlesson.bot.desk import Desk
from sdlesson.bot.incoming import picture_of
from sdlesson.bot.options import MAX_STEPS, NUMBERS
from sdlesson.bot.requests import Defaults, Request
from sdlesson.bot.status import Asker
from sdlesson.bot.words import Words
from sdlesson.language import LANGUAGES

Verb: TypeAlias = Callable[[CallbackQuery, Asker, str], Awaitable[None]]

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


class Buttons:
    """Does what a button says, if whoever pressed it may."""

    def __init__(self, desk: Desk) -> None:
        self._desk, self._store = desk, desk.store
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

    async def press(self, update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
        """Find the verb of a pressed button and do it."""
        query = update.callback_query
        assert query is not None
        data, _at, owner = (query.data or "").partition("@")
        asker = self._desk.asker(update)
        if owner and _stands_below(query):  # so the owner is one that the bot wrote there
            asker = asker._replace(user_id=int(owner))
        verb, _colon, argument = data.partition(":")
        await self._verbs.get(verb, self.refuse)(query, asker, argument)

    async def refuse(self, query: CallbackQuery, asker: Asker, _argument: str = "") -> None:
        """Say that a button leads nowhere: it is forged, or older than the bot's memory."""
        await self._answer(query, asker.words(texts.GONE_BUTTON))

    async def agree(self, query: CallbackQuery, asker: Asker, _argument: str) -> None:
        """Take down that a user agrees to what is kept."""
        await self._answer(query)
        user = self._store.user(asker.user_id)
        self._store.save_user(asker.user_id, replace(user, consented=True))
        await self._desk.say(asker, asker.words(texts.AGREED))

    async def draw_again(self, query: CallbackQuery, asker: Asker, token: str) -> None:
        """Draw the same picture: its seed is remembered."""
        if request := await self._recall(query, asker, token):
            await self._desk.order(asker, lambda: request)

    async def draw_other_seed(self, query: CallbackQuery, asker: Asker, token: str) -> None:
        """Draw the same words from other noise."""
        if request := await self._recall(query, asker, token):
            await self._desk.order(asker, lambda: replace(request, seed=None))

    async def draw_more_steps(self, query: CallbackQuery, asker: Asker, token: str) -> None:
        """Draw the same picture in more steps, up to the limit."""
        if request := await self._recall(query, asker, token):
            steps = min(MAX_STEPS, request.num_inference_steps + MORE_STEPS)
            await self._desk.order(asker, lambda: replace(request, num_inference_steps=steps))

    async def draw_variation(self, query: CallbackQuery, asker: Asker, token: str) -> None:
        """Draw a picture anew, starting from itself as Telegram keeps it."""
        request = await self._recall(query, asker, token)
        if request is None:
            return
        source = picture_of(query.message) if isinstance(query.message, Message) else None
        if source is None:
            await self._desk.say(asker, asker.words(texts.GONE_BUTTON))
            return
        await self._desk.order(
            asker,
            lambda: replace(request, strength=VARIATION_STRENGTH, seed=None),
            lambda: self._desk.pictures.fetch(source),
        )

    async def cancel(self, query: CallbackQuery, asker: Asker, job_id: str) -> None:
        """Cancel one job, if it is the user's own."""
        worker = self._desk.worker
        jobs = {job.id: job for job in worker.jobs}
        if job_id not in jobs:
            await self.refuse(query, asker)
        elif jobs[job_id].user_id != asker.user_id:
            await self._answer(query, asker.words(texts.NOT_YOURS))
        else:
            worker.cancel(jobs[job_id])
            await self._answer(query)

    async def show_settings(self, query: CallbackQuery, asker: Asker, _argument: str) -> None:
        """Show what /settings shows."""
        await self._answer(query)
        await self._desk.show_settings(asker)

    async def change_setting(self, query: CallbackQuery, asker: Asker, change: str) -> None:
        """Change one setting by a step, as far as its range goes."""
        user = self._store.user(asker.user_id)
        if change == "file":
            changed = replace(user, as_file=not user.as_file)
        elif change in CHANGES:
            defaults = _changed(self._desk.defaults_of(asker), *CHANGES[change])
            changed = replace(user, defaults=defaults)
        else:
            await self.refuse(query, asker)
            return
        await self._answer(query)
        self._store.save_user(asker.user_id, changed)
        if isinstance(query.message, Message):
            await self._desk.show_settings(asker, query.message)

    async def set_language(self, query: CallbackQuery, asker: Asker, code: str) -> None:
        """Speak this language to the user from now on."""
        if code not in LANGUAGES:
            await self.refuse(query, asker)
            return
        await self._answer(query)
        user = self._store.user(asker.user_id)
        self._store.save_user(asker.user_id, replace(user, language=code))
        await self._desk.say(asker, Words(code)(texts.LANGUAGE_SET))

    async def _answer(self, query: CallbackQuery, text: str = "") -> None:
        await self._desk.delivery.answer(query, text)

    async def _recall(self, query: CallbackQuery, asker: Asker, token: str) -> Request | None:
        """Find the request that a button means, if it is the user's own; answers the query."""
        remembered = self._store.recall(token)
        if remembered is None:
            await self.refuse(query, asker)
        elif remembered.user_id != asker.user_id:
            await self._answer(query, asker.words(texts.NOT_YOURS))
        else:
            await self._answer(query)
            return remembered.request
        return None


def _stands_below(query: CallbackQuery) -> bool:
    """Whether the pressed button is really there; a user's app may send whatever it likes."""
    markup = query.message.reply_markup if isinstance(query.message, Message) else None
    rows = markup.inline_keyboard if markup else ()
    return any(button.callback_data == query.data for row in rows for button in row)


def _changed(defaults: Defaults, field: str, step: float) -> Defaults:
    value = round(getattr(defaults, field) + step, 1)
    option = next(option for option in NUMBERS if option.field == field)
    return replace(defaults, **{field: value}) if option.allows(value) else defaults
