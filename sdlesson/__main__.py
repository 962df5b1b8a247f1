"""`python -m sdlesson` is the command `sdlesson`."""

from __future__ import annotations

from sdlesson.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
