"""From the operator's settings to a service that runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from sdlesson.bot.generator import ImageGenerator, PipelineGenerator
from sdlesson.bot.queue import FairQueue
from sdlesson.bot_service import health
from sdlesson.bot_service.configuration import Configuration
from sdlesson.bot_service.limits import Limits
from sdlesson.bot_service.metrics import Metrics
from sdlesson.bot_service.moderation import RULES, Moderation, read_words
from sdlesson.bot_service.service.run import Parts, ServiceRun
from sdlesson.bot_service.store import Store
from sdlesson.bot_service.webhook import WebhookSettings
from sdlesson.bot_service.workers import memory
from sdlesson.pipelines import load_pipeline


def assemble(configuration: Configuration, store: Store) -> ServiceRun:
    """Make a service; the store stays its opener's.

    Raises:
        ModelError: The model cannot be loaded.
        ValueError: The list of words cannot be read.
        OSError: The list of words is not there.
    """
    metrics = Metrics()
    generator = make_generator(configuration, metrics)

    @asynccontextmanager
    async def beside(run: ServiceRun) -> AsyncIterator[None]:
        gauges = health.Gauges(
            lambda: len(run.worker.queue), lambda: len(run.worker.running), run.ready
        )
        async with health.serve(configuration, gauges, metrics):
            yield

    return ServiceRun(
        Parts(
            configuration.token.get_secret_value(),
            generator,
            store,
            configuration.api_url or None,
            limits=Limits(configuration.burst, configuration.per_minute, configuration.daily_quota),
            queue=partial(FairQueue, configuration.max_waiting_per_user, configuration.max_waiting),
            max_batch=configuration.max_batch,
            moderation=Moderation(read_words(configuration.blocked_words or RULES)),
            admins=configuration.admins,
            allowed=configuration.allowed_users,
            retention_days=configuration.retention_days,
            events=metrics,
            webhook=_webhook(configuration),
            beside=beside,
        )
    )


def make_generator(configuration: Configuration, metrics: Metrics) -> ImageGenerator:
    """Make what draws: here, or on the machines that wait at Redis.

    Raises:
        ModelError: The model cannot be loaded.
    """
    if configuration.generator == "celery":
        from sdlesson.bot_service.workers import remote  # Celery and Redis: only where they draw

        generator = remote.make_generator(configuration)
        metrics.watch_workers(generator)
        return generator
    return memory.SmallerBatches(PipelineGenerator(load_pipeline(configuration.models[0])))


def _webhook(configuration: Configuration) -> WebhookSettings | None:
    if not configuration.webhook_url or configuration.webhook_secret is None:
        return None
    return WebhookSettings(
        configuration.webhook_url,
        configuration.webhook_secret.get_secret_value(),
        configuration.webhook_listen,
        configuration.webhook_port,
    )
