"""The look-out for items that have expired. Every context service has one; none needs to know of the others."""

import asyncio

from loguru import logger

from copilot_common.base.errors import CopilotError
from copilot_common.platform.tasks import end_tasks
from copilot_domain.context.expiring import ItemExpirer

_LOOK_SECONDS = 10.0  # nobody sees them meanwhile


class ExpiredItems:
    """Has them deleted, soon after they have expired."""

    def __init__(self, expirer: ItemExpirer) -> None:
        self._expirer = expirer
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._loop = asyncio.create_task(self._look_forever(), name="expired items")

    async def stop(self) -> None:
        await end_tasks([self._loop])

    async def _look_forever(self) -> None:
        while True:
            try:
                await self._expirer.expire_all()
            except CopilotError as error:
                logger.bind(error_type=type(error).__name__).warning("Expired items not looked for")
            except Exception as error:  # this loop must outlive any one fault
                logger.opt(exception=error).error("Looking for expired items failed")
            await asyncio.sleep(_LOOK_SECONDS)
