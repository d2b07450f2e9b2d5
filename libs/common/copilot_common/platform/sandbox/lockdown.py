"""What a child gives up. Runs in the child."""

import ctypes
import math
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from typing import Final

from copilot_common.platform.sandbox import landlock, seccomp
from copilot_common.platform.sandbox.limits import Limits, Lockdown
from copilot_common.platform.scheduling import stand_back

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_PR_SET_NO_NEW_PRIVS: Final = 38
_SPENT_SHARE: Final = 4  # a child that keeps a quarter of what a call may need is replaced
_LIBRARIES: Final = ("site-packages", "dist-packages")


def die_with_parent(parent_pid: int) -> None:
    """Set by the child itself: a parent that dies before this is noticed by its id."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def give_up_rights(limits: Limits) -> Lockdown:
    """After all imports: from here on no file can be opened if `open_files` is 0."""
    if limits.niceness:
        stand_back(limits.niceness)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    landlock_abi = landlock.restrict(_imported_from() if limits.open_files else ())
    # The lowest free descriptor is the first that would be given out.
    free = os.dup(0)
    os.close(free)
    _limit(resource.RLIMIT_NOFILE, free + limits.open_files)
    if not limits.threads:
        _limit(resource.RLIMIT_NPROC, 0)  # does not bind root
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    return Lockdown(seccomp=seccomp.restrict(threads=limits.threads), landlock_abi=landlock_abi)


def _imported_from() -> Iterator[str]:
    """The standard library, the installed ones, and the packages that were imported from elsewhere: not all of
    `sys.path`, beside which an installation may keep its settings."""
    yield os.path.dirname(os.__file__)
    yield from (path for path in sys.path if os.path.basename(path) in _LIBRARIES)
    for name, module in sys.modules.copy().items():
        if "." not in name:
            yield from getattr(module, "__path__", ())


class Meter:
    """Holds memory and CPU within their limits. Keeps one descriptor: make it before rights are given up."""

    def __init__(self, limits: Limits) -> None:
        self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._cpu_seconds = limits.cpu_seconds
        self._cpu_limit = 0
        _limit(resource.RLIMIT_AS, self._size() + limits.memory_bytes)
        self._spent_at = self._size() + limits.memory_bytes // _SPENT_SHARE

    @property
    def is_spent(self) -> bool:
        return self._size() > self._spent_at

    def renew_cpu(self) -> None:
        """The limit counts from the process's start: the soft one is moved ahead. SIGXCPU then ends the process."""
        limit = math.ceil(time.process_time()) + self._cpu_seconds
        if limit != self._cpu_limit:
            resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))
            self._cpu_limit = limit

    def _size(self) -> int:
        return int(os.pread(self._statm, 64, 0).split()[0]) * resource.getpagesize()


def _limit(what: int, value: int) -> None:
    hard = resource.getrlimit(what)[1]
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (bound, bound))


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
