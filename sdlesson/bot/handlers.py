"""What a user writes, translated for the desk; nothing is drawn or decided here."""

from __future__ import annotations

import logging
import secrets
from typing import Any, TypeAlias

from telegram import Message, Update
from telegram.ext import (
    Application,
    ApplicationHandlerStop,
    CallbackQueryHandler,
    CommandHandler,
    ContextTypes,
    MessageHandler,
    TypeHandler,
    filters,
)

from sdlesson.bot import keyboards, texts
from sdlesson.bot.buttons import Buttons
from sdlesson.bot.desk import Desk
from sdlesson.bot.incoming import DRAW_COMMANDS, fetch_picture, wish
from sdlesson.bot.jobs import ID_BYTES
from sdlesson.bot.options import MAX_STEPS
from sdlesson.bot.requests import parse_request
from sdlesson.bot.status import describe
from sdlesson.bot.words import MAX_CAPTION_PART, shorten
from sdlesson.photos import MAX_ENLARGEMENT

log = logging.getLogger(__name__)

Context: TypeAlias = ContextTypes.DEFAULT_TYPE


async def draw_for(update: Update, context: Context, text: str) -> None:
    """Draw a text for whoever sent an update, as if they had written it."""
    desk: Desk = context.application.bot_data["desk"]
    asker = desk.asker(update)
    await desk.order(asker, lambda: parse_request(text, desk.defaults_of(asker)))


class Handlers:
    """Reads messages, calls the desk, replies."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def register(self, application: Application[Any, Any, Any, Any, Any, Any]) -> None:
        """Say which update goes where; the first that fits takes it."""
        commands = {
            "start": self.start,
            "help": self.help,
            "queue": self.queue,
            "cancel": self.cancel,
            "settings": self.settings,
            "language": self.language,
        } | dict.fromkeys(DRAW_COMMANDS, self.draw)
        new = filters.UpdateType.MESSAGE
        private = new & filters.ChatType.PRIVATE & ~filters.StatusUpdate.ALL
        application.add_handler(TypeHandler(Update, self.drop_repeated), group=-1)
        for name, callback in commands.items():
            application.add_handler(CommandHandler(name, callback, new))
        for kind, callback in (
            (filters.PHOTO | filters.Document.IMAGE, self.photo),
            (filters.COMMAND, self.no_command),
            (filters.TEXT, self.draw),
            (filters.ALL, self.other_media),
        ):
            application.add_handler(MessageHandler(private & kind, callback))
        application.add_handler(CallbackQueryHandler(Buttons(self._desk).press))
        application.add_error_handler(self.error)

    async def drop_repeated(self, update: Update, _: Context) -> None:
        """Telegram delivers an update again where it is not sure that it arrived."""
        if not self._desk.store.is_new(update.update_id):
            raise ApplicationHandlerStop

    async def start(self, update: Update, _: Context) -> None:
        """Say what the bot does and keeps, and ask for agreement."""
        await self._desk.welcome(self._desk.asker(update))

    async def help(self, update: Update, _: Context) -> None:
        """Name everything that one can do."""
        asker = self._desk.asker(update)
        defaults = self._desk.defaults_of(asker)
        text = asker.words(
            texts.HELP,
            most=MAX_STEPS,
            steps=defaults.num_inference_steps,
            guidance=float(defaults.guidance_scale),
            strength=float(defaults.strength),
        )
        await self._desk.say(asker, text)

    async def draw(self, update: Update, context: Context) -> None:
        """Draw what follows /draw, or what a message without a command says."""
        await draw_for(update, context, wish(_message(update).text))

    async def photo(self, update: Update, _: Context) -> None:
        """Redraw a photo as its caption says."""
        asker, message, desk = self._desk.asker(update), _message(update), self._desk
        text = wish(message.caption)
        if not text:
            await desk.say(asker, asker.words(texts.NO_CAPTION))
            return
        if not await desk.has_agreed(asker):
            return
        size = desk.worker.generator.size
        photo = await fetch_picture(message, size)
        if photo is None:
            least = -(-size // MAX_ENLARGEMENT)
            await desk.say(asker, asker.words(texts.BAD_PHOTO, least=least))
            return
        defaults = desk.defaults_of(asker)
        await desk.order(asker, lambda: parse_request(text, defaults, photo=photo))

    async def queue(self, update: Update, _: Context) -> None:
        """List a user's pictures on the way, each with a button that cancels it."""
        asker, worker = self._desk.asker(update), self._desk.worker
        jobs, words = worker.jobs_of(asker.user_id), asker.words
        if not jobs:
            await self._desk.say(asker, words(texts.NOTHING_WAITS))
            return
        lines = [words(texts.ON_THE_WAY)]
        for number, job in enumerate(jobs, 1):
            prompt = words(texts.PROMPT, prompt=shorten(job.request.prompt, MAX_CAPTION_PART))
            lines.append(f"{number}. {prompt}\n{describe(job, worker, words)}")
        await self._desk.say(asker, "\n".join(lines), keyboards.cancel(words, jobs, numbered=True))

    async def cancel(self, update: Update, _: Context) -> None:
        """Cancel a user's own pictures; each then says so itself."""
        asker = self._desk.asker(update)
        if not self._desk.give_up(asker.user_id):
            await self._desk.say(asker, asker.words(texts.NOTHING_WAITS))

    async def settings(self, update: Update, _: Context) -> None:
        """Show a user's settings, with buttons that change them."""
        await self._desk.show_settings(self._desk.asker(update))

    async def language(self, update: Update, _: Context) -> None:
        """Ask which language to speak."""
        asker = self._desk.asker(update)
        await self._desk.say(asker, asker.words(texts.WHICH_LANGUAGE), keyboards.languages())

    async def no_command(self, update: Update, _: Context) -> None:
        """Say that there is no such command."""
        asker = self._desk.asker(update)
        await self._desk.say(asker, asker.words(texts.NO_SUCH_COMMAND))

    async def other_media(self, update: Update, _: Context) -> None:
        """Say what the bot takes."""
        asker = self._desk.asker(update)
        await self._desk.say(asker, asker.words(texts.OTHER_MEDIA))

    async def error(self, update: object, context: Context) -> None:
        """Log what went wrong under a number, and tell the user no more than that number."""
        number = secrets.token_hex(ID_BYTES)
        log.error("error %s in a handler", number, exc_info=context.error)
        if isinstance(update, Update) and update.effective_user and update.effective_chat:
            asker = self._desk.asker(update)
            await self._desk.say(asker, asker.words(texts.WENT_WRONG, id=number))


def _message(update: Update) -> Message:
    assert update.effective_message is not None
    return update.effective_message
