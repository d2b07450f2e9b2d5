"""A migration whose tables are in use: it gives up soon, so that others get through, and comes again."""

import asyncio
import shutil
from pathlib import Path

import psycopg
import pytest

from copilot_common.base.errors import Conflict
from copilot_common.platform import migrate
from copilot_common.platform.schema import SCHEMA_VERSION
from support.clients import eventually
from support.stack import Database

_NEXT = f"""
BEGIN;
SET LOCAL lock_timeout = '50ms';
SET LOCAL ROLE copilot_owner;
ALTER TABLE jobs ADD COLUMN next_note text;
INSERT INTO schema_migrations (version, name, oldest_build) VALUES ({SCHEMA_VERSION + 1}, 'next', {SCHEMA_VERSION});
COMMIT;
"""


@pytest.fixture
def next_migration(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    """After the database: the template that others share must not have it."""
    folder = tmp_path / "migrations"
    shutil.copytree(migrate.migrations_dir(), folder)
    (folder / f"{SCHEMA_VERSION + 1:03}_next.sql").write_text(_NEXT)
    monkeypatch.setenv("MIGRATIONS_DIR", str(folder))
    monkeypatch.setattr(migrate, "_LOCK_PAUSE_SECONDS", 0.01)
    return database


async def test_a_table_that_is_in_use_is_waited_for_in_short_attempts(
    next_migration: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = 0

    def count(path: Path) -> str:
        nonlocal attempts
        attempts += 1
        return path.read_text()

    monkeypatch.setattr(migrate, "_LOCK_ATTEMPTS", 1_000)
    monkeypatch.setattr(migrate, "_read", count)
    with psycopg.connect(next_migration.admin_url) as user:
        user.execute("LOCK TABLE jobs IN ACCESS SHARE MODE")
        applying = asyncio.create_task(migrate.up(migrate.DatabaseUrls(migration=next_migration.owner_url)))

        async def has_come_again() -> bool:
            return attempts >= 3

        await eventually(has_come_again, what="a third attempt")
        user.rollback()
    assert await applying == [SCHEMA_VERSION + 1]


async def test_one_that_never_gets_its_locks_changes_nothing(
    next_migration: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "_LOCK_ATTEMPTS", 2)
    with psycopg.connect(next_migration.admin_url) as user:
        user.execute("LOCK TABLE jobs IN ACCESS SHARE MODE")
        with pytest.raises(Conflict, match="in use all the time"):
            await migrate.up(migrate.DatabaseUrls(migration=next_migration.owner_url))
        newest = user.execute("SELECT max(version) FROM schema_migrations").fetchone()
    assert newest == (SCHEMA_VERSION,)
