"""A worker for tests: on a ground's database, its dispatcher tells of each look and fails where told to."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prometheus_client import CollectorRegistry

from copilot_common.base.errors import Unavailable
from copilot_common.base.ids import ProcessId
from copilot_common.platform.db import Database
from copilot_common.queue import (
    WORKFLOW_QUEUE,
    Claim,
    ClaimedJob,
    Dispatcher,
    Handler,
    Job,
    JobType,
    QueueMetrics,
    Worker,
)
from integration.queue.ground import NOTHING, Ground, ProcessHandle
from support.clients import eventually


class WatchedDispatcher(Dispatcher):
    """`looks`: how many jobs each claim found, as they come. `faults`: how often a method still finds no database.
    `gate`, while closed, holds back the answers of claims."""

    def __init__(self, database: Database, process_id: ProcessId) -> None:
        super().__init__(database, process_id)
        self.looks: asyncio.Queue[int] = asyncio.Queue()
        self.faults: Counter[str] = Counter()
        self.gate = asyncio.Event()
        self.gate.set()

    async def claim(self, queue: str, **fields: Any) -> list[ClaimedJob]:
        self._fail_where_told("claim")
        found = await super().claim(queue, **fields)
        self.looks.put_nowait(len(found))
        await self.gate.wait()
        return found

    async def complete(self, claims: Sequence[Claim]) -> set[UUID]:
        self._fail_where_told("complete")
        return await super().complete(claims)

    async def cancel(self, claim: Claim) -> bool:
        self._fail_where_told("cancel")
        return await super().cancel(claim)

    def _fail_where_told(self, name: str) -> None:
        if self.faults[name]:
            self.faults[name] -= 1
            raise Unavailable("The database is not reachable.")


@dataclass
class Shift:
    """A worker at work."""

    ground: Ground
    process: ProcessHandle
    dispatcher: WatchedDispatcher
    worker: Worker
    passed_on: asyncio.Event

    async def looked(self, *, found: int | None = None) -> None:
        """Until a claim has returned, with so many jobs."""
        async with asyncio.timeout(10):
            while await self.dispatcher.looks.get() != found and found is not None:
                pass

    async def becomes(self, job_id: UUID, status: str) -> dict[str, Any]:
        async def has_become() -> bool:
            return self.ground.status(job_id) == status

        await eventually(has_become, what=f"status {status}")
        return self.ground.job(job_id)


@asynccontextmanager
async def at_work(
    ground: Ground, handlers: Handler | Mapping[JobType[Any], Handler], *, slots: int = 4, has_bell: bool = True
) -> AsyncIterator[Shift]:
    """A handler alone is that of NOTHING. Has looked once before the body begins."""
    process = ground.process()
    dispatcher = WatchedDispatcher(ground.database, process.id)
    mapping = handlers if isinstance(handlers, Mapping) else {NOTHING: handlers}
    metrics = QueueMetrics(CollectorRegistry())
    passed_on = asyncio.Event()
    worker = Worker(
        dispatcher,
        WORKFLOW_QUEUE,
        mapping,
        slots=slots,
        tenant_limit=100,
        metrics=metrics,
        pass_on=passed_on.set,
    )
    shift = Shift(ground, process, dispatcher, worker, passed_on)
    worker.note_bell(has_bell)
    worker.start()
    await shift.looked()
    try:
        yield shift
    finally:
        await worker.stop()


class Bench:
    """A handler whose jobs stay on it until they are let go. `begun`: ids, as they come."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[UUID] = asyncio.Queue()
        self.is_open = asyncio.Event()
        self.left: list[UUID] = []
        self.cancelled: list[UUID] = []

    async def __call__(self, job: Job[Any]) -> None:
        self.begun.put_nowait(job.id)
        try:
            await self.is_open.wait()
        except asyncio.CancelledError:
            self.cancelled.append(job.id)
            raise
        self.left.append(job.id)

    async def next(self) -> UUID:
        async with asyncio.timeout(10):
            return await self.begun.get()

    @property
    def is_empty(self) -> bool:
        return self.begun.empty()
