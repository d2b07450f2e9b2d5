"""The metrics every service exports, under the deployment guide's names. Labels are bounded, never ids."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from copilot_common.platform.db import Database

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class HttpMetrics:
    """`route` is a template (`/api/v1/conversations/{conversation_id}`); what matched none is `unmatched`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "http_requests", "HTTP requests answered", ["method", "route", "status"], registry=registry
        )
        self.duration = Histogram(
            "http_request_duration_seconds",
            "From the request's arrival to the last byte of its answer",
            ["method", "route"],
            registry=registry,
            buckets=_SECONDS,
        )
        self.active_conversations = Gauge(
            "active_conversations", "Conversations with a generation in flight in this process", registry=registry
        )


def watch_pool(registry: CollectorRegistry, *pools: Database, name: str = "database") -> None:
    """Gauges that are read when they are scraped: of all `pools` together."""
    used = Gauge(f"{name}_connections_used", "Connections of the pool that work or are opened", registry=registry)
    used.set_function(lambda: sum(pool.use.size - pool.use.idle for pool in pools))
    limit = Gauge(f"{name}_connections_limit", "Connections that the pool may have", registry=registry)
    limit.set_function(lambda: sum(pool.use.limit for pool in pools))
    waiting = Gauge(f"{name}_connections_waiting", "Who waits for a connection of the pool", registry=registry)
    waiting.set_function(lambda: sum(pool.use.waiting for pool in pools))


def new_registry() -> CollectorRegistry:
    """A registry of its own per process, so that importing a module registers nothing."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


def render_metrics(registry: CollectorRegistry) -> bytes:
    """Prometheus's text format."""
    return generate_latest(registry)
