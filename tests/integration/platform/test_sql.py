"""Every named block of SQL in the product, prepared against the real schema as the role that runs it."""

from importlib import resources
from pathlib import Path

import psycopg
import pytest

import copilot_cli
import copilot_common
import copilot_domain
from copilot_common.platform.sql import Queries
from support.api_sql import numbered
from support.stack import Database

ROOTS = (copilot_common, copilot_domain, copilot_cli)
OPERATORS = {"operator.sql"}  # run as copilot_owner
CLI = "copilot_cli"  # likewise


def query_files() -> list[tuple[str, str]]:
    """Package and file name of each `.sql` file inside a package."""
    found = []
    for root in ROOTS:
        base = Path(str(resources.files(root)))
        for path in sorted(base.rglob("*.sql")):
            package = ".".join((root.__name__, *path.parent.relative_to(base).parts))
            found.append((package, path.name))
    return found


def blocks() -> list[tuple[str, str, str]]:
    return [(package, file, name) for package, file in query_files() for name in Queries(package, file).names()]


@pytest.fixture
def connections(database: Database) -> dict[str, str]:
    return {"app": database.app_url, "owner": database.owner_url}


def test_all_query_files_are_found() -> None:
    assert len(query_files()) >= 10
    assert len(blocks()) >= 60


@pytest.mark.parametrize("role", ["app", "owner"])
def test_every_block_can_be_prepared(connections: dict[str, str], role: str) -> None:
    faults = []
    with psycopg.connect(connections[role], autocommit=True) as connection:
        for package, file, name in blocks():
            is_operators = file in OPERATORS or package.startswith(CLI)
            if is_operators != (role == "owner"):
                continue
            try:
                check(connection, package, file, name)
            except psycopg.Error as error:
                faults.append(f"{package}/{file} {name}: {error.diag.message_primary}")
    assert faults == []


def check(connection: psycopg.Connection, package: str, file: str, name: str) -> None:
    text = Queries(package, file)[name]
    if name in {"begin", "begin_snapshot", "begin_in_background", "begin_read"}:
        # A template of several statements: what psycopg quotes into it, it needs no PREPARE for.
        nothing = dict.fromkeys(("tenant_id", "user_id", "platform"), "''")
        connection.execute(text.format(**nothing).encode() + b"; ROLLBACK")
        return
    connection.execute(f"PREPARE block AS {numbered(text)[0]}".encode())
    connection.execute("DEALLOCATE block")


def test_every_block_is_used() -> None:
    """A block nobody runs is a leftover."""
    sources = {
        root: "\n".join(path.read_text() for path in Path(str(resources.files(root))).rglob("*.py")) for root in ROOTS
    }
    unused = []
    for package, file, name in blocks():
        if not any(f'"{name}"' in source for source in sources.values()):
            unused.append(f"{package}/{file} {name}")
    assert unused == []
