"""Runs whose job is dead: every process that led them was lost, or it failed too often. And what those had started, and
who waits for a slot that was theirs."""

import asyncio

from loguru import logger

from copilot_common.base.errors import CopilotError
from copilot_common.platform.db import Database
from copilot_common.platform.tasks import end_tasks
from copilot_domain.workflows.execution.metrics import RunMetrics
from copilot_domain.workflows.runs.repository import sql

_LOOK_SECONDS = 30.0
_BATCH = 100


class AbandonedRuns:
    """Looks for them now and then, in every engine; they have failed, and what they had started is cancelled."""

    def __init__(self, database: Database, metrics: RunMetrics) -> None:
        self._database = database
        self._metrics = metrics
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._loop = asyncio.create_task(self._look_forever(), name="abandoned runs")

    async def stop(self) -> None:
        await end_tasks([self._loop])

    async def _look_forever(self) -> None:
        while True:
            try:
                row = await self._database.fetch_row(sql["fail_abandoned_runs"], {"limit": _BATCH})
                self._metrics.runs_ended("failed", int(row[0]) if row else 0)
                await self._database.fetch_row(sql["cancel_orphaned_runs"], {"limit": _BATCH})
                await self._database.fetch_row(sql["wake_runs_for_slots"], {"limit": _BATCH})
            except CopilotError as error:
                logger.bind(error_type=type(error).__name__).warning("Abandoned runs not looked for")
            except Exception as error:  # this loop must outlive any one fault
                logger.opt(exception=error).error("Looking for abandoned runs failed")
            await asyncio.sleep(_LOOK_SECONDS)
