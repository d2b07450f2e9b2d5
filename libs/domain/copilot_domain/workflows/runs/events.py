"""A run's events. No table has them: they are told from the rows of the run, its steps and its reviews, which have
their numbers; so they are the same whenever and wherever they are asked for.

Number 1 is `run_started`. A run that has ended, ends with `run_completed`, `run_failed` or `run_cancelled`; one that is
begun again goes on behind its `run_failed`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

import msgspec

from copilot_common.encryption import Purpose, TenantCipher
from copilot_domain.conversations.generation.events import EventBatch
from copilot_domain.workflows.execution.history import RETRIED
from copilot_domain.workflows.runs.repository import decode_value, run_error, step_key
from copilot_domain.workflows.runs.types import RunError, RunStatus, StepFault

CANCELLED = "CANCELLED"

StepEventType = Literal["step_started", "step_completed", "step_failed"]


class RunStarted(msgspec.Struct, tag_field="type", tag="run_started", kw_only=True):
    run_id: UUID
    workflow_id: UUID
    version: int
    at: datetime


class StepEvent(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One attempt at a step has begun (or begun to wait), or has ended; without its output, which the list of steps
    has. `iteration`: of the innermost loop around it. `error`: where it failed, CANCELLED where it was stopped."""

    type: StepEventType
    path: str
    step: str
    step_type: str
    attempt: int
    iteration: int | None
    at: datetime
    error: StepFault | None = None


class ReviewRequested(msgspec.Struct, tag_field="type", tag="review_requested", kw_only=True):
    review_id: UUID
    path: str
    prompt: str
    data: object
    due_at: datetime | None
    at: datetime


class RunCompleted(msgspec.Struct, tag_field="type", tag="run_completed", kw_only=True):
    outputs: object
    at: datetime


class RunFailed(msgspec.Struct, tag_field="type", tag="run_failed", kw_only=True):
    error: RunError
    at: datetime


class RunCancelled(msgspec.Struct, tag_field="type", tag="run_cancelled", kw_only=True):
    at: datetime


class _Nothing(msgspec.Struct, tag_field="type", tag="nothing"):
    """In the place of a number that no row has. There should be none; a gap would stop every reader."""


Event = RunStarted | StepEvent | ReviewRequested | RunCompleted | RunFailed | RunCancelled

_encode = msgspec.json.Encoder(decimal_format="number").encode
_NOTHING = _encode(_Nothing())


@dataclass(frozen=True, slots=True)
class ProgressRow:
    """How far a run is."""

    id: UUID
    workflow_id: UUID
    version: int
    status: RunStatus
    outputs_of: str | None
    error_step: str | None
    error_code: str | None
    error_sealed: bytes | None
    event_count: int
    started_at: datetime
    completed_at: datetime | None

    @property
    def has_ended(self) -> bool:
        return self.status in {"completed", "failed", "cancelled"}


@dataclass(frozen=True, slots=True)
class StepEventsRow:
    """An attempt at a step. One of the type `retry` has the end of the run that was begun again; a negative attempt is
    how a `parallel` or `loop` had ended that was set going again."""

    path: str
    attempt: int
    step_id: str
    type: str
    iteration: int | None
    status: str
    error_code: str | None
    error_sealed: bytes | None
    started_event: int | None
    ended_event: int | None
    started_at: datetime
    completed_at: datetime | None


@dataclass(frozen=True, slots=True)
class ReviewEventRow:
    id: UUID
    path: str
    event: int
    prompt_sealed: bytes
    data_sealed: bytes | None
    due_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class EventRows:
    """What was read of a run. `outputs` is encoded; only the event that ends a completed run needs it."""

    run: ProgressRow
    steps: Sequence[StepEventsRow]
    reviews: Sequence[ReviewEventRow]
    outputs: bytes | None = None


def events_between(rows: EventRows, cipher: TenantCipher, *, after: int, until: int) -> EventBatch:
    """All of the numbers from `after + 1` to `until`. What else the rows have is passed over."""
    found: dict[int, bytes] = {
        number: _encode(event) for number, event in _events(rows, cipher) if after < number <= until
    }
    return [(number, found.get(number, _NOTHING)) for number in range(after + 1, until + 1)]


def _events(rows: EventRows, cipher: TenantCipher) -> Iterator[tuple[int, Event]]:
    run = rows.run
    if run.has_ended:
        yield run.event_count, _end(rows, cipher)
    started = RunStarted(run_id=run.id, workflow_id=run.workflow_id, version=run.version, at=_utc(run.started_at))
    yield 1, started
    for step in rows.steps:
        yield from _of_step(run.id, step, cipher)
    for review in rows.reviews:
        yield review.event, _of_review(review, cipher)


def _end(rows: EventRows, cipher: TenantCipher) -> Event:
    run = rows.run
    at = _utc(run.completed_at or run.started_at)
    match run.status:
        case "completed":
            return RunCompleted(outputs=None if rows.outputs is None else decode_value(rows.outputs), at=at)
        case "failed":
            return RunFailed(error=run_error(cipher, run.id, run.error_step, run.error_code, run.error_sealed), at=at)
        case _:
            return RunCancelled(at=at)


def _of_step(run_id: UUID, row: StepEventsRow, cipher: TenantCipher) -> Iterator[tuple[int, Event]]:
    ended_at = row.completed_at or row.started_at
    if row.type == RETRIED:
        if row.ended_event is not None:
            error = run_error(cipher, run_id, row.step_id, row.error_code, row.error_sealed)
            yield row.ended_event, RunFailed(error=error, at=_utc(ended_at))
        return
    if row.started_event is not None:
        yield row.started_event, _step_event(row, "step_started", row.started_at)
    if row.ended_event is None:
        return
    if row.status == "completed":
        yield row.ended_event, _step_event(row, "step_completed", ended_at)
    else:
        yield row.ended_event, _step_event(row, "step_failed", ended_at, _fault(run_id, row, cipher))


def _step_event(
    row: StepEventsRow, event_type: StepEventType, at: datetime, error: StepFault | None = None
) -> StepEvent:
    return StepEvent(
        type=event_type,
        path=row.path,
        step=row.step_id,
        step_type=row.type,
        attempt=max(row.attempt, 1),
        iteration=row.iteration,
        at=_utc(at),
        error=error,
    )


def _fault(run_id: UUID, row: StepEventsRow, cipher: TenantCipher) -> StepFault:
    if row.error_code is None:
        return StepFault(CANCELLED, "The step was stopped.")
    sealed, key = row.error_sealed, step_key(run_id, row.path, max(row.attempt, 1))
    return StepFault(row.error_code, cipher.open_text(Purpose.STEP_ERROR, key, sealed) if sealed else "")


def _of_review(row: ReviewEventRow, cipher: TenantCipher) -> ReviewRequested:
    data = row.data_sealed
    return ReviewRequested(
        review_id=row.id,
        path=row.path,
        prompt=cipher.open_text(Purpose.REVIEW_PROMPT, row.id, row.prompt_sealed),
        data=None if data is None else decode_value(cipher.open(Purpose.REVIEW_DATA, row.id, data)),
        due_at=None if row.due_at is None else _utc(row.due_at),
        at=_utc(row.created_at),
    )


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
