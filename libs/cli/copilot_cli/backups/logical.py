"""Dumps: `pg_dump`'s custom format, of one database, as of one moment."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from psycopg import sql as composing

from copilot_cli.backups import catalogue
from copilot_cli.backups.catalogue import Backup
from copilot_cli.backups.programs import Login, feeding, find_program, reading
from copilot_cli.backups.server import Connection, backing_up, connect, look, one, schema_version, sql
from copilot_cli.backups.targets import Target
from copilot_cli.backups.writing import Written, verify, write_verified
from copilot_common.base.errors import Conflict

_LOCK_WAIT_MS = 300_000
"""A migration holds its locks for seconds; who waits longer is behind something that hangs."""
_BESIDE = "_restoring"
_MAINTENANCE = "postgres"
"""From where databases are dropped and renamed: none can be from within."""


def dump(url: str, target: Target) -> Backup:
    """As a role that bypasses row-level security. Raises Conflict, SettingsError, Unavailable."""
    started_at = datetime.now(UTC)
    with backing_up(url, "logical") as (connection, facts):
        version = schema_version(connection)
        name = catalogue.new_name("logical", started_at)
        written = write_verified(target, name, _dumped(url, facts.server_major), _decoding(facts.server_major))
        backup = Backup(
            name=name,
            kind="logical",
            started_at=started_at,
            finished_at=datetime.now(UTC),
            size_bytes=written.size_bytes,
            sha256=written.sha256,
            database=facts.database,
            server_version_num=facts.server_version_num,
            schema_version=version,
        )
        catalogue.record(target, backup)
    return backup


def _dumped(url: str, server_major: int) -> Iterator[bytes]:
    login = Login.of(url)
    return reading(
        find_program("pg_dump", server_major),
        "--format=custom",
        "--compress=1",  # most of it is sealed, which nothing makes smaller
        "--no-password",
        f"--lock-wait-timeout={_LOCK_WAIT_MS}",
        f"--dbname={login.conninfo}",
        login=login,
    )


def _decoding(server_major: int) -> Callable[[Iterator[bytes]], None]:
    """pg_restore reads every row of it, to nowhere."""
    program = find_program("pg_restore", server_major)
    return lambda chunks: feeding(program, "--file=/dev/null", chunks=chunks)


def check(target: Target, backup: Backup) -> None:
    """Read all of it. Raises Unavailable where it is damaged."""
    verify(target, backup.name, Written(backup.size_bytes, backup.sha256), _decoding(backup.server_major))


def prepare(admin_url: str, backup: Backup, *, overwrite: str | None) -> str:
    """The name of an empty database to load into: the URL's own or, where that is to be overwritten, one beside it.
    Raises Conflict where it is not empty and `overwrite` is not its name."""
    with connect(admin_url) as connection:
        facts = look(connection)
        if facts.server_major < backup.server_major:
            raise Conflict(
                f"The backup is of PostgreSQL {backup.server_major}; this server's {facts.server_major} is older."
            )
        if one(connection, sql["count_objects"])["objects"] == 0:
            return facts.database
        if overwrite != facts.database:
            name = facts.database
            raise Conflict(f"The database {name} is not empty. To replace all that is in it: --overwrite {name}")
        return _make_beside(connection, facts.database)


def load(admin_url: str, target: Target, backup: Backup, database: str) -> None:
    """Into an empty database, in one transaction; the roles must be there. What was made beside another replaces it at
    the end, so that a failure leaves that one as it was."""
    login = Login.of(admin_url, database=database)
    feeding(
        find_program("pg_restore", backup.server_major),
        "--single-transaction",
        "--exit-on-error",
        "--no-password",
        f"--dbname={login.conninfo}",
        chunks=target.read(backup.name),
        login=login,
    )
    with connect(admin_url, database) as connection:
        connection.execute("ANALYZE")  # a dump has no statistics
    with connect(admin_url) as connection:
        replaced = look(connection).database
    if replaced != database:
        _swap(admin_url, database, replaced)


def _make_beside(connection: Connection, database: str) -> str:
    """What an earlier restore has left there goes."""
    beside = database + _BESIDE
    locale = one(connection, sql["database_locale"])
    connection.execute(composing.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(composing.Identifier(beside)))
    connection.execute(
        composing.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}").format(
            composing.Identifier(beside),
            *(composing.Literal(locale[name]) for name in ("encoding", "collate", "ctype")),
        )
    )
    return beside


def _swap(admin_url: str, beside: str, replaced: str) -> None:
    """Whoever is connected to what is replaced is thrown out."""
    with connect(admin_url, _MAINTENANCE) as connection:
        connection.execute(composing.SQL("DROP DATABASE {} WITH (FORCE)").format(composing.Identifier(replaced)))
        connection.execute(
            composing.SQL("ALTER DATABASE {} RENAME TO {}").format(
                composing.Identifier(beside), composing.Identifier(replaced)
            )
        )
