"""What a worker shows of its jobs. Labels are queue names, job names and outcomes: all fixed in code."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_DISPATCH_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 2, 5, 10, 60, 300)
_DURATION_BUCKETS = (0.005, 0.02, 0.1, 0.5, 1, 5, 15, 60, 300, 1_800)


class QueueMetrics:
    """One per CollectorRegistry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.running = Gauge("jobs_running", "Jobs this process runs", ["queue"], registry=registry)
        self.slots = Gauge("job_slots", "Jobs this process may run at once", ["queue"], registry=registry)
        self.dispatch = Histogram(
            "job_dispatch_seconds",
            "From due to started",
            ["queue"],
            buckets=_DISPATCH_BUCKETS,
            registry=registry,
        )
        self.duration = Histogram(
            "job_duration_seconds", "From started to ended", ["name"], buckets=_DURATION_BUCKETS, registry=registry
        )
        self.outcomes = Counter("jobs_ended", "Jobs by how they ended here", ["name", "outcome"], registry=registry)
