"""The worker base where its database answers late or not at all, where slots are few, and where it is told to stop."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from prometheus_client import CollectorRegistry

from copilot_common.base.errors import Unavailable
from copilot_common.queue import WORKFLOW_QUEUE, Claim, ClaimedJob, Dispatcher, Handler, Job, QueueMetrics, Worker
from integration.queue.ground import NOTHING, Ground
from support.clients import eventually


async def nothing(_: Job[Any]) -> None:
    pass


async def for_ever(_: Job[Any]) -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def working(dispatcher: Dispatcher, handler: Handler, *, slots: int = 4) -> AsyncIterator[Worker]:
    """With a bell, so that without being woken it looks every five seconds only."""
    metrics = QueueMetrics(CollectorRegistry())
    worker = Worker(dispatcher, WORKFLOW_QUEUE, {NOTHING: handler}, slots=slots, tenant_limit=50, metrics=metrics)
    worker.note_bell(True)
    worker.start()
    try:
        yield worker
    finally:
        await worker.stop()


async def has(ground: Ground, job_id: UUID, status: str, *, seconds: float) -> None:
    async def found() -> bool:
        return ground.status(job_id) == status

    await eventually(found, seconds=seconds, what=f"the status {status}")


async def test_a_slot_is_used_again_as_soon_as_its_jobs_end_is_written(ground: Ground) -> None:
    jobs = await ground.enqueue(count=10)
    async with working(ground.process().dispatcher, nothing, slots=1):
        await has(ground, jobs[-1], "completed", seconds=8)


async def test_a_job_that_begins_in_an_idle_worker_is_cancelled_soon(ground: Ground) -> None:
    async with working(ground.process().dispatcher, for_ever) as worker:
        await asyncio.sleep(0)  # it has found nothing to watch
        (job_id,) = await ground.enqueue()
        worker.wake()
        await has(ground, job_id, "running", seconds=5)
        async with ground.db.transaction(ground.acme) as tx:
            await ground.ledger.cancel(tx, job_id)
        await has(ground, job_id, "cancelled", seconds=5)


class Late(Dispatcher):
    """The answer of a claim is on its way for a while."""

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground.database, ground.process().id)
        self.has_claimed = asyncio.Event()

    async def claim(self, *args: Any, **kwargs: Any) -> list[ClaimedJob]:
        claimed = await super().claim(*args, **kwargs)
        self.has_claimed.set()
        await asyncio.sleep(0.3)
        return claimed


async def test_what_is_claimed_while_the_worker_is_told_to_stop_is_handed_back(ground: Ground) -> None:
    (job_id,) = await ground.enqueue()
    dispatcher = Late(ground)
    async with working(dispatcher, for_ever) as worker:
        await dispatcher.has_claimed.wait()
        await worker.drain(0.1)
    job = ground.job(job_id)
    assert (job["status"], job["lapses"], job["failures"]) == ("pending", 0, 0)


class Mute(Dispatcher):
    """Nothing can be handed back."""

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground.database, ground.process().id)

    async def release(self, claims: Sequence[Claim]) -> int:
        raise Unavailable("The database is not reachable.")


async def test_a_job_that_cannot_be_handed_back_does_not_fail_unheard(ground: Ground) -> None:
    (job_id,) = await ground.enqueue()
    async with working(Mute(ground), for_ever) as worker:
        await has(ground, job_id, "running", seconds=5)
        task = next(task for task in asyncio.all_tasks() if task.get_name() == f"job {NOTHING.kind}")
        await worker.drain(0.1)
        await asyncio.wait({task}, timeout=5)
    assert task.exception() is None
