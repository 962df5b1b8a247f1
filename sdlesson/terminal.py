"""What a command needs of the terminal: its language, options in it, output that may be gone."""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from contextlib import suppress
from typing import Any, NoReturn, TextIO

from sdlesson.language import say, set_language

FAILED, BAD_INPUT = 1, 2  # exit codes
INTERRUPTED = 130  # what a shell reports for Ctrl-C
MAX_PORT = 65_535
LANGUAGE_VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")  # in the order in which programs heed them

# argparse speaks English alone. Its sentences, and the same in Spanish; {0} is the first group.
ARGPARSE_SAYS = (
    (r"the following arguments are required: (.+)", "falta {0}"),
    (r"one of the arguments (.+) is required", "falta una de estas opciones: {0}"),
    (r"unrecognized arguments: (.+)", "no se reconoce {0}"),
    (r"argument (.+?): expected at least one argument", "a {0} le falta al menos un valor"),
    (r"argument (.+?): expected one argument", "a {0} le falta un valor"),
    (r"argument (.+?): expected at most one argument", "{0} lleva un valor como mucho"),
    (r"argument (.+?): expected (\d+) arguments?", "a {0} le faltan valores: lleva {1}"),
    (r"argument (.+?): not allowed with argument (.+)", "{0} no va con {1}"),
    (r"argument (.+?): ignored explicit argument (.+)", "{0} no lleva valor, y se le ha dado {1}"),
    (
        r"argument .+?: invalid choice: (.+), maybe you meant (.+)\? \(choose from (.+)\)",
        "{0} no es ninguno de {2}; quizá querías decir {1}",
    ),
    (r"argument .+?: invalid choice: (.+) \(choose from (.+)\)", "{0} no es ninguno de {1}"),
    (r"argument (.+?): invalid .+ value: (.+)", "{0} no admite {1}"),
    (r"argument (.+?): can't open (.+?): .+", "{0}: no se puede abrir {1}"),
    (r"unexpected option string: (.+)", "no se reconoce {0}"),
    (r"ambiguous option: (.+) could match (.+)", "{0} puede ser cualquiera de {1}"),
    (r"argument (.+?): (.+)", "{0}: {1}"),
)


def set_terminal_language() -> None:
    """Speak Spanish in a terminal that is set to Spanish."""
    chosen = next((os.environ[name] for name in LANGUAGE_VARIABLES if os.environ.get(name)), "")
    if chosen.startswith("es"):
        set_language("es")


class Parser(argparse.ArgumentParser):
    """A parser that speaks the language chosen, and refuses in one sentence."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(formatter_class=_Help, add_help=False, **settings)
        self._positionals.title = say("what to give", "qué indicar")
        self._optionals.title = say("options", "opciones")
        self.add_argument(
            "-h", "--help", action="help", help=say("show this and end", "muestra esto y termina")
        )

    def error(self, message: str) -> NoReturn:
        """End with status 2 and one sentence that names the help."""
        more = say(f"{self.prog} --help says more", f"{self.prog} --help dice más")
        self.exit(BAD_INPUT, f"sdlesson: {_translated(message)}; {more}\n")


def whole_number(text: str) -> int:
    """Read a whole number from a word of the command line."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            say(f"{text!r} is no whole number", f"{text!r} no es un número entero")
        ) from None


def number(text: str) -> float:
    """Read a number from a word of the command line."""
    try:
        return float(text)
    except ValueError:
        try:
            example = float(text.replace(",", "."))  # as it is written in Spanish
        except ValueError:
            example = 7.5
        raise argparse.ArgumentTypeError(
            say(
                f"{text!r} is no number; try one like {example:g}",
                f"{text!r} no es un número; prueba con uno como {example:g}",
            )
        ) from None


def port(text: str) -> int:
    """Read the number of a port; 0 is any that is free."""
    chosen = whole_number(text)
    if not 0 <= chosen <= MAX_PORT:
        raise argparse.ArgumentTypeError(
            say(
                f"{chosen} is no port: give 0 to {MAX_PORT}",
                f"{chosen} no es un puerto: indica de 0 a {MAX_PORT}",
            )
        )
    return chosen


def tell(sentence: str) -> None:
    """Say a sentence beside what a command puts out, on stderr."""
    print(sentence, file=sys.stderr)


def tell_error(error: Exception) -> None:
    """Say what was wrong: in the reader's language, where the error has a sentence in it."""
    tell(f"sdlesson: {getattr(error, 'sentence', error)}")


def set_quiet_environment() -> None:
    """Leave the speaking to us; the libraries read these variables when they are imported."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    if sys.stderr is None or not sys.stderr.isatty():  # None where it is closed
        os.environ.setdefault("TQDM_DISABLE", "1")  # a progress bar is for people


class Screen(io.TextIOBase):
    """A stream that may be narrow, full or gone: what cannot be shown does not undo the work."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Show a text, with `?` for each letter that the stream does not have."""
        try:
            if self._stream:
                encoding = self._stream.encoding or "utf-8"
                self._stream.write(text.encode(encoding, "replace").decode(encoding))
                self._stream.flush()
        except (OSError, ValueError):  # full, or closed
            self._give_up()
        return len(text)

    def flush(self) -> None:
        """Do nothing: everything is shown at once."""

    def isatty(self) -> bool:
        """Say whether a person is looking."""
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        """Return the number of the file below."""
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    def _give_up(self) -> None:
        """Let what is left go nowhere; else Python would try again, and fail, as it ends."""
        with suppress(OSError, ValueError):  # some streams have no file
            number, nowhere = self.fileno(), os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)
        self._stream = None


class _Help(argparse.HelpFormatter):
    """The layout of argparse, whose first word is in the language chosen."""

    def add_usage(
        self, usage: str | None, actions: Any, groups: Any, prefix: str | None = None
    ) -> None:
        opening = say("usage: ", "uso: ") if prefix is None else prefix
        super().add_usage(usage, actions, groups, opening)


def _translated(message: str) -> str:
    """Return a refusal of argparse in the language chosen; one that is not known stays."""
    for english, spanish in ARGPARSE_SAYS:
        if match := re.fullmatch(english, message, re.DOTALL):
            return say(message, spanish.format(*match.groups()))
    return message
