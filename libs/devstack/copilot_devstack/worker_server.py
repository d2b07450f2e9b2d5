"""The two workers as processes of the stack: the workflow engine and the context service."""

import signal
from collections.abc import Mapping

from copilot_devstack.ports import LOOPBACK, free_port, is_free
from copilot_devstack.service_server import ServiceServer


class WorkerServer(ServiceServer):
    # Longer than DRAIN_SECONDS, in which running jobs may end.
    stop_steps = ((signal.SIGTERM, 35.0), (signal.SIGKILL, 10.0))
    parent_death_signal = signal.SIGTERM

    def _listening(self, port: int) -> Mapping[str, str]:
        return {"HOST": LOOPBACK, "PROBE_PORT": str(port)}

    def _choose_port(self, last: int | None) -> int:
        """Any free one: nobody but `dev.json` needs to know it."""
        return last if last is not None and is_free(last, LOOPBACK) else free_port()


class WorkflowEngineServer(WorkerServer):
    name = "workflow_engine"
    title = "Workflow Engine"
    module = "copilot_workflow_engine"


class ContextServiceServer(WorkerServer):
    name = "context_service"
    title = "Context Service"
    module = "copilot_context_service"
