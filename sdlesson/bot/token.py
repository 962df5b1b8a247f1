"""Find the token that BotFather gave, and never show it: whoever has it is the bot."""

from __future__ import annotations

import os
import re

from sdlesson.account import FoundToken, ask_hidden, clean_token, colab_secret
from sdlesson.language import say

TOKEN_VARIABLE = "TELEGRAM_BOT_TOKEN"
_TOKEN = re.compile(r"[0-9]{6,}:[A-Za-z0-9_-]{30,}")


def find_token() -> str | None:
    """Look for a bot's token, for those who have one; no lesson needs it.

    It is Colab's secret TELEGRAM_BOT_TOKEN, or the variable of that name in the environment, or
    what you paste at a hidden prompt. One sentence says which, or what is wrong with it.

    Returns:
        The token; None without one, and then the bot talks to a server on this machine.
    """
    try:
        return look_for_token()
    except ValueError as error:
        print(error)
        return None


def look_for_token() -> str | None:
    """Do as `find_token`, for who has to know whether a token is missing or wrong.

    Raises:
        ValueError: What was found is no token; it is not shown.
    """
    found = _first_found()
    if found is None:
        print(say("No token: a bot will run on localhost.", "Sin token: el bot irá en localhost."))
        return None
    token = check_token(found.token, found.called)
    print(say(f"Found a token: {found.called}.", f"Hay un token: {found.called}."))
    return token


def check_token(token: str, called: str) -> str:
    """Return a token that looks like one.

    Raises:
        ValueError: It does not; the sentence says what it is called, and does not show it.
    """
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise ValueError(
            say(
                f"{called} is not a bot's token, which looks like 123456789:AbC... and is "
                "made of 46 signs or so; copy it again from @BotFather",
                f"{called} no es el token de un bot, que se parece a 123456789:AbC... y "
                "tiene unos 46 signos; vuelve a copiarlo de @BotFather",
            )
        )
    return token


def _first_found() -> FoundToken | None:
    """Return what the first place has that has anything."""
    secret = say(f"Colab's secret {TOKEN_VARIABLE}", f"el secreto {TOKEN_VARIABLE} de Colab")
    variable = say(f"the variable {TOKEN_VARIABLE}", f"la variable {TOKEN_VARIABLE}")
    if token := colab_secret(TOKEN_VARIABLE):
        return FoundToken(token, secret)
    if given := os.environ.get(TOKEN_VARIABLE):  # blanks or quotes alone are a slip, no choice
        return FoundToken(clean_token(given), variable)
    question = say(
        "Paste the token from @BotFather, or press Enter to go on without one: ",
        "Pega el token de @BotFather o pulsa Intro para seguir sin él: ",
    )
    token = clean_token(ask_hidden(question))
    return FoundToken(token, say("what you pasted", "lo que has pegado")) if token else None
