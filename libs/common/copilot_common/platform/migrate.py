"""Plain SQL migrations: `NNN_name.sql`, each with `rollback/NNN_name.sql`, that `psql -f` runs as well.

A file is its own transaction and records itself in `schema_migrations`. This module adds what psql does not: one
migration at a time (advisory lock), checksums, and the passwords of the roles, taken from the URLs.
"""

import hashlib
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from copilot_common.base.errors import Conflict, SettingsError
from copilot_common.platform.schema import SCHEMA_VERSION

_LOCK_KEY = 0x636F70696C6F74  # "copilot"
_AFTER_ROLES: LiteralString = "CREATE EXTENSION"
"""What stands before it in the first migration makes the roles."""
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
        for migration in available():
            if migration.version not in recorded:
                await _run_file(connection, migration.path)
                applied_now.append(migration.version)
        await _adopt_checksums(connection)
        if urls.admin:
            await _set_passwords(connection, urls)
    return applied_now


async def down(urls: DatabaseUrls, *, to_version: int) -> list[int]:
    """Roll back, newest first, until `to_version` is the newest left (0: nothing). Data of those tables is gone."""
    rolled_back = []
    async with _locked(urls.admin or urls.migration) as connection:
        recorded = await _recorded(connection)
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
    if recorded and max(recorded) > SCHEMA_VERSION:
        raise Conflict(f"The database is at schema {max(recorded)}, newer than this build's {SCHEMA_VERSION}")


@asynccontextmanager
async def _locked(url: str) -> AsyncIterator[AsyncConnection[TupleRow]]:
    try:
        connection = await AsyncConnection.connect(url, autocommit=True, connect_timeout=10)
    except psycopg.OperationalError as error:
        raise SettingsError(f"Cannot connect to migrate: {type(error).__name__}; check the database URLs") from None
    async with connection:
        await connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK_KEY])
        yield connection  # closing the connection lets the lock go


async def _recorded(connection: AsyncConnection[TupleRow]) -> dict[int, _Recorded]:
    cursor = await connection.execute("SELECT to_regclass('public.schema_migrations') IS NOT NULL")
    row = await cursor.fetchone()
    if row is None or not row[0]:
        return {}
    cursor = await connection.execute(
        "SELECT version, name, checksum, applied_at::text FROM schema_migrations ORDER BY version"
    )
    return {version: _Recorded(name, checksum, at) async for version, name, checksum, at in cursor}


async def _run_file(connection: AsyncConnection[TupleRow], path: Path) -> None:
    """The file brings its own BEGIN and COMMIT, so that it does the same under psql."""
    try:
        await connection.execute(_read(path))
    except psycopg.Error:
        await connection.rollback()
        raise


def _read(path: Path) -> LiteralString:
    return path.read_text()


async def _adopt_checksums(connection: AsyncConnection[TupleRow]) -> None:
    for migration in available():
        await connection.execute(
            "UPDATE schema_migrations SET checksum = %s WHERE version = %s AND checksum IS NULL",
            [migration.checksum, migration.version],
        )


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
