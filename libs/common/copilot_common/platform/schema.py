"""Which schemas this build can work on."""

from typing import Literal

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

SCHEMA_VERSION = 18
"""The newest migration this build was made for; also its build number in `schema_migrations.oldest_build`."""

OLDEST_SCHEMA = 18
"""The oldest schema this build still works on."""

SchemaVerdict = Literal["ok", "missing", "too_old", "too_new"]


async def judge_schema(connection: AsyncConnection[TupleRow]) -> SchemaVerdict:
    """`too_new` only where a migration said that builds as old as this one cannot live with it."""
    cursor = await connection.execute("SELECT to_regclass('public.schema_migrations') IS NOT NULL")
    row = await cursor.fetchone()
    if row is None or not row[0]:
        return "missing"
    cursor = await connection.execute("SELECT max(version), max(oldest_build) FROM schema_migrations")
    row = await cursor.fetchone()
    if row is None or row[0] is None:
        return "missing"
    newest, oldest_build = row
    if newest < OLDEST_SCHEMA:
        return "too_old"
    return "too_new" if oldest_build > SCHEMA_VERSION else "ok"
