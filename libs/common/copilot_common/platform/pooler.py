"""Whether PgBouncer, or another pooler, stands between: told from what none of them hides.

A pooler gives its clients process ids of its own making. In transaction mode it lends one server process to several
clients who are connected at once; who doesn't know that finds the session state of others, and loses its own.
"""

import asyncio
from typing import LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from copilot_common.base.errors import SettingsError
from copilot_common.platform.db import TIME_LIMITS, PoolMode

_SERVER_PID: LiteralString = "SELECT pg_backend_pid()"
_CONNECT_SECONDS = 10
_PROBE_SECONDS = 3.0  # two round trips; longer than a transaction of ours waits for another's

POOLER_REFUSED = (
    "That leads through a pooler (PgBouncer?): MIGRATION_DATABASE_URL, ADMIN_DATABASE_URL and BACKUP_DATABASE_URL must"
    " name PostgreSQL's own host and port"
)
"""To whoever holds a lock of a session."""


async def is_pooled(connection: AsyncConnection[TupleRow]) -> bool:
    """Whether something answers in PostgreSQL's stead. A proxy that only passes bytes on is none."""
    return await _server_pid(connection) != connection.info.backend_pid


async def is_shared(url: str) -> bool:
    """Whether a server process serves others between two transactions of one connection. Seen for certain where little
    else goes on; under load it may be missed. Raises psycopg.Error."""
    async with await _connect(url) as one:
        if not await is_pooled(one):
            return False
        before = await _server_pid(one)
        try:
            async with asyncio.timeout(_PROBE_SECONDS), await _connect(url) as other, other.transaction():
                return await _server_pid(other) == before or await _server_pid(one) != before
        except TimeoutError:
            return False  # all server connections are somebody's, ours for as long as we hold it


async def pooling_fault(url: str, mode: PoolMode, *, variable: str = "DATABASE_URL") -> str | None:
    """Why work cannot begin yet at what `variable` names; None when it can. Raises SettingsError where `mode` is wrong,
    psycopg.Error."""
    if mode == "session":
        if await is_shared(url):
            raise SettingsError(
                f"{variable} leads through a pooler in transaction mode: set DATABASE_POOL_MODE=transaction",
                details={"variable": "DATABASE_POOL_MODE"},
            )
        return None
    async with await _connect(url) as connection:
        missing = await missing_limits(connection)
    if not missing:
        return None
    advice = "copilot migrate up with ADMIN_DATABASE_URL sets it, then RECONNECT in PgBouncer"
    return f"the database role has no {missing[0]}: {advice}"


async def missing_limits(connection: AsyncConnection[TupleRow]) -> list[str]:
    """Which of TIME_LIMITS a new session doesn't have by itself: in transaction mode a lone statement has no other."""
    cursor = await connection.execute(
        "SELECT name FROM unnest(%s::text[]) AS name WHERE current_setting(name) IN ('0', '')", [list(TIME_LIMITS)]
    )
    return [str(row[0]) for row in await cursor.fetchall()]


async def _connect(url: str) -> AsyncConnection[TupleRow]:
    return await AsyncConnection.connect(url, autocommit=True, connect_timeout=_CONNECT_SECONDS, prepare_threshold=None)


async def _server_pid(connection: AsyncConnection[TupleRow]) -> int:
    row = await (await connection.execute(_SERVER_PID)).fetchone()
    return int(row[0]) if row else 0
