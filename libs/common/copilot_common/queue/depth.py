"""How much work is due, as every process tells it: what the autoscaler asks for stands in no single process."""

from collections.abc import Sequence
from time import monotonic
from typing import Final

from prometheus_client import CollectorRegistry, Gauge

from copilot_common.base.errors import CopilotError
from copilot_common.platform.tasks import Overtime
from copilot_common.queue.dispatching import Dispatcher
from copilot_common.queue.jobs import Queue

_CAP: Final = 10_000  # counted exactly up to here: beyond it more replicas are wanted anyway
_PATIENCE_SECONDS: Final = 1.0  # a scrape has ten: while the database is away all other metrics must be had
# What is older is told by nobody: the largest of all processes' numbers counts, so one that is cut off from the
# database would hold it where it was.
_TOLD_SECONDS: Final = 30.0


class DepthGauges:
    """Of these queues, as the ledger has them: call `refresh` before a scrape is answered. One per registry."""

    def __init__(self, dispatcher: Dispatcher, registry: CollectorRegistry, queues: Sequence[Queue]) -> None:
        self._dispatcher = dispatcher
        self._queues = queues
        self._overtime = Overtime()
        self._learned_at = 0.0
        self._due = Gauge("queue_depth", "Due jobs, counted up to 10 000", ["queue"], registry=registry)
        self._oldest = Gauge(
            "queue_oldest_due_seconds", "For how long the oldest due job has been due", ["queue"], registry=registry
        )

    async def refresh(self) -> None:
        """The last known values stay for a while where the database does not answer."""
        try:
            await self._overtime.within(_PATIENCE_SECONDS, self._learn())
        except (CopilotError, TimeoutError):
            if monotonic() - self._learned_at > _TOLD_SECONDS:
                self._due.clear()
                self._oldest.clear()

    async def _learn(self) -> None:
        for queue in self._queues:
            depth = await self._dispatcher.depth(queue, cap=_CAP)
            self._due.labels(queue).set(depth.due)
            self._oldest.labels(queue).set(depth.oldest_due_seconds)
        self._learned_at = monotonic()
