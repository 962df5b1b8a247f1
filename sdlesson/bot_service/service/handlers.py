"""What users and admins may ask of the service besides pictures."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from telegram import InlineKeyboardButton as Button
from telegram import InlineKeyboardMarkup as Keyboard
from telegram import Message, Update
from telegram.ext import (
    Application,
    ApplicationHandlerStop,
    CallbackQueryHandler,
    ContextTypes,
    MessageHandler,
    TypeHandler,
    filters,
)

from sdlesson.bot.incoming import Command, read_command
from sdlesson.bot.status import Asker
from sdlesson.bot.words import MAX_CAPTION_PART, shorten
from sdlesson.bot_service.access import Access, Standing
from sdlesson.bot_service.service import texts
from sdlesson.bot_service.service.desk import Origin, RecordingDesk, origin
from sdlesson.bot_service.store import StoreError

# Before the bot's own, which are in groups -1 and 0.
PREPARE, COMMANDS = -4, -2
FORGET_DATA = "forget:"
OPEN_TO_ALL = ("privacy", "forget")  # also for who was shut out: what is kept is still theirs

log = logging.getLogger(__name__)

Context: TypeAlias = ContextTypes.DEFAULT_TYPE
Do: TypeAlias = Callable[[Asker, str], Awaitable[object]]


class ServiceHandlers:
    """Lets in who may come in, loads what is known of them, and answers the service's commands.

    Args:
        desk: What the bot's handlers call, too.
        access: Who may do what.
        retention_days: How long requests are kept.
    """

    def __init__(self, desk: RecordingDesk, access: Access, *, retention_days: float) -> None:
        self._desk, self._access, self._days = desk, access, retention_days
        self._refused: dict[int, float] = {}
        self._commands: dict[str, Do] = {
            "history": self.history,
            "privacy": self.privacy,
            "forget": self.ask_to_forget,
        }
        self._admins_commands: dict[str, Do] = {
            "stats": self.stats,
            "ban": self.ban,
            "unban": self.unban,
        }

    def register(self, application: Application[Any, Any, Any, Any, Any, Any]) -> None:
        """Say which update goes where, before the bot's own handlers."""
        application.add_handler(TypeHandler(Update, self.prepare), group=PREPARE)
        messages = filters.UpdateType.MESSAGE & filters.COMMAND
        application.add_handler(MessageHandler(messages, self.command), group=COMMANDS)
        forget = CallbackQueryHandler(self.forget, pattern=f"^{FORGET_DATA}")
        application.add_handler(forget, group=COMMANDS)

    async def prepare(self, update: Update, _: Context) -> None:
        """Load what the bot's handlers will ask the store for, and turn away who may not come."""
        origin.set(Origin(update.update_id))
        if update.effective_sender is None:
            raise ApplicationHandlerStop
        user_id, query = update.effective_sender.id, update.callback_query
        token = (query.data or "").partition("@")[0].partition(":")[2] if query else ""
        try:
            await self._desk.store.load(user_id, token)
            standing = await self._access.standing(user_id)
        except StoreError as error:
            log.error("an update could not be prepared: %s", error)
            self._desk.events.error("store")
            await self._say_once(self._desk.asker(update), texts.STORE_AWAY)
            raise ApplicationHandlerStop from error
        if not standing.may_ask and not _is_open(update):
            self._desk.events.refused(standing)
            text = texts.BANNED if standing is Standing.BANNED else texts.NOT_ALLOWED
            await self._say_once(self._desk.asker(update), text)
            raise ApplicationHandlerStop

    async def command(self, update: Update, context: Context) -> None:
        """Do one of the service's commands; any other is left to the bot."""
        message = update.effective_message
        command = read_command(message.text if message else None)
        if command is None or command.bot not in ("", context.bot.username.lower()):
            return
        do, asker = self._commands.get(command.name), self._desk.asker(update)
        if command.name in self._admins_commands:
            if asker.user_id not in self._access.admins:
                await self._desk.say(asker, asker.words(texts.ADMINS_ONLY))
                raise ApplicationHandlerStop
            do = self._admins_commands[command.name]
        if do is not None:
            await self._try(do, asker, command)
            raise ApplicationHandlerStop

    # For everybody.

    async def privacy(self, asker: Asker, _words: str) -> None:
        """Say what is kept, and for how long."""
        await self._desk.say(asker, asker.words(texts.PRIVACY, days=round(self._days)))

    async def history(self, asker: Asker, _words: str) -> None:
        """List a user's latest requests."""
        found = await self._desk.call(self._desk.record.jobs.history, asker.user_id)
        words = asker.words
        if not found:
            await self._desk.say(asker, words(texts.NO_HISTORY))
            return
        lines = [words(texts.HISTORY)]
        for one in found:
            day = time.strftime("%Y-%m-%d %H:%M", time.gmtime(one.created_at))
            prompt = shorten(one.request.prompt, MAX_CAPTION_PART)
            seed = f" · {one.seed}" if one.seed is not None else ""
            state = words(texts.STATES[one.state])
            lines.append(f"{day} · {words(PLAIN, text=prompt)}{seed} · {state}")
        await self._desk.say(asker, "\n".join(lines))

    async def ask_to_forget(self, asker: Asker, _words: str) -> None:
        """Ask whether all that is kept of a user is to go."""
        words = asker.words
        buttons = Keyboard([[Button(words(texts.FORGET), callback_data=FORGET_DATA)]])
        await self._desk.say(asker, words(texts.SURE_TO_FORGET), buttons)

    async def forget(self, update: Update, _: Context) -> None:
        """Delete all that is kept of whoever pressed the button."""
        query, asker = update.callback_query, self._desk.asker(update)
        assert query is not None
        await self._desk.delivery.answer(query)

        async def do(asker: Asker, _words: str) -> None:
            await self._desk.forget(asker)
            self._access.forget(asker.user_id)
            await self._desk.say(asker, asker.words(texts.FORGOTTEN))

        await self._try(do, asker, None)
        raise ApplicationHandlerStop

    # For admins.

    async def stats(self, asker: Asker, _words: str) -> None:
        """Say how much there is of everything."""
        desk, words = self._desk, asker.words
        counts = await desk.call(desk.record.jobs.counts)
        lines = [f"{words(texts.STATES[state])}: {counts[state]}" for state in sorted(counts)]
        text = words(
            texts.STATS,
            users=await desk.call(desk.record.people.count),
            waiting=len(desk.worker.queue),
            running=len(desk.worker.running),
            counts="\n".join(lines),
        )
        await desk.say(asker, text)

    async def ban(self, asker: Asker, written: str) -> None:
        """Shut somebody out, whose pictures on the way are cancelled."""
        user_id = await self._number(asker, "ban", written)
        if user_id is None:
            return
        await self._access.ban(user_id, by=asker.user_id)
        for job in self._desk.worker.jobs_of(user_id):
            self._desk.worker.cancel(job)
        await self._desk.say(asker, asker.words(texts.IS_BANNED, user=user_id))

    async def unban(self, asker: Asker, written: str) -> None:
        """Let somebody in again."""
        user_id = await self._number(asker, "unban", written)
        if user_id is None:
            return
        was_banned = await self._access.unban(user_id)
        text = texts.IS_UNBANNED if was_banned else texts.WAS_NOT_BANNED
        await self._desk.say(asker, asker.words(text, user=user_id))

    async def _number(self, asker: Asker, command: str, written: str) -> int | None:
        """Read the user's number that is meant, which is no admin's; None where there is none."""
        word = written.strip()
        number = int(word) if word.isascii() and word.isdigit() and len(word) < 19 else None
        if number is None or number in self._access.admins:
            await self._desk.say(asker, asker.words(texts.WHOM, command=command))
            return None
        return number

    async def _try(self, do: Do, asker: Asker, command: Command | None) -> None:
        """Do something that asks the store, and say so where that is away."""
        try:
            await do(asker, command.words if command else "")
        except StoreError as error:
            log.error("a command failed: %s", error)
            self._desk.events.error("store")
            await self._desk.say(asker, asker.words(texts.STORE_AWAY))

    async def _say_once(self, asker: Asker, text: Any) -> None:
        """Turn somebody away, but not more often than once a minute: that is an answer, too."""
        now = time.monotonic()
        if now - self._refused.get(asker.user_id, -60.0) >= 60.0:
            self._refused = {one: at for one, at in self._refused.items() if now - at < 60.0}
            self._refused[asker.user_id] = now
            await self._desk.say(asker, asker.words(text, user=asker.user_id))


PLAIN = texts.Text("{text}", "{text}")


def _is_open(update: Update) -> bool:
    """Whether an update asks for what is open to all: one's own data."""
    if update.callback_query:
        return update.callback_query.data == FORGET_DATA
    message = update.effective_message
    command = read_command(message.text) if isinstance(message, Message) else None
    return command is not None and command.name in OPEN_TO_ALL
