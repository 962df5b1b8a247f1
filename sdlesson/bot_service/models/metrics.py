"""What Prometheus may ask about models, thumbs and pictures that were drawn before.

A model's label is one of the operator's list, so there are few; no label says who asked for what.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

SECONDS = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)


class ModelMetrics:
    """Counts by model; each method is cheap, and may be called on the event loop.

    Args:
        registry: What an exporter reads; by default one that nobody reads.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self._ended = Counter(
            "sdlesson_model_jobs_ended",
            "Jobs by model and by how they ended",
            ["model", "state"],
            registry=registry,
        )
        self._seconds = Histogram(
            "sdlesson_model_drawing_seconds",
            "A picture's share of the time that its batch took to draw",
            ["model"],
            buckets=SECONDS,
            registry=registry,
        )
        self._again = Counter(
            "sdlesson_model_again",
            "Pictures asked for by a button under another",
            ["model"],
            registry=registry,
        )
        self._votes = Counter(
            "sdlesson_model_votes", "Thumbs pressed", ["model", "thumb"], registry=registry
        )
        self._looks = Counter(
            "sdlesson_cache_looks",
            "Requests with a seed, by whether their picture was there already",
            ["outcome"],
            registry=registry,
        )

    def ended(self, model: str, state: str) -> None:
        """Count a job that has ended."""
        self._ended.labels(model, str(state)).inc()

    def drawn(self, model: str, seconds: float) -> None:
        """Take in how long a picture took."""
        self._seconds.labels(model).observe(seconds)

    def again(self, model: str) -> None:
        """Count a picture that was asked for by a button."""
        self._again.labels(model).inc()

    def voted(self, model: str, *, is_up: bool) -> None:
        """Count a thumb, also one that is changed."""
        self._votes.labels(model, "up" if is_up else "down").inc()

    def looked(self, is_hit: bool) -> None:
        """Count a look into the cache."""
        self._looks.labels("hit" if is_hit else "miss").inc()
