"""The handlers of ingestion, and what is looked for: items whose job has ended without them, pages that are due."""

import asyncio
from datetime import timedelta

from loguru import logger

from copilot_common.base.errors import CopilotError
from copilot_common.platform.db import Database
from copilot_common.platform.sql import Queries
from copilot_common.platform.tasks import end_tasks
from copilot_common.queue import Job, JobFailed
from copilot_domain.context.ingestion.pipeline import Ingestion
from copilot_domain.context.jobs import INGEST_ITEM, REFRESH_ITEM, IngestItem, MergeSegments
from copilot_domain.context.refreshing import PageRefresher
from copilot_domain.context.segments.merging import LEASE_SECONDS, MergeBusy, Merger

_sql = Queries(__package__)

_LOOK_SECONDS = 10.0
_BATCH = 100


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
            raise JobFailed("MERGE_BUSY", text, pause=timedelta(seconds=LEASE_SECONDS)) from None


class AbandonedItems:
    """Looks now and then for items whose job is dead: every process that ran it was lost."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._loop = asyncio.create_task(self._look_forever(), name="abandoned items")

    async def stop(self) -> None:
        await end_tasks([self._loop])

    async def _look_forever(self) -> None:
        while True:
            try:
                await self._database.fetch_row(_sql["fail_abandoned_items"], {"limit": _BATCH})
            except CopilotError as error:
                logger.bind(error_type=type(error).__name__).warning("Abandoned items not looked for")
            except Exception as error:  # this loop must outlive any one fault
                logger.opt(exception=error).error("Looking for abandoned items failed")
            await asyncio.sleep(_LOOK_SECONDS)


class DuePages:
    """Looks now and then for pages whose time to be fetched again has come."""

    def __init__(self, refresher: PageRefresher) -> None:
        self._refresher = refresher
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._loop = asyncio.create_task(self._look_forever(), name="due pages")

    async def stop(self) -> None:
        await end_tasks([self._loop])

    async def _look_forever(self) -> None:
        while True:
            try:
                await self._refresher.look()
            except CopilotError as error:
                logger.bind(error_type=type(error).__name__).warning("Due pages not looked for")
            except Exception as error:  # this loop must outlive any one fault
                logger.opt(exception=error).error("Looking for due pages failed")
            await asyncio.sleep(_LOOK_SECONDS)
