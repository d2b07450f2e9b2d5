"""Completed jobs, written in batches: what ends while one batch is on its way goes with the next."""

import asyncio
from collections.abc import Callable

from loguru import logger

from copilot_common.base.errors import CopilotError
from copilot_common.platform.tasks import end_tasks
from copilot_common.queue.dispatching import Dispatcher
from copilot_common.queue.running import RunningJob, RunningJobs

_AGAIN_SECONDS = 0.5


class Settler:
    """Keeps trying while the database is away: the work is done, only the lease's lapse would have it done again."""

    def __init__(self, dispatcher: Dispatcher, running: RunningJobs, on_freed: Callable[[], None]) -> None:
        self._dispatcher = dispatcher
        self._running = running
        self._on_freed = on_freed
        self._pending: list[RunningJob] = []
        self._news = asyncio.Event()
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._settle_forever(), name="settler")

    def complete(self, job: RunningJob) -> None:
        self._pending.append(job)
        self._is_empty.clear()
        self._news.set()

    async def flush(self) -> None:
        """Wait until all is written, for as long as a statement may take."""
        try:
            async with asyncio.timeout(5):
                await self._is_empty.wait()
        except TimeoutError:
            logger.warning("Completed jobs not written: they will run again")

    async def stop(self) -> None:
        await end_tasks([self._task])

    async def _settle_forever(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            batch, self._pending = self._pending, []
            await self._settle(batch)
            if not self._pending:
                self._is_empty.set()

    async def _settle(self, batch: list[RunningJob]) -> None:
        while True:
            try:
                await self._dispatcher.complete([job.claim for job in batch])
                break
            except CopilotError as error:
                logger.bind(error_type=type(error).__name__, jobs=len(batch)).warning("Completed jobs not written yet")
            except Exception as error:  # this loop must outlive any one fault
                logger.opt(exception=error).error("Completing jobs failed")
            await asyncio.sleep(_AGAIN_SECONDS)
        for job in batch:
            self._running.remove(job)
        self._on_freed()
