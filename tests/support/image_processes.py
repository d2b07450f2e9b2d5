"""Runs what an image is for, as near to a container as this machine lets us.

Where it lets a process have namespaces of its own (users, mounts), the image's folder is mounted read-only, only its
/tmp can be written, and the process is the image's USER without a capability. Elsewhere it keeps the tests' account.
The files are compared afterwards, either way.
"""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from copilot_devstack.ports import free_port
from copilot_devstack.processes import Process, spawn
from support.api import ApiProcess
from support.api import wait_ready as api_ready
from support.dockerfiles import Image
from support.image_builds import Root
from support.workers import WorkerProcess
from support.workers import wait_ready as worker_ready

# The folder is entered again: the one we come from is still the writable one beneath the mount.
_CONFINED = """
root=$1 folder=$2 user=$3 group=$4 && shift 4 &&
mount --rbind "$root" "$root" && mount --bind "$root/tmp" "$root/tmp" && mount -o remount,bind,ro "$root" &&
cd "$folder" && exec unshare --map-user="$user" --map-group="$group" "$@"
"""
_SECONDS = 60.0  # of one command


@dataclass(frozen=True)
class Container:
    """A built image, to be run."""

    image: Image
    root: Root

    def run(self, *command: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        """A command in it, to its end, whatever that is."""
        return subprocess.run(
            self._confined(command),
            cwd=self.root.at(""),
            env=self.root.machine_environ | environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )

    def is_healthy(self, **environ: str) -> bool:
        """What its HEALTHCHECK says."""
        assert self.image.health_check
        return self.run("sh", "-c", self.image.health_check, **environ).returncode == 0

    def files(self) -> dict[str, tuple[int, int]]:
        """Size and time of all but /tmp and bytecode, which children keep where they may; an image is not theirs."""
        found = {}
        for folder, folders, names in os.walk(self.root.path):
            folders[:] = [
                name for name in folders if name != "__pycache__" and Path(folder, name) != self.root.at("/tmp")
            ]
            for path in (Path(folder, name) for name in names):
                status = path.lstat()
                found[str(path)] = (status.st_size, status.st_mtime_ns)
        return found

    @contextmanager
    def api(self, environ: Mapping[str, str]) -> Iterator[ApiProcess]:
        """Its own command, ready; killed at the end where it runs still."""
        port = free_port()
        with tempfile.TemporaryDirectory(prefix="copilot-image-") as folder:
            given = {**environ, "PORT": str(port)}
            api = ApiProcess(f"http://127.0.0.1:{port}", *self._start(given, Path(folder)), given)
            try:
                yield api_ready(api)
            finally:
                api.kill()

    @contextmanager
    def worker(self, environ: Mapping[str, str]) -> Iterator[WorkerProcess]:
        """Likewise."""
        port = free_port()
        with tempfile.TemporaryDirectory(prefix="copilot-image-") as folder:
            given = {**environ, "PROBE_PORT": str(port)}
            process, log = self._start(given, Path(folder))
            command = tuple(self.image.command)
            worker = WorkerProcess(f"http://127.0.0.1:{port}", port, command, process, log, given)
            try:
                worker_ready(worker)
                yield worker
            finally:
                worker.kill()

    def _start(self, environ: dict[str, str], folder: Path) -> tuple[Process, Path]:
        log = folder / "log"
        process = spawn(
            self._confined(self.image.command),
            log=log,
            cwd=self.root.at(""),
            env=self.root.machine_environ | environ,
            on_parent_death=signal.SIGKILL,
        )
        return process, log

    def _confined(self, command: Sequence[str]) -> list[str]:
        if not namespaces_can_be_had():
            return list(command)
        return [*_confinement(self.root.path, self.root.at(""), self.image.last("USER")), *command]


@cache
def namespaces_can_be_had() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "tmp").mkdir()
        tried = ["sh", "-c", "! touch there && touch tmp/there && test $(id -u) = 1000"]
        command = [*_confinement(Path(folder), Path(folder), "1000:1000"), *tried]
        try:
            return subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False).returncode == 0
        except FileNotFoundError:  # no unshare: not Linux
            return False


def _confinement(root: Path, folder: Path, user: str) -> list[str]:
    """What stands before a command."""
    namespaces = ["unshare", "--map-root-user", "--mount"]
    return [*namespaces, "sh", "-c", _CONFINED, "sh", str(root), str(folder), *user.split(":")]
