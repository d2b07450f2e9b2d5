"""Ending tasks for certain."""

import asyncio
from collections.abc import Iterable

_AGAIN_SECONDS = 0.5


async def end_tasks(tasks: Iterable[asyncio.Task[None] | None]) -> None:
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
