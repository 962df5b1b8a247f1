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
from sdlesson.language import set_language

FAILED, BAD_INPUT = 1, 2
MAX_NAME_CHARS = 256


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what was asked for; what cannot be done is said in one sentence."""
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sdlesson.bot_service", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    adding = commands.add_parser("enrol", help="let a user of Telegram log in with codes")
    adding.add_argument(
        "number", type=_number, help="the user's, which the bot tells to whoever asks"
    )
    adding.add_argument("name", type=_name, help="the user's in the company's directory")
    removing = commands.add_parser("unenrol", help="let a user log in no more")
    removing.add_argument("number", type=_number)
    return parser


def _number(written: str) -> int:
    if not (written.isascii() and written.isdigit() and 0 < int(written) < 2**63):
        raise argparse.ArgumentTypeError(
            f"{written!r} is no number of a user of Telegram, such as 123456789; the bot tells "
            "people theirs when they write to it"
        )
    return int(written)


def _name(written: str) -> str:
    name = written.strip()
    if not name or len(name) > MAX_NAME_CHARS or not name.isprintable():
        raise argparse.ArgumentTypeError(
            f"{written[:MAX_NAME_CHARS]!r} is no name in a directory: 1 to {MAX_NAME_CHARS} "
            "characters that can be seen"
        )
    return name


if __name__ == "__main__":
    sys.exit(main())
