"""What the workflow engine shows of runs. Labels are types of steps and how things end: all fixed in code."""

from prometheus_client import CollectorRegistry, Counter, Histogram

_DURATION_BUCKETS = (0.005, 0.02, 0.1, 0.5, 1, 5, 15, 60, 300, 3_600, 86_400)  # some steps wait for people


class RunMetrics:
    """One per CollectorRegistry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._runs = Counter("workflow_runs", "Runs by how they ended", ["status"], registry=registry)
        self._steps = Counter(
            "workflow_steps", "Attempts at steps by how they ended", ["type", "status"], registry=registry
        )
        self._duration = Histogram(
            "workflow_step_duration_seconds",
            "From a step's beginning to its end, with what it waited for",
            ["type"],
            buckets=_DURATION_BUCKETS,
            registry=registry,
        )

    def run_ended(self, status: str) -> None:
        self.runs_ended(status, 1)

    def runs_ended(self, status: str, count: int) -> None:
        self._runs.labels(status).inc(count)

    def step_ended(self, step_type: str, status: str, seconds: float) -> None:
        self._steps.labels(step_type, status).inc()
        self._duration.labels(step_type).observe(max(0.0, seconds))
