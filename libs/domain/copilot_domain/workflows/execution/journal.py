"""What is written of a run while it advances: rows of steps with the numbers of their facts and events.

What is ready at the same time goes out in one statement, one after the other: the numbers in the database have no gaps,
whenever the process dies. Each statement checks the job's fence; while PostgreSQL is away it is tried again, since
what was done is done, and nobody else knows.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from copilot_common.base.errors import CopilotError
from copilot_common.base.ids import new_id
from copilot_common.blobs import BlobStore
from copilot_common.encryption import Purpose, TenantCipher
from copilot_common.queue import Job, JobLost
from copilot_common.tenancy import TenantDatabase, Transaction
from copilot_domain.workflows.execution.metrics import RunMetrics
from copilot_domain.workflows.execution.outcomes import Action
from copilot_domain.workflows.execution.patience import patiently
from copilot_domain.workflows.execution.rows import StepRow, merged
from copilot_domain.workflows.runs.jobs import AdvanceRun
from copilot_domain.workflows.runs.nudging import NO_NUDGE, Nudge
from copilot_domain.workflows.runs.repository import RunRow, sql, step_key
from copilot_domain.workflows.runs.types import StepUsage
from copilot_domain.workflows.state import StepError

_INLINE_BYTES = 64 * 1024  # a larger output goes to the blob store: rows stay small enough to be read by the page
_WAITING_ROWS = 64

_NO_STEP = StepRow(path="", attempt=0, step_id="", type="", iteration=None, status="running", started_at=0.0)


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended; or that it has not."""

    status: Literal["running", "completed", "failed", "cancelled"]
    outputs_of: str | None = None
    error: StepError | None = None


_GOES_ON = RunEnd("running")


