"""What else lives as long as a worker: started once the database is there, stopped after the last job."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from loguru import logger

from copilot_common.base.errors import CopilotError
from copilot_common.platform.tasks import end_tasks


class Companion(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class LookOut:
    """`look` again and again, `every` so many seconds, whatever it raises. `what` is looked for, in words for the log.

    Every process of a service may have one: none needs to know of the others.
    """

    def __init__(self, what: str, look: Callable[[], Awaitable[object]], *, every: float) -> None:
        self._what = what
        self._look = look
        self._every = every
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
            await asyncio.sleep(self._every)


class AtStart:
    """Something that is done once, beside the start: nothing waits for it, and it does not outlive the process."""

    def __init__(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        """`what` is done, in words for the log."""
        self._what = what
        self._work = work
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._do(), name=self._what)

    async def stop(self) -> None:
        await end_tasks([self._task])

    async def _do(self) -> None:
        try:
            await self._work()
        except Exception as error:  # nobody asks the task
            logger.bind(what=self._what).opt(exception=error).error("Not done at the start")


class AtEnd:
    """Something that holds nothing before its first use, and is closed with the process."""

    def __init__(self, close: Callable[[], Awaitable[None]]) -> None:
        self._close = close

    async def start(self) -> None:
        """Nothing is held yet."""

    async def stop(self) -> None:
        await self._close()
