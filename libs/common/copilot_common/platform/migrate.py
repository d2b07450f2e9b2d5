"""Plain SQL migrations: `NNN_name.sql`, each with `rollback/NNN_name.sql`, that `psql -f` runs as well.

A file is its own transaction and records itself in `schema_migrations`. This module adds what psql does not: one
migration at a time (advisory lock), checksums, and the passwords of the roles, taken from the URLs.
"""

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import DeadlockDetected, LockNotAvailable
from psycopg.rows import TupleRow

from copilot_common.base.errors import Conflict, SettingsError
from copilot_common.platform.db import TIME_LIMITS
from copilot_common.platform.pooler import POOLER_REFUSED, is_pooled
from copilot_common.platform.schema import SCHEMA_VERSION

_LOCK_KEY = 0x636F70696C6F74  # "copilot"
_AFTER_ROLES: LiteralString = "CREATE EXTENSION"
"""What stands before it in the first migration makes the roles."""
_LOCK_ATTEMPTS = 10  # of 5 s each, as the files say: a minute and a half with the pauses
_LOCK_PAUSE_SECONDS = 4.0  # in which those who had to wait get what they waited for
_FILE_NAME = re.compile(r"^(\d{3})_([a-z0-9_]+)\.sql$")


@dataclass(frozen=True)
class DatabaseUrls:
    """`admin` is a superuser and only needed for the first migration; `migration` is copilot_owner."""

    migration: str
    app: str | None = None
    admin: str | None = None
    backup: str | None = None


@dataclass(frozen=True)
class Migration:
    version: int
    name: str
    path: Path

    @property
    def text(self) -> str:
        return self.path.read_text()

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    @property
    def rollback(self) -> Path:
        return self.path.parent / "rollback" / self.path.name

    @property
    def undoing(self) -> str:
        """What its rollback says that it undoes: `NNN_name: …`."""
        lines = takewhile(lambda line: line.startswith("--"), self.rollback.read_text().splitlines())
        return " ".join(line.removeprefix("--").strip() for line in lines).removeprefix("Undo ")


@dataclass(frozen=True)
class MigrationState:
    """`state`: applied, pending, changed (the file is not the one that ran) or unknown (this build has no file)."""

    version: int
    name: str
    state: str
    applied_at: str | None


def migrations_dir() -> Path:
    """`MIGRATIONS_DIR`, else the folder of the checkout this package runs from."""
    given = os.environ.get("MIGRATIONS_DIR")
    path = Path(given) if given else Path(__file__).parents[4] / "migrations"
    if not path.is_dir():
        raise SettingsError(f"MIGRATIONS_DIR: no migrations at {path}", details={"variable": "MIGRATIONS_DIR"})
    return path


def available() -> list[Migration]:
    found = []
    for path in sorted(migrations_dir().glob("*.sql")):
        match = _FILE_NAME.match(path.name)
        if match:
            found.append(Migration(int(match[1]), match[2], path))
    return found


async def up(urls: DatabaseUrls) -> list[int]:
    """Apply what is pending, in order; returns the versions applied. Raises Conflict where a file was changed."""
    applied_now = []
    async with _locked(urls.admin or urls.migration) as connection:
        recorded = await _recorded(connection)
        _refuse_changed(recorded)
        _refuse_older(recorded)
        for migration in available():
            if migration.version not in recorded:
                await _run_file(connection, migration.path)
                applied_now.append(migration.version)
        await _adopt_checksums(connection)
        if urls.admin:
            await _limit_app(connection)
            await _set_passwords(connection, urls)
    return applied_now


async def down(urls: DatabaseUrls, *, to_version: int) -> list[int]:
    """Roll back, newest first, until `to_version` is the newest left (0: nothing). Data of those tables is gone.

    Raises Conflict where one of them is a newer build's: what stands on another must go before it.
    """
    rolled_back = []
    async with _locked(urls.admin or urls.migration) as connection:
        recorded = await _recorded(connection)
        unknown = recorded.keys() - {migration.version for migration in available()}
        if max(unknown, default=0) > to_version:
            raise Conflict(f"Migration {max(unknown):03} is a newer build's: roll it back with that build's copilot")
        for migration in reversed(available()):
            if migration.version > to_version and migration.version in recorded:
                await _run_file(connection, migration.rollback)
                rolled_back.append(migration.version)
    return rolled_back


async def make_roles(admin_url: str) -> None:
    """Those of the first migration and their rights on this database: a dump has none of it. Without passwords."""
    text, _, _ = _read(available()[0].path).partition(_AFTER_ROLES)
    async with _locked(admin_url) as connection:
        await connection.execute(text + "COMMIT;")


async def status(url: str) -> list[MigrationState]:
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        recorded = await _recorded(connection)
    files = {migration.version: migration for migration in available()}
    states = []
    for version in sorted(files.keys() | recorded.keys()):
        migration, row = files.get(version), recorded.get(version)
        states.append(
            MigrationState(
                version=version,
                name=migration.name if migration else row.name if row else "",
                state=_state(migration, row),
                applied_at=row.applied_at if row else None,
            )
        )
    return states


