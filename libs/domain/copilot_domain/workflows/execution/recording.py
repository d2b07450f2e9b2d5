"""What becomes of a run's steps, put into its journal as rows; when they are written is the run's."""

from time import time

from copilot_domain.workflows.execution.doing import Attempt
from copilot_domain.workflows.execution.history import encode_decision
from copilot_domain.workflows.execution.journal import Journal
from copilot_domain.workflows.execution.outcomes import Done, Failed
from copilot_domain.workflows.execution.outputs import Outputs
from copilot_domain.workflows.execution.rows import StepRow, encoded, frame_row, step_of, step_row, timeout_row
from copilot_domain.workflows.execution.waits import Waiting
from copilot_domain.workflows.program import Program
from copilot_domain.workflows.runs.repository import encode_value
from copilot_domain.workflows.state import (
    Abort,
    Ended,
    Entered,
    Execute,
    Fact,
    Left,
    Path,
    StepCompleted,
    StepFailed,
    StepTimedOut,
)


class StepRecorder:
    """Of one run, under one claim of its job. `begun`: see StepDoer."""

    def __init__(self, program: Program, journal: Journal, outputs: Outputs, begun: dict[Attempt, StepRow]) -> None:
        self._program = program
        self._journal = journal
        self._outputs = outputs
        self._begun = begun
        self._entered: dict[Path, StepRow] = {}
        self._taken_up: dict[Attempt, float] = {}

    def taken_up(self, execute: Execute, at: float) -> None:
        """It is being done; there is no row of it yet."""
        self._taken_up[execute.path, execute.attempt] = at

    def ended(self, execute: Execute, outcome: Done | Failed, waited: Waiting | None = None) -> Fact:
        now = time()
        row = self._ending_row(execute, waited, now)
        is_step = not execute.path.endswith("]") and not self._is_loop_plan(execute)
        if is_step:
            row.started_event = row.started_event or self._journal.next_event()
            row.ended_event = row.ended_event or self._journal.next_event()
            self._journal.current_step = execute.path
        row.completed_at = row.fact_at = now
        row.fact, row.decision = self._journal.next_fact(), None
        fact: Fact
        outcome, row.output = encoded(outcome)
        if isinstance(outcome, Done):
            fact = self._completed(row, execute, outcome, now)
        else:
            row.status, row.error_code, row.error = "failed", outcome.code, outcome.message
            row.is_retryable = outcome.is_retryable
            self._outputs.note_error(execute.path, execute.step_id, outcome.code, outcome.message)
            fact = StepFailed(execute.path, execute.attempt, now, outcome.code, outcome.message, outcome.is_retryable)
        self._journal.add(row)
        return fact

    def timed_out(self, path: Path, at: float) -> Fact:
        """A `parallel` or `loop`."""
        self._journal.add(timeout_row(path, at, fact=self._journal.next_fact()))
        return StepTimedOut(path, at)

    def entered(self, entered: Entered) -> None:
        row = frame_row(self._program, entered.path, entered.step_id, entered.at)
        row.started_event = self._journal.next_event()
        self._entered[entered.path] = row
        self._journal.add(row)

    def left(self, left: Left) -> None:
        row = self._entered.pop(left.path, None) or frame_row(self._program, left.path, left.step_id, left.at)
        row.status, row.completed_at, row.ended_event = left.status, left.at, self._journal.next_event()
        if left.error is not None:
            row.error_code, row.error = left.error.code, left.error.message
        self._journal.add(row)

    def aborted(self, abort: Abort, waited: Waiting | None) -> None:
        """Nothing is told of one that nobody has seen begin."""
        key = (abort.path, abort.attempt)
        self._taken_up.pop(key, None)
        row = self._begun.pop(key, None)
        if row is None and waited is not None:
            row = step_row(self._program, waited.execute, "cancelled", waited.started_at)
        if row is not None:
            row.status, row.decision = "cancelled", None
            row.completed_at, row.ended_event = time(), self._journal.next_event()
            self._journal.add(row)

    async def keep_outputs(self, ended: Ended) -> None:
        """What a `parallel` or `loop` gives is made of others; as the run's own it is stored once, with the run's end:
        whoever wrote that it was left may have died since."""
        path = ended.outputs_of
        if path is not None and self._program.steps[step_of(path)].type in {"parallel", "loop"}:
            row = frame_row(self._program, path, step_of(path), time())
            row.status, row.output = "completed", encode_value(await self._outputs.value(path))
            self._journal.add(row)

    def _ending_row(self, execute: Execute, waited: Waiting | None, now: float) -> StepRow:
        key = (execute.path, execute.attempt)
        began = self._taken_up.pop(key, now)
        row = self._begun.pop(key, None) or step_row(
            self._program, execute, "running", waited.started_at if waited else began
        )
        if waited is not None:
            row.started_event = waited.started_event
        return row

    def _completed(self, row: StepRow, execute: Execute, outcome: Done, now: float) -> Fact:
        row.decision, row.usage = encode_decision(outcome.decision), outcome.usage
        if self._is_loop_plan(execute):  # the loop's own row: it goes on
            row.status, row.completed_at = "running", None
            if (entered := self._entered.get(execute.path)) is not None:
                row.started_at, row.started_event = entered.started_at, entered.started_event
        else:
            row.status = "completed"
            if not execute.path.endswith("]"):
                self._outputs.note(execute.path, execute.step_id, row.output)
        return StepCompleted(execute.path, execute.attempt, now, outcome.decision)

    def _is_loop_plan(self, execute: Execute) -> bool:
        """Not a step, but how many iterations a loop has."""
        return not execute.path.endswith("]") and self._program.steps[execute.step_id].type == "loop"
