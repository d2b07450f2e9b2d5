"""What every service does between its start and its first piece of work."""

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable

import psycopg
from loguru import logger

from copilot_common.base.errors import Unavailable
from copilot_common.platform.db import Database, PoolMode, refuse_powerful_role
from copilot_common.platform.health import Health
from copilot_common.platform.pooler import pooling_fault
from copilot_common.platform.tls_fault import tls_fault

_LOOK_AGAIN_SECONDS = 1.0
_GC_THRESHOLD = 20_000  # a request makes a few hundred objects that live until its answer; 700 would stop each one


def install_stop_signals() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def until_database_fits(
    database_url: str, database: Database, health: Health, refuse_other_key: Callable[[Database], Awaitable[None]]
) -> None:
    """Wait until the database is there with a schema this build works on; opens the pool. Raises SettingsError where
    the role could get around row-level security, a pooler shares sessions that we take for our own, or what is sealed
    there does not open here."""
    await _until_done(database_url, lambda: _until_bounded(database_url, database.pool_mode))
    await database.open()
    while (reason := await health.schema_fault()) is not None:
        logger.bind(reason=reason).warning("Not ready")
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
    await _until_done(database_url, lambda: refuse_other_key(database))


def calm_garbage_collector() -> None:
    """What is loaded by now stays for good: the collector need not look at it again and again under load."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)


async def _until_bounded(database_url: str, pool_mode: PoolMode) -> None:
    await refuse_powerful_role(database_url)
    while (reason := await pooling_fault(database_url, pool_mode)) is not None:
        logger.bind(reason=reason).warning("Not ready")
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)


async def _until_done(database_url: str, check: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            return await check()
        except (psycopg.OperationalError, Unavailable) as error:
            reason = await asyncio.to_thread(tls_fault, database_url)
            logger.bind(error_type=type(error).__name__, reason=reason).warning("Database not reachable yet")
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
