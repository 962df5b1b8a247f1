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
    TypeHandler,
)

from sdlesson.bot.buttons import on_behalf, read_button
from sdlesson.bot.handlers import Command, Handlers, read_command
from sdlesson.bot.request_service import Requester
from sdlesson.bot.texts import MAX_CAPTION_PART, shorten
from sdlesson.bot_service.access import Access, Standing
from sdlesson.bot_service.models.catalogue import full_name
from sdlesson.bot_service.service import login_texts, texts
from sdlesson.bot_service.service.choices import VOTE
from sdlesson.bot_service.service.journal import Journal
from sdlesson.bot_service.service.login_handlers import LoginHandlers
from sdlesson.bot_service.service.menu import Menu
from sdlesson.bot_service.service.model_handlers import ModelHandlers
from sdlesson.bot_service.service.requests import RecordingService, button_pressed
from sdlesson.bot_service.store import StoreError
from sdlesson.language import Text

# Before the bot's own, which are in groups -1 and 0.
PREPARE, BUTTONS = -4, -2
FORGET_DATA = "forget:"
REQUESTING = ("again", "seed", "steps", "vary")  # buttons that ask for another picture
OPEN_TO_ALL = ("privacy", "forget")  # also for who was shut out: what is kept is still theirs

log = logging.getLogger(__name__)

Context: TypeAlias = ContextTypes.DEFAULT_TYPE
Do: TypeAlias = Callable[[Requester, str], Awaitable[object]]


