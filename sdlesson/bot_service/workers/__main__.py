"""Start a worker: `python -m sdlesson.bot_service.workers`."""

from __future__ import annotations

import logging
import os
import sys

log = logging.getLogger(__name__)


def main() -> int:
    """Load the model, listen to its queue and draw until told to end."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: several on a busy core are slower
    from sdlesson.bot.generator import PipelineGenerator
    from sdlesson.bot_service.configuration import ConfigurationError, load_configuration
    from sdlesson.bot_service.log import set_up
    from sdlesson.bot_service.workers.process import run_worker
    from sdlesson.downloads import ModelError
    from sdlesson.pipelines import load_pipeline

    try:
        configuration = load_configuration()
        set_up(configuration)
        queue = configuration.models[0]
        generator = PipelineGenerator(load_pipeline(queue))
    except (ConfigurationError, ModelError) as error:
        print(error, file=sys.stderr)
        return 2
    port = configuration.metrics_port
    run_worker(
        generator,
        configuration.redis_url.get_secret_value(),
        queue=queue,
        address=(configuration.metrics_listen, port) if port else None,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
