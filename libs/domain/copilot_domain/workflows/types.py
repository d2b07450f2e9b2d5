"""Workflows and their versions, as the wire shows them."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec

from copilot_domain.workflows.definition import Concurrency, Definition, Json, Step


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

    steps: list[Step]
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
