"""From the operator's settings to a service that runs."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import urlsplit

from structlog.contextvars import bound_contextvars

from sdlesson.bot.generator import ImageGenerator
from sdlesson.bot.queue import FairQueue
from sdlesson.bot_service import health
from sdlesson.bot_service.configuration import Configuration, reveal
from sdlesson.bot_service.enrol import make_directory
from sdlesson.bot_service.limits import Limits
from sdlesson.bot_service.login import LoginSettings
from sdlesson.bot_service.metrics import Metrics
from sdlesson.bot_service.models.catalogue import Catalogue, read_catalogue
from sdlesson.bot_service.models.loading import ModelGenerator
from sdlesson.bot_service.models.metrics import ModelMetrics
from sdlesson.bot_service.moderation import RULES, Moderation, read_words
from sdlesson.bot_service.moderation_service import HttpModerator, ModerationSettings
from sdlesson.bot_service.service import texts
from sdlesson.bot_service.service.run import Parts, ServiceRun
from sdlesson.bot_service.store import Store
from sdlesson.bot_service.webhook import WebhookSettings
from sdlesson.bot_service.workers import memory
from sdlesson.language import Text
from sdlesson.runtime import installed_version

log = logging.getLogger(__name__)


def assemble(configuration: Configuration, store: Store) -> ServiceRun:
    """Make a service; the store stays its opener's.

    Raises:
        ModelError: A model cannot be loaded.
        LoraError: A LoRA cannot be loaded.
        ValueError: The list of words cannot be read, or two models have one name.
        OSError: The list of words is not there.
    """
    metrics, moderator = Metrics(), make_moderator(configuration)
    catalogue = read_catalogue(configuration)
    generator = make_generator(configuration, catalogue, metrics)

    @asynccontextmanager
    async def beside(run: ServiceRun) -> AsyncIterator[None]:
        gauges = health.Gauges(
            lambda: len(run.worker.queue), lambda: len(run.worker.running), run.ready
        )
        try:
            async with health.serve(configuration, gauges, metrics):
                log_start(configuration, store, catalogue)
                yield
        finally:
            if moderator is not None:
                await moderator.close()

    return ServiceRun(
        Parts(
            configuration.token.get_secret_value(),
            generator,
            store,
            configuration.api_url or None,
            limits=Limits(configuration.burst, configuration.per_minute, configuration.daily_quota),
            queue=partial(FairQueue, configuration.max_waiting_per_user, configuration.max_waiting),
            max_batch=configuration.max_batch,
            moderation=Moderation(
                read_words(configuration.blocked_words or RULES),
                moderator,
                is_needed=configuration.moderation_away == "refuse",
                on_away=lambda: metrics.error("moderation"),
            ),
            admins=configuration.admins,
            allowed=configuration.allowed_users,
            login=make_login(configuration),
            retention_days=configuration.retention_days,
            also_kept=also_kept(configuration),
            events=metrics,
            webhook=_webhook(configuration),
            beside=beside,
            catalogue=catalogue,
            cache_mb=configuration.cache_mb,
            model_metrics=ModelMetrics(metrics.registry),
        )
    )


def log_start(configuration: Configuration, store: Store, catalogue: Catalogue) -> None:
    """Write one line on what runs, once users are heard."""
    with bound_contextvars(
        version=installed_version("sdlesson"),
        mode="webhook" if configuration.webhook_url else "polling",
        store=store.database.engine.dialect.name,
        generator=configuration.generator,
        models=list(catalogue.sources),
        loras=list(catalogue.loras),
    ):
        log.info("the service has started")


def make_generator(
    configuration: Configuration, catalogue: Catalogue, metrics: Metrics
) -> ImageGenerator:
    """Make what draws: here, or on the machines that wait at Redis.

    Raises:
        ModelError: A model cannot be loaded.
        LoraError: A LoRA cannot be loaded.
    """
    if configuration.generator == "celery":
        from sdlesson.bot_service.workers import remote  # Celery and Redis: only where they draw

        workers = remote.make_generator(configuration)
        metrics.watch_workers(workers)
        return workers
    most = configuration.models_in_memory
    return memory.SmallerBatches(ModelGenerator(catalogue, most=most))


def make_login(configuration: Configuration) -> LoginSettings | None:
    """Say how people log in; None where nobody has to."""
    directory = make_directory(configuration)
    if directory is None:
        return None
    return LoginSettings(
        directory,
        reveal(configuration.login_key),
        configuration.login_hours,
        configuration.ldap_check_minutes * 60,
    )


def make_moderator(configuration: Configuration) -> HttpModerator | None:
    """Make what asks the moderation service; None where there is none."""
    if not configuration.moderation_url:
        return None
    return HttpModerator(
        ModerationSettings(
            configuration.moderation_url,
            reveal(configuration.moderation_key),
            configuration.moderation_model,
            configuration.moderation_threshold,
            configuration.moderation_categories,
            configuration.moderation_timeout_s,
        )
    )


def also_kept(configuration: Configuration) -> tuple[Text, ...]:
    """What /privacy says of a moderation service."""
    if not configuration.moderation_url:
        return ()
    host = urlsplit(configuration.moderation_url).hostname
    return (Text(*(one.format(host=host) for one in texts.MODERATED)),)


def _webhook(configuration: Configuration) -> WebhookSettings | None:
    if not configuration.webhook_url or configuration.webhook_secret is None:
        return None
    return WebhookSettings(
        configuration.webhook_url,
        configuration.webhook_secret.get_secret_value(),
        configuration.webhook_listen,
        configuration.webhook_port,
    )
