"""Start a worker: `python -m sdlesson.bot_service.workers`."""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: more on busy cores are slower

from pydantic import Field, SecretStr

from sdlesson.bot_service.configuration import Configuration, load_configuration
from sdlesson.bot_service.log import set_up
from sdlesson.bot_service.models.catalogue import read_catalogue
from sdlesson.bot_service.models.loading import ModelGenerator
from sdlesson.bot_service.workers.process import run_worker
from sdlesson.downloads import ModelError

BAD_INPUT = 2


class WorkerConfiguration(Configuration):
    """The bot's, but for its secrets: who draws has no use for them."""

    HAS_SECRETS = False
    token: SecretStr = Field(SecretStr(""), validate_default=False)


def main() -> int:
    """Load the models, listen to its queue and draw until told to end."""
    try:
        configuration = load_configuration(kind=WorkerConfiguration)
        set_up(configuration)
        queue = configuration.models[0]
        catalogue, most = read_catalogue(configuration), configuration.models_in_memory
        generator = ModelGenerator(catalogue, most=most)
    except (ModelError, ValueError) as error:  # among the latter a LoRA's, and a setting's
        print(error, file=sys.stderr)
        return BAD_INPUT
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
