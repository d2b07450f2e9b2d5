"""CPU time that servers use while a load runs: what explains a throughput on two cores."""

from collections.abc import Mapping

import psutil


class CpuMeter:
    """Starts when made. A process counts with its children (PostgreSQL's backends); None is left out."""

    def __init__(self, pids: Mapping[str, int | None]) -> None:
        self._pids = {name: pid for name, pid in pids.items() if pid is not None}
        self._began = self._read()

    def ms_since_start(self) -> dict[str, float]:
        return {name: round((seconds - self._began[name]) * 1000, 1) for name, seconds in self._read().items()}

    def _read(self) -> dict[str, float]:
        return {name: _cpu_seconds(pid) for name, pid in self._pids.items()}


def _cpu_seconds(pid: int) -> float:
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        gone = process.cpu_times()
        return sum(_own_seconds(member) for member in family) + gone.children_user + gone.children_system
    except psutil.Error:
        return 0.0


def _own_seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)
