"""Ending tasks for certain, and waiting for none longer than one may."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

_AGAIN_SECONDS = 0.5

T = TypeVar("T")


async def end_tasks(tasks: Iterable[asyncio.Task[Any] | None]) -> None:
    """Cancel them, and return once they have ended, however they did.

    One cancellation may not be enough: the Redis client turns one that meets its own time-out, or a connection that is
    just being closed, into an error, and whoever goes on after errors goes on.
    """
    pending = {task for task in tasks if task is not None}
    ended = set(pending)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_AGAIN_SECONDS)
    # Read what they raised, so that it is not reported as forgotten.
    await asyncio.gather(*ended, return_exceptions=True)


class Overtime:
    """For work that does not end as soon as it is cancelled (psycopg asks the server first, for up to ten seconds): it
    is left to itself then."""

    def __init__(self) -> None:
        self._left: set[asyncio.Task[Any]] = set()

    async def within(self, seconds: float, work: Coroutine[Any, Any, T]) -> T:
        """Raises TimeoutError, and what `work` raises."""
        task = asyncio.create_task(work)
        try:
            done, _ = await asyncio.wait({task}, timeout=seconds)
        except asyncio.CancelledError:
            self._leave(task)
            raise
        if not done:
            self._leave(task)
            raise TimeoutError
        return task.result()

    async def end(self) -> None:
        await end_tasks(self._left)

    def _leave(self, task: asyncio.Task[Any]) -> None:
        task.cancel()
        self._left.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._left.discard(task)
        if not task.cancelled():
            task.exception()  # read, so that it is not reported as forgotten
