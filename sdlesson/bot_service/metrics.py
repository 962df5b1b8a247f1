"""What Prometheus may ask of the service: numbers of requests, times, pictures, errors, memory.

A label never holds what a user wrote or who wrote it, and each label has few values.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector

from sdlesson.bot.requests import Request

if TYPE_CHECKING:
    from collections.abc import Hashable

    from sdlesson.bot.generator import ImageGenerator, IsCancelled, OnStep, Result
    from sdlesson.bot_service.workers import CeleryGenerator

SECONDS = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)
LAG_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
BATCH_SIZES = (1, 2, 3, 4, 6, 8, 16)
LAG_EVERY_S = 0.25

log = logging.getLogger(__name__)


class Metrics:
    """The bot's numbers; each method is cheap, and may be called on the event loop.

    Attributes:
        registry: What an exporter reads.
        lag_s: How late the event loop was when it was last asked.
        looked_s: When that was, on the clock of `time.monotonic`; None before the first time.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.lag_s = 0.0
        self.looked_s: float | None = None
        self._accepted = Counter(
            "sdlesson_requests_accepted", "Requests taken in", registry=self.registry
        )
        self._refused = Counter(
            "sdlesson_requests_refused",
            "Requests refused, by reason",
            ["reason"],
            registry=self.registry,
        )
        self._ended = Counter(
            "sdlesson_jobs_ended", "Jobs by how they ended", ["state"], registry=self.registry
        )
        self._latency = Histogram(
            "sdlesson_job_seconds",
            "From a request to its end",
            ["state"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._batch = Histogram(
            "sdlesson_batch_pictures",
            "Pictures drawn at once",
            buckets=BATCH_SIZES,
            registry=self.registry,
        )
        self._errors = Counter(
            "sdlesson_errors", "Errors logged, by where", ["where"], registry=self.registry
        )
        self._lag = Histogram(
            "sdlesson_loop_lag_seconds",
            "How late the event loop is",
            buckets=LAG_SECONDS,
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)
        self.registry.register(GpuMemory())

    def accepted(self, job_id: str) -> None:
        """Count a request that was taken in."""
        self._accepted.inc()

    def refused(self, reason: str) -> None:
        """Count a request that was refused."""
        self._refused.labels(reason).inc()

    def started(self, job_ids: Sequence[str]) -> None:
        """Count a batch that begins."""
        self._batch.observe(len(job_ids))

    def ended(self, job_id: str, state: str, seconds: float) -> None:
        """Count a job that has ended, so long after it was accepted."""
        self._ended.labels(str(state)).inc()
        self._latency.labels(str(state)).observe(seconds)

    def error(self, where: str) -> None:
        """Count an error that was logged."""
        self._errors.labels(where).inc()

    def watch(self, name: str, text: str, look: Callable[[], float]) -> None:
        """Show a number that is looked up whenever Prometheus asks, such as the queue's length."""
        self.registry.register(_LookedUp(GaugeMetricFamily, name, text, look))

    def watch_workers(self, generator: CeleryGenerator) -> None:
        """Show how many workers there are, and how many batches were lost with theirs."""
        self.watch("sdlesson_workers", "Workers that are there", generator.workers_alive)
        lost = "sdlesson_batches_lost", "Batches asked for again", lambda: generator.lost
        self.registry.register(_LookedUp(CounterMetricFamily, *lost))

    async def measure_loop_lag(self) -> None:
        """Find out, until cancelled, how late the event loop comes to what is due."""
        while True:
            due_s = time.monotonic() + LAG_EVERY_S
            await asyncio.sleep(LAG_EVERY_S)
            self.looked_s = time.monotonic()
            self.lag_s = max(0.0, self.looked_s - due_s)
            self._lag.observe(self.lag_s)


class MeasuredGenerator:
    """Draws with another generator and counts what it does; for a worker's own metrics.

    Args:
        generator: What draws.
        registry: What an exporter reads.
    """

    def __init__(self, generator: ImageGenerator, registry: CollectorRegistry) -> None:
        self._generator = generator
        self.model, self.defaults, self.size = generator.model, generator.defaults, generator.size
        self.has_control = generator.has_control
        self._pictures = Counter("sdlesson_worker_pictures", "Pictures drawn", registry=registry)
        self._flagged = Counter(
            "sdlesson_worker_flagged", "Pictures that were withheld", registry=registry
        )
        self._failed = Counter(
            "sdlesson_worker_failures", "Batches not drawn, by error", ["error"], registry=registry
        )
        self._batch = Histogram(
            "sdlesson_worker_batch_pictures",
            "Pictures at once",
            buckets=BATCH_SIZES,
            registry=registry,
        )
        self._seconds = Histogram(
            "sdlesson_worker_batch_seconds",
            "From a batch to its pictures",
            buckets=SECONDS,
            registry=registry,
        )

    def batch_key(self, request: Request) -> Hashable:
        """Requests with equal keys may be drawn in one batch."""
        return self._generator.batch_key(request)

    def draw(
        self, requests: Sequence[Request], *, on_step: OnStep, is_cancelled: IsCancelled
    ) -> Sequence[Result | None]:
        """Draw a batch."""
        self._batch.observe(len(requests))
        started_s = time.monotonic()
        try:
            results = self._generator.draw(requests, on_step=on_step, is_cancelled=is_cancelled)
        except Exception as error:
            self._failed.labels(type(error).__name__).inc()
            raise
        self._seconds.observe(time.monotonic() - started_s)
        drawn = [result for result in results if result is not None]
        self._pictures.inc(len(drawn))
        self._flagged.inc(sum(result.flagged for result in drawn))
        return results


class GpuMemory:
    """The memory and use of each GPU of NVIDIA's, asked of its driver; nothing where there is none.

    Torch is not asked: it knows its own process only, and would have to be loaded.
    """

    def __init__(self) -> None:
        self._nvml = _open_nvml()

    def describe(self) -> Iterable[Metric]:
        """Name no metric beforehand: whether there is any depends on the machine."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Ask the driver."""
        if self._nvml is None:
            return
        used = GaugeMetricFamily("sdlesson_gpu_memory_used_bytes", "In use", labels=["gpu"])
        total = GaugeMetricFamily("sdlesson_gpu_memory_total_bytes", "In all", labels=["gpu"])
        busy = GaugeMetricFamily("sdlesson_gpu_use_ratio", "Share of time in use", labels=["gpu"])
        try:
            for number in range(self._nvml.nvmlDeviceGetCount()):
                gpu = self._nvml.nvmlDeviceGetHandleByIndex(number)
                memory = self._nvml.nvmlDeviceGetMemoryInfo(gpu)
                used.add_metric([str(number)], memory.used)
                total.add_metric([str(number)], memory.total)
                use = self._nvml.nvmlDeviceGetUtilizationRates(gpu).gpu
                busy.add_metric([str(number)], use / 100)
        except self._nvml.NVMLError as error:  # a driver that was replaced under a running process
            log.warning("the GPU's driver does not answer: %s", type(error).__name__)
            return
        yield from (used, total, busy)


class _LookedUp:
    """A number that is looked up when it is asked for."""

    def __init__(
        self,
        family: type[GaugeMetricFamily] | type[CounterMetricFamily],
        name: str,
        text: str,
        look: Callable[[], float],
    ) -> None:
        self._family, self._name, self._text, self._look = family, name, text, look

    def describe(self) -> Iterable[Metric]:
        """Name the metric, without looking it up."""
        return [self._family(self._name, self._text)]

    def collect(self) -> Iterable[Metric]:
        """Look it up; where that fails, there is no number rather than a wrong one."""
        try:
            yield self._family(self._name, self._text, value=self._look())
        except Exception as error:
            log.warning("%s cannot be looked up (%s)", self._name, type(error).__name__)


_nvml_lock = threading.Lock()


def _open_nvml() -> Any:
    """Find NVIDIA's management library; None without it, or without a GPU."""
    try:
        import pynvml
    except ImportError:
        return None
    with _nvml_lock:
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            return None
    return pynvml
