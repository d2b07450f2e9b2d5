"""Resident memory of a process, as the kernel has seen it, and of its children, looked at again and again."""

from pathlib import Path
from threading import Event, Thread
from types import TracebackType

import psutil

_EVERY_SECONDS = 5.0  # finding children and counting shared pages takes some 15 ms of a core: searches would feel it
_MIB = 1024 * 1024


class ResidentMemory:
    """The highest, in MiB: of the process at any moment since its start, with its children of those that were looked
    at. Pages that processes share are counted once for each, but by parts in `together_mib` (PSS)."""

    def __init__(self, pid: int) -> None:
        self.alone_mib = self.with_children_mib = self.together_mib = 0.0
        self._process = psutil.Process(pid)
        self._end = Event()
        self._thread = Thread(target=self._look_on, name="resident memory", daemon=True)

    def __enter__(self) -> "ResidentMemory":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        self.alone_mib = _peak_mib(self._process.pid)

    def _look_on(self) -> None:
        while not self._end.wait(_EVERY_SECONDS):
            family = (self._process, *_children(self._process))
            self.with_children_mib = max(self.with_children_mib, sum(map(_rss_mib, family)))
            self.together_mib = max(self.together_mib, sum(map(_pss_mib, family)))


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _peak_mib(pid: int) -> float:
    """Linux tells it in KiB, of a process that lives."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def _rss_mib(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss) / _MIB
    except psutil.Error:
        return 0.0


def _pss_mib(process: psutil.Process) -> float:
    """All that is resident, where the kernel does not tell it."""
    try:
        memory = process.memory_full_info()
    except psutil.Error:
        return 0.0
    return float(getattr(memory, "pss", memory.rss)) / _MIB
