"""The routes of /workflows and of its runs."""

from collections.abc import Callable, Iterator, Mapping
from uuid import UUID, uuid4

from copilot_cli.client.http import Http
from copilot_cli.client.pages import V1, items
from copilot_cli.client.run_streams import RunStream
from copilot_cli.client.run_types import Review, Run, Workflow, WorkflowDetails
from copilot_cli.client.streams import Opening
from copilot_cli.client.types import Page

_WORKFLOWS = f"{V1}/workflows"
_RUNS = f"{_WORKFLOWS}/runs"


class WorkflowRoutes:
    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self, limit: int) -> Iterator[Workflow]:
        """Newest first."""
        return items(self._http, _WORKFLOWS, Page[Workflow], limit)

    def show(self, workflow_id: UUID) -> WorkflowDetails:
        return self._http.get(f"{_WORKFLOWS}/{workflow_id}", WorkflowDetails)

    def definition(self, workflow_id: UUID) -> dict[str, object]:
        """All there is of it."""
        return self._http.get(f"{_WORKFLOWS}/{workflow_id}", dict[str, object])

    def create(self, definition: bytes, media_type: str) -> WorkflowDetails:
        return self._http.upload("POST", _WORKFLOWS, definition, media_type, WorkflowDetails)

    def replace(self, workflow_id: UUID, definition: bytes, media_type: str) -> WorkflowDetails:
        """A new version."""
        return self._http.upload("PUT", f"{_WORKFLOWS}/{workflow_id}", definition, media_type, WorkflowDetails)

    def graph(self, workflow_id: UUID, *, run_id: UUID | None = None) -> str:
        """A Mermaid flowchart."""
        return self._http.text(f"{_WORKFLOWS}/{workflow_id}/graph", {"run_id": str(run_id) if run_id else None})

    def remove(self, workflow_id: UUID) -> None:
        self._http.delete(f"{_WORKFLOWS}/{workflow_id}")


class RunRoutes:
    def __init__(self, http: Http) -> None:
        self._http = http

    def start(self, workflow_id: UUID, inputs: Mapping[str, object]) -> Run:
        return self._http.post(_RUNS, {"workflow_id": workflow_id, "inputs": inputs}, Run, key=str(uuid4()))

    def list(self, limit: int, *, workflow_id: UUID | None = None, status: str | None = None) -> Iterator[Run]:
        """Newest first, without their outputs."""
        query = {"workflow_id": str(workflow_id) if workflow_id else None, "status": status}
        return items(self._http, _RUNS, Page[Run], limit, query)

    def show(self, run_id: UUID) -> Run:
        return self._http.get(f"{_RUNS}/{run_id}", Run)

    def cancel(self, run_id: UUID) -> Run:
        return self._http.post(f"{_RUNS}/{run_id}/cancel", None, Run)

    def retry(self, run_id: UUID) -> Run:
        return self._http.post(f"{_RUNS}/{run_id}/retry", None, Run)

    def reviews(self, run_id: UUID, limit: int) -> Iterator[Review]:
        """Oldest first."""
        return items(self._http, f"{_RUNS}/{run_id}/reviews", Page[Review], limit)

    def answer(self, run_id: UUID, review_id: UUID, decision: str, comment: str | None) -> Run:
        body = {"decision": decision} | ({"comment": comment} if comment else {})
        return self._http.post(f"{_RUNS}/{run_id}/reviews/{review_id}", body, Run)

    def events(self, run_id: UUID, *, connected: Callable[[bool], None] = lambda is_there: None) -> RunStream:
        """From the first on; live while the run goes on."""

        def read(after: int) -> Opening:
            headers = {"Last-Event-ID": str(after)} if after else None
            return self._http.stream("GET", f"{_RUNS}/{run_id}/events", headers=headers)

        return RunStream(read, connected=connected)
