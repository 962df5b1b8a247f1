"""Run the service until Ctrl-C or SIGTERM: `python -m sdlesson.bot_service`.

With `enrol` or `unenrol` it does that instead: see `enrol`.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: more on busy cores are slower

from sdlesson.bot_service.configuration import ConfigurationError, load_configuration
from sdlesson.bot_service.enrol import enrol, unenrol
from sdlesson.bot_service.log import set_up
from sdlesson.bot_service.store import Store, StoreError
from sdlesson.bot_service.store.migrations import NewerDatabaseError
from sdlesson.downloads import ModelError
from sdlesson.language import say, set_language
from sdlesson.terminal import BAD_INPUT, FAILED, Parser, set_terminal_language

MAX_NAME_CHARS = 256


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what was asked for; what cannot be done is said in one sentence."""
    set_terminal_language()
    asked = _parser().parse_args(arguments)
    try:
        if asked.command == "enrol":
            return enrol(asked.number, asked.name)
        if asked.command == "unenrol":
            return unenrol(asked.number)
        return run()
    except (ConfigurationError, ModelError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    except (NewerDatabaseError, StoreError) as error:
        print(error, file=sys.stderr)
        return FAILED


def run() -> int:
    """Run until told to stop.

    Raises:
        ConfigurationError: The settings cannot be used.
        ModelError: The model cannot be loaded.
        StoreError: The database cannot be opened.
    """
    configuration = load_configuration()
    set_language(configuration.language)
    set_up(configuration)
    from sdlesson.bot_service.service.assembly import assemble  # brings torch, which takes seconds

    with Store(configuration.database_url.get_secret_value()) as store:
        service = assemble(configuration, store)

        def stop(_signal: int, _frame: FrameType | None) -> None:
            service.must_stop.set()

        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, stop)
        service.run()
    if service.failure:
        print(service.failure, file=sys.stderr)
    return FAILED if service.failure else 0


def _parser() -> Parser:
    parser = Parser(
        prog="python -m sdlesson.bot_service",
        description=say(
            "Run the bot in public until Ctrl-C or SIGTERM.",
            "Pone en marcha el bot en público; Ctrl-C o SIGTERM lo paran.",
        ),
    )
    commands = parser.add_subparsers(dest="command", metavar=say("COMMAND", "ORDEN"))
    adding = commands.add_parser(
        "enrol",
        help=say(
            "let a user of Telegram log in with codes",
            "deja que un usuario de Telegram entre con códigos",
        ),
    )
    adding.add_argument(
        "number",
        type=_number,
        help=say(
            "the user's, which the bot tells to whoever asks",
            "el del usuario, que el bot dice a quien se lo pregunta",
        ),
    )
    adding.add_argument(
        "name",
        type=_name,
        help=say("the user's in the company's directory", "el suyo en el directorio de la empresa"),
    )
    removing = commands.add_parser(
        "unenrol", help=say("let a user log in no more", "no deja entrar más a un usuario")
    )
    removing.add_argument("number", type=_number)
    return parser


def _number(written: str) -> int:
    if not (written.isascii() and written.isdigit() and 0 < int(written) < 2**63):
        raise argparse.ArgumentTypeError(
            say(
                f"{written!r} is no number of a user of Telegram, such as 123456789; the bot tells "
                "people theirs when they write to it",
                f"{written!r} no es el número de un usuario de Telegram, como 123456789; el bot "
                "dice a cada cual el suyo cuando le escribe",
            )
        )
    return int(written)


def _name(written: str) -> str:
    name = written.strip()
    if not name or len(name) > MAX_NAME_CHARS or not name.isprintable():
        raise argparse.ArgumentTypeError(
            say(
                f"{written[:MAX_NAME_CHARS]!r} is no name in a directory: 1 to {MAX_NAME_CHARS} "
                "characters that can be seen",
                f"{written[:MAX_NAME_CHARS]!r} no es un nombre de un directorio: de 1 a "
                f"{MAX_NAME_CHARS} caracteres visibles",
            )
        )
    return name


if __name__ == "__main__":
    sys.exit(main())
