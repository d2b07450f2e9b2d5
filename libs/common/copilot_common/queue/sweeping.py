"""What makes the ledger certain: lapsed jobs go back, future ones become due, and queues with work are rung."""

import asyncio
import itertools
from collections.abc import Callable
from datetime import timedelta

from loguru import logger

from copilot_common.base.errors import CopilotError
from copilot_common.queue.dispatching import Dispatcher

SWEEP_SECONDS = 2.0
_PRUNE_EVERY = 30  # sweeps: once a minute
_FULL_BATCH = 1_000


class JobSweeper:
    """Runs in every process; the database lets one work at a time."""

    def __init__(self, dispatcher: Dispatcher, ring: Callable[[str], None], *, keep_ended: timedelta) -> None:
        self._dispatcher = dispatcher
        self._ring = ring
        self._keep_ended = keep_ended

    async def run_forever(self) -> None:
        for count in itertools.count():
            try:
                await self.sweep()
                if count % _PRUNE_EVERY == 0:
                    await self._prune()
            except CopilotError as error:
                logger.bind(error_type=type(error).__name__).warning("Jobs not swept")
            except Exception as error:  # this loop must outlive any one fault: nothing else takes lost jobs over
                logger.opt(exception=error).error("Sweep of jobs failed")
            await asyncio.sleep(SWEEP_SECONDS)

    async def sweep(self) -> None:
        for queue in await self._dispatcher.sweep():
            self._ring(queue)

    async def _prune(self) -> None:
        while await self._dispatcher.prune(self._keep_ended) >= _FULL_BATCH:
            pass
