"""What a user writes, translated for the desk; nothing is drawn or decided here."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from PIL import Image
from telegram import Message, Update
from telegram.constants import ChatType
from telegram.ext import (
    Application,
    ApplicationHandlerStop,
    CallbackQueryHandler,
    ContextTypes,
    MessageHandler,
    TypeHandler,
    filters,
)

from sdlesson.bot import keyboards, texts
from sdlesson.bot.albums import Albums
from sdlesson.bot.buttons import Buttons
from sdlesson.bot.desk import Desk
from sdlesson.bot.incoming import (
    DRAW_COMMANDS,
    Command,
    SeenUpdates,
    picture_of,
    read_command,
    wish,
)
from sdlesson.bot.jobs import ID_BYTES
from sdlesson.bot.options import MAX_STEPS
from sdlesson.bot.requests import parse_request
from sdlesson.bot.status import Asker, describe
from sdlesson.bot.words import MAX_CAPTION_PART, shorten

log = logging.getLogger(__name__)

Context: TypeAlias = ContextTypes.DEFAULT_TYPE
Handle: TypeAlias = Callable[[Update, Context], Awaitable[Any]]

UNSEEN = Image.new("RGB", (1, 1))  # stands for a photo until that is fetched


async def draw_for(update: Update, context: Context, text: str) -> None:
    """Draw a text for whoever sent an update, as if they had written it."""
    desk: Desk = context.application.bot_data["desk"]
    asker = desk.asker(update)
    await desk.order(asker, lambda: parse_request(text, desk.defaults_of(asker)))


class Handlers:
    """Reads messages, calls the desk, replies."""

    def __init__(self, desk: Desk, seen: SeenUpdates) -> None:
        self._desk, self._seen = desk, seen
        self._albums = Albums(self.album)
        self._commands: dict[str, Handle] = {
            "start": self.start,
            "help": self.help,
            "queue": self.queue,
            "cancel": self.cancel,
            "settings": self.settings,
            "language": self.language,
            **dict.fromkeys(DRAW_COMMANDS, self.draw),
        }

    def register(self, application: Application[Any, Any, Any, Any, Any, Any]) -> None:
        """Say which update goes where; the first that fits takes it."""
        messages = filters.UpdateType.MESSAGE & ~filters.StatusUpdate.ALL
        application.add_handler(TypeHandler(Update, self.drop_repeated), group=-1)
        application.add_handler(MessageHandler(messages, self.read))
        application.add_handler(CallbackQueryHandler(Buttons(self._desk).press))
        application.add_error_handler(self.error)

    async def drop_repeated(self, update: Update, _: Context) -> None:
        """Telegram delivers an update again where it is not sure that it arrived."""
        if not self._seen.is_new(update.update_id):
            raise ApplicationHandlerStop

    async def read(self, update: Update, context: Context) -> None:
        """Find out what a message wants, which may say so below a picture, and do it."""
        message = _message(update)
        if message.media_group_id and picture_of(message):
            self._albums.add(update, message, context)
        elif handle := self._meaning(message, context):
            await handle(update, context)

    def _meaning(self, message: Message, context: Context) -> Handle | None:
        """Find what a message wants; in a group, only a command to this bot wants anything."""
        is_private = message.chat.type == ChatType.PRIVATE
        command = read_command(message.text or message.caption)
        if command and _is_to(command, context):
            return self._commands.get(command.name, self.no_command if is_private else None)
        if not is_private:
            return None
        if command:
            return self.no_command
        return self.draw if message.text or picture_of(message) else self.other_media

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

    async def draw(self, update: Update, _: Context) -> None:
        """Draw what a message says, from its picture or from the one that it answers."""
        message = _message(update)
        answered = message.reply_to_message
        text = wish(message.text or message.caption)
        with_picture = next((one for one in (message, answered) if picture_of(one)), None)
        await self._draw(self._desk.asker(update), text, with_picture)

    async def album(self, updates: list[Update], context: Context) -> None:
        """Redraw the photos of an album as its caption says, or each as its own says."""
        messages = [_message(update) for update in updates]
        captions = [message.caption for message in messages if message.caption]
        caption = next(filter(read_command, captions), captions[0] if captions else None)
        named = next((one for one in updates if _message(one).caption == caption), updates[0])
        handle = self._meaning(_message(named), context)
        if handle != self.draw or not captions:
            if handle:  # such as /help below a photo, or no words at all: once for all of them
                await handle(named, context)
            return
        asker = self._desk.asker(named)
        for message in messages:
            if not await self._draw(asker, wish(message.caption or caption), message):
                return  # there is no more room, and that has been said once

    async def _draw(self, asker: Asker, text: str, message: Message | None) -> bool:
        """Order what a text says, from the picture of a message if there is one."""
        desk, defaults = self._desk, self._desk.defaults_of(asker)
        source = picture_of(message)
        if source is None:
            return await desk.order(asker, lambda: parse_request(text, defaults))
        if not text:
            await desk.say(asker, asker.words(texts.NO_CAPTION))
            return False
        return await desk.order(
            asker,
            lambda: parse_request(text, defaults, photo=UNSEEN),
            lambda: desk.pictures.fetch(source),
        )

    async def queue(self, update: Update, _: Context) -> None:
        """List a user's pictures on the way in this chat, each with a button that cancels it."""
        asker, worker = self._desk.asker(update), self._desk.worker
        jobs, words = worker.jobs_of(asker.user_id, asker.chat_id), asker.words
        if not jobs:
            await self._desk.say(asker, words(texts.NOTHING_WAITS))
            return
        lines = [words(texts.ON_THE_WAY)]
        for number, job in enumerate(jobs, 1):
            prompt = words(texts.PROMPT, prompt=shorten(job.request.prompt, MAX_CAPTION_PART))
            lines.append(f"{number}. {prompt}\n{describe(job, worker, words)}")
        await self._desk.say(asker, "\n".join(lines), keyboards.cancel(words, jobs, numbered=True))

    async def cancel(self, update: Update, _: Context) -> None:
        """Cancel a user's own pictures in this chat; each then says so itself."""
        asker = self._desk.asker(update)
        if not self._desk.give_up(asker):
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
        if isinstance(update, Update) and update.effective_sender and update.effective_chat:
            asker = self._desk.asker(update)
            await self._desk.say(asker, asker.words(texts.WENT_WRONG, id=number))


def _is_to(command: Command, context: Context) -> bool:
    """Whether a command names this bot, or none."""
    return command.bot in ("", context.bot.username.lower())


def _message(update: Update) -> Message:
    assert update.effective_message is not None
    return update.effective_message
