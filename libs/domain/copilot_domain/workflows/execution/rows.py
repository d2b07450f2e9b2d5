"""Rows of a run's steps as they are written: made from what is to be done, or what has come of it."""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from copilot_domain.workflows.execution.history import TIMED_OUT
from copilot_domain.workflows.execution.outcomes import Done, Failed
from copilot_domain.workflows.program import Program
from copilot_domain.workflows.runs.outputs import MAX_OUTPUT_BYTES
from copilot_domain.workflows.runs.repository import HistoryRow, encode_value
from copilot_domain.workflows.runs.types import StepUsage
from copilot_domain.workflows.state import Execute, Path

Status = Literal["running", "waiting", "completed", "failed", "cancelled"]


@dataclass(slots=True, kw_only=True)
class StepRow:
    """One attempt at a step. `output` is encoded; it and `error` are sealed on the way out. Moments: epoch seconds."""

    path: str
    attempt: int
    step_id: str
    type: str
    iteration: int | None
    status: Status
    started_at: float
    completed_at: float | None = None
    fact: int | None = None
    fact_at: float | None = None
    decision: str | None = None
    output: bytes | None = None
    error_code: str | None = None
    error: str | None = None
    is_retryable: bool = False
    due_at: float | None = None
    wake_id: UUID | None = None
    usage: StepUsage | None = None
    started_event: int | None = None
    ended_event: int | None = None


def step_row(program: Program, execute: Execute, status: Status, started_at: float) -> StepRow:
    return StepRow(
        path=execute.path,
        attempt=execute.attempt,
        step_id=execute.step_id,
        type=program.steps[execute.step_id].type,
        iteration=iteration_of(program, execute.path),
        status=status,
        started_at=started_at,
    )


def frame_row(program: Program, path: Path, step_id: str, at: float) -> StepRow:
    """Of a `parallel` or `loop`."""
    return StepRow(
        path=path,
        attempt=1,
        step_id=step_id,
        type=program.steps[step_id].type,
        iteration=iteration_of(program, path),
        status="running",
        started_at=at,
    )


def begun_row(row: HistoryRow) -> StepRow:
    """One that an earlier claim has written, of a step that had begun."""
    return StepRow(
        path=row.path,
        attempt=row.attempt,
        step_id=row.step_id,
        type=row.type,
        iteration=None,
        status="running",
        started_at=row.started_at.timestamp(),
        decision=row.decision,
        started_event=row.started_event,
    )


def timeout_row(path: Path, at: float, *, fact: int) -> StepRow:
    """Not a step's: the fact that a `parallel` or `loop` took too long."""
    return StepRow(
        path=path,
        attempt=0,
        step_id=step_of(path),
        type=TIMED_OUT,
        iteration=None,
        status="failed",
        started_at=at,
        completed_at=at,
        fact=fact,
        fact_at=at,
    )


def merged(earlier: StepRow, later: StepRow) -> StepRow:
    """Of one attempt: the later row, and what it leaves open."""
    for name in ("started_event", "ended_event", "completed_at", "fact", "fact_at", "decision", "output"):
        if getattr(later, name) is None:
            setattr(later, name, getattr(earlier, name))
    return later


def encoded(outcome: Done | Failed) -> tuple[Done | Failed, bytes | None]:
    """With its output as it is kept; one that is too large is a failure."""
    if not isinstance(outcome, Done) or outcome.output is None:
        return outcome, None
    output = encode_value(outcome.output)
    if len(output) > MAX_OUTPUT_BYTES:
        return Failed("OUTPUT_TOO_LARGE", f"A step's output has at most {MAX_OUTPUT_BYTES} bytes."), None
    return outcome, output


def iteration_of(program: Program, path: Path) -> int | None:
    """Of the innermost loop around it."""
    prefix = path if path.endswith("]") else path.rpartition(".")[0]
    while prefix:
        frame, _, index = prefix.rpartition("[")
        if program.steps[step_of(frame)].type == "loop":
            return int(index.rstrip("]"))
        prefix = frame.rpartition(".")[0]
    return None


def step_of(path: Path) -> str:
    """The id of the step at a path: `check` of `each[3].check`, `each` of `each[3]`."""
    return path.rpartition(".")[2].partition("[")[0]
