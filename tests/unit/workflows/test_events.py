"""Events are told from rows: the same ones in whatever pages they are read."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from copilot_common.base.ids import TenantId
from copilot_common.encryption import Purpose, TenantCipher
from copilot_domain.workflows.runs.events import EventRows, ProgressRow, ReviewEventRow, StepEventsRow, events_between
from copilot_domain.workflows.runs.repository import encode_value, step_key
from copilot_domain.workflows.runs.types import RunStatus

RUN, WORKFLOW, REVIEW = UUID(int=1), UUID(int=2), UUID(int=3)
CIPHER = TenantCipher(TenantId(UUID(int=9)), {1: bytes(range(32))})
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
AT_NOON, LATER = "2026-01-31T12:00:00Z", "2026-01-31T12:00:05Z"


def run_row(status: RunStatus, count: int, **more: Any) -> ProgressRow:
    fields: dict[str, Any] = {
        "outputs_of": None, "error_step": None, "error_code": None, "error_sealed": None,
        "completed_at": NOON + timedelta(seconds=5),
    }  # fmt: skip
    return ProgressRow(
        id=RUN, workflow_id=WORKFLOW, version=3, status=status, event_count=count, started_at=NOON, **fields | more
    )


def step_row(path: str, status: str, begun: int | None, ended: int | None, **more: Any) -> StepEventsRow:
    fields: dict[str, Any] = {
        "attempt": 1, "type": "transform", "iteration": None, "error_code": None, "error_sealed": None,
    }  # fmt: skip
    return StepEventsRow(
        path=path, step_id=path.rpartition(".")[2], status=status, started_event=begun, ended_event=ended,
        started_at=NOON, completed_at=NOON + timedelta(seconds=5), **fields | more,
    )  # fmt: skip


def told(
    run: ProgressRow,
    steps: Sequence[StepEventsRow] = (),
    reviews: Sequence[ReviewEventRow] = (),
    outputs: bytes | None = None,
) -> list[Any]:
    events = events_between(EventRows(run, steps, reviews, outputs), CIPHER, after=0, until=run.event_count)
    assert [number for number, _ in events] == list(range(1, run.event_count + 1))
    return [msgspec.json.decode(payload) for _, payload in events]


def test_a_run_begins_with_what_it_is_of_and_ends_with_what_it_gave() -> None:
    first, *_, last = told(run_row("completed", 4), [step_row("a", "completed", 2, 3)], (), encode_value({"x": 1}))
    about = {"run_id": str(RUN), "workflow_id": str(WORKFLOW), "version": 3}
    assert first == {"type": "run_started", **about, "at": AT_NOON}
    assert last == {"type": "run_completed", "outputs": {"x": 1}, "at": LATER}


def test_a_step_is_told_with_its_path_but_without_its_output() -> None:
    row = step_row("each[2].a", "completed", 2, 3, attempt=4, iteration=2)
    about = {
        "path": "each[2].a", "step": "a", "step_type": "transform", "attempt": 4, "iteration": 2,
    }  # fmt: skip
    assert told(run_row("running", 3), [row])[1:] == [
        {"type": "step_started", **about, "at": AT_NOON},
        {"type": "step_completed", **about, "at": LATER},
    ]


def test_a_failure_has_its_error_and_a_stop_its_code() -> None:
    sealed = CIPHER.seal_text(Purpose.STEP_ERROR, step_key(RUN, "a", 1), "It was refused.")
    rows = [
        step_row("a", "failed", 2, 3, error_code="BAD_REQUEST", error_sealed=sealed),
        step_row("b", "cancelled", 4, 5),
    ]
    errors = [event["error"] for event in told(run_row("running", 5), rows) if event["type"] == "step_failed"]
    assert errors == [
        {"code": "BAD_REQUEST", "message": "It was refused."},
        {"code": "CANCELLED", "message": "The step was stopped."},
    ]


def test_a_step_that_goes_on_has_no_end_yet() -> None:
    assert [event["type"] for event in told(run_row("running", 2), [step_row("a", "running", 2, None)])] == [
        "run_started", "step_started",
    ]  # fmt: skip


def test_a_review_shows_what_is_asked() -> None:
    review = ReviewEventRow(
        id=REVIEW,
        path="ask",
        event=3,
        prompt_sealed=CIPHER.seal_text(Purpose.REVIEW_PROMPT, REVIEW, "May I?"),
        data_sealed=CIPHER.seal(Purpose.REVIEW_DATA, REVIEW, encode_value({"n": 1})),
        due_at=NOON + timedelta(seconds=5),
        created_at=NOON,
    )
    assert told(run_row("waiting", 3), [step_row("ask", "waiting", 2, None)], [review])[-1] == {
        "type": "review_requested", "review_id": str(REVIEW), "path": "ask", "prompt": "May I?", "data": {"n": 1},
        "due_at": LATER, "at": AT_NOON,
    }  # fmt: skip


@pytest.mark.parametrize("code", ["WORKER_LOST", "RUN_TIMEOUT"])
def test_a_run_that_fails_without_a_step_says_why(code: str) -> None:
    sealed = None if code == "WORKER_LOST" else CIPHER.seal_text(Purpose.RUN_ERROR, RUN, "Too long.")
    error = told(run_row("failed", 2, error_code=code, error_sealed=sealed))[-1]["error"]
    message = "The processes that ran it were lost." if sealed is None else "Too long."
    assert error == {"step": "", "code": code, "message": message}


def again() -> tuple[list[Any], list[Any]]:
    """What a run told when it had failed inside a loop, and what it tells once it was begun again and has completed."""
    run_error = CIPHER.seal_text(Purpose.RUN_ERROR, RUN, "No.")
    own, frame = (CIPHER.seal_text(Purpose.STEP_ERROR, step_key(RUN, path, 1), "No.") for path in ("l[0].a", "l"))
    leaf = step_row("l[0].a", "failed", 3, 4, iteration=0, error_code="E", error_sealed=own)
    failed = {"error_code": "E", "error_sealed": frame, "type": "loop"}
    before = told(
        run_row("failed", 6, error_step="l[0].a", error_code="E", error_sealed=run_error),
        [leaf, step_row("l", "failed", 2, 5, **failed)],
    )
    retry = StepEventsRow(
        "", 7, "l[0].a", "retry", None, "completed", "E", run_error, None, 6, NOON, NOON + timedelta(seconds=5)
    )
    after = told(
        run_row("completed", 10),
        [
            leaf,
            step_row("l", "completed", 2, 9, type="loop"),
            step_row("l", "failed", None, 5, attempt=-5, **failed),
            retry,
            step_row("l[0].a", "completed", 7, 8, attempt=2, iteration=0),
        ],
    )
    return before, after


def test_what_was_told_before_a_retry_is_told_again() -> None:
    before, after = again()
    assert [event["type"] for event in before] == [
        "run_started", "step_started", "step_started", "step_failed", "step_failed", "run_failed",
    ]  # fmt: skip
    assert after[: len(before)] == before
    assert [event["type"] for event in after[6:]] == [
        "step_started", "step_completed", "step_completed", "run_completed",
    ]  # fmt: skip


def pages(rows: EventRows, size: int) -> Iterator[tuple[int, bytes]]:
    for after in range(0, rows.run.event_count, size):
        yield from events_between(rows, CIPHER, after=after, until=min(after + size, rows.run.event_count))


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_pages_make_no_difference(size: int) -> None:
    rows = EventRows(run_row("cancelled", 6), [step_row("a", "completed", 2, 5), step_row("b", "completed", 3, 4)], [])
    assert list(pages(rows, size)) == list(pages(rows, 100))


def test_a_number_that_no_row_has_stops_nobody() -> None:
    assert [event["type"] for event in told(run_row("running", 3), [step_row("a", "running", 3, None)])] == [
        "run_started", "nothing", "step_started",
    ]  # fmt: skip