class ServiceHandlers:
    """Lets in who may come in, loads what is known of them, and answers the service's commands.

    Args:
        service: What the bot's handlers call, too.
        access: Who may do what.
        journal: Told of each update that is begun.
        menu: Where an admin is shown more than others.
        login: How people log in, where they have to.
    """

    def __init__(
        self,
        service: RecordingService,
        access: Access,
        journal: Journal,
        menu: Menu,
        login: LoginHandlers | None = None,
    ) -> None:
        self._service, self._access, self._journal = service, access, journal
        self._menu, self._login = menu, login
        self._refused: dict[tuple[int, Text], float] = {}
        self._models: ModelHandlers | None = None
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

    def add(self, models: ModelHandlers) -> None:
        """Answer the commands and buttons about models, too; before `register`."""
        self._models = models
        self._commands |= models.commands

    def register(self, application: Application[Any, Any, Any, Any, Any, Any]) -> None:
        """Say which update goes where, before the bot's own handlers."""
        application.add_handler(TypeHandler(Update, self.prepare), group=PREPARE)
        forget = CallbackQueryHandler(self.forget, pattern=f"^{FORGET_DATA}")
        application.add_handler(forget, group=BUTTONS)
        if self._models is not None:
            self._models.register(application, group=BUTTONS)
        handlers: Handlers = application.bot_data["handlers"]
        names = (*self._commands, *self._admins_commands)
        handlers.add_commands(dict.fromkeys(names, self.command))

    async def prepare(self, update: Update, context: Context) -> None:
        """Let in who may come in; where that fails, nobody."""
        try:
            await self._let_in(update, context)
        except ApplicationHandlerStop:
            raise
        except Exception as error:
            # Else python-telegram-bot would tell of it and go on to the handlers behind this one.
            self._service.events.error("handler")
            await context.application.process_error(update, error)
            raise ApplicationHandlerStop from error

    async def _let_in(self, update: Update, context: Context) -> None:
        """Load what the bot's handlers will ask the store for, and turn away who may not come."""
        pressed = read_button(update.callback_query) if update.callback_query else None
        button_pressed.set(pressed.verb if pressed and pressed.verb in REQUESTING else None)
        if update.effective_sender is None:
            raise ApplicationHandlerStop
        user_id, token = update.effective_sender.id, pressed.argument if pressed else ""
        owner_id = self._whose(update).user_id
        try:
            await self._journal.begun(update)
            await self._service.store.load(user_id, token)
            standing = await self._access.standing(user_id)
            if owner_id != user_id and standing.may_ask:
                await self._service.store.load(owner_id)
                standing = await self._access.standing(owner_id)
        except StoreError as error:
            log.error("an update could not be prepared: %s", error)
            self._service.events.error("store")
            await self._turn_away(update, texts.STORE_AWAY)
            raise ApplicationHandlerStop from error
        if standing is Standing.ADMIN:
            await self._menu.fill_for(context.bot, user_id)
        if self._login and await self._login.handle(update, standing, context.bot.username):
            raise ApplicationHandlerStop
        if not standing.may_ask and not _is_open(update):
            self._service.events.refused(standing)
            await self._turn_away(update, TURNED_AWAY[standing])
            raise ApplicationHandlerStop

    async def command(self, update: Update, _: Context) -> None:
        """Do one of the service's commands; the bot's own handlers find which messages are one."""
        message, requester = update.effective_message, self._service.requester(update)
        command = read_command(message.text or message.caption) if message else None
        assert command is not None
        if command.name in self._commands:
            await self._try(self._commands[command.name], requester, command)
        elif requester.user_id in self._access.admins:
            await self._try(self._admins_commands[command.name], requester, command)
        else:
            await self._service.reply(requester, requester.localize(texts.ADMINS_ONLY))

    # For everybody.

    async def privacy(self, requester: Requester, _words: str) -> None:
        """Say what is kept, and for how long."""
        await self._service.reply(
            requester,
            requester.localize(texts.PRIVACY, days=self._service.days(requester))
            + "".join(map(requester.localize, self._service.also_kept)),
        )

    async def history(self, requester: Requester, _words: str) -> None:
        """List a user's latest requests; in a group, only those that were made there."""
        is_group, localize = requester.chat_id < 0, requester.localize
        found = await self._service.call(
            self._service.record.jobs.history,
            requester.user_id,
            chat_id=requester.chat_id if is_group else None,  # what is private is not told there
        )
        if not found:
            text = texts.NO_HISTORY_HERE if is_group else texts.NO_HISTORY
            await self._service.reply(requester, localize(text))
            return
        lines = [localize(texts.HISTORY)]
        for one in found:
            day = time.strftime("%Y-%m-%d %H:%M", time.gmtime(one.created_at))
            prompt = shorten(one.request.prompt, MAX_CAPTION_PART)
            seed = f" · {one.seed}" if one.seed is not None else ""
            name = full_name(one.request.model, one.request.lora)
            model = f" · {localize(PLAIN, prompt=name)}" if name else ""
            state = localize(texts.STATES[one.state])
            lines.append(f"{day} · {localize(PLAIN, prompt=prompt)}{seed}{model} · {state}")
        await self._service.reply(requester, "\n".join(lines))

    async def ask_to_forget(self, requester: Requester, _words: str) -> None:
        """Ask whether all that is kept of a user is to go."""
        localize = requester.localize
        buttons = Keyboard([[Button(localize(texts.FORGET), callback_data=FORGET_DATA)]])
        text = localize(texts.SURE_TO_FORGET)
        if self._login:
            text += localize(login_texts.FORGETS_LOGIN)
        await self._service.reply(requester, text, buttons)

    async def forget(self, update: Update, _: Context) -> None:
        """Delete all that is kept of whoever pressed the button, or of the channel that asked."""
        query = update.callback_query
        assert query is not None
        requester = self._whose(update)
        await self._service.delivery.answer_press(query)

        async def do(requester: Requester, _words: str) -> None:
            is_sending = await self._service.forget(requester)
            text = texts.FORGOTTEN_BUT_ONE if is_sending else texts.FORGOTTEN
            await self._service.reply(requester, requester.localize(text))

        await self._try(do, requester, None)
        raise ApplicationHandlerStop

    # For admins.

    async def stats(self, requester: Requester, _words: str) -> None:
        """Say how much there is of everything."""
        service, localize = self._service, requester.localize
        counts = await service.call(service.record.jobs.counts)
        lines = [f"{localize(texts.STATES[state])}: {counts[state]}" for state in sorted(counts)]
        text = localize(
            texts.STATS,
            users=await service.call(service.record.people.count),
            waiting=len(service.worker.queue),
            running=len(service.worker.running),
            counts="\n".join(lines),
        )
        if self._models is not None:
            text += await self._models.report(requester)
        await service.reply(requester, text)

    async def ban(self, requester: Requester, written: str) -> None:
        """Shut somebody out, whose pictures on the way are cancelled."""
        user_id = await self._number(requester, "ban", written)
        if user_id is None:
            return
        await self._access.ban(user_id, by=requester.user_id)
        self._service.call_off(user_id)
        await self._service.reply(requester, requester.localize(texts.IS_BANNED, user=user_id))

    async def unban(self, requester: Requester, written: str) -> None:
        """Let somebody in again."""
        user_id = await self._number(requester, "unban", written)
        if user_id is None:
            return
        was_banned = await self._access.unban(user_id)
        text = texts.IS_UNBANNED if was_banned else texts.WAS_NOT_BANNED
        await self._service.reply(requester, requester.localize(text, user=user_id))

    async def _number(self, requester: Requester, command: str, written: str) -> int | None:
        """Read the user's number that is meant, which is no admin's; None where there is none."""
        word = written.strip()
        number = int(word) if word.isascii() and word.isdigit() and len(word) < 19 else None
        if number is None or number in self._access.admins:
            await self._service.reply(requester, requester.localize(texts.WHOM, command=command))
            return None
        return number

    async def _try(self, do: Do, requester: Requester, command: Command | None) -> None:
        """Do something that asks the store, and say so where that is away."""
        try:
            await do(requester, command.argument if command else "")
        except StoreError as error:
            log.error("a command failed: %s", error)
            self._service.events.error("store")
            await self._service.reply(requester, requester.localize(texts.STORE_AWAY))

    async def _turn_away(self, update: Update, text: Text) -> None:
        """Turn somebody away, but not more often than once a minute: that is an answer, too."""
        if update.callback_query is not None:  # or the button would go on turning
            await self._service.delivery.answer_press(update.callback_query)
        requester = self._whose(update)
        now, what = time.monotonic(), (requester.user_id, text)
        if now - self._refused.get(what, -60.0) >= 60.0:
            self._refused = {one: at for one, at in self._refused.items() if now - at < 60.0}
            self._refused[what] = now
            await self._service.reply(requester, requester.localize(text, user=requester.user_id))

    def _whose(self, update: Update) -> Requester:
        """Say whose an update is: below what a channel asked for, a button is the channel's."""
        query, requester = update.callback_query, self._service.requester(update)
        if query is None or (query.data or "").startswith(VOTE):  # a thumb is of whoever gives it
            return requester
        return on_behalf(query, requester)


PLAIN = Text("{prompt}", "{prompt}")
TURNED_AWAY = {
    Standing.BANNED: texts.BANNED,
    Standing.NOT_ALLOWED: texts.NOT_ALLOWED,
    **login_texts.TURNED_AWAY,
}


def _is_open(update: Update) -> bool:
    """Whether an update asks for what is open to all: one's own data."""
    if update.callback_query:
        return (update.callback_query.data or "").partition("@")[0] == FORGET_DATA
    message = update.effective_message
    written = message.text or message.caption if isinstance(message, Message) else None
    command = read_command(written)
    return command is not None and command.name in OPEN_TO_ALL
