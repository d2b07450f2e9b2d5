"""Through a real PgBouncer in transaction mode, where everybody shares one server connection: what a transaction leaves
behind on it, what bounds a statement, and what is told to whoever must not come this way."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from uuid import UUID

import psycopg
import pytest
from loguru import logger
from prometheus_client import CollectorRegistry
from psycopg.errors import DuplicatePreparedStatement, QueryCanceled

from copilot_cli.backups import server
from copilot_cli.checks.database import check_database
from copilot_common.base.errors import SettingsError, Unavailable
from copilot_common.base.ids import TenantId, UserId
from copilot_common.encryption import KeyRing
from copilot_common.platform import db as db_module
from copilot_common.platform import migrate
from copilot_common.platform.db import TIME_LIMITS, Database, PoolMode
from copilot_common.platform.pooler import is_shared, pooling_fault
from copilot_common.platform.redis import connect_redis
from copilot_common.tenancy import Principal, Replica, TenantDatabase, Watermarks
from copilot_domain.conversations import ConversationRepository, NewConversation
from support.api import ENCRYPTION_KEY, Site, make_site
from support.clients import Credentials, eventually
from support.pgbouncer import PgBouncer, pgbouncer
from support.simulator import SimulatorHandle
from support.stack import StackUrls, clone_template, drop
from support.tools import tool

_SETTINGS = "SELECT current_setting('app.tenant_id', true), current_setting('app.user_id', true)"
_TITLES = "SELECT count(*), count(*) FILTER (WHERE tenant_id::text = %s) FROM conversations"
_LIMITS = "SELECT current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout')"
_BOTH = tuple(TIME_LIMITS.values())


@pytest.fixture(scope="module")
def site(stack: StackUrls, simulator: SimulatorHandle) -> Iterator[Site]:
    """One for all: they leave nothing in it."""
    database = clone_template(stack.admin_url)
    yield make_site(database, stack.redis_url, simulator)
    drop(database, stack.admin_url)


@pytest.fixture
def bouncer(site: Site) -> Iterator[PgBouncer]:
    with pgbouncer(tool("pgbouncer", package="pgbouncer"), site.database, pool_size=1) as started:
        yield started


@pytest.fixture
def url(bouncer: PgBouncer, site: Site) -> str:
    return bouncer.through(site.database.app_url)


@asynccontextmanager
async def opened(url: str, *, mode: PoolMode = "transaction", size: int = 4) -> AsyncIterator[TenantDatabase]:
    """A process's pool, as large as it is by default."""
    database = Database(url, max_size=size, application_name="tests", pool_mode=mode)
    await database.open()
    try:
        yield TenantDatabase(database, KeyRing(bytes.fromhex(ENCRYPTION_KEY)))
    finally:
        await database.close()


def principal(credentials: Credentials) -> Principal:
    return Principal.system(TenantId(UUID(credentials.tenant_id)), UserId(UUID(credentials.user_id)))


async def limits_of(database: Database) -> tuple[object, object]:
    """Of a lone statement, and in a transaction."""
    async with database.connection() as connection:
        inside = await (await connection.execute(_LIMITS)).fetchone()
    return await database.fetch_row(_LIMITS, ()), inside


@contextmanager
def statements_limited(site: Site, limit: str) -> Iterator[None]:
    """In sessions that begin now, in this database."""
    role = f"ALTER ROLE copilot_app IN DATABASE {site.database.name}"
    site.rows(f"{role} SET statement_timeout = '{limit}'")
    yield
    site.rows(f"{role} RESET statement_timeout")


