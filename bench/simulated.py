"""The provider simulator as a process: the upstream of the product and of the peers alike."""

import subprocess
import sys
from types import TracebackType

_STOP_SECONDS = 5.0


class SimulatedProvider:
    """It ends with this process, however that ends: it watches its standard input."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "copilot_devstack.simulator", "--until-stdin-closes"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = self._read_port()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def openai_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read_port(self) -> int:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if ":" not in line:
            self.close()
            raise RuntimeError("the simulator has not started")
        return int(line.strip().rpartition(":")[2])

    def __enter__(self) -> "SimulatedProvider":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
