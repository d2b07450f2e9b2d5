"""What the API answers about workflows and runs, as far as this client shows it."""

from datetime import datetime
from uuid import UUID

import msgspec

Json = dict[str, object]


class Workflow(msgspec.Struct):
    """As lists show it; name and description are those of the current version."""

    id: UUID
    name: str
    description: str | None
    version: int
    created_at: datetime
    updated_at: datetime


class WorkflowStep(msgspec.Struct):
    id: str
    name: str
    type: str
    next_steps: list[str]


class WorkflowDetails(Workflow):
    steps: list[WorkflowStep]
    entry_point: str


class RunError(msgspec.Struct):
    """`step` is a path; empty where it was none."""

    code: str
    message: str
    step: str = ""


class Run(msgspec.Struct):
    id: UUID
    workflow_id: UUID
    version: int
    status: str
    current_step: str | None
    inputs: Json
    outputs: object
    error: RunError | None
    started_at: datetime | None
    completed_at: datetime | None
    created_at: datetime


class Review(msgspec.Struct):
    """`decision` is None while nobody has answered."""

    id: UUID
    step: str
    prompt: str
    data: object
    decision: str | None
    comment: str | None
    due_at: datetime | None
    created_at: datetime


class RunEvent(msgspec.Struct):
    """Any event of a run; which fields are set depends on `type`. An unknown type is to be passed over."""

    type: str
    at: datetime | None = None
    path: str = ""
    step: str = ""
    step_type: str = ""
    attempt: int = 1
    iteration: int | None = None
    error: RunError | None = None
    prompt: str | None = None
    outputs: object = None

    @property
    def status(self) -> str | None:
        """What has become of the run, or of the step."""
        return self.type.partition("_")[2] if self.type.startswith(("run_", "step_")) else None

    @property
    def is_of_run(self) -> bool:
        return self.type.startswith("run_")
