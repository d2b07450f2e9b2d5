"""What the context service shows of ingestion. Labels are outcomes and codes of failures: all fixed in code."""

from prometheus_client import CollectorRegistry, Counter


class IngestionMetrics:
    """One per CollectorRegistry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._ended = Counter(
            "context_ingestions",
            "Items that became ready or failed, fetched anew included; `code` says why they failed",
            ["outcome", "code"],
            registry=registry,
        )

    def ready(self) -> None:
        self._ended.labels("ready", "").inc()

    def failed(self, code: str) -> None:
        self._ended.labels("failed", code).inc()
