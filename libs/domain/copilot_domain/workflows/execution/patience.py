"""That PostgreSQL was away for a while is no failure of a step, nor of a run: whoever leads one waits for it."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import psycopg
from loguru import logger

from copilot_common.base.errors import Unavailable

T = TypeVar("T")

_FIRST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 5.0


async def patiently(do: Callable[[], Awaitable[T]]) -> T:
    """Tried until it could be done, so it must be something that may be done twice. Raises what else goes wrong."""
    wait = _FIRST_WAIT_SECONDS
    while True:
        try:
            return await do()
        except (Unavailable, psycopg.OperationalError) as error:
            logger.bind(error_type=type(error).__name__).warning("Waiting for the database")
        await asyncio.sleep(random.uniform(0, wait))
        wait = min(wait * 2, _LONGEST_WAIT_SECONDS)
