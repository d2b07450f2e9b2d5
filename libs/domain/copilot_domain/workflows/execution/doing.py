"""The doing of a step: in one of the run's slots, within its time, and whatever goes wrong is an outcome."""

import asyncio
from time import time

from copilot_common.platform.trace import span
from copilot_common.queue import Job, JobLost
from copilot_domain.workflows.definition import Step
from copilot_domain.workflows.execution.journal import Journal
from copilot_domain.workflows.execution.kinds import KINDS, StepCall, Toolbox
from copilot_domain.workflows.execution.outcomes import Failed, Outcome, failure
from copilot_domain.workflows.execution.place import Places
from copilot_domain.workflows.execution.rows import StepRow, step_row
from copilot_domain.workflows.program import Program
from copilot_domain.workflows.runs.jobs import AdvanceRun
from copilot_domain.workflows.runs.repository import RunRow, step_key
from copilot_domain.workflows.state import Execute, Path

_AT_ONCE = 16  # steps of one run

Attempt = tuple[Path, int]


class StepDoer:
    """Of one run, under one claim of its job. `begun`: the rows of attempts that are written down as begun, and of
    which it is not known yet how they ended."""

    def __init__(
        self,
        toolbox: Toolbox,
        job: Job[AdvanceRun],
        row: RunRow,
        program: Program,
        places: Places,
        journal: Journal,
    ) -> None:
        self._toolbox = toolbox
        self._job = job
        self._row = row
        self._program = program
        self._places = places
        self._journal = journal
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self.begun: dict[Attempt, StepRow] = {}

    async def do(self, execute: Execute) -> Outcome:
        step = self._program.steps[execute.step_id]
        about = {"copilot.step.type": step.type, "copilot.step.attempt": execute.attempt}
        with span(f"step {step.type}", "internal", about) as seen:
            outcome = await self._do(execute, step)
            if isinstance(outcome, Failed):
                seen.fail(outcome.code)
            return outcome

    async def _do(self, execute: Execute, step: Step) -> Outcome:
        key = (execute.path, execute.attempt)
        if self._is_once(key):
            return Failed("OUTCOME_UNKNOWN", "The process died while the call was on its way; it is not repeated.")
        call = StepCall(
            toolbox=self._toolbox,
            job=self._job,
            depth=self._row.depth,
            step=step,
            path=execute.path,
            attempt=execute.attempt,
            key=step_key(self._row.id, execute.path, execute.attempt),
            places=self._places,
            begin=lambda once: self._write_begun(execute, once),
        )
        try:
            async with self._slots, asyncio.timeout(None if step.timeout_ms is None else step.timeout_ms / 1000):
                return await KINDS[step.type](call)
        except JobLost:
            raise
        except TimeoutError:
            if self._is_once(key):
                return Failed("OUTCOME_UNKNOWN", "The call took too long; it is not known whether it arrived.")
            return Failed("STEP_TIMEOUT", f"The step took longer than {step.timeout_ms} ms.", is_retryable=True)
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            # Nobody asked for it: it comes out of what the step has called.
            return failure(error, is_once=self._is_once(key))
        except Exception as error:
            return failure(error, is_once=self._is_once(key))

    def _is_once(self, key: Attempt) -> bool:
        begun = self.begun.get(key)
        return begun is not None and begun.decision == "once"

    async def _write_begun(self, execute: Execute, once: bool) -> None:
        """Written down before it is done."""
        key = (execute.path, execute.attempt)
        if key in self.begun:
            return
        row = step_row(self._program, execute, "running", time())
        row.decision = "once" if once else None
        row.started_event = self._journal.next_event()
        self.begun[key] = row
        self._journal.add(row)
        await self._journal.write()
