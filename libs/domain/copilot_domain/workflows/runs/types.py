"""Runs as the wire shows them."""

from datetime import datetime
from typing import Literal, get_args
from uuid import UUID

import msgspec

from copilot_domain.workflows.definition import Json

RunStatus = Literal["pending", "running", "waiting", "completed", "failed", "cancelled"]
StepStatus = Literal["running", "waiting", "completed", "failed", "cancelled"]
ReviewDecision = Literal["approve", "reject"]

STATUSES: tuple[RunStatus, ...] = get_args(RunStatus)


class RunError(msgspec.Struct, frozen=True):
    """`step` is a path, empty where the run as a whole failed."""

    step: str
    code: str
    message: str


class Run(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    workflow_id: UUID
    version: int
    status: RunStatus
    current_step: str | None
    inputs: Json
    outputs: object
    error: RunError | None
    started_at: datetime | None
    completed_at: datetime | None
    created_at: datetime


class StepFault(msgspec.Struct, frozen=True):
    code: str
    message: str


class StepUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What a model was asked and has answered. `cost_usd` is None where the price is unknown."""

    input_tokens: int
    output_tokens: int
    cost_usd: float | None


class StepRun(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at a step. A `parallel` or `loop` has no output here: it is made of its steps' outputs."""

    id: str
    path: str
    type: str
    iteration: int | None
    attempt: int
    status: StepStatus
    output: object
    error: StepFault | None
    started_at: datetime
    completed_at: datetime | None
    usage: StepUsage | None


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """What a person is asked. `step` is its path; `decision` None while nobody has answered."""

    id: UUID
    step: str
    prompt: str
    data: object
    decision: ReviewDecision | None
    comment: str | None
    due_at: datetime | None
    created_at: datetime
    answered_at: datetime | None


class NewRun(msgspec.Struct, frozen=True, kw_only=True):
    workflow_id: UUID
    inputs: Json = {}
    version: int | None = None


class ReviewAnswer(msgspec.Struct, frozen=True, kw_only=True):
    decision: ReviewDecision
    comment: str | None = None
    data: Json | None = None
