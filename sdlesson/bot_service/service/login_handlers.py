"""Logging in and out in a chat, which keeps nothing of a code: its message goes at once."""

from __future__ import annotations

import logging
import math
import time

from telegram import Message, Update
from telegram.constants import ChatType

from sdlesson.bot.handlers import Command, read_command
from sdlesson.bot.request_service import Requester
from sdlesson.bot_service.access import Access, Standing
from sdlesson.bot_service.login import Login
from sdlesson.bot_service.one_time_codes import read_code
from sdlesson.bot_service.service import login_texts as texts
from sdlesson.bot_service.service.requests import RecordingService
from sdlesson.bot_service.service.texts import STORE_AWAY
from sdlesson.bot_service.store import StoreError
from sdlesson.bot_service.store.logins import Attempt, CodeOutcome

log = logging.getLogger(__name__)


class LoginHandlers:
    """Reads codes and logs people in and out.

    Args:
        service: What answers.
        access: Who may do what.
        login: What looks at codes.
    """

    def __init__(self, service: RecordingService, access: Access, login: Login) -> None:
        self._service, self._access, self._login = service, access, login

    async def handle(self, update: Update, standing: Standing, username: str) -> bool:
        """Take a code, or /login and /logout; False for anything else, which others handle.

        Args:
            update: What came.
            standing: What the user is to the bot.
            username: The bot's; a command to another one is none.
        """
        message = update.message
        command = _read(message, username) if message else None
        if message is None or command is None or standing is Standing.BANNED:
            return False
        if not command.name and standing is not Standing.LOGGED_OUT:
            return False  # six digits of somebody who is logged in: something to draw
        requester = self._service.requester(update)
        try:
            if command.name == "logout":
                await self._log_out(requester)
            else:
                await self._log_in(requester, message, command.argument, standing)
        except StoreError as error:
            log.error("a login failed: %s", error)
            self._service.events.error("store")
            await self._service.reply(requester, requester.localize(STORE_AWAY))
        return True

    async def _log_out(self, requester: Requester) -> None:
        was_in = await self._login.log_out(requester.user_id)
        text = texts.LOGGED_OUT if was_in else texts.WAS_NOT_IN
        await self._service.reply(requester, requester.localize(text))

    async def _log_in(
        self, requester: Requester, message: Message, written: str, standing: Standing
    ) -> None:
        """Look at what stands after /login, if anything does, and say what has come of it."""
        if written:  # whatever it is: it may be a password
            await self._service.delivery.delete(requester.chat_id, message.message_id)
        if message.chat.type != ChatType.PRIVATE:
            text = requester.localize(texts.WRITE_ALONE)
        elif standing in (Standing.ADMIN, Standing.USER) and not await self._is_in(requester):
            text = requester.localize(texts.NO_LOGIN_NEEDED)
        elif not written:
            text = await self._describe(requester, standing)
        elif code := read_code(written):
            attempt = await self._login.try_code(requester.user_id, code)
            text = await self._explain(requester, attempt)
        else:
            text = requester.localize(texts.NO_CODE)
        await self._service.reply(requester, text)

    async def _explain(self, requester: Requester, attempt: Attempt) -> str:
        """Say what has become of a code."""
        localize, outcome = requester.localize, attempt.outcome
        if outcome is CodeOutcome.RIGHT:
            return await self._describe(requester, await self._access.standing(requester.user_id))
        if outcome is CodeOutcome.NOT_ENROLLED:
            return localize(texts.NOT_ENROLLED, user=requester.user_id)
        self._service.events.refused("code")
        log.warning("user %s gave a code that does not count (%s)", requester.user_id, outcome)
        if not attempt.left:
            return localize(texts.LOCKED, minutes=math.ceil(attempt.wait_s / 60))
        if attempt.left == 1:
            return localize(texts.LAST_TRY)
        return localize(texts.WRONG_CODE, left=attempt.left)

    async def _describe(self, requester: Requester, standing: Standing) -> str:
        """Say how somebody stands who may log in."""
        if standing in texts.TURNED_AWAY:
            return requester.localize(texts.TURNED_AWAY[standing], user=requester.user_id)
        enrolment = await self._login.enrolment(requester.user_id)
        assert enrolment is not None
        until = time.strftime("%Y-%m-%d %H:%M", time.gmtime(enrolment.until))
        return requester.localize(texts.LOGGED_IN, name=enrolment.name, until=until)

    async def _is_in(self, requester: Requester) -> bool:
        enrolment = await self._login.enrolment(requester.user_id)
        return enrolment is not None and enrolment.until > time.time()


def _read(message: Message, username: str) -> Command | None:
    """Read /login or /logout, or six digits alone, which are a command without a name."""
    written = message.text or message.caption or ""
    command = read_command(written)
    if command is None:
        code = read_code(written) if message.chat.type == ChatType.PRIVATE else ""
        return Command("", "", code) if code else None
    is_ours = command.bot in ("", username.lower())
    return command if is_ours and command.name in texts.COMMANDS else None
