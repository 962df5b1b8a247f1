"""Why a bot cannot run or hear its users: one sentence each, in the reader's language."""

from __future__ import annotations

import os
from pathlib import Path

from sdlesson.language import say

PROXY_VARIABLES = ("HTTPS_PROXY", "ALL_PROXY", "HTTP_PROXY", "NO_PROXY")
CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def away(place: str) -> str:
    """Say that a server, "Telegram" or "localhost", cannot be reached."""
    proxies = "" if place == "localhost" else " & ".join(_set(PROXY_VARIABLES[:3]))
    by = say(f" by the proxy in {proxies}", f" por el proxy de {proxies}") if proxies else ""
    return say(
        f"{place} cannot be reached{by}. Check the network: the bot keeps trying.",
        f"No se llega a {place}{by}. Comprueba la red: el bot sigue probando.",
    )


def refused() -> str:
    """Say that Telegram does not know the token."""
    return say(
        "Telegram refuses this token: it is mistyped or revoked. Copy it again from @BotFather, "
        "who shows it after /token.",
        "Telegram rechaza este token: está mal copiado o revocado. Vuelve a copiarlo de "
        "@BotFather, que lo muestra con /token.",
    )


def conflict() -> str:
    """Say that another bot takes this one's messages."""
    return say(
        "Another bot runs with this token, here or elsewhere. Stop it: this one keeps trying.",
        "Hay otro bot con este token en marcha, aquí o en otro sitio. Detenlo: este no desiste.",
    )


def unexpected(error: BaseException) -> str:
    """Say that something nobody has thought of keeps the bot from its users for now."""
    kind = type(error).__name__
    return say(
        f"Something unexpected ({kind}) keeps the bot from its users; it keeps trying, and "
        "`bot.log` says more.",
        f"Algo inesperado ({kind}) separa al bot de sus usuarios; sigue probando, y `bot.log` "
        "dice más.",
    )


def died(error: BaseException) -> str:
    """Say that the bot has ended by itself, and of what."""
    kind = type(error).__name__
    return say(
        f"The bot has ended by itself, of an error ({kind}) that `bot.log` describes. Start it "
        "again, and report this if it comes back.",
        f"El bot ha acabado por sí solo, por un error ({kind}) que `bot.log` describe. Vuelve a "
        "ponerlo en marcha y, si se repite, avisa.",
    )


def no_line(error: BaseException) -> str:
    """Say which setting of this machine's network keeps the bot from being built.

    No value is shown: an address of a proxy may hold a password.
    """
    certificates, proxies = _set(CERTIFICATE_VARIABLES), _set(PROXY_VARIABLES)
    if isinstance(error, OSError) and certificates:
        missing = [name for name in certificates if not Path(_value(name)).exists()]
        name = (missing or certificates)[0]
        return say(
            f"The certificates that {name} names cannot be read. Correct that variable, or take "
            "it away, and start again.",
            f"No se pueden leer los certificados que indica {name}. Corrige esa variable, o "
            "quítala, y vuelve a empezar.",
        )
    socks = [name for name in proxies if _value(name).lower().startswith("socks")]
    if socks and isinstance(error, RuntimeError | ImportError):
        return say(
            f"{socks[0]} names a SOCKS proxy, which needs one more package: run "
            "`pip install 'httpx[socks]'`, or take that variable away, and start again.",
            f"{socks[0]} indica un proxy SOCKS, que necesita otro paquete: ejecuta "
            "`pip install 'httpx[socks]'`, o quita esa variable, y vuelve a empezar.",
        )
    if proxies:
        names = " & ".join(proxies)
        return say(
            f"The proxy cannot be used that {names} names. It should look like "
            "http://proxy.example:8080; correct that variable, or take it away, and start again.",
            f"No se puede usar el proxy que indica {names}. Debe parecerse a "
            "http://proxy.example:8080; corrige esa variable, o quítala, y vuelve a empezar.",
        )
    return died(error)


def _set(names: tuple[str, ...]) -> list[str]:
    """Those variables that have a value, as they are spelt in the environment."""
    spelt = [spelling for name in names for spelling in (name, name.lower())]
    return [name for name in spelt if os.environ.get(name)]


def _value(name: str) -> str:
    return os.environ.get(name, "")