@dataclass(frozen=True)
class _Recorded:
    name: str
    checksum: str | None
    applied_at: str
    oldest_build: int


def _state(migration: Migration | None, row: _Recorded | None) -> str:
    if row is None:
        return "pending"
    if migration is None:
        return "unknown"
    return "applied" if row.checksum in {None, migration.checksum} else "changed"


def _refuse_changed(recorded: dict[int, _Recorded]) -> None:
    for migration in available():
        row = recorded.get(migration.version)
        if row and row.checksum not in {None, migration.checksum}:
            raise Conflict(f"{migration.path.name} is not the file that was applied; restore it or write a new one")


def _refuse_older(recorded: dict[int, _Recorded]) -> None:
    """A build before the schema's has nothing to apply. `helm upgrade` back to it may say so and go on, where it can
    live with the schema."""
    newest = max(recorded, default=0)
    is_behind = any(migration.version < newest and migration.version not in recorded for migration in available())
    if newest > SCHEMA_VERSION and (is_behind or max(row.oldest_build for row in recorded.values()) > SCHEMA_VERSION):
        raise Conflict(f"The database is at schema {newest}, newer than this build's {SCHEMA_VERSION}")


@asynccontextmanager
async def _locked(url: str) -> AsyncIterator[AsyncConnection[TupleRow]]:
    try:
        connection = await AsyncConnection.connect(url, autocommit=True, connect_timeout=10)
    except psycopg.OperationalError as error:
        raise SettingsError(f"Cannot connect to migrate: {type(error).__name__}; check the database URLs") from None
    async with connection:
        if await is_pooled(connection):
            raise SettingsError(POOLER_REFUSED)  # the lock would stay behind on a session of its own
        await connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK_KEY])
        yield connection  # closing the connection lets the lock go


async def _recorded(connection: AsyncConnection[TupleRow]) -> dict[int, _Recorded]:
    cursor = await connection.execute("SELECT to_regclass('public.schema_migrations') IS NOT NULL")
    row = await cursor.fetchone()
    if row is None or not row[0]:
        return {}
    cursor = await connection.execute(
        "SELECT version, name, checksum, applied_at::text, oldest_build FROM schema_migrations ORDER BY version"
    )
    return {row[0]: _Recorded(*row[1:]) async for row in cursor}


async def _run_file(connection: AsyncConnection[TupleRow], path: Path) -> None:
    """The file brings its own BEGIN and COMMIT, so that psql does the same; where it fails nothing has happened.

    Who waits for a table's lock keeps everybody who comes later from that table: so files give up soon, and come again.
    """
    for attempts_left in reversed(range(_LOCK_ATTEMPTS)):
        try:
            await connection.execute(_read(path))
        except (LockNotAvailable, DeadlockDetected):
            await connection.rollback()
            if not attempts_left:
                text = f"{path.name}: its tables were in use all the time; try again when there is less to do"
                raise Conflict(text) from None
            await asyncio.sleep(_LOCK_PAUSE_SECONDS)
        except psycopg.Error:
            await connection.rollback()
            raise
        else:
            return


def _read(path: Path) -> LiteralString:
    return path.read_text()


async def _adopt_checksums(connection: AsyncConnection[TupleRow]) -> None:
    for migration in available():
        await connection.execute(
            "UPDATE schema_migrations SET checksum = %s WHERE version = %s AND checksum IS NULL",
            [migration.checksum, migration.version],
        )


async def _limit_app(connection: AsyncConnection[TupleRow]) -> None:
    """For sessions that PgBouncer opens, and sets nothing on. Limits that somebody has chosen stay."""
    query = "SELECT FROM pg_roles, unnest(rolconfig) AS set WHERE rolname = 'copilot_app' AND starts_with(set, %s)"
    for name, value in TIME_LIMITS.items():
        if (await connection.execute(query, [f"{name}="])).rowcount == 0:
            statement = sql.SQL("ALTER ROLE copilot_app SET {} = {}").format(sql.Identifier(name), sql.Literal(value))
            await connection.execute(statement)


async def _set_passwords(connection: AsyncConnection[TupleRow], urls: DatabaseUrls) -> None:
    """ALTER ROLE takes no parameters: the password goes in as a quoted literal, over this connection only."""
    for url in filter(None, [urls.migration, urls.app, urls.backup]):
        parts = conninfo_to_dict(url)
        user, password = parts.get("user"), parts.get("password")
        if user in {"copilot_owner", "copilot_app", "copilot_backup"} and isinstance(password, str):
            statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(str(user)), sql.Literal(password))
            await connection.execute(statement)
    if urls.backup and conninfo_to_dict(urls.backup).get("user") == "copilot_backup":
        await connection.execute("ALTER ROLE copilot_backup REPLICATION")
