"""The menu of commands beside the field to write in: each user's, in each language."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

from telegram import BotCommandScope, BotCommandScopeChat, BotCommandScopeDefault
from telegram.error import TelegramError
from telegram.ext import ExtBot

from sdlesson.bot import texts as bot_texts
from sdlesson.bot.texts import Localizer
from sdlesson.bot_service.service import login_texts, model_texts, texts
from sdlesson.language import LANGUAGES, Text

log = logging.getLogger(__name__)


def users_commands(*, has_login: bool = False, has_choice: bool = False) -> dict[str, Text]:
    """Name what everybody may ask for."""
    return bot_texts.COMMANDS | services_commands(has_login=has_login, has_choice=has_choice)


def services_commands(*, has_login: bool = False, has_choice: bool = False) -> dict[str, Text]:
    """Name what everybody may ask for that the bot itself does not know."""
    models = model_texts.COMMANDS if has_choice else {}
    return models | texts.COMMANDS | (login_texts.COMMANDS if has_login else {})


class Menu:
    """Sets the menus: everybody's, and that of each admin, who has more commands.

    Args:
        admins: Who has more.
        has_login: Whether people log in.
        has_choice: Whether there are several models, or LoRAs.
    """

    def __init__(
        self,
        admins: Collection[int] = (),
        *,
        has_login: bool = False,
        has_choice: bool = False,
    ) -> None:
        self._everybody = users_commands(has_login=has_login, has_choice=has_choice)
        self._without = set(admins)  # those who have no menu of their own yet

    async def fill(self, bot: ExtBot[None]) -> None:
        """Set all menus that can be set now.

        Raises:
            TelegramError: Telegram cannot be reached.
        """
        await _set(bot, self._everybody, BotCommandScopeDefault())
        for admin in sorted(self._without):
            await self.fill_for(bot, admin)

    async def fill_for(self, bot: ExtBot[None], user_id: int) -> None:
        """Set the menu of an admin who has none yet: Telegram refuses it before the first word."""
        if user_id not in self._without:
            return
        commands = self._everybody | texts.ADMINS_COMMANDS
        try:
            await _set(bot, commands, BotCommandScopeChat(user_id))
        except TelegramError as error:
            log.info("the admin user %s has no menu yet (%s)", user_id, type(error).__name__)
        else:
            self._without.discard(user_id)


async def _set(bot: ExtBot[None], commands: Mapping[str, Text], scope: BotCommandScope) -> None:
    for code in LANGUAGES:
        localize = Localizer(code)
        described = [(name, localize(text)) for name, text in commands.items()]
        language_code = "" if code == "en" else code  # English is for all other languages
        await bot.set_my_commands(described, scope=scope, language_code=language_code)
