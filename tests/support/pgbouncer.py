"""A real PgBouncer in transaction mode, in front of the PostgreSQL of the tests."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg.rows import dict_row

from copilot_devstack.accounts import server_account
from copilot_devstack.ports import free_port
from copilot_devstack.processes import Process, spawn, wait_until
from support.stack import Database

_CONSOLE, _CONSOLE_PASSWORD = "console", "console-password-of-tests"
_STOPPING = ((signal.SIGINT, 10.0), (signal.SIGKILL, 10.0))
_READY_SECONDS = 10.0


@dataclass
class PgBouncer:
    """`restart` keeps its port; whoever is connected loses the connection."""

    program: str
    folder: Path
    port: int
    _process: Process | None = field(default=None, repr=False)

    def through(self, url: str, *, host: str = "127.0.0.1", **parameters: object) -> str:
        """The same database and role by way of it."""
        parts = urlsplit(url)
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        netloc = f"{parts.netloc.rpartition('@')[0]}@{host}:{self.port}"
        return parts._replace(netloc=netloc, query=query).geturl()

    def start(self) -> None:
        log = self.folder / "pgbouncer.log"
        command = [self.program, str(self.folder / "pgbouncer.ini")]
        self._process = spawn(
            command,
            log=log,
            cwd=self.folder,
            env={"PATH": os.defpath},
            account=server_account(),  # as root it doesn't start
            on_parent_death=signal.SIGKILL,
        )
        process = self._process
        wait_until(lambda: not process.is_alive or self._answers(), _READY_SECONDS)
        assert process.is_alive, log.read_text()[-4_000:]

    def kill(self) -> None:
        if self._process is not None:
            self._process.stop(((signal.SIGKILL, 10.0),))

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop(_STOPPING)

    def show(self, what: str) -> list[dict[str, Any]]:
        """Of its console: POOLS, SERVERS, CLIENTS, …"""
        url = f"postgresql://{_CONSOLE}:{_CONSOLE_PASSWORD}@127.0.0.1:{self.port}/pgbouncer"
        with psycopg.connect(url, autocommit=True, row_factory=dict_row) as console:
            return console.execute(f"SHOW {what}".encode()).fetchall()

    def _answers(self) -> bool:
        try:
            return bool(self.show("VERSION"))
        except psycopg.OperationalError:
            return False


@contextmanager
def pgbouncer(
    program: str, database: Database, *, pool_size: int, more: Mapping[str, object] | None = None
) -> Iterator[PgBouncer]:
    """`pool_size`: server connections for each role. `more`: its settings; of a Path it gets a copy."""
    folder = Path(tempfile.mkdtemp(prefix="copilot-pgbouncer-"))
    made = PgBouncer(program, folder, free_port())
    try:
        _write(made, database, pool_size, more or {})
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)


def _write(made: PgBouncer, database: Database, pool_size: int, more: Mapping[str, object]) -> None:
    users = {_CONSOLE: _CONSOLE_PASSWORD}
    for url in (database.app_url, database.owner_url, database.admin_url, database.backup_url):
        users[urlsplit(url).username or ""] = urlsplit(url).password or ""
    server = urlsplit(database.app_url)
    with psycopg.connect(database.admin_url) as connection:  # one as PostgreSQL has it, the others in clear
        query = "SELECT passwd FROM pg_shadow WHERE usename = %s"
        (users[server.username or ""],) = connection.execute(query, [server.username]).fetchone() or ("",)
    (made.folder / "users.txt").write_text("".join(f'"{name}" "{password}"\n' for name, password in users.items()))
    given = {name: _copied(value, made.folder) if isinstance(value, Path) else value for name, value in more.items()}
    settings = {
        "listen_addr": "127.0.0.1",
        "listen_port": made.port,
        "unix_socket_dir": "",
        "auth_type": "scram-sha-256",
        "auth_file": made.folder / "users.txt",
        "admin_users": _CONSOLE,
        "pool_mode": "transaction",
        "default_pool_size": pool_size,
        **given,
    }
    lines = "".join(f"{name} = {value}\n" for name, value in settings.items())
    databases = f"[databases]\n* = host={server.hostname} port={server.port}\n"
    (made.folder / "pgbouncer.ini").write_text(f"{databases}[pgbouncer]\n{lines}")
    if (account := server_account()) is not None:
        for path in (made.folder, *made.folder.iterdir()):
            os.chown(path, account.uid, account.gid)


def _copied(path: Path, folder: Path) -> str:
    return str(shutil.copy(path, folder))
