"""What a user writes, translated for the request service; nothing is drawn or decided here.

`Handlers.handle_message` is where every message comes in.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from telegram import Message, Update
from telegram.constants import ChatType
from telegram.ext import (
    Application,
    CallbackQueryHandler,
    ContextTypes,
    MessageHandler,
    filters,
)

from sdlesson.bot import keyboards, texts
from sdlesson.bot.attachments import PLACEHOLDER_PHOTO, AlbumCollector, image_attachment
from sdlesson.bot.buttons import VARIATION_STRENGTH, ButtonHandlers
from sdlesson.bot.queue import ID_BYTES
from sdlesson.bot.request_service import (
    NextPhoto,
    Requester,
    RequestService,
    describe_progress,
)
from sdlesson.bot.requests import (
    MAX_STEPS,
    STRENGTH,
    WIDEN,
    Request,
    clean_text,
    parse_request,
)
from sdlesson.bot.texts import MAX_CAPTION_PART, shorten

DRAW_COMMANDS = {  # and with what their words begin
    "draw": "",
    "generate": "",
    "vary": f"{STRENGTH.name} {VARIATION_STRENGTH} ",
    "widen": f"{WIDEN.name} ",
}
# As Telegram reads commands: at the start, of Latin letters, perhaps with the bot that is meant.
_COMMAND = re.compile(r"/([A-Za-z0-9_]{1,64})(?:@([A-Za-z0-9_]+))?(?![\w@])[:,]?")
_INVISIBLE = re.compile(r"^[\s\u200b-\u200f\u2060\ufeff]+")

log = logging.getLogger(__name__)

Context: TypeAlias = ContextTypes.DEFAULT_TYPE
Handle: TypeAlias = Callable[[Update, Context], Awaitable[Any]]


class Command(NamedTuple):
    """A command such as "/draw@my_bot a cat": its name, the bot that is meant, what follows."""

    name: str
    bot: str
    argument: str


async def draw_for(update: Update, context: Context, text: str) -> None:
    """Draw a text for whoever sent an update, as if they had written it."""
    service: RequestService = context.application.bot_data["service"]
    requester = service.requester(update)
    defaults = service.defaults_of(requester)
    await service.handle_request(requester, lambda: parse_request(text, defaults))


class Handlers:
    """Reads messages, calls the service, replies.

    Args:
        service: What does what users want.
        on_album_done: Called with all updates of an album once that has been handled.
    """

    def __init__(
        self, service: RequestService, on_album_done: Callable[..., Awaitable[Any]]
    ) -> None:
        self._service = service
        self._albums = AlbumCollector(self.draw_album, on_album_done)
        self._commands: dict[str, Handle] = {
            "start": self.start,
            "help": self.help,
            "queue": self.queue,
            "cancel": self.cancel,
            "settings": self.settings,
            "language": self.language,
            **dict.fromkeys(DRAW_COMMANDS, self.draw),
        }

    def add_commands(self, commands: Mapping[str, Handle]) -> None:
        """Do other commands, too, wherever they may stand: alone, below a photo or an album."""
        self._commands |= commands

    def is_waiting(self, update: Update) -> bool:
        """Whether an update is a photo that waits for its album to be handled."""
        return self._albums.has(update)

    def register(self, application: Application[Any, Any, Any, Any, Any, Any]) -> None:
        """Say which update goes where; the first that fits takes it."""
        messages = filters.UpdateType.MESSAGE & ~filters.StatusUpdate.ALL
        application.add_handler(MessageHandler(messages, self.handle_message))
        buttons = ButtonHandlers(self._service, self.draw_message)
        application.add_handler(CallbackQueryHandler(buttons.handle_press))
        application.add_error_handler(self.report_error)

    async def handle_message(self, update: Update, context: Context) -> None:
        """Find out what a message wants, which may say so below a picture, and do it."""
        message = _message(update)
        if message.media_group_id and image_attachment(message):
            self._albums.add(update, message, context)
        elif handle := self._handler_for(message, context):
            await handle(update, context)

    def _handler_for(self, message: Message, context: Context) -> Handle | None:
        """Find what a message wants; in a group, only a command to this bot wants anything."""
        is_private = message.chat.type == ChatType.PRIVATE
        command = read_command(message.text or message.caption)
        if command and _is_to(command, context):
            return self._commands.get(command.name, self.no_command if is_private else None)
        if not is_private:
            return None
        if command:
            return self.no_command
        return self.draw if message.text or image_attachment(message) else self.other_media

    # A picture is asked for.

    async def draw(self, update: Update, _: Context) -> None:
        """Draw what a message says, from its picture or from the one that it answers."""
        message, requester = _message(update), self._service.requester(update)
        answered = message.reply_to_message
        if image_attachment(message) or not image_attachment(answered):
            await self.draw_message(requester, message)
        else:
            await self._draw(requester, prompt_text(message.text or message.caption), answered)

    async def draw_message(self, requester: Requester, message: Message) -> None:
        """Draw what a message says, from its own picture if it has one."""
        text = prompt_text(message.text or message.caption)
        with_picture = message if image_attachment(message) else None
        asking = requester._replace(message_id=message.message_id)
        await self._draw(asking, text, with_picture)

    async def draw_album(self, updates: list[Update], context: Context) -> None:
        """Redraw the photos of an album as its caption says, or each as its own says."""
        messages = [_message(update) for update in updates]
        captions = [message.caption for message in messages if message.caption]
        caption = next(filter(read_command, captions), captions[0] if captions else None)
        named = next((one for one in updates if _message(one).caption == caption), updates[0])
        handle = self._handler_for(_message(named), context)
        if handle != self.draw or not captions:
            if handle:  # such as /help below a photo, or no words at all: once for all of them
                await handle(named, context)
            return
        requester = self._service.requester(named)
        refused: set[str] = set()
        for update, message in zip(updates, messages, strict=True):
            text = prompt_text(message.caption or caption)
            if text in refused:  # which has been said once
                continue
            # Each photo is a request of its own update, which can be told from the others'.
            asking = requester._replace(update_id=update.update_id)
            then = await self._draw(asking, text, message)
            if then is NextPhoto.NONE:
                return
            if then is NextPhoto.WITH_OTHER_WORDS:
                refused.add(text)

    async def _draw(self, requester: Requester, text: str, message: Message | None) -> NextPhoto:
        """Request what a text says, from the picture of a message if there is one.

        Returns:
            How to go on with an album.
        """
        service, defaults = self._service, self._service.defaults_of(requester)
        source = image_attachment(message)
        if source is None:
            return await service.handle_request(requester, lambda: parse_request(text, defaults))
        if not text:
            await service.reply(requester, requester.localize(texts.NO_CAPTION))
            return NextPhoto.WITH_OTHER_WORDS
        widens = False  # known once the text is read, which is before the download

        def make_request() -> Request:
            nonlocal widens
            request = parse_request(text, defaults, photo=PLACEHOLDER_PHOTO)
            widens = bool(request.widen)
            return service.check_drawable(request)

        return await service.handle_request(
            requester, make_request, lambda: service.photos.download(source, square=not widens)
        )

    # All else.

    async def start(self, update: Update, _: Context) -> None:
        """Say what the bot does and keeps, and ask for agreement."""
        await self._service.ask_consent(self._service.requester(update))

    async def help(self, update: Update, _: Context) -> None:
        """Name everything that one can do."""
        requester = self._service.requester(update)
        defaults = self._service.defaults_of(requester)
        text = requester.localize(
            texts.HELP,
            most=MAX_STEPS,
            steps=defaults.num_inference_steps,
            guidance=float(defaults.guidance_scale),
            strength=float(defaults.strength),
        )
        if self._service.can_control(requester):
            text += requester.localize(texts.HELP_CONTROL)
        text += requester.localize(texts.HELP_COMMANDS)
        await self._service.reply(requester, text + self._service.more_help(requester))

    async def queue(self, update: Update, _: Context) -> None:
        """List a user's pictures on the way in this chat, each with a button that cancels it."""
        requester, worker = self._service.requester(update), self._service.worker
        jobs = worker.jobs_of(requester.user_id, requester.chat_id)
        localize = requester.localize
        if not jobs:
            await self._service.reply(requester, localize(texts.NOTHING_WAITS))
            return
        lines = [localize(texts.ON_THE_WAY)]
        for number, job in enumerate(jobs, 1):
            prompt = localize(texts.PROMPT, prompt=shorten(job.request.prompt, MAX_CAPTION_PART))
            lines.append(f"{number}. {prompt}\n{describe_progress(job, worker, localize)}")
        buttons = keyboards.cancel(localize, jobs, numbered=True)
        await self._service.reply(requester, "\n".join(lines), buttons)

    async def cancel(self, update: Update, _: Context) -> None:
        """Cancel a user's own pictures in this chat; each then says so itself."""
        requester = self._service.requester(update)
        if not self._service.cancel_jobs(requester):
            await self._service.reply(requester, requester.localize(texts.NOTHING_WAITS))

    async def settings(self, update: Update, _: Context) -> None:
        """Show a user's settings, with buttons that change them."""
        await self._service.show_settings(self._service.requester(update))

    async def language(self, update: Update, _: Context) -> None:
        """Ask which language to speak."""
        requester = self._service.requester(update)
        text = requester.localize(texts.WHICH_LANGUAGE)
        await self._service.reply(requester, text, keyboards.languages())

    async def no_command(self, update: Update, _: Context) -> None:
        """Say that there is no such command."""
        requester = self._service.requester(update)
        await self._service.reply(requester, requester.localize(texts.NO_SUCH_COMMAND))

    async def other_media(self, update: Update, _: Context) -> None:
        """Say what the bot takes."""
        requester = self._service.requester(update)
        await self._service.reply(requester, requester.localize(texts.OTHER_MEDIA))

    async def report_error(self, update: object, context: Context) -> None:
        """Log what went wrong under a number, and tell the user no more than that number."""
        number = secrets.token_hex(ID_BYTES)
        log.error("error %s in a handler", number, exc_info=context.error)
        if isinstance(update, Update) and update.effective_sender and update.effective_chat:
            requester = self._service.requester(update)
            text = requester.localize(texts.WENT_WRONG, id=number)
            await self._service.reply(requester, text)


def read_command(text: str | None) -> Command | None:
    """Read a command and what follows it, after whatever space; None where there is none."""
    visible = _INVISIBLE.sub("", text or "")
    found = _COMMAND.match(visible)
    if found is None:
        return None
    argument = _INVISIBLE.sub("", visible[found.end() :])
    return Command(found[1].lower(), (found[2] or "").lower(), argument)


def prompt_text(text: str | None) -> str:
    """Return what a message says after /draw, or all of it; "" where nothing can be seen.

    A command that is short for an option becomes that: "/widen left" is "/draw --widen left".
    """
    command = read_command(text)
    if command and command.name in DRAW_COMMANDS:
        prompt = DRAW_COMMANDS[command.name] + command.argument
    else:
        prompt = text or ""
    return prompt if clean_text(prompt) else ""


def _is_to(command: Command, context: Context) -> bool:
    """Whether a command names this bot, or none."""
    return command.bot in ("", context.bot.username.lower())


def _message(update: Update) -> Message:
    assert update.effective_message is not None
    return update.effective_message
