"""Two builds beside one another: the checkout's, and the one after it, or another checkout's before it.

The next build is a copy of this one that has more migrations, and cannot work without them. They do what additive ones
may do to statements that are prepared already: every table gets a column, every function is made anew. A real build of
before is better: UPGRADE_FROM names its checkout.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psycopg

from support.stack import Database

_ROOT = Path(__file__).parents[2]
_NUMBER = re.compile(r"^(SCHEMA_VERSION|OLDEST_SCHEMA) = (\d+)$", re.MULTILINE)
_SCHEMA = "libs/common/copilot_common/platform/schema.py"
_COMMAND_SECONDS = 60.0

_TABLES = """
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname IN ('public', 'copilot_keys') AND c.relname <> 'schema_migrations' ORDER BY 1
"""
_FUNCTIONS = """
DO $$
DECLARE
    definition text;
BEGIN
    FOR definition IN
        SELECT pg_get_functiondef(p.oid) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname IN ('dispatch', 'turn', 'run')
    LOOP
        EXECUTE definition;
    END LOOP;
END $$;
"""
_FILE = """
BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;
{change}
{record}
COMMIT;
"""


@dataclass(frozen=True)
class Build:
    """A checkout. It runs on this environment's libraries, whoever made it."""

    root: Path

    @cached_property
    def schema(self) -> int:
        """The newest migration it was made for."""
        return int(dict(_NUMBER.findall((self.root / _SCHEMA).read_text()))["SCHEMA_VERSION"])

    @property
    def environ(self) -> dict[str, str]:
        """What makes a process one of this build."""
        packages = [path.parent for path in self.root.glob("*/*/pyproject.toml")]
        return {"PYTHONPATH": os.pathsep.join(map(str, packages))}

    def copilot(self, *arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        """A command of its `copilot`, to the end."""
        return subprocess.run(
            [sys.executable, "-c", "from copilot_cli.main import main; main()", *arguments],
            env={"PATH": os.defpath, **environ, **self.environ},
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )


def two_builds(database: Database, folder: Path) -> tuple[Build, Build]:
    """The one that is there, and the one that comes. `database` is at this checkout's schema."""
    this = Build(_ROOT)
    before = os.environ.get("UPGRADE_FROM")
    return (Build(Path(before)), this) if before else (this, _next_build(this, database, folder))


def _next_build(build: Build, database: Database, folder: Path) -> Build:
    for part in ("libs", "services", "migrations"):
        shutil.copytree(build.root / part, folder / part)  # with times, so that bytecode holds
    changes = _changes(database)
    newest = build.schema + len(changes)
    schema = folder / _SCHEMA
    schema.write_text(_NUMBER.sub(rf"\1 = {newest}", schema.read_text()))
    for version, (change, undo) in enumerate(changes, build.schema + 1):
        record = (
            f"INSERT INTO schema_migrations (version, name, oldest_build) VALUES ({version}, 'next', {build.schema});"
        )
        forget = f"DELETE FROM schema_migrations WHERE version = {version};"
        name = f"{version:03}_next.sql"
        (folder / "migrations" / name).write_text(_FILE.format(change=change, record=record))
        (folder / "migrations/rollback" / name).write_text(_FILE.format(change=undo, record=forget))
    return Build(folder)


def _changes(database: Database) -> list[tuple[str, str]]:
    """Each with what undoes it. One table a transaction: two locks that somebody else takes the other way would be a
    deadlock."""
    with psycopg.connect(database.admin_url) as connection:
        tables = [row[0] for row in connection.execute(_TABLES).fetchall()]
    return [
        (_FUNCTIONS, ""),
        *(
            (
                f"ALTER TABLE {table} ADD COLUMN next_note text NOT NULL DEFAULT 'next';",
                f"ALTER TABLE {table} DROP COLUMN next_note;",
            )
            for table in tables
        ),
    ]


def operator_environ(database: Database) -> Mapping[str, str]:
    """As the migration's Job has it."""
    return {"MIGRATION_DATABASE_URL": database.owner_url, "ADMIN_DATABASE_URL": database.admin_url}
