"""What PostgreSQL, Redis and the services have in common: a record, a log, and one life at a time."""

import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import msgspec

from copilot_devstack.accounts import Account
from copilot_devstack.errors import StackError
from copilot_devstack.files import last_lines, read_if_there, write_private
from copilot_devstack.home import Home
from copilot_devstack.ports import free_port, is_free, listens
from copilot_devstack.processes import Process, StopSteps, find, spawn, wait_until

_LAUNCHES = 3
_LOG_LINES_SHOWN = 15


class Record(msgspec.Struct):
    """Kept after a stop, so that a server comes back on its port."""

    port: int
    pid: int | None = None
    birth: str | None = None


class Server(ABC):
    """A server that outlives this object: a second one made for the same home finds it running.

    `ends_with_parent` ties its life to the thread that starts it (Linux).
    """

    name: ClassVar[str]
    title: ClassVar[str]
    ready_seconds: ClassVar[float] = 30.0
    stop_steps: ClassVar[StopSteps]
    parent_death_signal: ClassVar[signal.Signals]

    def __init__(self, home: Home, *, account: Account | None = None, ends_with_parent: bool = False) -> None:
        self.log_path = home.logs / f"{self.name}.log"
        self._record_path = home.records / f"{self.name}.json"
        self._account = account
        self._on_parent_death = self.parent_death_signal if ends_with_parent else None
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        """The serving process; None while it does not run."""
        process = self._running()
        return process.pid if process else None

    @property
    def is_running(self) -> bool:
        return self._running() is not None

    @property
    def port(self) -> int:
        """Its port, also while stopped. Raises StackError before the first start."""
        if self.known_port is None:
            raise StackError(f"{self.title} has not been started yet: copilot up")
        return self.known_port

    @property
    def known_port(self) -> int | None:
        record = self._record()
        return record.port if record else None

    def launch(self) -> bool:
        """Start without waiting for readiness. False: it runs already."""
        if self.is_running:
            return False
        self._prepare()
        port = self._choose_port(self.known_port)
        self._process = spawn(
            self._command(port),
            log=self.log_path,
            cwd=self._folder(),
            env=self._environment(port),
            account=self._account,
            on_parent_death=self._on_parent_death,
        )
        self._save(Record(port, self._process.pid, self._process.birth))
        return True

    def wait_ready(self) -> None:
        """Raises StackError, with the log's last lines, when it ends or stays unready."""
        for _ in range(_LAUNCHES):
            deadline = time.monotonic() + self.ready_seconds
            if wait_until(lambda: not self.is_running or self._serves(), self.ready_seconds) and self.is_running:
                self._when_ready()
                return
            if self.is_running or time.monotonic() > deadline or is_free(self.port):
                break
            self.launch()  # someone else took the port between our look at it and the start
        raise self._failure()

    def start(self) -> None:
        self.launch()
        self.wait_ready()

    def stop(self) -> None:
        self._end(self.stop_steps)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(((signal.SIGKILL, 10.0),))

    def restart(self) -> None:
        self.stop()
        self.start()

    @abstractmethod
    def _command(self, port: int) -> list[str]: ...

    @abstractmethod
    def _folder(self) -> Path: ...

    @abstractmethod
    def _is_ready(self) -> bool: ...

    def _environment(self, port: int) -> Mapping[str, str]:
        return {"PATH": os.environ.get("PATH", os.defpath), "TZ": "UTC"}

    def _prepare(self) -> None:  # noqa: B027 — a hook with nothing to do by default
        """Before a start: data folders, leftovers of a crash."""

    def _when_ready(self) -> None:  # noqa: B027 — likewise
        """After readiness, also when it ran already."""

    def _choose_port(self, last: int | None) -> int:
        return last if last is not None and is_free(last) else free_port()

    def _serves(self) -> bool:
        pid = self.pid
        return pid is not None and listens(pid, self.port) and self._is_ready()

    def _running(self) -> Process | None:
        if self._process is not None and self._process.is_alive:
            return self._process
        record = self._record()
        self._process = find(record.pid, record.birth) if record and record.pid and record.birth else None
        return self._process

    def _record(self) -> Record | None:
        data = read_if_there(self._record_path)
        return msgspec.json.decode(data, type=Record) if data else None

    def _save(self, record: Record) -> None:
        write_private(self._record_path, msgspec.json.encode(record))

    def _end(self, steps: StopSteps) -> None:
        process = self._running()
        if process is not None:
            process.stop(steps)
            self._save(Record(self.port))
        self._process = None

    def _failure(self) -> StackError:
        state = f"is not ready after {self.ready_seconds:.0f} s" if self.is_running else "has ended while starting"
        lines = "\n".join(f"    {line}" for line in last_lines(self.log_path, _LOG_LINES_SHOWN))
        return StackError(f"{self.title} {state}. The end of {self.log_path}:\n{lines}")
