"""Each migration and its rollback, step by step: the schema after, what becomes of rows, what docs/upgrading.md says of
it."""

import re
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from copilot_common.platform import migrate
from security.test_row_level_security import FILL
from support.api import make_tenant
from support.schema_dump import schema_of
from support.stack import Database

_GUIDE = Path(__file__).parents[3] / "docs/upgrading.md"
# Roles belong to the cluster, the extension may be what other objects stand on; a column that comes back comes last.
_LEFT_BEHIND = {1: {"extension vector", "schema public"}, 12: {"order context_items"}}
_KINDS = {"schema", "relation", "column", "order", "constraint", "index", "policy", "trigger", "function", "type"}

Schema = dict[str, str]


def run(database: Database, path: Path) -> Schema:
    """As `psql -f` would; the schema then."""
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        connection.execute(path.read_bytes())
    return schema_of(database.admin_url)


def different(one: Schema, other: Schema) -> set[str]:
    return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}


def test_of_every_migration_up_down_up_equals_up_and_down_equals_what_was_before(blank_database: Database) -> None:
    before = schema_of(blank_database.admin_url)
    for migration in migrate.available():
        up = run(blank_database, migration.path)
        assert different(up, before), migration.name
        down = run(blank_database, migration.rollback)
        assert different(down, before) == _LEFT_BEHIND.get(migration.version, set()), migration.name
        assert not different(run(blank_database, migration.path), up), migration.name
        before = up
    assert {name.split()[0] for name in before} >= _KINDS


@pytest.fixture
async def filled(database: Database) -> Database:
    """Rows in every table of a tenant."""
    tenant = await make_tenant(database, "acme")
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        params = {"tenant": tenant.tenant_id, "user": tenant.user_id, "id": uuid4()}
        psycopg.ClientCursor(connection).execute(FILL, params)
    return database


async def test_each_step_back_takes_what_the_guide_to_upgrading_says(filled: Database) -> None:
    """Tables and columns are named there, each in its step's row; and every table with rows in it can be undone."""
    urls = migrate.DatabaseUrls(migration=filled.owner_url, admin=filled.admin_url)
    whole = before = schema_of(filled.admin_url)
    rows_before = row_counts(filled)
    said = dict(re.findall(r"^\| (\d{3})_\w+ \|([^|]*)\|[^|]*\|$", _GUIDE.read_text(), re.MULTILINE))
    assert sorted(said) == [f"{migration.version:03}" for migration in migrate.available()]
    for migration in reversed(migrate.available()):
        assert await migrate.down(urls, to_version=migration.version - 1) == [migration.version]
        after, rows_after = schema_of(filled.admin_url), row_counts(filled)
        lost = taken(before, after) | {
            table for table, rows in rows_after.items() if not rows and rows_before.get(table)
        }
        assert set(re.findall(r"`(\w+)`", said[f"{migration.version:03}"])) == lost, migration.path.name
        before, rows_before = after, rows_after
    assert not [name for name in before if name.startswith("relation")]
    await migrate.up(urls)
    assert different(schema_of(filled.admin_url), whole) == set()


def taken(before: Schema, after: Schema) -> set[str]:
    """Tables, and columns of tables that stay."""
    gone = before.keys() - after.keys()
    tables = {name.removeprefix("relation r ") for name in gone if name.startswith("relation r ")}
    columns = [name.removeprefix("column ").rpartition(".") for name in gone if name.startswith("column ")]
    return {table.rpartition(".")[2] for table in tables} | {
        column for table, _, column in columns if table not in tables
    }


def row_counts(database: Database) -> dict[str, int]:
    tables = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    with psycopg.connect(database.admin_url) as connection:
        names = [row[0] for row in connection.execute(tables).fetchall()]
        counts = [sql.SQL("(SELECT count(*) FROM {})").format(sql.Identifier(name)) for name in names]
        row = connection.execute(sql.SQL("SELECT {}").format(sql.SQL(", ").join(counts))).fetchone() if names else ()
    return dict(zip(names, row or (), strict=True))
