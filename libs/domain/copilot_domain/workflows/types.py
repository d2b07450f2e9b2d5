"""Workflows and their versions, as the wire shows them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from copilot_domain.workflows.definition import Concurrency, Definition, GoTo, Json, RetryPolicy, Step, StepType


class ShownStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step that can be sent back as it is shown. What `config` holds depends on `type`."""

    id: str
    name: str
    type: StepType
    config: Json
    next_steps: list[str]
    on_error: Literal["fail", "continue"] | GoTo
    retry: RetryPolicy | None
    timeout_ms: int | None

    @classmethod
    def of(cls, step: Step) -> "ShownStep":
        return cls(
            id=step.id,
            name=step.name,
            type=step.type,
            config=msgspec.to_builtins(step.config),
            next_steps=step.next_steps,
            on_error=step.on_error,
            retry=None if step.retry == RetryPolicy() else step.retry,
            timeout_ms=step.timeout_ms,
        )


class WorkflowSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What lists show; name and description are those of the current version."""

    id: UUID
    name: str
    description: str | None
    version: int
    user_id: UUID
    created_at: datetime
    updated_at: datetime


class Workflow(WorkflowSummary, frozen=True, kw_only=True):
    """One version in full. `version` tells which; `updated_at` is when the current one was made."""

    steps: list[ShownStep]
    entry_point: str
    inputs_schema: Json | None
    concurrency: Concurrency | None
    priority: int
    max_duration_ms: int | None
    metadata: Json


class WorkflowVersion(msgspec.Struct, frozen=True, kw_only=True):
    """`user_id`: who made it."""

    workflow_id: UUID
    version: int
    user_id: UUID
    created_at: datetime


class NewVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A definition that was found valid; `version`, where given, is what the caller takes it for."""

    definition: Definition
    version: int | None = None


@dataclass(frozen=True, slots=True)
class PinnedDefinition:
    """What a run is of."""

    workflow_id: UUID
    version: int
    definition: Definition
