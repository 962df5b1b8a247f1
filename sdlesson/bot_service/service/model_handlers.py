"""Models, LoRAs and thumbs, as users choose and press them, and what admins see of it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeAlias

from telegram import CallbackQuery, Message, Update
from telegram import InlineKeyboardButton as Button
from telegram import InlineKeyboardMarkup as Keyboard
from telegram.error import TelegramError
from telegram.ext import (
    Application,
    ApplicationHandlerStop,
    CallbackQueryHandler,
    ContextTypes,
)

from sdlesson.bot import texts as bot_texts
from sdlesson.bot.buttons import on_behalf, read_button
from sdlesson.bot.request_service import Requester
from sdlesson.bot.texts import MAX_CAPTION_PART, MAX_NAME, Localizer, shorten
from sdlesson.bot_service.configuration import NO_LORA
from sdlesson.bot_service.models.cards import cards_of
from sdlesson.bot_service.models.catalogue import key_of
from sdlesson.bot_service.service import model_texts as texts
from sdlesson.bot_service.service.choices import DOWN, UP, VOTE, thumbs
from sdlesson.bot_service.service.requests import RecordingService
from sdlesson.bot_service.service.texts import STORE_AWAY
from sdlesson.bot_service.store import StoreError
from sdlesson.bot_service.store.outcomes import ModelOutcome, Refusal, Votes
from sdlesson.metrics import wilson_interval

MODEL, LORA = "model:", "lora:"
BOT_CHOOSES = "auto"
MARK = " ✓"

log = logging.getLogger(__name__)

Context: TypeAlias = ContextTypes.DEFAULT_TYPE
Do: TypeAlias = Callable[[Requester, str], Awaitable[object]]


class ModelHandlers:
    """Lets users choose what draws, and say what they think of it.

    Args:
        service: What the bot's handlers call, too.

    Attributes:
        commands: What answers each command.
    """

    def __init__(self, service: RecordingService) -> None:
        self._service = service
        self._catalogue = service.models.catalogue
        self.commands: dict[str, Do] = {"model": self.model, "lora": self.lora}

    def register(self, application: Application[Any, Any, Any, Any, Any, Any], group: int) -> None:
        """Say which button goes where, in a group of handlers before the bot's own."""
        presses = {MODEL: self._press_model, LORA: self._press_lora, VOTE: self._press_thumb}
        for prefix, press in presses.items():
            application.add_handler(CallbackQueryHandler(press, pattern=f"^{prefix}"), group=group)

    # What draws.

    async def model(self, requester: Requester, written: str) -> None:
        """Show the models, or take the one that is written."""
        catalogue, localize = self._catalogue, requester.localize
        wanted = written.strip()
        if not catalogue.has_choice:
            await self._say(requester, texts.ONE_MODEL, model=catalogue.default)
        elif not wanted:
            await self._show_models(requester)
        elif wanted.casefold() == BOT_CHOOSES:
            await self._set_model(requester, "")
        elif found := catalogue.find_model(wanted):
            await self._set_model(requester, found)
        else:
            text = localize(
                texts.NO_SUCH_MODEL,
                written=shorten(wanted, MAX_NAME),
                offered=", ".join(catalogue.sources),
                example=catalogue.default,
            )
            await self._service.reply(requester, text)

    async def lora(self, requester: Requester, written: str) -> None:
        """Show the LoRAs of the user's model, or take the one that is written."""
        catalogue, wanted = self._catalogue, written.strip()
        model, lora, _ = self._service.model_of(requester)
        fitting = catalogue.loras_of(model)
        other = catalogue.model_of_lora(wanted)
        if other not in (None, model):
            words = {"lora": wanted, "other": other, "model": model}
            await self._say(requester, texts.LORA_OF_OTHER, **words)
        elif not fitting:
            await self._say(requester, texts.NO_LORAS, model=model)
        elif not wanted:
            none = requester.localize(texts.NO_LORA)
            rows = [[_choice(LORA, name, is_on=name == lora)] for name in fitting]
            rows.append([Button(none + MARK * (not lora), callback_data=LORA)])
            shown = lora or requester.localize(texts.NONE)
            words = {"model": model, "lora": shown, "example": fitting[0]}
            text = requester.localize(texts.YOUR_LORA, **words)
            await self._service.reply(requester, text, Keyboard(rows))
        elif wanted.casefold() in NO_LORA:
            await self._set_lora(requester, "")
        elif found := catalogue.find_lora(model, wanted):
            await self._set_lora(requester, found)
        else:
            await self._say(
                requester,
                texts.NO_SUCH_LORA,
                written=shorten(wanted, MAX_NAME),
                model=model,
                offered=", ".join(fitting),
            )

    async def _show_models(self, requester: Requester) -> None:
        localize, catalogue = requester.localize, self._catalogue
        user = self._service.store.load_user(requester.user_id)
        chosen, cards = self._service.model_of(requester), cards_of(self._service.worker.generator)
        is_own = user.model == chosen.model
        why = texts.CHOSEN_BY_YOU if is_own else texts.CHOSEN_BY_LOT
        shown = localize(why) if is_own or catalogue.ab_share else ""
        example = next((one for one in catalogue.sources if one != chosen.model), chosen.model)
        lines = [localize(texts.YOUR_MODEL, model=chosen.model, why=shown, example=example)]
        for name in catalogue.sources:
            loras = ", ".join(catalogue.loras_of(name)) or localize(texts.NONE)
            size = cards[name].size if name in cards else self._service.worker.generator.size
            lines.append("• " + localize(texts.ONE_OF_MODELS, model=name, size=size, loras=loras))
        rows = [
            [_choice(MODEL, name, is_on=is_own and name == chosen.model)]
            for name in catalogue.sources
        ]
        rows.append([Button(localize(texts.LET_BOT_CHOOSE), callback_data=MODEL)])
        await self._service.reply(requester, "\n".join(lines), Keyboard(rows))

    async def _set_model(self, requester: Requester, model: str) -> None:
        """Take down which model a user wants; "" for none in particular."""
        store = self._service.store
        user = store.load_user(requester.user_id)
        changed = replace(user, model=model)
        drawing = self._service.models.of_user(requester.user_id, changed)
        store.save_user(requester.user_id, replace(changed, lora=drawing.lora))
        lines = [
            requester.localize(texts.MODEL_SET if model else texts.BOT_CHOOSES, model=drawing.model)
        ]
        if user.lora and not drawing.lora:
            lines.append(requester.localize(texts.LORA_LEFT, lora=user.lora))
        await self._service.reply(requester, "\n".join(lines))

    async def _set_lora(self, requester: Requester, lora: str) -> None:
        """Take down which LoRA a user wants; "" for none."""
        store = self._service.store
        user = store.load_user(requester.user_id)
        model = self._service.model_of(requester).model
        store.save_user(requester.user_id, replace(user, lora=lora))
        text = texts.LORA_SET if lora else texts.LORA_OFF
        await self._say(requester, text, lora=lora, model=model)

    async def _press_model(self, update: Update, _: Context) -> None:
        await self._press(update, self._set_model, self._catalogue.find_model)

    async def _press_lora(self, update: Update, _: Context) -> None:
        assert update.callback_query is not None
        requester = on_behalf(update.callback_query, self._service.requester(update))
        model = self._service.model_of(requester).model
        await self._press(update, self._set_lora, lambda key: self._catalogue.find_lora(model, key))

    async def _press(self, update: Update, do: Do, find: Callable[[str], str | None]) -> None:
        """Take what a button names, if it is still offered; a button without a name is none."""
        query = update.callback_query
        assert query is not None
        requester = on_behalf(query, self._service.requester(update))
        key = read_button(query).argument
        found = find(key) if key else ""
        if found is None:
            text = requester.localize(texts.GONE_CHOICE)
            await self._service.delivery.answer_press(query, text)
        else:
            await self._service.delivery.answer_press(query)
            await do(requester, found)
        raise ApplicationHandlerStop

    # Thumbs.

    async def _press_thumb(self, update: Update, _: Context) -> None:
        """Count a thumb, and show that it counts."""
        query, requester = update.callback_query, self._service.requester(update)
        assert query is not None
        user_id, argument = query.from_user.id, read_button(query).argument
        answer = self._service.delivery.answer_press
        job_id, is_up = argument[:-1], argument.endswith("+")
        if not self._service.store.load_user(user_id).consented:
            await answer(query, requester.localize(texts.VOTE_AFTER_START))
            raise ApplicationHandlerStop
        vote = self._service.record.outcomes.vote
        try:
            counted = await self._service.call(
                vote, job_id, user_id, requester.chat_id, is_up=is_up
            )
        except StoreError as error:
            log.error("a thumb could not be written down: %s", error)
            self._service.events.error("store")
            await answer(query, requester.localize(STORE_AWAY))
            raise ApplicationHandlerStop from error
        if isinstance(counted, Refusal):
            is_gone = counted is Refusal.GONE
            text = texts.VOTE_GONE if is_gone else bot_texts.NOT_YOURS
            await answer(query, requester.localize(text))
        else:
            await answer(query)
            self._service.model_metrics.voted(counted.model, is_up=is_up)
            await _show_thumbs(query, job_id, counted, is_group=requester.chat_id < 0, is_up=is_up)
        raise ApplicationHandlerStop

    # For admins.

    async def report(self, requester: Requester) -> str:
        """Say what became of each model's pictures, as a part of /stats.

        Raises:
            StoreError: The database is away.
        """
        outcomes = self._service.record.outcomes
        localize = requester.localize
        parts = [localize(texts.BY_MODEL, days=self._service.days(requester))]
        parts += [_told(one, localize) for one in await self._service.call(outcomes.by_model)]
        if self._catalogue.ab_share:
            shares = [
                localize(texts.SHARE, model=name, share=round(100 * share, 1))
                for name, share in self._catalogue.ab_share.items()
            ]
            by_lot = await self._service.call(outcomes.by_model, only_by_lot=True)
            parts.append(localize(texts.BY_LOT, shares=", ".join(shares)))
            parts += [_told(one, localize) for one in by_lot] or [localize(texts.NOTHING_YET)]
        return "".join([*parts, localize(texts.INTERVALS)]) if len(parts) > 1 else ""

    async def _say(self, requester: Requester, text: Any, **values: object) -> None:
        await self._service.reply(requester, requester.localize(text, **values))


