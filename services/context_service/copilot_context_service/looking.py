"""What is looked for now and then, by every context service: none needs to know of the others."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from loguru import logger

from copilot_common.base.errors import CopilotError
from copilot_common.platform.db import Database
from copilot_common.platform.sql import Queries
from copilot_common.platform.tasks import end_tasks

_sql = Queries(__package__)

_LOOK_SECONDS: Final = 10.0
_BATCH: Final = 100


class LookOut:
    """`look` again and again, whatever it raises. `what` is looked for, in words for the log."""

    def __init__(self, what: str, look: Callable[[], Awaitable[object]]) -> None:
        self._what = what
        self._look = look
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._loop = asyncio.create_task(self._look_forever(), name=self._what)

    async def stop(self) -> None:
        await end_tasks([self._loop])

    async def _look_forever(self) -> None:
        while True:
            try:
                await self._look()
            except CopilotError as error:
                logger.bind(what=self._what, error_type=type(error).__name__).warning("Not looked for")
            except Exception as error:  # this loop must outlive any one fault
                logger.bind(what=self._what).opt(exception=error).error("Looking failed")
            await asyncio.sleep(_LOOK_SECONDS)


async def fail_abandoned_items(database: Database) -> None:
    """Those whose job is dead: every process that ran it was lost."""
    await database.fetch_row(_sql["fail_abandoned_items"], {"limit": _BATCH})
