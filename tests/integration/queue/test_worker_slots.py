"""A worker with fewer slots than there is work."""

import asyncio

from prometheus_client import CollectorRegistry

from copilot_common.queue import WORKFLOW_QUEUE, Job, QueueMetrics, Worker
from integration.queue.ground import NOTHING, Ground, Nothing


async def test_a_slot_is_filled_again_as_soon_as_its_job_is_written(ground: Ground) -> None:
    """Nobody rings: each job after the first is found because a slot has become free. A look comes after 5 s only."""
    done: list[int] = []
    all_done = asyncio.Event()

    async def note(job: Job[Nothing]) -> None:
        done.append(job.payload.note)
        if len(done) == 3:
            all_done.set()

    await ground.enqueue(count=3)
    worker = Worker(
        ground.process().dispatcher,
        WORKFLOW_QUEUE,
        {NOTHING: note},
        slots=1,
        tenant_limit=10,
        metrics=QueueMetrics(CollectorRegistry()),
    )
    worker.note_bell(True)
    worker.start()
    async with asyncio.timeout(4):
        await all_done.wait()
    await worker.drain(1)
    await worker.stop()
    assert done == [0, 1, 2]
