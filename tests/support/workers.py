"""Real worker processes (`python -m copilot_workflow_engine`, `python -m copilot_context_service`) for tests.

Each ends with the test, however that ends; its log stays readable until then.
"""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from copilot_devstack.ports import free_port, listens
from copilot_devstack.processes import Process, spawn, wait_until

ENGINE = ("-m", "copilot_workflow_engine")
CONTEXT = ("-m", "copilot_context_service")
LETHAL_ENGINE = (str(Path(__file__).parent / "lethal_engine.py"),)
"""The workflow engine, with jobs that end it."""

_READY_SECONDS = 60.0  # the context service reads its model, on a machine that is busy with the rest of the test


@dataclass
class WorkerProcess:
    """`url` is where its probes and metrics are. `environ` are its settings, to start another one like it."""

    url: str
    port: int
    command: tuple[str, ...]
    process: Process
    log_path: Path
    environ: dict[str, str]

    @property
    def process_id(self) -> str:
        """Its name in the database, once it is ready."""
        return str(next(line["process_id"] for line in self.log_lines if line["message"] == "Working"))

    def kill(self) -> None:
        """As a crash would, or the kernel short of memory."""
        self.process.stop(((signal.SIGKILL, 10.0),))

    def terminate(self) -> None:
        self.process.send(signal.SIGTERM)

    def freeze(self) -> None:
        self.process.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send(signal.SIGCONT)

    @property
    def exit_code(self) -> int | None:
        child = self.process._child
        return child.poll() if child else None

    @property
    def log_lines(self) -> list[dict[str, Any]]:
        """Every whole line; fails where one is no JSON."""
        return [
            msgspec.json.decode(line)
            for line in self.log_path.read_bytes().splitlines(keepends=True)
            if line.endswith(b"\n")
        ]

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=5, trust_env=False)

    def is_live(self) -> bool:
        return self._is_ok("/health/live")

    def is_ready(self) -> bool:
        return self._is_ok("/health/ready")

    def _is_ok(self, path: str) -> bool:
        if not listens(self.process.pid, self.port):
            return False
        try:
            return self.get(path).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False


def launch_worker(command: tuple[str, ...], environ: dict[str, str], folder: Path) -> WorkerProcess:
    """Started, not yet ready. Call it from the main thread: the process ends with the thread that starts it."""
    port = free_port()
    log_path = folder / f"worker-{port}.log"
    process = spawn(
        [sys.executable, *command],
        log=log_path,
        cwd=folder,
        env={"PATH": os.defpath, "PYTHONUNBUFFERED": "1", **environ, "PROBE_PORT": str(port)},
        on_parent_death=signal.SIGKILL,
    )
    return WorkerProcess(f"http://127.0.0.1:{port}", port, command, process, log_path, environ)


def wait_ready(*workers: WorkerProcess) -> None:
    for worker in workers:
        wait_until(lambda worker=worker: not worker.process.is_alive or worker.is_ready(), _READY_SECONDS)  # type: ignore[misc]
        assert worker.process.is_alive, f"a worker did not start:\n{worker.log_path.read_text()[-4_000:]}"


@dataclass
class Workers:
    """Starts workers, and remembers all of them."""

    folder: Path
    started: list[WorkerProcess]

    def __call__(
        self, environ: dict[str, str], command: Sequence[str] = ENGINE, *, ready: bool = True
    ) -> WorkerProcess:
        worker = launch_worker(tuple(command), environ, self.folder)
        self.started.append(worker)
        if ready:
            wait_ready(worker)
        return worker

    def again(self, worker: WorkerProcess) -> WorkerProcess:
        """Another one like it, not yet ready."""
        return self(worker.environ, worker.command, ready=False)


@contextmanager
def worker_processes() -> Iterator[Workers]:
    """All ended at the end."""
    with tempfile.TemporaryDirectory(prefix="copilot-workers-") as folder:
        workers = Workers(Path(folder), [])
        try:
            yield workers
        finally:
            for worker in workers.started:
                worker.thaw()
                worker.kill()


@pytest.fixture
def workers() -> Iterator[Workers]:
    with worker_processes() as started:
        yield started