async def test_tenants_in_turns_on_one_server_connection_see_their_own_and_nobody_in_between_sees_any(
    url: str, site: Site
) -> None:
    pids: set[object] = set()

    async def see(db: TenantDatabase, who: Credentials) -> None:
        async with db.transaction(principal(who)) as tx:
            found = await (await tx.connection.execute(_TITLES, [who.tenant_id])).fetchone()
            settings = await (await tx.connection.execute(_SETTINGS)).fetchone()
            pids.add(await tx.fetch_value("SELECT pg_backend_pid()"))
        assert (found, settings) == ((1, 1), (who.tenant_id, who.user_id))

    async def nobody(db: TenantDatabase) -> None:
        assert await db.database.fetch_row(_TITLES, [site.acme.tenant_id]) == (0, 0)
        assert await db.database.fetch_row(_SETTINGS, ()) in {("", ""), (None, None)}

    async def roll_back(db: TenantDatabase, who: Credentials) -> None:
        with suppress(ZeroDivisionError):
            async with db.transaction(principal(who)) as tx:
                await tx.execute("DELETE FROM conversations")
                raise ZeroDivisionError

    async with opened(url) as one, opened(url) as other:
        for number, who in enumerate((site.acme, site.other)):
            async with one.transaction(principal(who)) as tx:
                await ConversationRepository().insert(tx, UUID(int=number + 7), NewConversation(title="its own"))
        for _ in range(20):
            await asyncio.gather(
                *(see(db, who) for db in (one, other) for who in (site.acme, site.other) for _ in range(2)),
                *(action for db in (one, other) for action in (nobody(db), roll_back(db, site.acme))),
            )
    assert len(pids) == 1


async def hammer(url: str, mode: PoolMode) -> None:
    """The same statements by two processes, often enough for psycopg to prepare them."""
    async with opened(url, mode=mode) as one, opened(url, mode=mode) as other:
        for _ in range(10):
            await asyncio.gather(*(db.database.fetch_row("SELECT %s::integer", [7]) for db in (one, other) * 4))


async def test_no_statement_stays_prepared(url: str) -> None:
    await hammer(url, "transaction")
    async with opened(url) as db:
        assert await db.database.fetch_row("SELECT count(*) FROM pg_prepared_statements", ()) == (0,)


async def test_taken_for_an_own_session_they_would_collide(url: str) -> None:
    with pytest.raises(DuplicatePreparedStatement):
        await hammer(url, "session")


async def test_limits_hold_for_lone_statements_and_in_transactions(url: str) -> None:
    async with opened(url) as db:
        assert await limits_of(db.database) == (_BOTH, _BOTH)


