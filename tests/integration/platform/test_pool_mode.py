"""What a pool does where its server connections are its own, and where PgBouncer lends them to anybody."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from copilot_common.platform import migrate
from copilot_common.platform.db import TIME_LIMITS, Database, PoolMode
from copilot_common.platform.pooler import is_shared, missing_limits, pooling_fault
from copilot_common.platform.tls_fault import tls_fault
from support.stack import Database as Urls

_LIMITS = "SELECT current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout')"
_PREPARED = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'SELECT $1%%'"
_NONE, _OURS = ("0", "0"), tuple(TIME_LIMITS.values())


@asynccontextmanager
async def opened(url: str, mode: PoolMode) -> AsyncIterator[Database]:
    database = Database(url, max_size=1, application_name="tests", pool_mode=mode)
    await database.open()
    yield database
    await database.close()


@pytest.mark.parametrize(("mode", "count"), [("session", 1), ("transaction", 0)])
async def test_statements_are_prepared_on_sessions_of_our_own_only(database: Urls, mode: PoolMode, count: int) -> None:
    async with opened(database.app_url, mode) as pool:
        for _ in range(10):
            assert await pool.fetch_row("SELECT %s::integer", [7]) == (7,)
        assert await pool.fetch_row(_PREPARED, ()) == (count,)


@pytest.mark.parametrize(("mode", "limits"), [("session", _NONE), ("transaction", _OURS)])
async def test_a_transaction_brings_its_limits_along_where_the_session_is_anybodys(
    database: Urls, mode: PoolMode, limits: tuple[str, str]
) -> None:
    async with opened(database.app_url, mode) as pool:
        for name in TIME_LIMITS:
            await pool.fetch_row("SELECT set_config(%s, '0', false)", [name])
        async with pool.connection() as connection:
            assert await (await connection.execute(_LIMITS)).fetchone() == limits
        assert await pool.fetch_row(_LIMITS, ()) == _NONE


async def test_a_begin_of_either_type_takes_them(database: Urls) -> None:
    async with opened(database.app_url, "transaction") as pool:
        for begin in ("BEGIN READ ONLY", b"BEGIN READ ONLY"):
            async with pool.connection(begin) as connection:
                cursor = await connection.execute("SELECT current_setting('transaction_read_only')")
                assert await cursor.fetchone() == ("on",)


async def test_nobody_stands_between_here(database: Urls) -> None:
    assert not await is_shared(database.app_url)
    assert [await pooling_fault(database.app_url, mode) for mode in ("session", "transaction")] == [None, None]


async def test_a_migration_gives_the_services_role_limits_and_leaves_those_that_somebody_chose(
    blank_database: Urls,
) -> None:
    """Roles belong to the cluster, where others may look at the same moment: the choice is made for one database."""
    urls = migrate.DatabaseUrls(
        blank_database.owner_url, blank_database.app_url, blank_database.admin_url, blank_database.backup_url
    )
    await migrate.up(urls)
    async with await psycopg.AsyncConnection.connect(blank_database.app_url) as connection:
        assert await (await connection.execute(_LIMITS)).fetchone() == _OURS
    choice = f"ALTER ROLE copilot_app IN DATABASE {blank_database.name} SET statement_timeout = 0"
    with psycopg.connect(blank_database.admin_url, autocommit=True) as admin:
        admin.execute(choice.encode())
    await migrate.up(urls)
    async with await psycopg.AsyncConnection.connect(blank_database.app_url) as connection:
        assert await missing_limits(connection) == ["statement_timeout"]
    assert "statement_timeout" in str(await pooling_fault(blank_database.app_url, "transaction"))


def test_a_server_that_offers_no_tls_is_told_from_one_that_is_away(database: Urls) -> None:
    assert "offers no TLS" in str(tls_fault(f"{database.app_url}?sslmode=require"))
    assert tls_fault("postgresql://nobody@127.0.0.1:1/nowhere?sslmode=require") is None
    assert tls_fault(database.app_url) is None
