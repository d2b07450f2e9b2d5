"""Who has the processor first. Niceness says how much of it a thread gets, not how soon: Linux lets whoever runs go on
to the end of its slice, up to 4 ms. Only from one with a longer slice does a thread that wakes up have it at once
(EEVDF; sched_setattr(2), since Linux 6.12: before that, elsewhere, and where it is not allowed, nothing happens)."""

import ctypes
import os
import platform
import signal
import struct
import sys
import time
from types import FrameType
from typing import Final

_SHORT_NS: Final = 100_000  # what is shorter or longer than these two is not taken
_LONG_NS: Final = 100_000_000
_SET_ATTR: Final = {"x86_64": 314, "aarch64": 274}  # asm/unistd.h
_ATTR: Final = struct.Struct("=IIQiIQQQII")  # linux/sched/types.h

_WORK_SECONDS: Final = 0.0007
_PAUSE_SECONDS: Final = 0.00002
_PR_SET_TIMERSLACK: Final = 29  # linux/prctl.h


def come_first() -> None:
    """The calling thread, and those it starts from now on: for what somebody waits for, and is done soon."""
    _set_slice(_SHORT_NS)


def stand_back(niceness: int, pid: int = 0) -> None:
    """The calling thread, or that of `pid`, and those it starts: for what nobody waits for. `niceness` is added, as by
    nice(2). Raises OSError where another's may not be changed."""
    os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid) + niceness)
    _set_slice(_LONG_NS, pid)


class Pauses:
    """Around what the main thread of a process computes that nobody waits for: after 0.7 ms it lets go of the processor
    for a moment, again and again. Standing back is not enough: who had his share of a processor lets others in for
    theirs, however small, and Linux looks only with its next tick, up to 4 ms later, whether he is to go on.

    Takes SIGALRM and sleeps in its handler, which Python calls between two steps of its own: never within native code.
    Not for a process with an event loop, which would stand still.
    """

    def __init__(self) -> None:
        self._is_computing = False
        signal.signal(signal.SIGALRM, self._pause)
        signal.siginterrupt(signal.SIGALRM, False)  # native code may not try again what was interrupted
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)  # else a pause takes 50 us more

    def __enter__(self) -> None:
        self._is_computing = True
        signal.setitimer(signal.ITIMER_REAL, _WORK_SECONDS)

    def __exit__(self, *_: object) -> None:
        self._is_computing = False
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _pause(self, _signal: int, _frame: FrameType | None) -> None:
        time.sleep(_PAUSE_SECONDS)  # to block is the purpose: only then does the kernel choose anew
        # Counted from here: where others have the processor for long, a steady timer would have rung again meanwhile.
        if self._is_computing:
            signal.setitimer(signal.ITIMER_REAL, _WORK_SECONDS)


def _set_slice(nanoseconds: int, pid: int = 0) -> None:
    number = _SET_ATTR.get(platform.machine())
    if number is None or not _is_ordinary(pid):
        return
    niceness = os.getpriority(os.PRIO_PROCESS, pid)
    attributes = _ATTR.pack(_ATTR.size, os.SCHED_OTHER, 0, niceness, 0, nanoseconds, 0, 0, 0, 0)
    ctypes.CDLL(None).syscall(number, pid, attributes, 0)


def _is_ordinary(pid: int) -> bool:
    """Another policy is somebody's choice."""
    try:
        return sys.platform == "linux" and os.sched_getscheduler(pid) == os.SCHED_OTHER
    except OSError:  # it may not even be asked for
        return False