async def test_what_somebody_else_has_set_on_the_session_does_not_lift_a_transactions_limits(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as careless:
        for name in TIME_LIMITS:
            careless.execute(f"SET {name} = 0".encode())
    async with opened(url) as db:
        assert await limits_of(db.database) == (("0", "0"), _BOTH)


async def test_a_lone_statement_is_ended_by_the_roles_limit(url: str, site: Site) -> None:
    with statements_limited(site, "100ms"):
        with psycopg.connect(url, autocommit=True) as connection, pytest.raises(QueryCanceled) as ended:
            connection.execute("SELECT pg_sleep(600)")
        async with opened(url) as db:
            with pytest.raises(Unavailable):
                await db.database.fetch_row("SELECT pg_sleep(600)", ())
    assert ended.value.sqlstate == "57014"


async def test_a_statement_in_a_transaction_is_ended_by_the_transactions_own_limit(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db_module, "_SET_LOCAL_LIMITS", b"; SET LOCAL statement_timeout = '100ms'")
    async with opened(url) as db:
        with pytest.raises(Unavailable) as refused:
            async with db.database.connection() as connection:
                await connection.execute("SELECT pg_sleep(600)")
        assert isinstance(refused.value.__context__, QueryCanceled)
        assert (await limits_of(db.database))[0] == _BOTH, "it was to end with its transaction"


async def test_a_frozen_process_does_not_keep_the_connection_that_others_share(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db_module, "_SET_LOCAL_LIMITS", b"; SET LOCAL idle_in_transaction_session_timeout = '200ms'")
    async with opened(url) as frozen, opened(url) as other:
        with pytest.raises(Unavailable):  # noqa: PT012 — it is the transaction's end that finds its connection gone
            async with frozen.database.connection() as connection:
                await connection.execute("SELECT 1")
                assert await other.database.fetch_row("SELECT 2", ()) == (2,)
        assert await frozen.database.fetch_row("SELECT 3", ()) == (3,)


async def test_a_cancel_in_the_middle_of_a_query_leaves_the_connection_to_others(url: str, site: Site) -> None:
    async def long_query(db: TenantDatabase) -> None:
        async with db.transaction(principal(site.acme)) as tx:
            await tx.execute("SELECT pg_sleep(600)")

    async def is_asleep() -> bool:
        return bool(site.rows("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(600)%%'"))

    async with opened(url) as one, opened(url) as other:
        task = asyncio.create_task(long_query(one))
        await eventually(is_asleep, what="the long query")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await other.database.fetch_row(_TITLES, [site.acme.tenant_id]) == (0, 0)


async def test_whoever_waits_too_long_for_a_server_connection_is_told_that_the_database_is_busy(site: Site) -> None:
    program = tool("pgbouncer", package="pgbouncer")
    with pgbouncer(program, site.database, pool_size=1, more={"query_wait_timeout": 1}) as bouncer:
        url = bouncer.through(site.database.app_url)
        async with opened(url) as one, opened(url, size=1) as other, one.database.connection():
            with pytest.raises(Unavailable):
                await other.database.fetch_row("SELECT 1", ())


async def test_a_pooler_is_told_from_postgresql_and_its_mode_from_the_other(url: str, site: Site) -> None:
    direct = site.database.app_url
    assert (await is_shared(direct), await is_shared(url)) == (False, True)
    assert await pooling_fault(direct, "session") is None
    assert await pooling_fault(url, "transaction") is None
    with pytest.raises(SettingsError, match="DATABASE_POOL_MODE=transaction"):
        await pooling_fault(url, "session")


async def test_a_replica_behind_a_pooler_that_is_taken_for_none_is_not_read(
    url: str, site: Site, redis_url: str
) -> None:
    registry, redis = CollectorRegistry(), connect_redis(redis_url)
    faults: list[str] = []
    replica = Replica(url, Watermarks(redis), registry, max_size=1, application_name="tests")
    sink = logger.add(lambda message: faults.append(str(message.record["extra"].get("fault"))), level="WARNING")

    async def is_told() -> bool:
        return bool(faults)

    async with opened(site.database.app_url, mode="session") as primary:
        try:
            await replica.start(primary.database)
            await eventually(is_told)
        finally:
            await replica.stop()
            await redis.aclose()
            logger.remove(sink)
    advice = "set DATABASE_POOL_MODE=transaction"
    assert faults == [f"DATABASE_REPLICA_URL leads through a pooler in transaction mode: {advice}"]
    assert registry.get_sample_value("replica_usable") == 0


async def test_a_pooler_in_session_mode_is_none_of_our_business(site: Site) -> None:
    program = tool("pgbouncer", package="pgbouncer")
    with pgbouncer(program, site.database, pool_size=3, more={"pool_mode": "session"}) as bouncer:
        through = bouncer.through(site.database.app_url)
        assert await pooling_fault(through, "session") is None
        with ExitStack() as others:  # nor do we wait where no second one is left
            for _ in range(2):
                other = others.enter_context(psycopg.connect(through, autocommit=True))
                other.execute("SELECT 1")
            assert await pooling_fault(through, "session") is None
        (check,) = [check async for check in check_database(through, "session") if check.name == "pooling"]
        assert (check.status, "pool_mode=session" in check.advice) == ("warn", True)


async def test_without_limits_of_its_role_a_process_waits_and_says_what_to_do(url: str, site: Site) -> None:
    with statements_limited(site, "0"):
        reason = await pooling_fault(url, "transaction")
    assert reason is not None
    assert "statement_timeout" in reason
    assert "copilot migrate up" in reason


@pytest.mark.parametrize(("mode", "status"), [("transaction", "ok"), ("session", "fail")])
async def test_the_doctor_tells_of_a_pooler(url: str, mode: PoolMode, status: str) -> None:
    (check,) = [check async for check in check_database(url, mode) if check.name == "pooling"]
    assert check.status == status
    assert status == "ok" or "DATABASE_POOL_MODE=transaction" in check.advice


async def test_migrations_and_backups_refuse_it_and_leave_no_lock_behind(bouncer: PgBouncer, site: Site) -> None:
    database = site.database
    owner, admin, backup = (
        bouncer.through(url) for url in (database.owner_url, database.admin_url, database.backup_url)
    )
    for urls in migrate.DatabaseUrls(owner), migrate.DatabaseUrls(owner, admin=admin):
        with pytest.raises(SettingsError, match="PostgreSQL's own host"):
            await migrate.up(urls)
    with pytest.raises(SettingsError, match="PostgreSQL's own host"), server.backing_up(backup, "logical"):
        pass
    mine = (
        "SELECT 1 FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE locktype = 'advisory' AND datname = %s"
    )
    assert site.rows(mine, database.name) == []
