"""Background work of the context: ingesting an item, and keeping its index in few large segments."""

from datetime import timedelta
from uuid import UUID

from copilot_common.queue import CONTEXT_QUEUE, JobClass, JobPayload, JobType, Ledger, NewJob
from copilot_common.tenancy import Transaction
from copilot_domain.context.repository import ContextRepository, ItemRow


class IngestItem(JobPayload, frozen=True):
    item_id: UUID
    generation: int


INGEST_ITEM = JobType("context.ingest", IngestItem, CONTEXT_QUEUE, max_failures=6)

INGEST_IN_BULK = JobType(
    "context.ingest_bulk", IngestItem, CONTEXT_QUEUE, job_class=JobClass.BULK, max_failures=INGEST_ITEM.max_failures
)
"""One of very many: whatever somebody has sent alone, in any tenant, goes before it."""

REFRESH_ITEM = JobType("context.refresh", IngestItem, CONTEXT_QUEUE, job_class=JobClass.BULK, max_failures=6)
"""A page whose time has come: nobody waits for it."""


async def request_ingestion(tx: Transaction, ledger: Ledger, item: ItemRow, *, is_bulk: bool = False) -> ItemRow:
    """The item is pending, of a new generation; what was begun for an earlier one changes nothing any more."""
    return await _request(tx, ledger, item.id, INGEST_IN_BULK if is_bulk else INGEST_ITEM)


async def request_refresh(tx: Transaction, ledger: Ledger, item_id: UUID) -> None:
    """Likewise; its chunks stay where what is fetched has not changed."""
    await _request(tx, ledger, item_id, REFRESH_ITEM)


async def _request(tx: Transaction, ledger: Ledger, item_id: UUID, job_type: JobType[IngestItem]) -> ItemRow:
    repository = ContextRepository()
    pending = await repository.request_ingestion(tx, item_id)
    payload = IngestItem(pending.id, pending.generation)
    job_id = await ledger.enqueue(tx, NewJob(type=job_type, payload=payload))
    await repository.note_job(tx, pending.id, job_id)
    return pending


class MergeSegments(JobPayload, frozen=True):
    """Of the job's tenant."""


MERGE_SEGMENTS = JobType("context.merge", MergeSegments, CONTEXT_QUEUE, max_failures=20)


class Reembed(JobPayload, frozen=True):
    """Of the job's tenant: its searches shall use that model."""

    model: str


REEMBED = JobType("context.reembed", Reembed, CONTEXT_QUEUE, job_class=JobClass.BULK, max_failures=20)


class ForgetModel(JobPayload, frozen=True):
    """Its vectors and codes, while the tenant's index does not use it."""

    model: str


FORGET_MODEL = JobType("context.forget", ForgetModel, CONTEXT_QUEUE, job_class=JobClass.BULK, max_failures=20)

_MERGE_DELAY = timedelta(seconds=10)  # deletions come in crowds


async def request_merge(tx: Transaction, ledger: Ledger, *, delay: timedelta = _MERGE_DELAY) -> None:
    """Of the tenant's segments, if one is due by then. Nothing where one is asked for already."""
    # Before the tenant's other jobs: behind a large import searches would have to look through ever more segments.
    job = NewJob(type=MERGE_SEGMENTS, payload=MergeSegments(), priority=1, delay=delay, dedupe_key="merge")
    await ledger.enqueue(tx, job)