class Journal:
    """Of one run, under one claim of its job."""

    def __init__(
        self,
        db: TenantDatabase,
        blobs: BlobStore,
        job: Job[AdvanceRun],
        row: RunRow,
        cipher: TenantCipher,
        *,
        metrics: RunMetrics,
        nudge: Nudge = NO_NUDGE,
    ) -> None:
        self._db = db
        self._blobs = blobs
        self._job = job
        self._run_id = row.id
        self._nudge = nudge
        self._metrics = metrics
        self.cipher = cipher
        self._pending: dict[tuple[str, int], StepRow] = {}
        self._lock = asyncio.Lock()
        self._fault: Exception | None = None
        self.current_step = row.current_step
        self.facts = row.fact_count
        self.events = row.event_count

    @property
    def has_news(self) -> bool:
        return bool(self._pending)

    @property
    def is_full(self) -> bool:
        """So much waits to be written that what follows should wait for it."""
        return len(self._pending) > _WAITING_ROWS

    def next_fact(self) -> int:
        self.facts += 1
        return self.facts

    def next_event(self) -> int:
        self.events += 1
        return self.events

    def add(self, *rows: StepRow) -> None:
        """To be written with what is written next: of one attempt what was added last, and what that leaves open."""
        for row in rows:
            key = row.path, row.attempt
            earlier = self._pending.get(key)
            self._pending[key] = row if earlier is None else merged(earlier, row)

    async def write(self) -> None:
        """All that was added is stored. Raises JobLost."""
        async with self._lock:
            self._check()
            if not self._pending:
                return
            rows = self._taken()
            try:
                await self._store(rows, _GOES_ON)
            except asyncio.CancelledError:  # of one step's task; the rows of others are among these
                self._take_back(rows)
                raise
            self._written(rows)

    async def end(self, end: RunEnd, tell: Action, *, is_alone: bool) -> None:
        """All that was added, and the run's end. `tell` belongs into the same transaction, where somebody is to be told
        of it, or it is not `is_alone`. Raises JobLost."""
        async with self._lock:
            self._check()
            # In here, as below: what is written before must not count a number that is not to be found yet.
            self.next_event()  # run_completed, run_failed, run_cancelled
            rows = self._taken()
            await self._store(rows, end, tell, is_alone=is_alone)
        self._written(rows)
        self._nudge(self._run_id)
        self._metrics.run_ended(end.status)

    async def write_with(self, row: StepRow, action: Action | None, *, has_own_event: bool) -> None:
        """As `add` and `write`, and in the same transaction `action`, which must stand being done twice. It gets the
        number of an event of its own, or that of the row's beginning. Where it fails nothing is there, and the error is
        raised; the row, which has begun, ends with the number that the action would have had."""
        async with self._lock:
            self._check()
            row.started_event = self.next_event()
            event = self.next_event() if has_own_event else row.started_event
            waiting = self._taken()
            batch = self._batch([*waiting, row], _GOES_ON)

            async def attempt() -> None:
                async with self._db.transaction(self._job.principal) as tx:
                    await self._in_transaction(tx, batch)
                    if action is not None:
                        await action(tx, event)

            try:
                await patiently(attempt)
            except CopilotError:
                row.ended_event = event if has_own_event else None
                self._take_back(waiting)
                raise
        self._written([*waiting, row])

    def _check(self) -> None:
        if self._fault is not None:
            raise self._fault

    def _taken(self) -> list[StepRow]:
        rows, self._pending = list(self._pending.values()), {}
        return rows

    def _take_back(self, rows: list[StepRow]) -> None:
        """Whether or not they are there: they go with what is written next."""
        self.add(*rows, *self._taken())

    def _written(self, rows: list[StepRow]) -> None:
        if any(row.started_event or row.ended_event for row in rows):
            self._nudge(self._run_id)
        for row in rows:
            if row.ended_event is not None:
                seconds = (row.completed_at or row.started_at) - row.started_at
                self._metrics.step_ended(row.type, row.status, seconds)

    async def _store(
        self, rows: list[StepRow], end: RunEnd, tell: Action | None = None, *, is_alone: bool = True
    ) -> None:
        batch = self._batch(rows, end)
        try:
            await patiently(lambda: self._send(batch, tell, is_alone=is_alone))
        except Exception as fault:
            self._fault = fault
            raise

    async def _send(self, batch: "_Batch", tell: Action | None, *, is_alone: bool) -> None:
        if is_alone and not batch.large:
            found = await self._db.call(batch.query, batch.params)
            if found is not None and found[0] is not None:
                if not found[0]:
                    raise JobLost
                self._job.is_settled = batch.is_end
                return
        async with self._db.transaction(self._job.principal) as tx:
            await self._in_transaction(tx, batch)
            if tell is not None:
                await tell(tx, self.events)
        self._job.is_settled = batch.is_end

    async def _in_transaction(self, tx: Transaction, batch: "_Batch") -> None:
        if not await tx.fetch_value(batch.query, batch.params | {"is_alone": False}):
            raise JobLost
        for blob_id, data in batch.large.items():
            await self._blobs.put(tx, blob_id, data)

    def _batch(self, rows: list[StepRow], end: RunEnd) -> "_Batch":
        columns, large = [self._columns(row) for row in rows], {}
        for row, values in zip(rows, columns, strict=True):
            if row.output is not None and len(row.output) > _INLINE_BYTES:
                values["blob"], values["output"] = (blob_id := new_id()), None
                large[blob_id] = row.output
        params = self._run_columns(end)
        if len(rows) == 1:
            return _Batch(sql["record_one"], params | columns[0], large)
        names = columns[0] if columns else self._columns(_NO_STEP)
        return _Batch(sql["record"], params | {name: [each[name] for each in columns] for name in names}, large)

    def _run_columns(self, end: RunEnd) -> dict[str, object]:
        return {
            "tenant_id": self._job.tenant_id,
            "user_id": self._job.user_id,
            "job_id": self._job.id,
            "fence": self._job.fence,
            "run_id": self._run_id,
            "status": end.status,
            "current_step": self.current_step,
            "event_count": self.events,
            "fact_count": self.facts,
            "outputs_of": end.outputs_of,
            "error_step": end.error.step if end.error else None,
            "error_code": end.error.code if end.error else None,
            "error_sealed": end.error and self.cipher.seal_text(Purpose.RUN_ERROR, self._run_id, end.error.message),
            "is_alone": True,
        }

    def _columns(self, row: StepRow) -> dict[str, object]:
        key = step_key(self._run_id, row.path, row.attempt)
        return {
            "path": row.path,
            "attempt": row.attempt,
            "step_id": row.step_id,
            "type": row.type,
            "iteration": row.iteration,
            "step_status": row.status,
            "fact": row.fact,
            "fact_at": row.fact_at,
            "decision": row.decision,
            "output": row.output and self.cipher.seal(Purpose.STEP_OUTPUT, key, row.output),
            "blob": None,
            "step_error_code": row.error_code,
            "error": None if row.error is None else self.cipher.seal_text(Purpose.STEP_ERROR, key, row.error),
            "retryable": row.is_retryable,
            "due_at": _moment(row.due_at),
            "wake_id": row.wake_id,
            "usage": _usage(row.usage),
            "started_event": row.started_event,
            "ended_event": row.ended_event,
            "started_at": _moment(row.started_at),
            "completed_at": _moment(row.completed_at),
        }


@dataclass(frozen=True, slots=True)
class _Batch:
    """`large`: outputs for the blob store, by the ids that stand in the rows instead."""

    query: LiteralString
    params: dict[str, object]
    large: dict[UUID, bytes]

    @property
    def is_end(self) -> bool:
        return self.params["status"] != _GOES_ON.status


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _usage(usage: StepUsage | None) -> Jsonb | None:
    if usage is None:
        return None
    return Jsonb({"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens, "cost_usd": usage.cost_usd})
