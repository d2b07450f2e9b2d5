"""What a fork begins with: of the run it comes from, what had happened until the step at which it begins.

Rows are opened and sealed anew, since each is sealed for its run; nothing is done or paid for again. The events that
belong to them get numbers of their own. A copy that its process did not live to finish is gone on with by the next.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from copilot_common.base.errors import NotFound
from copilot_common.encryption import Purpose, TenantCipher
from copilot_common.queue import Job, hold
from copilot_domain.workflows.execution.history import RETRIED, attempts_set_aside, facts, is_set_aside
from copilot_domain.workflows.execution.journal import Journal
from copilot_domain.workflows.execution.kinds import Toolbox
from copilot_domain.workflows.execution.patience import patiently
from copilot_domain.workflows.execution.rows import StepRow
from copilot_domain.workflows.program import Program
from copilot_domain.workflows.runs.forking import started_at
from copilot_domain.workflows.runs.jobs import AdvanceRun
from copilot_domain.workflows.runs.outputs import OutputReader
from copilot_domain.workflows.runs.repository import CopiedStepRow, HistoryRow, RunRow, sql, step_key
from copilot_domain.workflows.runs.types import StepUsage
from copilot_domain.workflows.state import Machine, RunStarted, going_on

_ROWS = 50  # read and written at once
_NUMBERED = 5_000  # by one statement: none may come near the time-out of statements


@dataclass(slots=True)
class Planned:
    """One row of the copy. `is_open`: a `parallel` or `loop` in which the fork begins, whatever became of it later."""

    path: str
    attempt: int
    is_fact: bool
    is_open: bool
    started_event: int | None
    ended_event: int | None


def plan_copy(
    source: RunRow,
    program: Program,
    history: Sequence[HistoryRow],
    cipher: TenantCipher,
    *,
    facts_to_copy: int,
    events_before: int,
) -> list[Planned]:
    """The rows of the first facts, the frames they stand in, and the attempts that retries have set aside; their events
    in their order, numbered anew."""
    kept = [row for row in history if row.fact is not None][:facts_to_copy]
    recorded = [RunStarted(started_at(source)), *facts(source.id, kept, cipher)]
    frames = going_on(Machine(program, attempts_set_aside(history)), recorded)
    keys, paths = {(row.path, row.attempt) for row in kept}, {row.path for row in kept}
    last_event = max((row.ended_event or 0 for row in kept), default=0)
    planned = [
        _planned(row, is_fact=(row.path, row.attempt) in keys, is_open=row.attempt == 1 and frames.get(row.path, False))
        for row in history
        if (row.path, row.attempt) in keys
        or (row.attempt == 1 and row.path in frames)
        or (row.path in paths and is_set_aside(row) and (row.ended_event or 0) <= last_event)
    ]
    _number(planned, events_before + 1)
    return planned


def _planned(row: HistoryRow, *, is_fact: bool, is_open: bool) -> Planned:
    has_end = not is_open and row.type != RETRIED  # that number is of the end which the retry took back
    return Planned(row.path, row.attempt, is_fact, is_open, row.started_event, row.ended_event if has_end else None)


def _number(planned: Sequence[Planned], first: int) -> None:
    told = {each.started_event for each in planned} | {each.ended_event for each in planned}
    numbers = {old: new for new, old in enumerate(sorted(old for old in told if old is not None), start=first)}
    for each in planned:
        each.started_event = numbers.get(each.started_event or 0)
        each.ended_event = numbers.get(each.ended_event or 0)


class HistoryCopier:
    """Of one fork, under one claim of its job."""

    def __init__(
        self,
        toolbox: Toolbox,
        job: Job[AdvanceRun],
        row: RunRow,
        program: Program,
        journal: Journal,
        reader: OutputReader,
    ) -> None:
        self._toolbox = toolbox
        self._job = job
        self._row = row
        self._program = program
        self._journal = journal
        self._reader = reader
        tenant: dict[str, object] = {"tenant_id": job.tenant_id}
        self._own = tenant | {"run_id": row.id}
        self._source = tenant | {"run_id": row.forked_from, "id": row.forked_from}

    async def copy(self) -> None:
        """Nobody is told of any of it before all is there. Raises JobLost; NotFound where the run that it comes from is
        gone."""
        planned, done = await patiently(self._plan)
        left = [each for each in planned if (each.path, each.attempt) not in done]
        for first in range(0, len(left), _ROWS):
            await self._write(left[first : first + _ROWS])
        await patiently(lambda: self._finish(planned))

    async def _plan(self) -> tuple[list[Planned], set[tuple[str, int]]]:
        """And what an earlier claim has copied."""
        async with self._toolbox.db.transaction(self._job.principal) as tx:
            source = await tx.fetch_one(RunRow, sql["get_run"], self._source)
            if source is None:
                raise NotFound("run")
            history = await tx.fetch_all(HistoryRow, sql["history"], self._source)
            copied = await tx.fetch_all(HistoryRow, sql["history"], self._own)
        planned = await asyncio.to_thread(
            plan_copy,
            source,
            self._program,
            history,
            self._journal.cipher,
            facts_to_copy=self._row.facts_to_copy or 0,
            events_before=self._events_before,
        )
        return planned, {(row.path, row.attempt) for row in copied}

    async def _write(self, batch: Sequence[Planned]) -> None:
        rows = await patiently(lambda: self._read(batch))
        for each in batch:
            self._journal.add(await self._copied(rows[each.path, each.attempt], each))
            if rows[each.path, each.attempt].output_blob is not None:  # large: one at a time
                await self._journal.write()
        await self._journal.write()

    async def _read(self, batch: Sequence[Planned]) -> dict[tuple[str, int], CopiedStepRow]:
        keys = {"paths": [each.path for each in batch], "attempts": [each.attempt for each in batch]}
        async with self._toolbox.db.transaction(self._job.principal) as tx:
            rows = await tx.fetch_all(CopiedStepRow, sql["steps_to_copy"], self._source | keys)
        if len(rows) < len(batch):
            raise NotFound("run")
        return {(row.path, row.attempt): row for row in rows}

    async def _copied(self, row: CopiedStepRow, planned: Planned) -> StepRow:
        key = step_key(self._row.forked_from or self._row.id, row.path, row.attempt)
        copy = StepRow(
            path=row.path,
            attempt=row.attempt,
            step_id=row.step_id,
            type=row.type,
            iteration=row.iteration,
            status="running" if planned.is_open else row.status,
            started_at=row.started_at.timestamp(),
        )
        if planned.is_fact:
            copy.fact, copy.fact_at, copy.decision = row.fact, row.fact_at, row.decision
        if planned.is_open or row.type == RETRIED:
            return copy
        copy.completed_at = row.completed_at.timestamp() if row.completed_at else None
        copy.error_code, copy.is_retryable = row.error_code, row.is_retryable
        if row.error_sealed is not None:
            copy.error = self._journal.cipher.open_text(Purpose.STEP_ERROR, key, row.error_sealed)
        copy.output = await patiently(lambda: self._reader.open(self._row.forked_from or self._row.id, row))
        copy.usage = None if row.usage is None else msgspec.convert(row.usage, StepUsage)
        return copy

    async def _finish(self, planned: Sequence[Planned]) -> None:
        """With the numbers of their events the rows come to light, all at once."""
        numbers = [number for each in planned for number in (each.started_event, each.ended_event) if number]
        events = {"event_count": max(numbers, default=self._events_before)}
        told = [each for each in planned if each.started_event or each.ended_event]
        async with self._toolbox.db.transaction(self._job.principal) as tx:
            await hold(tx, self._job)
            for first in range(0, len(told), _NUMBERED):
                await tx.execute(sql["number_events"], self._own | _numbers(told[first : first + _NUMBERED]))
            await tx.execute(sql["finish_copying"], self._own | events | {"type": RETRIED})

    @property
    def _events_before(self) -> int:
        """The run's beginning, and all of a time before a retry."""
        return max(1, self._row.event_count)


def _numbers(planned: Sequence[Planned]) -> dict[str, object]:
    return {
        "paths": [each.path for each in planned],
        "attempts": [each.attempt for each in planned],
        "started_events": [each.started_event for each in planned],
        "ended_events": [each.ended_event for each in planned],
    }
