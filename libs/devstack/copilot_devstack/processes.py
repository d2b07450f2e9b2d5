"""Processes of our own: started apart from the terminal, with a log file; found again later; ended for certain.

A pid alone names nothing: the system gives it to a stranger once its process has gone. So every pid is kept with
the birth of its process, and nothing is signalled unless both still match.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from copilot_devstack.accounts import Account

_PR_SET_PDEATHSIG = 1
_POLL_SECONDS = 0.02
_GROUP_SECONDS = 5.0
_LOG_LIMIT_BYTES = 20_000_000

# (signal, seconds to wait for the end before the next, harder one)
StopSteps = tuple[tuple[signal.Signals, float], ...]


@dataclass(frozen=True)
class Process:
    pid: int
    birth: str
    # Only the parent can reap; without it a dead child stays a zombie.
    _child: "subprocess.Popen[bytes] | None" = field(default=None, repr=False, compare=False)

    @property
    def is_alive(self) -> bool:
        if self._child is not None:
            return self._child.poll() is None
        return birth_of(self.pid) == self.birth

    def send(self, number: signal.Signals) -> None:
        """Does nothing when the process has ended, even if its pid lives on in another."""
        if self.is_alive:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return

    def wait(self, seconds: float) -> bool:
        """True once it has ended."""
        return wait_until(lambda: not self.is_alive, seconds)

    def stop(self, steps: StopSteps) -> None:
        for number, seconds in steps:
            self.send(number)
            if self.wait(seconds):
                return


def birth_of(pid: int) -> str | None:
    """What tells a process from a later one with the same pid. None: gone, or a zombie."""
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        if sys.platform != "linux":
            return str(process.create_time())
        # psutil's create_time moves when the clock is set (a laptop waking up); ticks since boot do not.
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}/{ticks}"
    except (psutil.Error, OSError):
        return None


def find(pid: int, birth: str) -> Process | None:
    return Process(pid, birth) if birth_of(pid) == birth else None


def living_in(folder: Path, program: str) -> list[Process]:
    """Processes called `program` whose working directory is `folder`: servers change into their data folder."""
    found = []
    for process in psutil.process_iter(["pid", "name", "cwd"]):
        if process.info["name"] == program and process.info["cwd"] == str(folder.resolve()):
            birth = birth_of(process.pid)
            if birth is not None:
                found.append(Process(process.pid, birth))
    return found


def spawn(
    command: Sequence[str],
    *,
    log: Path,
    cwd: Path,
    env: Mapping[str, str],
    account: Account | None = None,
    on_parent_death: signal.Signals | None = None,
) -> Process:
    """Start `command` in a session of its own, so that the terminal's Ctrl-C reaches only us.

    With `on_parent_death` (Linux) the child gets that signal when the calling *thread* ends: call it from the main one.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _LOG_LIMIT_BYTES:
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=env,
            start_new_session=True,
            umask=0o077,
            preexec_fn=request_signal_on_parent_death(on_parent_death),  # noqa: PLW1509 — it only makes two system calls
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    # A child that has already failed has no birth; its Popen still tells that it ended.
    return Process(child.pid, birth_of(child.pid) or "", child)


def request_signal_on_parent_death(number: signal.Signals | None) -> Callable[[], None] | None:
    """A `preexec_fn`. It runs after the change of user, which would have undone the request."""
    if number is None or sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:
            os._exit(1)  # the parent died before it could be asked for

    return prepare


def end_group(leader: int) -> None:
    """Kill a session's leader, which is our child, and all it has started; back once they are gone."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
    wait_until(lambda: not _has_members(leader), _GROUP_SECONDS)


def _has_members(group: int) -> bool:
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll until `condition` holds; False when it did not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
