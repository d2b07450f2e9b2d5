"""A run's recorded rows as the facts that the state machine replays."""

from collections.abc import Iterable, Iterator, Sequence
from uuid import UUID

from copilot_common.encryption import Purpose, TenantCipher
from copilot_domain.workflows.runs.repository import HistoryRow, step_key
from copilot_domain.workflows.state import (
    Checked,
    Chosen,
    Counted,
    Decision,
    Fact,
    Path,
    RunRetried,
    StepCompleted,
    StepFailed,
    StepTimedOut,
)

TIMED_OUT = "timeout"
"""The type of the row, with attempt 0, that says that a `parallel` or `loop` took too long."""

RETRIED = "retry"
"""The type of the row without a path that says that the run was begun again."""

_FRAMES = {"parallel", "loop"}


def facts(run_id: UUID, rows: Iterable[HistoryRow], cipher: TenantCipher) -> Iterator[Fact]:
    """In their order. What has none (still going on, aborted, set aside by a retry) gives none."""
    for row in rows:
        if row.fact is not None and row.fact_at is not None:
            yield _fact(run_id, row, row.fact_at, cipher)


def attempts_set_aside(rows: Sequence[HistoryRow]) -> dict[Path, int]:
    """By path, the last attempt that a retry does anew."""
    made: dict[Path, int] = {}
    for row in rows:
        if is_set_aside(row):
            made[row.path] = max(row.attempt, made.get(row.path, 0))
    return made


def is_set_aside(row: HistoryRow) -> bool:
    """An attempt that is no part of the history any more; the row of a `parallel` or `loop` is none."""
    is_frame = row.type in _FRAMES and not row.path.endswith("]")
    return row.fact is None and row.status in {"failed", "cancelled"} and not is_frame


def begun_again_at(rows: Sequence[HistoryRow]) -> float | None:
    """When the run was begun again for the last time: its own time counts from there."""
    return max((row.fact_at for row in rows if row.type == RETRIED and row.fact_at is not None), default=None)


def encode_decision(decision: Decision | None) -> str | None:
    match decision:
        case Chosen(next=chosen):
            return f"next:{chosen or ''}"
        case Counted(count):
            return f"count:{count}"
        case Checked(goes_on):
            return f"goes_on:{int(goes_on)}"
    return None


def _decode_decision(encoded: str | None) -> Decision | None:
    kind, _, value = (encoded or "").partition(":")
    match kind:
        case "next":
            return Chosen(value or None)
        case "count":
            return Counted(int(value))
        case "goes_on":
            return Checked(value == "1")
    return None


def _fact(run_id: UUID, row: HistoryRow, at: float, cipher: TenantCipher) -> Fact:
    if row.type == TIMED_OUT:
        return StepTimedOut(row.path, at)
    if row.type == RETRIED:
        return RunRetried(at)
    decision = _decode_decision(row.decision)
    if row.status == "completed" or isinstance(decision, Counted):  # a loop that goes on has its count already
        return StepCompleted(row.path, row.attempt, at, decision)
    message = ""
    if row.error_sealed is not None:
        key = step_key(run_id, row.path, row.attempt)
        message = cipher.open_text(Purpose.STEP_ERROR, key, row.error_sealed)
    return StepFailed(row.path, row.attempt, at, row.error_code or "", message, row.is_retryable)
