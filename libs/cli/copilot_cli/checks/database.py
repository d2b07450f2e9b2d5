"""Whether the database is there, walled, on a schema this build knows, and filled under this ENCRYPTION_KEY."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import psycopg
from psycopg import AsyncConnection

from copilot_cli.checks.report import Check, fail, ok, warn
from copilot_cli.failures import describe
from copilot_common.base.errors import CopilotError, SettingsError
from copilot_common.base.ids import TenantId
from copilot_common.encryption import KeyRing
from copilot_common.platform import migrate
from copilot_common.platform.db import PoolMode, refuse_powerful_role
from copilot_common.platform.pooler import is_pooled, is_shared, missing_limits
from copilot_common.platform.schema import OLDEST_SCHEMA, SCHEMA_VERSION, judge_schema
from copilot_common.platform.sql import Queries
from copilot_common.platform.tls_fault import tls_fault

Connection = AsyncConnection[tuple[Any, ...]]

_sql = Queries(__package__)
_SKEW_LIMIT = timedelta(seconds=5)  # tokens and signatures are judged by the local clock, leases by the database's

# What does not happen without it.
_SERVICES = {
    "api-server": "nobody is answered",
    "workflow-engine": "background answers stay pending",
    "context-service": "context stays pending, searches fail",
}


async def check_database(url: str, pool_mode: PoolMode) -> AsyncIterator[Check]:
    """As the services reach it."""
    try:
        connection = await AsyncConnection.connect(url, connect_timeout=5, autocommit=True)
    except psycopg.Error as error:
        example = "DATABASE_URL: postgres://copilot_app:password@host:5432/copilot"
        yield fail("database", tls_fault(url) or describe(error), example)
        return
    async with connection:
        version = await _value(connection, _sql["server_version"])
        yield ok("database", f"PostgreSQL {version} at {connection.info.host}:{connection.info.port}")
        yield await _role(url)
        yield await _pooling(url, connection, pool_mode)
        schema = await _schema(connection)
        yield schema
        if schema.status != "fail":
            yield await _wall(connection)
        yield await _clock(connection)


async def check_owner(url: str, encryption_key: bytes | None) -> AsyncIterator[Check]:
    """As the operator reaches it."""
    try:
        states = await migrate.status(url)
        pending = [state.name for state in states if state.state == "pending"]
        changed = [state.name for state in states if state.state == "changed"]
    except (psycopg.Error, CopilotError) as error:
        yield fail("migrations", describe(error), "MIGRATION_DATABASE_URL must reach the database as copilot_owner.")
        return
    if changed:
        yield fail("migrations", f"changed since they ran: {', '.join(changed)}", "Restore the files that ran.")
    elif pending:
        yield fail("migrations", f"pending: {', '.join(pending)}", "copilot migrate up")
    else:
        yield ok("migrations", f"{len(states)} applied")
        if encryption_key is not None:
            yield await _data_key(url, encryption_key)
        yield await _services(url)


async def check_restored(url: str, encryption_key: bytes | None) -> list[Check]:
    """What a backup was loaded into, as copilot_owner or a superuser: schema, walls, and whether the key is the one."""
    async with await AsyncConnection.connect(url, connect_timeout=5, autocommit=True) as connection:
        checks = [await _schema(connection)]
        if checks[0].status != "fail":
            checks.append(await _wall(connection))
    if checks[0].status != "fail":
        advice = "Set ENCRYPTION_KEY and run copilot doctor: without the key of that time nothing can be read."
        unlooked = warn("data keys", "not looked at, there is no ENCRYPTION_KEY", advice)
        checks.append(unlooked if encryption_key is None else await _data_key(url, encryption_key))
    return checks


async def _role(url: str) -> Check:
    try:
        await refuse_powerful_role(url)
    except SettingsError as error:
        return fail("role", error.message, "Name copilot_app in DATABASE_URL; services exit at start otherwise.")
    return ok("role", "DATABASE_URL's role cannot bypass row-level security")


async def _pooling(url: str, connection: Connection, mode: PoolMode) -> Check:
    if not await is_pooled(connection):
        if mode == "session":
            return ok("pooling", "PostgreSQL itself answers")
        return warn("pooling", "PostgreSQL itself answers", "Unset DATABASE_POOL_MODE: it only costs time here.")
    if mode == "session":
        if await is_shared(url):
            return fail("pooling", "a pooler lends one session to several", "Set DATABASE_POOL_MODE=transaction.")
        return warn("pooling", "a pooler answers", "Right with its pool_mode=session only; else DATABASE_POOL_MODE.")
    if missing := await missing_limits(connection):
        advice = "copilot migrate up with ADMIN_DATABASE_URL sets them for copilot_app; then RECONNECT in PgBouncer."
        return fail("pooling", f"sessions have no {', '.join(missing)}", advice)
    return ok("pooling", "through a pooler, in transaction mode")


async def _schema(connection: Connection) -> Check:
    verdict = await judge_schema(connection)
    known = f"{OLDEST_SCHEMA} to {SCHEMA_VERSION}" if OLDEST_SCHEMA != SCHEMA_VERSION else str(SCHEMA_VERSION)
    match verdict:
        case "ok":
            return ok("schema", f"in the range of this build ({known})")
        case "missing":
            return fail("schema", "there is none", "copilot migrate up, then copilot bootstrap")
        case "too_old":
            return fail("schema", f"too old for this build ({known})", "copilot migrate up")
        case "too_new":
            return fail("schema", f"too new for this build ({known})", "Run a newer build.")


async def _wall(connection: Connection) -> Check:
    cursor = await connection.execute(_sql["unwalled_tables"])
    unwalled = [str(row[0]) for row in await cursor.fetchall()]
    total = await _value(connection, _sql["count_tenant_tables"])
    if unwalled:
        advice = "ALTER TABLE … ENABLE and FORCE ROW LEVEL SECURITY, with a policy; until then tenants can see it."
        return fail("row-level security", f"not forced on {', '.join(unwalled)}", advice)
    if not total:
        return fail("row-level security", "no tenant table is visible", "copilot migrate up")
    return ok("row-level security", f"forced on all {total} tables of tenants")


async def _clock(connection: Connection) -> Check:
    before = datetime.now(UTC)
    theirs = await _value(connection, _sql["clock"])
    after = datetime.now(UTC)
    skew = abs(theirs - (before + (after - before) / 2))
    finding = f"{skew.total_seconds() * 1000:.0f} ms off the database's"
    if skew > _SKEW_LIMIT:
        return warn("clock", finding, "Run NTP on both: tokens would expire early or late.")
    return ok("clock", finding)


async def _data_key(url: str, encryption_key: bytes) -> Check:
    async with await AsyncConnection.connect(url, connect_timeout=5) as connection:
        tenant_id = await _value(connection, _sql["any_tenant_with_key"])
        if tenant_id is None:
            return warn("tenants", "there is none yet", "copilot bootstrap")
        try:
            await KeyRing(encryption_key).load(connection, TenantId(tenant_id))
        except CopilotError as error:
            advice = "Bring back the ENCRYPTION_KEY this database was filled under; nothing opens without it."
            return fail("data keys", error.message, advice)
    return ok("data keys", "open with this ENCRYPTION_KEY")


async def _services(url: str) -> Check:
    async with await AsyncConnection.connect(url, connect_timeout=5) as connection:
        cursor = await connection.execute(_sql["living_services"])
        living = {str(row[0]) for row in await cursor.fetchall()}
    missing = [f"{service} ({without})" for service, without in _SERVICES.items() if service not in living]
    if missing:
        return warn(
            "services", f"no process of {', '.join(missing)}", "Start one; its log says why it ended, if it did."
        )
    return ok("services", f"all alive: {', '.join(_SERVICES)}")


async def _value(connection: Connection, query: LiteralString) -> Any:
    row = await (await connection.execute(query)).fetchone()
    return row[0] if row else None
