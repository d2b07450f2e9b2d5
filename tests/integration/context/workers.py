"""The context service's worker on a ground: its handlers of items, without pauses between tries."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

from prometheus_client import CollectorRegistry

from copilot_common.base.ids import ProcessId
from copilot_common.queue import CONTEXT_QUEUE, Dispatcher, QueueMetrics, Worker
from copilot_context_service.ingesting import ItemIngester
from copilot_domain.context.jobs import INGEST_IN_BULK, INGEST_ITEM, REFRESH_ITEM
from integration.context.ground import ContextGround


@asynccontextmanager
async def at_work(
    context: ContextGround, *, slots: int = 1, tenant_limit: int = 1
) -> AsyncIterator[tuple[Worker, Dispatcher]]:
    process_id = ProcessId(uuid4())
    lasting = "INSERT INTO processes (id, service, lease_expires_at) VALUES (%s, 'test', 'infinity') RETURNING id"
    context.site.rows(lasting, process_id)
    dispatcher = Dispatcher(context.db.database, process_id)
    handlers = {
        replace(job_type, first_pause=timedelta()): ItemIngester(context.ingestion, is_refresh=job_type is REFRESH_ITEM)
        for job_type in (INGEST_ITEM, INGEST_IN_BULK, REFRESH_ITEM)
    }
    metrics = QueueMetrics(CollectorRegistry())
    worker = Worker(dispatcher, CONTEXT_QUEUE, handlers, slots=slots, tenant_limit=tenant_limit, metrics=metrics)
    worker.start()
    yield worker, dispatcher
    await worker.stop()
