"""How much work is due, as every process tells it: what the autoscaler asks for stands in no single process."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from prometheus_client import CollectorRegistry, Gauge

from copilot_common.base.errors import CopilotError
from copilot_common.queue.dispatching import Dispatcher
from copilot_common.queue.jobs import Queue

_CAP: Final = 10_000  # counted exactly up to here: beyond it more replicas are wanted anyway
_PATIENCE_SECONDS: Final = 1.0  # a scrape has ten: while the database is away all other metrics must be had


class DepthGauges:
    """Of these queues, as the ledger has them: call `refresh` before a scrape is answered. One per registry."""

    def __init__(self, dispatcher: Dispatcher, registry: CollectorRegistry, queues: Sequence[Queue]) -> None:
        self._dispatcher = dispatcher
        self._queues = queues
        self._due = Gauge("queue_depth", "Due jobs, counted up to 10 000", ["queue"], registry=registry)
        self._oldest = Gauge(
            "queue_oldest_due_seconds", "For how long the oldest due job has been due", ["queue"], registry=registry
        )

    async def refresh(self) -> None:
        """The last known values stay where the database does not answer: that it is away, /health tells."""
        with suppress(CopilotError, TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                for queue in self._queues:
                    depth = await self._dispatcher.depth(queue, cap=_CAP)
                    self._due.labels(queue).set(depth.due)
                    self._oldest.labels(queue).set(depth.oldest_due_seconds)
