"""Databases and Redis for tests: cloned from a template that the real migrations made, thrown away afterwards."""

import asyncio
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from copilot_common.platform import migrate
from copilot_devstack.processes import wait_until

_TEMPLATE = "migrated_template"
_TEMPLATE_LOCK = 0x74656D706C617465  # "template"
# Roles belong to the cluster: one password for all databases and all workers.
_OWNER_PASSWORD = "owner-password-of-tests"
_APP_PASSWORD = "app-password-of-tests"
BACKUP_PASSWORD = "backup-password-of-tests"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class StackUrls:
    """The servers all tests share. A test that stops one takes `private_stack`."""

    admin_url: str
    redis_url: str


@dataclass(frozen=True)
class Database:
    """One migrated database: as the superuser, as copilot_owner, as copilot_app, as copilot_backup."""

    name: str
    admin_url: str
    owner_url: str
    app_url: str
    backup_url: str


def clone_template(admin_url: str) -> Database:
    """A migrated database; makes the template first where there is none."""
    make_template(admin_url)
    return _create(admin_url, f"test_{os.getpid()}_{next(_numbers)}", template=_TEMPLATE)


def create_blank(admin_url: str) -> Database:
    """For tests of the migrations themselves. Roles belong to the cluster: other tests may have made them already."""
    return _create(admin_url, f"blank_{os.getpid()}_{next(_numbers)}", template="template0")


def drop(database: Database, admin_url: str) -> None:
    """Sessions that are still open in it are ended."""
    _execute(admin_url, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database.name)))


def make_template(admin_url: str) -> None:
    """Once per cluster, by whichever worker comes first; the others wait for it."""
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [_TEMPLATE_LOCK])
        query = "SELECT datistemplate FROM pg_database WHERE datname = %s"
        found = connection.execute(query, [_TEMPLATE]).fetchone()
        if found and found[0]:
            return
        template = sql.Identifier(_TEMPLATE)
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(template))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(template))
        _migrate(_named(admin_url, _TEMPLATE))
        connection.execute(sql.SQL("ALTER DATABASE {} WITH IS_TEMPLATE true ALLOW_CONNECTIONS false").format(template))


def eventually(condition: Callable[[], object], *, seconds: float = 10.0, what: str = "the condition") -> None:
    """Poll until it holds; fails the test when it does not in time."""
    assert wait_until(lambda: bool(condition()), seconds), f"{what} did not hold within {seconds} s"


def _migrate(database: Database) -> None:
    urls = migrate.DatabaseUrls(database.owner_url, database.app_url, database.admin_url, database.backup_url)
    # In a thread: asyncio.run here would take pytest-asyncio's loop away from the main one.
    with ThreadPoolExecutor(max_workers=1) as pool:
        pool.submit(lambda: asyncio.run(migrate.up(urls))).result()


def _create(admin_url: str, name: str, *, template: str) -> Database:
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
    _execute(admin_url, statement)
    return _named(admin_url, name)


def _named(admin_url: str, name: str) -> Database:
    host = urlsplit(admin_url).netloc.rpartition("@")[2]
    return Database(
        name=name,
        admin_url=urlsplit(admin_url)._replace(path=f"/{name}").geturl(),
        owner_url=f"postgresql://copilot_owner:{_OWNER_PASSWORD}@{host}/{name}",
        app_url=f"postgresql://copilot_app:{_APP_PASSWORD}@{host}/{name}",
        backup_url=f"postgresql://copilot_backup:{BACKUP_PASSWORD}@{host}/{name}",
    )


def _execute(admin_url: str, statement: sql.Composed) -> None:
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute(statement)
