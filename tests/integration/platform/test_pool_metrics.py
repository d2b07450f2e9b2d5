"""What a process shows of its pool of connections."""

import asyncio

from copilot_common.platform.db import Database
from copilot_common.platform.metrics import new_registry, watch_pool
from support.clients import eventually
from support.stack import Database as Made


async def test_connections_that_work_and_who_waits_for_one_are_shown(database: Made) -> None:
    pool = Database(database.app_url, max_size=1, application_name="tests")
    registry = new_registry()
    watch_pool(registry, pool)

    def shown() -> tuple[float | None, ...]:
        return tuple(registry.get_sample_value(f"database_connections_{name}") for name in ("limit", "used", "waiting"))

    await pool.open()
    async with pool.connection():
        assert shown() == (1, 1, 0)
        waiting = asyncio.create_task(pool.fetch_row("SELECT 1", ()))

        async def somebody_waits() -> bool:
            return shown() == (1, 1, 1)

        await eventually(somebody_waits)
    assert await waiting == (1,)
    assert shown() == (1, 0, 0)
    await pool.close()
