"""Everything a thief of the disks would read: every table, all of Redis, every log."""

from pathlib import Path

import psycopg
from psycopg import sql
from redis import Redis

_TABLES = """
    SELECT n.nspname, c.relname
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    ORDER BY 1, 2
"""

Dump = dict[str, bytes]
"""The bytes of each table, key or file, by its name."""


def tables_of(admin_url: str) -> list[tuple[str, str]]:
    """Schema and name of every table that is not PostgreSQL's own."""
    with psycopg.connect(admin_url) as connection:
        return [(str(schema), str(table)) for schema, table in connection.execute(_TABLES)]


def dump_database(admin_url: str) -> Dump:
    """As a superuser, with COPY: rows of every tenant; bytea columns in hex."""
    tables = tables_of(admin_url)
    with psycopg.connect(admin_url) as connection:
        return {f"{schema}.{table}": _copy(connection, schema, table) for schema, table in tables}


def dump_redis(url: str) -> Dump:
    with Redis.from_url(url) as client:
        return {
            key.decode(errors="replace"): key + b"\n" + _value(client, key) for key in client.scan_iter(count=1_000)
        }


def dump_logs(folder: Path) -> Dump:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.log"))}


def _copy(connection: "psycopg.Connection[tuple[object, ...]]", schema: str, table: str) -> bytes:
    statement = sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(schema, table))
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        return b"".join(bytes(block) for block in copy)


def _value(client: "Redis", key: str) -> bytes:
    """Read by its type: DUMP would compress what is to be searched."""
    match client.type(key):
        case b"string":
            found: object = client.get(key)
        case b"stream":
            found = client.xrange(key)
        case b"hash":
            found = client.hgetall(key)
        case b"list":
            found = client.lrange(key, 0, -1)
        case b"set":
            found = client.smembers(key)
        case b"zset":
            found = client.zrange(key, 0, -1)
        case _:
            found = client.dump(key)
    return _flat(found)


def _flat(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict):
        return b"\n".join(_flat(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple | set):
        return b"\n".join(map(_flat, value))
    return str(value).encode()
