"""One run while it is led: the state machine's effects are carried out, what comes of them is recorded, and is its next
fact; until the run ends, or waits for something that is far away and its job is parked.

    recorded rows ─▶ Machine ─▶ Execute ─▶ a task (kinds/) ─▶ Done · Failed · Waits ─▶ Journal ─▶ Machine …

Steps that only compute are written down when they are done, those of 50 ms together, while the next ones are
computed. Those that call out, or wait, are written down before, with all that led to them.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from time import time
from typing import Any
from uuid import UUID

from copilot_common.base.errors import CopilotError
from copilot_common.queue import CANCEL, Job, hold, park
from copilot_domain.workflows.definition import LoopConfig
from copilot_domain.workflows.execution.doing import Attempt, StepDoer
from copilot_domain.workflows.execution.ending import RunEnder
from copilot_domain.workflows.execution.history import attempts_set_aside, begun_again_at, facts
from copilot_domain.workflows.execution.journal import Journal
from copilot_domain.workflows.execution.kinds import Toolbox
from copilot_domain.workflows.execution.outcomes import Done, Failed, Outcome, Waits
from copilot_domain.workflows.execution.outputs import Outputs, Parts
from copilot_domain.workflows.execution.patience import patiently
from copilot_domain.workflows.execution.place import Places
from copilot_domain.workflows.execution.recording import StepRecorder
from copilot_domain.workflows.execution.rows import begun_row, step_of, step_row
from copilot_domain.workflows.execution.waits import Child, Waiting, WaitReader, epoch, when_due
from copilot_domain.workflows.program import Program
from copilot_domain.workflows.runs.jobs import AdvanceRun
from copilot_domain.workflows.runs.repository import HistoryRow, RunRow, sql
from copilot_domain.workflows.state import (
    Abort,
    Chosen,
    Ended,
    Entered,
    Execute,
    Fact,
    Left,
    Machine,
    RunCancelled,
    RunStarted,
    RunTimedOut,
    StepCompleted,
    StepError,
    StepFailed,
)

_GATHER_SECONDS = 0.05  # that a step which only computed may wait for others, to be stored with them
_LINGER_SECONDS = 2.0  # for what comes so soon the run is not parked
_CHILD_LOOK_SECONDS = 60.0  # a child that ended without telling (its worker was lost for good) is found so


class ActiveRun:
    """Made for one claim of the run's job."""

    def __init__(
        self,
        toolbox: Toolbox,
        job: Job[AdvanceRun],
        row: RunRow,
        program: Program,
        history: Sequence[HistoryRow],
        *,
        journal: Journal,
        outputs: Outputs,
        places: Places,
        waits: WaitReader,
        ender: RunEnder,
    ) -> None:
        self._toolbox = toolbox
        self._job = job
        self._row = row
        self._program = program
        self._history = history
        self._journal = journal
        self._outputs = outputs
        self._places = places
        self._waits = waits
        self._ender = ender
        self._doer = StepDoer(toolbox, job, row, program, places, journal)
        self._recorder = StepRecorder(program, journal, outputs, self._doer.begun)
        self._machine = Machine(program, attempts_set_aside(history))
        self._started_at = epoch(row.started_at) or time()
        self._timed_from = begun_again_at(history) or self._started_at
        self._tasks: dict[asyncio.Task[Outcome], Execute] = {}
        self._waiting: dict[Attempt, Waiting] = {}
        self._writing: asyncio.Task[None] | None = None

    async def lead(self) -> None:
        """To its end, or until it is parked. Raises JobLost; a cancellation leaves it to the next claim."""
        try:
            self._replay()
            await self._begin()
            while (ended := await self._after_what_is_due()) is None:
                await self._ender.cancel_abandoned(self._journal)
                self._begin_due()
                if self._tasks:
                    await self._wait_for_news()
                elif not await self._look_at_waits() and await self._is_parked():
                    return
            await self._recorder.keep_outputs(ended)
            await self._ender.end(self._row, self._journal, ended)
        finally:
            await _end_all([*self._tasks, *([self._writing] if self._writing else [])])

    async def end_cancelled(self) -> None:
        try:
            self._replay()
            await self._begin()
            await self._apply([RunCancelled(time())])
            if (ended := self._machine.ended) is not None:
                await self._ender.end(self._row, self._journal, ended)
        finally:
            await _end_all([self._writing] if self._writing else [])

    async def end_refused(self, code: str, message: str) -> None:
        """It may not begin, or not go on after a retry: what was set going again then is stopped."""
        self._replay()
        if self._history:
            await self._apply([RunCancelled(time())])
        await self._ender.end(self._row, self._journal, Ended(time(), "failed", error=StepError("", code, message)))

    async def end_unbegun(self) -> None:
        """Cancelled, before there was anything to stop."""
        if self._row.event_count == 0:
            self._journal.next_event()  # run_started
        await self._ender.end(self._row, self._journal, Ended(time(), "cancelled"))

    # The past

    def _replay(self) -> None:
        """What is recorded, without doing it again."""
        self._machine = Machine(self._program, attempts_set_aside(self._history))
        if self._row.event_count == 0:
            self._journal.next_event()  # run_started
        if not self._history:
            return
        self._note_effects(self._machine.apply(RunStarted(self._started_at)))
        for fact in facts(self._row.id, self._history, self._journal.cipher):
            match fact:
                case StepCompleted(path, decision=None | Chosen()):
                    self._outputs.note(path, step_of(path))
                case StepFailed(path, code=code, message=message):
                    self._outputs.note_error(path, step_of(path), code, message)
            self._note_effects(self._machine.apply(fact))
        wanted = {(each.path, each.attempt): each for each in self._machine.outstanding()}
        if any(step.type == "workflow" for step in self._program.steps.values()):
            self._ender.look_for_abandoned()
        for row in self._history:
            key = (row.path, row.attempt)
            if row.status == "waiting" and key in wanted:
                self._waiting[key] = self._waiting_of(wanted[key], row)
            elif row.status == "running" and key in wanted and row.fact is None:
                self._doer.begun[key] = begun_row(row)

    async def _begin(self) -> None:
        """Where nothing is recorded yet."""
        if not self._history:
            await self._apply([RunStarted(self._started_at)])

    def _note_effects(self, effects: Sequence[object]) -> None:
        for effect in effects:
            if isinstance(effect, Left) and effect.status == "completed":
                kind = "items" if isinstance(self._program.steps[effect.step_id].config, LoopConfig) else "branches"
                self._outputs.note_parts(effect.path, effect.step_id, Parts(kind, effect.parts))
            elif isinstance(effect, Left) and effect.error is not None:
                self._outputs.note_error(effect.path, effect.step_id, effect.error.code, effect.error.message)

    def _waiting_of(self, execute: Execute, row: HistoryRow) -> Waiting:
        step = self._program.steps[execute.step_id]
        return Waiting(execute, step, epoch(row.due_at), row.wake_id, row.started_at.timestamp(), row.started_event)

    # What is to be done

    def _begin_due(self) -> None:
        now = time()
        for execute in self._to_begin():
            if execute.due <= now:
                self._recorder.taken_up(execute, now)
                self._tasks[asyncio.create_task(self._doer.do(execute), name=f"step {execute.step_id}")] = execute

    def _to_begin(self) -> list[Execute]:
        """At its time."""
        at_work = {(each.path, each.attempt) for each in self._tasks.values()} | self._waiting.keys()
        return [each for each in self._machine.outstanding() if (each.path, each.attempt) not in at_work]

    # What comes of it

    async def _wait_for_news(self) -> None:
        timeout = self._next_moment() - time()
        if any(waiting.wake_id for waiting in self._waiting.values()):
            timeout = min(timeout, _LINGER_SECONDS)  # what is waited for may come while something else is being done
        done = await self._done(max(0.0, timeout))
        if done is None:
            await self._look_at_waits()
            return
        facts: list[Fact] = []
        waits: list[tuple[Execute, Waits]] = []
        for task in done:
            execute = self._tasks.pop(task)
            if task.cancelled() or not self._machine.is_wanted(execute.path, execute.attempt):
                continue
            if isinstance(outcome := task.result(), Waits):
                waits.append((execute, outcome))
            else:
                facts.append(self._recorder.ended(execute, outcome))
        await self._apply(facts)  # first: what is written next must not have a fact without what follows from it
        for execute, outcome in waits:
            if self._machine.is_wanted(execute.path, execute.attempt):
                await self._begin_waiting(execute, outcome)

    async def _done(self, seconds: float) -> list[asyncio.Task[Outcome]] | None:
        """The tasks that have come to something, or none where it was the journal; None where the time is up."""
        awaited: list[asyncio.Task[Any]] = [*self._tasks, *([self._writing] if self._writing else [])]
        if not (await asyncio.wait(awaited, timeout=seconds, return_when="FIRST_COMPLETED"))[0]:
            return None
        if self._writing is not None and self._writing.done():
            written, self._writing = self._writing, None
            await written
            self._write_soon()
        return [task for task in self._tasks if task.done()]

    def _write_soon(self) -> None:
        """What follows may be computed meanwhile: whatever calls out writes before it does, and waits for this."""
        if self._writing is None and self._journal.has_news:
            self._writing = asyncio.create_task(self._write_gathered(), name="journal")

    async def _write_gathered(self) -> None:
        await asyncio.sleep(_GATHER_SECONDS)
        await self._journal.write()

    async def _begin_waiting(self, execute: Execute, waits: Waits) -> None:
        row = step_row(self._program, execute, "waiting", time())
        row.due_at, row.wake_id = waits.due, waits.wake_id
        self._journal.current_step = execute.path
        try:
            await self._journal.write_with(row, waits.action, has_own_event=row.type == "human_review")
        except CopilotError as error:
            row.status, row.due_at, row.wake_id = "running", None, None
            self._doer.begun[execute.path, execute.attempt] = row
            await self._apply([self._recorder.ended(execute, Failed(error.code, error.message))])
            return
        step = self._program.steps[execute.step_id]
        self._waiting[execute.path, execute.attempt] = Waiting(
            execute, step, waits.due, waits.wake_id, row.started_at, row.started_event
        )

    async def _apply(self, news: list[Fact]) -> None:
        """Facts whose rows wait in the journal: what follows from them is written with them, then done."""
        effects = [effect for fact in news for effect in self._machine.apply(fact)]
        self._note_effects(effects)
        for effect in effects:
            match effect:
                case Entered():
                    self._recorder.entered(effect)
                case Left():
                    self._places.forget_items(effect.path)
                    self._recorder.left(effect)
                case Abort():
                    self._abort(effect)
        if self._machine.ended is None:  # else the end goes out with it
            self._write_soon()
            if self._journal.is_full:
                await self._journal.write()

    def _abort(self, abort: Abort) -> None:
        key = (abort.path, abort.attempt)
        for task, execute in self._tasks.items():
            if (execute.path, execute.attempt) == key:
                task.cancel()
        waited = self._waiting.pop(key, None)
        self._recorder.aborted(abort, waited)
        if waited is not None and waited.step.type == "workflow":
            self._ender.look_for_abandoned()

    # Time

    async def _after_what_is_due(self) -> Ended | None:
        """Before anything else is begun, which may be wanted no more. Whether the run has ended."""
        if self._machine.ended is None:
            now = time()
            if any(each.wake_id and each.due is not None and each.due <= now for each in self._waiting.values()):
                await self._look_at_waits()  # what came in time counts, also where nobody was there to see it
            await self._apply(self._timed_facts())
        return self._machine.ended

    def _timed_facts(self) -> list[Fact]:
        now = time()
        found: list[Fact] = []
        for path, deadline in self._machine.deadlines():
            if deadline <= now:
                found.append(self._recorder.timed_out(path, now))
        for key, waiting in list(self._waiting.items()):
            if waiting.due is not None and waiting.due <= now:
                del self._waiting[key]
                outcome = when_due(waiting)
                if waiting.step.type == "workflow":
                    self._ender.look_for_abandoned()
                found.append(self._recorder.ended(waiting.execute, outcome, waiting))
        if (limit := self._run_deadline()) is not None and limit <= now:
            found.append(RunTimedOut(now))
        return found

    def _run_deadline(self) -> float | None:
        limit = self._program.definition.max_duration_ms
        return None if limit is None else self._timed_from + limit / 1000

    def _next_moment(self) -> float:
        moments = [execute.due for execute in self._to_begin()]
        moments += [waiting.due for waiting in self._waiting.values() if waiting.due is not None]
        moments += [deadline for _, deadline in self._machine.deadlines()]
        moments += [deadline] if (deadline := self._run_deadline()) is not None else []
        return min(moments, default=time() + 3_600.0)

    # Parking

    async def _is_parked(self) -> bool:
        """Whether the run waits from here on without this process."""
        await self._journal.write()
        pause = self._next_moment() - time()
        if pause <= _LINGER_SECONDS:
            await asyncio.sleep(max(0.0, pause))
            return False
        if any(waiting.step.type == "workflow" for waiting in self._waiting.values()):
            pause = min(pause, _CHILD_LOOK_SECONDS)
        signals = await patiently(lambda: self._park(timedelta(seconds=pause)))
        if CANCEL in signals:  # seen by this, so nobody else tells of it
            await self._apply([RunCancelled(time())])
        return not signals

    async def _park(self, pause: timedelta) -> Sequence[str]:
        async with self._toolbox.db.transaction(self._job.principal) as tx:
            if not (signals := await park(tx, self._job, pause)):
                waiting = self._ender.key(self._row.id) | {"event_count": self._journal.events}
                await tx.execute(sql["set_waiting"], waiting)
            return signals

    async def _look_at_waits(self) -> bool:
        """Whether something that was waited for has come. It is applied."""
        waiting = list(self._waiting.values())
        if not any(each.wake_id for each in waiting):
            return False
        outcomes, children = await patiently(lambda: self._found(waiting))
        for child in children:
            outcomes[child.id] = await self._waits.child_outcome(child)
        news = [
            self._recorder.ended(each.execute, outcome, self._waiting.pop((each.execute.path, each.execute.attempt)))
            for each in waiting
            if each.wake_id is not None and (outcome := outcomes.get(each.wake_id)) is not None
        ]
        await self._apply(news)
        return bool(news)

    async def _found(self, waiting: list[Waiting]) -> tuple[dict[UUID, Done | Failed], list[Child]]:
        async with self._toolbox.db.transaction(self._job.principal) as tx:
            await hold(tx, self._job)
            return await self._waits.look(tx, waiting)


async def _end_all(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
