"""What a backup asks of the server: facts, and that no other is under way."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import class_row, dict_row

from copilot_cli.backups.catalogue import Kind
from copilot_common.base.errors import Conflict, SettingsError
from copilot_common.platform.pooler import POOLER_REFUSED
from copilot_common.platform.sql import Queries

sql = Queries(__package__)

Connection = psycopg.Connection[tuple[Any, ...]]

# Far from the keys of migrations and of processes' leases.
_LOCKS: dict[Kind, int] = {"logical": 0x6261636B7570_01, "physical": 0x6261636B7570_02}


@dataclass(frozen=True)
class Facts:
    database: str
    server_version_num: int
    reads_all: bool
    replicates: bool

    @property
    def server_major(self) -> int:
        return self.server_version_num // 10_000


def connect(url: str, database: str | None = None) -> Connection:
    """To another database of that server, where one is named. Raises SettingsError where a pooler answers."""
    conninfo = make_conninfo(url, dbname=database) if database else url
    connection = psycopg.connect(conninfo, autocommit=True, connect_timeout=10, application_name="copilot")
    if one(connection, sql["server_process"])["pid"] != connection.info.backend_pid:
        connection.close()
        raise SettingsError(POOLER_REFUSED)
    return connection


@contextmanager
def backing_up(url: str, kind: Kind) -> Iterator[tuple[Connection, Facts]]:
    """One backup of a kind at a time for each database, wherever it is started. Raises Conflict, SettingsError."""
    with connect(url) as connection:
        facts = look(connection)
        if not (facts.reads_all if kind == "logical" else facts.replicates):
            raise SettingsError(
                "BACKUP_DATABASE_URL must name copilot_backup, whom `copilot migrate up` has given the rights to read"
                " all rows and to stream WAL (it needs ADMIN_DATABASE_URL and BACKUP_DATABASE_URL once)."
            )
        if not one(connection, sql["take_lock"], key=_LOCKS[kind])["taken"]:
            raise Conflict(f"Another {kind} backup of this database is under way; it will do.")
        yield connection, facts


def look(connection: Connection) -> Facts:
    with connection.cursor(row_factory=class_row(Facts)) as cursor:
        found = cursor.execute(sql["backup_facts"]).fetchone()
    if found is None:
        raise SettingsError("The role of the database URL is not known to its server.")
    return found


def schema_version(connection: Connection) -> int | None:
    if not one(connection, sql["has_schema"])["found"]:
        return None
    version: int | None = one(connection, sql["schema_version"])["version"]
    return version


def one(connection: Connection, query: LiteralString, **params: object) -> dict[str, Any]:
    """The first row; empty where there is none."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, params or None).fetchone() or {}
