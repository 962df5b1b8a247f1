"""`accelerate launch -m sdlesson.finetuning`: the command `sdlesson finetune` on several GPUs."""

from __future__ import annotations

from collections.abc import Sequence

from sdlesson.finetuning.command import DESCRIPTION, add_options, run
from sdlesson.language import say
from sdlesson.terminal import Parser, set_terminal_language


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the options say, and return the exit code."""
    set_terminal_language()
    parser = Parser(prog="python -m sdlesson.finetuning", description=say(*DESCRIPTION))
    add_options(parser)
    return run(parser.parse_args(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
