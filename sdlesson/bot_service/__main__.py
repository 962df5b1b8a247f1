"""Run the service until Ctrl-C or SIGTERM: `python -m sdlesson.bot_service`."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: more on busy cores are slower

from sdlesson.bot_service.configuration import ConfigurationError, load_configuration
from sdlesson.bot_service.log import set_up
from sdlesson.bot_service.service.assembly import assemble
from sdlesson.bot_service.store import Store, StoreError
from sdlesson.bot_service.store.migrations import NewerDatabaseError
from sdlesson.downloads import ModelError
from sdlesson.language import set_language

FAILED, BAD_INPUT = 1, 2


def main() -> int:
    """Run until told to stop; what cannot be used is said in one sentence."""
    try:
        configuration = load_configuration()
        set_language(configuration.language)
        set_up(configuration)
        with Store(configuration.database_url.get_secret_value()) as store:
            run = assemble(configuration, store)

            def stop(_signal: int, _frame: FrameType | None) -> None:
                run.must_stop.set()

            for one in (signal.SIGINT, signal.SIGTERM):
                signal.signal(one, stop)
            run.run()
    except (ConfigurationError, ModelError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    except (NewerDatabaseError, StoreError) as error:
        print(error, file=sys.stderr)
        return FAILED
    if run.failure:
        print(run.failure, file=sys.stderr)
    return FAILED if run.failure else 0


if __name__ == "__main__":
    sys.exit(main())
