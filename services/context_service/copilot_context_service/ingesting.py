"""The handlers of ingestion and of merges."""

from datetime import timedelta
from typing import Final

from copilot_common.queue import Job, JobFailed
from copilot_domain.context.ingestion.errors import FetchFailed
from copilot_domain.context.ingestion.pipeline import Ingestion
from copilot_domain.context.jobs import INGEST_ITEM, REFRESH_ITEM, IngestItem, MergeSegments
from copilot_domain.context.segments.merging import LEASE_SECONDS, MergeBusy, Merger

_BUSY_SECONDS: Final = 1.0  # most merges take less


class ItemIngester:
    """Called with the job. A failure that another try may mend is raised; after the last one the item has failed."""

    def __init__(self, ingestion: Ingestion, *, is_refresh: bool = False) -> None:
        self._ingestion = ingestion
        self._is_refresh = is_refresh

    async def __call__(self, job: Job[IngestItem]) -> None:
        item_id, generation = job.payload.item_id, job.payload.generation
        try:
            await self._ingestion.ingest(job.principal, item_id, generation, is_refresh=self._is_refresh)
        except Exception as error:
            of_type = REFRESH_ITEM if self._is_refresh else INGEST_ITEM
            if job.failures + 1 >= of_type.max_failures:
                await self._ingestion.fail(job.principal, item_id, generation, error)
            if isinstance(error, FetchFailed):  # somebody else's server: the job says why, and is no fault of ours
                raise JobFailed(error.reason, error.message) from None
            raise


class SegmentMerger:
    """Called with the job. Where another merge of the tenant is at work, this one comes again later."""

    def __init__(self, merger: Merger) -> None:
        self._merger = merger

    async def __call__(self, job: Job[MergeSegments]) -> None:
        try:
            await self._merger.merge_all(job.principal)
        except MergeBusy:
            text = "Another merge is at work."
            # Soon: until then no other is asked for, and every search looks through what an import goes on adding.
            pause = min(LEASE_SECONDS, _BUSY_SECONDS * 2**job.failures)
            raise JobFailed("MERGE_BUSY", text, pause=timedelta(seconds=pause)) from None
