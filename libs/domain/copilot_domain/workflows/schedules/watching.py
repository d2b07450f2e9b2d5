"""The engine's watch over schedules. Every engine has one; none needs to know of the others."""

import asyncio
from datetime import timedelta
from time import monotonic

from loguru import logger

from copilot_common.base.errors import CopilotError
from copilot_common.platform.tasks import end_tasks
from copilot_common.queue import Ledger
from copilot_common.tenancy import TenantDatabase
from copilot_domain.workflows.schedules.firing import fire
from copilot_domain.workflows.schedules.repository import DueSchedule, due_schedules
from copilot_domain.workflows.versions import Versions

_LOOK_SECONDS = 10.0  # an engine with nothing to do may ask the database twice a second for all it watches
_BATCH = 100
_AGAIN_SECONDS = 1.0  # after a fault
_LATER_SECONDS = 0.01  # a timer may be early by its resolution, and then nothing would be due yet


class Schedules:
    """Asks now and then what falls due until it asks again, and starts each run at its moment."""

    def __init__(
        self, db: TenantDatabase, ledger: Ledger, versions: Versions, *, look_seconds: float = _LOOK_SECONDS
    ) -> None:
        self._db = db
        self._ledger = ledger
        self._versions = versions
        self._look_seconds = look_seconds
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._loop = asyncio.create_task(self._watch_forever(), name="schedules")

    async def stop(self) -> None:
        await end_tasks([self._loop])

    async def look(self, *, ahead: timedelta) -> bool:
        """Start what falls due within that time; whether there may be more of it. Raises Unavailable."""
        found = await due_schedules(self._db.database, ahead=ahead, limit=_BATCH)
        told_at = monotonic()  # a little after the database's moment, never before it
        for due in found:
            await _until(due, told_at)
            await fire(self._db, self._ledger, self._versions, due)
        return len(found) == _BATCH

    async def _watch_forever(self) -> None:
        while True:
            next_look = monotonic() + self._look_seconds
            try:
                if await self.look(ahead=timedelta(seconds=self._look_seconds)):
                    continue
            except CopilotError as error:
                logger.bind(error_type=type(error).__name__).warning("Schedules not looked at")
                next_look = monotonic() + _AGAIN_SECONDS
            except Exception as error:  # this loop must outlive any one fault
                logger.opt(exception=error).error("Looking at schedules failed")
                next_look = monotonic() + _AGAIN_SECONDS
            await asyncio.sleep(next_look - monotonic())


async def _until(due: DueSchedule, told_at: float) -> None:
    await asyncio.sleep(max(0.0, told_at + due.seconds + _LATER_SECONDS - monotonic()))
