"""A process that is frozen in the middle of a transaction must not keep its locks from those who take over."""

import pytest

from copilot_common.base.errors import Unavailable
from copilot_common.platform.db import Database
from support.clients import eventually
from support.stack import Database as Urls


async def test_locks_of_a_transaction_that_does_nothing_are_let_go(database: Urls) -> None:
    frozen, other = (Database(database.app_url, max_size=1, application_name="tests") for _ in range(2))
    await frozen.open()
    await other.open()
    lock = "SELECT pg_try_advisory_xact_lock(1)"

    async def is_free() -> bool:
        row = await other.fetch_row(lock, ())
        return row is not None and bool(row[0])

    with pytest.raises(Unavailable):  # noqa: PT012 — it is the transaction's end that finds its connection gone
        async with frozen.connection() as connection:
            await connection.execute(lock)
            assert not await is_free()
            await eventually(is_free, what="the end of the transaction")
    assert await frozen.fetch_row("SELECT 1", ()) == (1,)
    await frozen.close()
    await other.close()
