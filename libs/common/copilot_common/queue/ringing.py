"""Ringing without waiting: whoever has committed work says so here, and goes on."""

import asyncio
from time import monotonic
from typing import Protocol

from loguru import logger

from copilot_common.platform.redis import name_fault
from copilot_common.platform.tasks import end_tasks

_AWAY_SECONDS = 2.0  # how long a Redis that failed is left alone; workers poll meanwhile


class Bell(Protocol):
    async def ring(self, queue: str) -> None:
        """May raise anything: a ring that is lost is made good by the sweep."""
        ...


class Ringer:
    """Rings of one moment become one. A ring asked for while another is under way is rung after it: nobody's ring is
    swallowed by one that may have looked already."""

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self._wanted: set[str] = set()
        self._is_wanted = asyncio.Event()
        self._away_until = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._ring_forever(), name="ringer")

    async def stop(self) -> None:
        await end_tasks([self._task])

    def ring(self, queue: str) -> None:
        """Never blocks, never fails."""
        self._wanted.add(queue)
        self._is_wanted.set()

    async def _ring_forever(self) -> None:
        while True:
            await self._is_wanted.wait()
            self._is_wanted.clear()
            queues, self._wanted = self._wanted, set()
            for queue in queues:
                await self._ring_one(queue)

    async def _ring_one(self, queue: str) -> None:
        if monotonic() < self._away_until:
            return
        try:
            await self._bell.ring(queue)
        except Exception as error:  # whatever the client raises: this loop must outlive it
            self._away_until = monotonic() + _AWAY_SECONDS
            logger.bind(queue=queue, error_type=name_fault(error)).warning("Queue not rung")