def _choice(prefix: str, name: str, *, is_on: bool) -> Button:
    label = shorten(name, MAX_CAPTION_PART) + MARK * is_on
    return Button(label, callback_data=f"{prefix}{key_of(name)}")


async def _show_thumbs(
    query: CallbackQuery, job_id: str, votes: Votes, *, is_group: bool, is_up: bool
) -> None:
    """Mark the thumb of a private chat, or count those of a group."""
    if not isinstance(query.message, Message) or query.message.reply_markup is None:
        return
    if is_group:
        labels = [
            f"{thumb} {count or ''}".strip()
            for thumb, count in zip((UP, DOWN), votes[1:], strict=True)
        ]
    else:
        labels = [UP + MARK * is_up, DOWN + MARK * (not is_up)]
    old = [list(row) for row in query.message.reply_markup.inline_keyboard]
    new = [thumbs(job_id, *labels) if _is_thumb(row[0], job_id) else row for row in old]
    if new == old:
        return
    try:
        await query.message.edit_reply_markup(Keyboard(new))
    except TelegramError as error:  # such as: deleted by the user; the vote counts all the same
        log.info("thumbs cannot be shown (%s)", type(error).__name__)


def _is_thumb(button: Button, job_id: str) -> bool:
    return str(button.callback_data).startswith(f"{VOTE}{job_id}")


def _told(one: ModelOutcome, localize: Localizer) -> str:
    drawn = one.sent + one.flagged
    seconds = localize(texts.SECONDS, seconds=round(one.seconds, 2)) if one.seconds else ""
    return localize(
        texts.OUTCOME,
        model=one.model,
        sent=one.sent,
        flagged=one.flagged,
        flagged_share=_interval(one.flagged, drawn, localize),
        failed=one.failed,
        again=one.again,
        seconds=seconds,
        up=UP,
        ups=one.ups,
        votes=one.votes,
        ups_share=_interval(one.ups, one.votes, localize),
    )


def _interval(count: int, n: int, localize: Localizer) -> str:
    """Say between what the share lies in the long run; nothing where there is none."""
    if not n:
        return ""
    low, high = wilson_interval(count, n)
    return localize(texts.INTERVAL, low=round(100 * low), high=round(100 * high))
