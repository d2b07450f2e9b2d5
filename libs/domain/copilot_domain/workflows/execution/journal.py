"""What is written of a run while it advances: rows of steps with the numbers of their facts and events.

What is ready at the same time goes out in one statement, one after the other: the numbers in the database have no gaps,
whenever the process dies. Each statement checks the job's fence; while PostgreSQL is away it is tried again, since
what was done is done, and nobody else knows.
"""

import asyncio
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

import psycopg
from loguru import logger
from psycopg.types.json import Jsonb

from copilot_common.base.errors import CopilotError, Unavailable
from copilot_common.base.ids import new_id
from copilot_common.blobs import BlobStore
from copilot_common.encryption import Purpose, TenantCipher
from copilot_common.queue import Job, JobLost
from copilot_common.tenancy import TenantDatabase, Transaction
from copilot_domain.workflows.execution.outcomes import Action
from copilot_domain.workflows.runs.jobs import AdvanceRun
from copilot_domain.workflows.runs.repository import RunRow, sql, step_key
from copilot_domain.workflows.runs.types import StepUsage

_INLINE_BYTES = 64 * 1024  # a larger output goes to the blob store: rows stay small enough to be read by the page
_FIRST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 5.0

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


class Journal:
    """Of one run, under one claim of its job."""

    def __init__(
        self, db: TenantDatabase, blobs: BlobStore, job: Job[AdvanceRun], row: RunRow, cipher: TenantCipher
    ) -> None:
        self._db = db
        self._blobs = blobs
        self._job = job
        self._run_id = row.id
        self.cipher = cipher
        self._pending: dict[tuple[str, int], StepRow] = {}
        self._lock = asyncio.Lock()
        self._fault: Exception | None = None
        self.current_step = row.current_step
        self.facts = row.fact_count
        self.events = row.event_count

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
            self._pending[key] = row if earlier is None else _merged(earlier, row)

    async def write(self) -> None:
        """All that was added is stored. Raises JobLost."""
        async with self._lock:
            if self._fault is not None:
                raise self._fault
            if not self._pending:
                return
            rows, self._pending = list(self._pending.values()), {}
            try:
                await self._store(rows)
            except Exception as fault:
                self._fault = fault
                raise

    async def write_with(self, row: StepRow, action: Action | None, event: int) -> None:
        """As `add` and `write`, and in the same transaction `action`. Where that fails nothing of it is there: the row
        is forgotten, and the error raised."""
        async with self._lock:
            if self._fault is not None:
                raise self._fault
            waiting, self._pending = self._pending, {}
            rows = [*waiting.values(), row]
            params = self._params(rows)
            large = self._large(rows, params)
            try:
                async with self._db.transaction(self._job.principal) as tx:
                    await self._in_transaction(tx, params, large)
                    if action is not None:
                        await action(tx, event)
            except CopilotError:
                self._pending = waiting | self._pending
                raise

    async def _store(self, rows: list[StepRow]) -> None:
        wait = _FIRST_WAIT_SECONDS
        params = self._params(rows)
        large = self._large(rows, params)
        while True:
            try:
                is_ours = await self._send(params, large)
            except (Unavailable, psycopg.OperationalError):
                logger.bind(run_id=str(self._run_id)).warning("Steps not stored yet")
                await asyncio.sleep(random.uniform(0, wait))
                wait = min(wait * 2, _LONGEST_WAIT_SECONDS)
                continue
            if not is_ours:
                raise JobLost
            return

    async def _send(self, params: dict[str, object], large: dict[UUID, bytes]) -> bool:
        if not large:
            row = await self._db.call(sql["record"], params)
            return bool(row and row[0])
        async with self._db.transaction(self._job.principal) as tx:
            await self._in_transaction(tx, params, large)
        return True

    async def _in_transaction(self, tx: Transaction, params: dict[str, object], large: dict[UUID, bytes]) -> None:
        if not await tx.fetch_value(sql["record"], params):
            raise JobLost
        for blob_id, data in large.items():
            await self._blobs.put(tx, blob_id, data)

    def _large(self, rows: list[StepRow], params: dict[str, object]) -> dict[UUID, bytes]:
        """Outputs for the blob store, by the ids that stand in the rows instead."""
        ids = [new_id() if row.output is not None and len(row.output) > _INLINE_BYTES else None for row in rows]
        params["blobs"] = ids
        return {each: row.output for each, row in zip(ids, rows, strict=True) if each and row.output is not None}

    def _params(self, rows: list[StepRow]) -> dict[str, object]:
        return {
            "tenant_id": self._job.tenant_id,
            "user_id": self._job.user_id,
            "job_id": self._job.id,
            "fence": self._job.fence,
            "run_id": self._run_id,
            "paths": [row.path for row in rows],
            "attempts": [row.attempt for row in rows],
            "step_ids": [row.step_id for row in rows],
            "types": [row.type for row in rows],
            "iterations": [row.iteration for row in rows],
            "statuses": [row.status for row in rows],
            "facts": [row.fact for row in rows],
            "facts_at": [row.fact_at for row in rows],
            "decisions": [row.decision for row in rows],
            "outputs": [self._sealed_output(row) for row in rows],
            "error_codes": [row.error_code for row in rows],
            "errors": [self._sealed_error(row) for row in rows],
            "retryables": [row.is_retryable for row in rows],
            "due_at": [_moment(row.due_at) for row in rows],
            "wake_ids": [row.wake_id for row in rows],
            "usages": [_usage(row.usage) for row in rows],
            "started_events": [row.started_event for row in rows],
            "ended_events": [row.ended_event for row in rows],
            "started_at": [_moment(row.started_at) for row in rows],
            "completed_at": [_moment(row.completed_at) for row in rows],
            "status": "running",
            "current_step": self.current_step,
            "event_count": self.events,
            "fact_count": self.facts,
        }

    def _sealed_output(self, row: StepRow) -> bytes | None:
        if row.output is None or len(row.output) > _INLINE_BYTES:
            return None
        return self.cipher.seal(Purpose.STEP_OUTPUT, step_key(self._run_id, row.path, row.attempt), row.output)

    def _sealed_error(self, row: StepRow) -> bytes | None:
        if row.error is None:
            return None
        return self.cipher.seal_text(Purpose.STEP_ERROR, step_key(self._run_id, row.path, row.attempt), row.error)


def _merged(earlier: StepRow, later: StepRow) -> StepRow:
    for name in ("started_event", "ended_event", "fact", "fact_at", "decision", "output"):
        if getattr(later, name) is None:
            setattr(later, name, getattr(earlier, name))
    return later


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _usage(usage: StepUsage | None) -> Jsonb | None:
    if usage is None:
        return None
    return Jsonb({"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens, "cost_usd": usage.cost_usd})
