"""Who has the processor first: as the kernel tells it."""

import ctypes
import errno
import os
import platform
import subprocess
import sys
import threading

import pytest

from copilot_common.platform.background import in_background
from copilot_common.platform.scheduling import _ATTR, _SET_ATTR, come_first, stand_back

_GET_ATTR = {"x86_64": 315, "aarch64": 275}  # asm/unistd.h
_RELEASE = tuple(int(number) for number in platform.release().split("-")[0].split(".")[:2] if number.isdigit())


def may_ask() -> bool:
    """A container's profile may refuse the call. Allowed, it misses its arguments."""
    number = _SET_ATTR.get(platform.machine())
    if sys.platform != "linux" or number is None or _RELEASE < (6, 12):
        return False
    ctypes.CDLL(None, use_errno=True).syscall(number, 0, None, 0)
    return ctypes.get_errno() == errno.EINVAL


has_slices = pytest.mark.skipif(not may_ask(), reason="this kernel has no slices of a thread's own, or refuses them")


def niceness_and_slice() -> tuple[int, int]:
    """Of the calling thread; the slice in nanoseconds."""
    buffer = ctypes.create_string_buffer(_ATTR.size)
    assert ctypes.CDLL(None).syscall(_GET_ATTR[platform.machine()], 0, buffer, _ATTR.size, 0) == 0
    _, _, _, niceness, _, nanoseconds, *_ = _ATTR.unpack(buffer.raw)
    return niceness, nanoseconds


@has_slices
def test_a_thread_that_comes_first_has_a_short_slice_and_so_have_those_it_starts() -> None:
    before, found = os.getpriority(os.PRIO_PROCESS, 0), []

    def start() -> None:
        come_first()
        inner = threading.Thread(target=lambda: found.append(niceness_and_slice()))
        inner.start()
        inner.join()

    outer = threading.Thread(target=start)
    outer.start()
    outer.join()
    assert found == [(before, 100_000)]


@has_slices
async def test_background_computing_has_a_long_slice() -> None:
    before, (niceness, nanoseconds) = os.getpriority(os.PRIO_PROCESS, 0), await in_background(niceness_and_slice)
    assert (niceness, nanoseconds) == (min(before + 10, 19), 100_000_000)
    assert niceness_and_slice()[1] < 100_000_000  # it is that thread's alone


def test_a_process_that_is_as_nice_as_can_be_may_stand_back_and_another_policy_is_left_alone() -> None:
    """An operator may have given it either."""
    code = (
        "import os; from copilot_common.platform.scheduling import come_first, stand_back; os.nice(19); stand_back(10);"
        " os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0)); stand_back(1); come_first();"
        " print(os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0) == os.SCHED_BATCH)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["19", "True"]


def test_pauses_end_with_what_was_computed() -> None:
    """Else a child that waits would wake up for them. The last one may come late."""
    code = (
        "import signal; from copilot_common.platform import scheduling; scheduling._WORK_SECONDS = 60.0\n"
        "left = lambda: signal.getitimer(signal.ITIMER_REAL)[0]; ring = lambda: signal.raise_signal(signal.SIGALRM)\n"
        "pauses = scheduling.Pauses()\n"
        "for _ in range(2):\n"
        "  with pauses:\n"
        "    print(left() > 0); signal.setitimer(signal.ITIMER_REAL, 0); ring(); print(left() > 0)\n"
        "  print(left() == 0); ring(); print(left() == 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["True"] * 8


def test_where_there_is_no_such_call_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    come_first()
    stand_back(0)
