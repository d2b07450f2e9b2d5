"""Rows of runs. What is sealed is sealed for its run, or for the attempt at a step that it belongs to."""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from uuid import UUID, uuid5

import msgspec

from copilot_common.encryption import Purpose, TenantCipher
from copilot_common.platform.sql import Queries
from copilot_domain.workflows.definition import Json
from copilot_domain.workflows.runs.types import (
    Review,
    ReviewDecision,
    Run,
    RunError,
    RunStatus,
    StepFault,
    StepRun,
    StepStatus,
    StepUsage,
)

sql = Queries(__package__)

_encode = msgspec.msgpack.Encoder(decimal_format="number", uuid_format="canonical").encode
_decode = msgspec.msgpack.Decoder().decode
_decode_json = msgspec.msgpack.Decoder(dict[str, object]).decode


def encode_value(value: object) -> bytes:
    """A JSON value as it is sealed."""
    return _encode(value)


def decode_value(encoded: bytes) -> object:
    return _decode(encoded)


@lru_cache(maxsize=4_096)
def step_key(run_id: UUID, path: str, attempt: int) -> UUID:
    """Names one attempt at a step, or (attempt 0) all of them."""
    return uuid5(run_id, f"{path}#{attempt}")


@dataclass(frozen=True, slots=True)
class RunRow:
    id: UUID
    workflow_id: UUID
    version: int
    status: RunStatus
    current_step: str | None
    inputs_sealed: bytes
    outputs_of: str | None
    error_step: str | None
    error_code: str | None
    error_sealed: bytes | None
    event_count: int
    job_id: UUID
    cancel_requested: bool
    parent_run_id: UUID | None
    depth: int
    fact_count: int
    forked_from: UUID | None
    facts_to_copy: int | None
    started_at: datetime | None
    completed_at: datetime | None
    created_at: datetime

    @property
    def has_ended(self) -> bool:
        return self.status in {"completed", "failed", "cancelled"}

    def inputs(self, cipher: TenantCipher) -> Json:
        return _decode_json(cipher.open(Purpose.RUN_INPUTS, self.id, self.inputs_sealed))

    def open(self, cipher: TenantCipher, outputs: object) -> Run:
        error = None
        if self.error_code is not None:
            error = run_error(cipher, self.id, self.error_step, self.error_code, self.error_sealed)
        return Run(
            id=self.id,
            workflow_id=self.workflow_id,
            version=self.version,
            status=self.status,
            current_step=self.current_step,
            inputs=self.inputs(cipher),
            outputs=outputs,
            error=error,
            started_at=self.started_at,
            completed_at=self.completed_at,
            created_at=self.created_at,
        )


def run_error(cipher: TenantCipher, run_id: UUID, step: str | None, code: str | None, sealed: bytes | None) -> RunError:
    """Without `sealed`, nobody was there to say more."""
    message = cipher.open_text(Purpose.RUN_ERROR, run_id, sealed) if sealed else "The processes that ran it were lost."
    return RunError(step or "", code or "", message)


@dataclass(frozen=True, slots=True)
class HistoryRow:
    path: str
    attempt: int
    step_id: str
    type: str
    status: str
    fact: int | None
    fact_at: float | None
    decision: str | None
    error_code: str | None
    error_sealed: bytes | None
    is_retryable: bool
    due_at: datetime | None
    wake_id: UUID | None
    started_event: int | None
    ended_event: int | None
    started_at: datetime


@dataclass(frozen=True, slots=True)
class OutputRow:
    path: str
    attempt: int
    output_sealed: bytes | None
    output_blob: UUID | None


@dataclass(frozen=True, slots=True)
class CopiedStepRow:
    """What a fork takes over of one attempt at a step."""

    path: str
    attempt: int
    step_id: str
    type: str
    iteration: int | None
    status: StepStatus
    fact: int | None
    fact_at: float | None
    decision: str | None
    output_sealed: bytes | None
    output_blob: UUID | None
    error_code: str | None
    error_sealed: bytes | None
    is_retryable: bool
    usage: dict[str, object] | None
    started_at: datetime
    completed_at: datetime | None


@dataclass(frozen=True, slots=True)
class ReviewRow:
    id: UUID
    run_id: UUID
    path: str
    attempt: int
    decision: str | None
    is_open: bool


@dataclass(frozen=True, slots=True)
class ShownReviewRow:
    id: UUID
    path: str
    prompt_sealed: bytes
    data_sealed: bytes | None
    decision: ReviewDecision | None
    comment_sealed: bytes | None
    due_at: datetime | None
    event: int
    created_at: datetime
    answered_at: datetime | None

    def open(self, cipher: TenantCipher) -> Review:
        data, comment = self.data_sealed, self.comment_sealed
        return Review(
            id=self.id,
            step=self.path,
            prompt=cipher.open_text(Purpose.REVIEW_PROMPT, self.id, self.prompt_sealed),
            data=decode_value(cipher.open(Purpose.REVIEW_DATA, self.id, data)) if data else None,
            decision=self.decision,
            comment=cipher.open_text(Purpose.REVIEW_COMMENT, self.id, comment) if comment else None,
            due_at=self.due_at,
            created_at=self.created_at,
            answered_at=self.answered_at,
        )


@dataclass(frozen=True, slots=True)
class StepRunRow:
    path: str
    attempt: int
    step_id: str
    type: str
    iteration: int | None
    status: StepStatus
    output_sealed: bytes | None
    output_blob: UUID | None
    error_code: str | None
    error_sealed: bytes | None
    usage: dict[str, object] | None
    started_event: int
    ended_event: int | None
    started_at: datetime
    completed_at: datetime | None

    @property
    def key(self) -> tuple[str, int]:
        return self.path, self.attempt

    def open(self, run_id: UUID, cipher: TenantCipher, output: bytes | None) -> StepRun:
        """`output` is encoded."""
        error = None
        if self.error_code is not None:
            sealed, key = self.error_sealed, step_key(run_id, self.path, self.attempt)
            error = StepFault(self.error_code, cipher.open_text(Purpose.STEP_ERROR, key, sealed) if sealed else "")
        return StepRun(
            id=self.step_id,
            path=self.path,
            type=self.type,
            iteration=self.iteration,
            attempt=self.attempt,
            status=self.status,
            output=None if output is None else decode_value(output),
            error=error,
            started_at=self.started_at,
            completed_at=self.completed_at,
            usage=None if self.usage is None else msgspec.convert(self.usage, StepUsage),
        )
