"""The two workers as processes of the stack: the workflow engine and the context service."""

import http.client
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from copilot_devstack.home import Home
from copilot_devstack.ports import LOOPBACK, free_port, is_free
from copilot_devstack.server import Server


class WorkerServer(Server):
    """`connections` gives the settings that only the stack knows; they win over `environ`'s."""

    # Longer than DRAIN_SECONDS, in which running jobs may end.
    stop_steps = ((signal.SIGTERM, 35.0), (signal.SIGKILL, 10.0))
    parent_death_signal = signal.SIGTERM
    module: str

    def __init__(
        self,
        home: Home,
        *,
        environ: Mapping[str, str],
        connections: Callable[[], Mapping[str, str]],
        ends_with_parent: bool = False,
    ) -> None:
        super().__init__(home, ends_with_parent=ends_with_parent)
        self._home = home
        self._environ = environ
        self._connections = connections

    def _command(self, port: int) -> list[str]:
        return [sys.executable, "-m", self.module]

    def _folder(self) -> Path:
        return self._home.path

    def _environment(self, port: int) -> Mapping[str, str]:
        return {
            "PATH": os.defpath,
            "NODE_ENV": "development",
            **self._environ,
            **self._connections(),
            "HOST": LOOPBACK,
            "PROBE_PORT": str(port),
            "PYTHONUNBUFFERED": "1",
        }

    def _choose_port(self, last: int | None) -> int:
        """Any free one: nobody but `dev.json` needs to know it."""
        return last if last is not None and is_free(last, LOOPBACK) else free_port()

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=2)
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


class WorkflowEngineServer(WorkerServer):
    name = "workflow_engine"
    title = "Workflow Engine"
    module = "copilot_workflow_engine"


class ContextServiceServer(WorkerServer):
    name = "context_service"
    title = "Context Service"
    module = "copilot_context_service"
