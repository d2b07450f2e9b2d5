"""What is done to jobs inside a tenant's transaction: asking for them, ending them, telling them something.

The row is written in the transaction of the change it belongs to, so either both are there or neither. Workers are rung
once it is committed; a ring that is lost costs a second or two, never the job (ADR 15).
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from psycopg.errors import UniqueViolation

from copilot_common.base.errors import Conflict, NotFound
from copilot_common.base.ids import new_id
from copilot_common.platform.sql import Queries
from copilot_common.platform.trace import current_trace
from copilot_common.queue.jobs import Job, JobLost, NewJob, Queue
from copilot_common.tenancy import Principal, Transaction

sql = Queries(__package__)
_encode = msgspec.msgpack.Encoder(uuid_format="bytes").encode  # a payload may hold a hundred ids

LAST_ID = UUID(int=2**128 - 1)
CANCEL = "cancel"
"""The signal that asks a running job to stop."""


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """A job as its tenant's admins see it. `kind` is name and payload version; `run_after` is null for one that waits
    for a signal alone."""

    id: UUID
    queue: str
    kind: str
    status: str
    priority: int
    failures: int
    lapses: int
    max_failures: int
    error_code: str | None
    error_text: str | None
    run_after: datetime | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class Ledger:
    """`ring(queue)` wakes a queue's workers; it never blocks and never fails."""

    def __init__(self, ring: Callable[[str], None]) -> None:
        self._ring = ring

    def ring(self, queue: Queue) -> None:
        """There is work, and it is committed."""
        self._ring(queue)

    async def enqueue(self, tx: Transaction, new: NewJob[Any]) -> UUID | None:
        """Ask for a job, on behalf of the transaction's principal. None where the same one is pending already."""
        job_id = new_id()
        if await tx.fetch_value(sql["insert_job"], job_row(tx.principal, new, job_id)) is None:
            return None
        self._ring_after(tx, new)
        return job_id

    async def enqueue_last(self, tx: Transaction, new: NewJob[Any], job_id: UUID) -> None:
        """As `enqueue`, of a job without `dedupe_key`, together with the COMMIT: this transaction does not see it."""
        assert new.dedupe_key is None  # noqa: S101 — whether the same one is pending is not known before the COMMIT
        await tx.execute_last(sql["insert_job"], job_row(tx.principal, new, job_id))
        self._ring_after(tx, new)

    async def signal(self, tx: Transaction, job_id: UUID, name: str) -> None:
        """Tell a job something, and wake it where it is parked. Raises NotFound.

        Signals and parking both lock the job first: whoever comes second sees what the other did.
        """
        await self._lock(tx, job_id)
        await tx.execute(sql["insert_signal"], {**_key(tx, job_id), "signal_id": new_id(), "name": name})
        await self._wake(tx, job_id)

    async def cancel(self, tx: Transaction, job_id: UUID) -> None:
        """A waiting job ends at once, a running one within about a second. Raises NotFound, or Conflict for an ended
        one."""
        status = await self._lock(tx, job_id)
        if status == "running":
            await tx.execute(sql["insert_signal"], {**_key(tx, job_id), "signal_id": new_id(), "name": CANCEL})
        elif await tx.fetch_value(sql["cancel_waiting_job"], _key(tx, job_id)) is None:
            raise Conflict(f"This job is {status}.", details={"status": status})

    async def redrive(self, tx: Transaction, job_id: UUID) -> None:
        """Begin a dead job anew. Raises NotFound, or Conflict where it is not dead, or the same work waits already."""
        status = await self._lock(tx, job_id)
        try:
            queue = await tx.fetch_value(sql["redrive_job"], _key(tx, job_id))
        except UniqueViolation:
            raise Conflict("The same work waits already.", details={"status": status}) from None
        if queue is None:
            raise Conflict(f"This job is {status}.", details={"status": status})
        tx.after_commit(lambda: self._ring(str(queue)))

    def _ring_after(self, tx: Transaction, new: NewJob[Any]) -> None:
        if not new.delay:
            tx.after_commit(lambda: self._ring(new.type.queue))

    async def _wake(self, tx: Transaction, job_id: UUID) -> None:
        queue = await tx.fetch_value(sql["wake_job"], _key(tx, job_id))
        if queue is not None:
            tx.after_commit(lambda: self._ring(str(queue)))

    async def _lock(self, tx: Transaction, job_id: UUID) -> str:
        status = await tx.fetch_value(sql["lock_job"], _key(tx, job_id))
        if status is None:
            raise NotFound("job")
        return str(status)


async def hold(tx: Transaction, job: Job[Any]) -> None:
    """First in a transaction that writes for a job: from here on nobody takes it over. Raises JobLost."""
    if await tx.fetch_value(sql["hold_job"], _own(tx, job)) is None:
        raise JobLost


async def complete(tx: Transaction, job: Job[Any]) -> None:
    """The job's end, in the transaction of its effect: both or neither. Raises JobLost."""
    if await tx.fetch_value(sql["complete_job"], _own(tx, job)) is None:
        raise JobLost
    tx.after_commit(lambda: _settle(job))


async def note_progress(tx: Transaction, job: Job[Any]) -> None:
    """From here on it counts anew how many processes were lost under the job. Raises JobLost."""
    if await tx.fetch_value(sql["note_progress"], _own(tx, job)) is None:
        raise JobLost


async def park(tx: Transaction, job: Job[Any], delay: timedelta | None = None) -> Sequence[str]:
    """Let the job wait for `delay`, or for a signal alone. Where unseen signals are there already it is not parked:
    they are returned, seen, and the caller goes on (CANCEL may be among them). A parked job gives its dedupe key up.
    Raises JobLost."""
    await hold(tx, job)
    names = [row.name for row in await tx.fetch_all(_Signal, sql["take_signals"], _key(tx, job.id))]
    if not names:
        seconds = None if delay is None else delay.total_seconds()
        await tx.execute(sql["park_job"], {**_own(tx, job), "delay_seconds": seconds})
        tx.after_commit(lambda: _settle(job))
    return names


async def get_job(tx: Transaction, job_id: UUID) -> JobRow:
    """Raises NotFound."""
    row = await tx.fetch_one(JobRow, sql["get_job"], _key(tx, job_id))
    if row is None:
        raise NotFound("job")
    return row


async def list_jobs(
    tx: Transaction, *, queue: str | None, status: str | None, before: UUID, offset: int, limit: int
) -> list[JobRow]:
    """Newest first."""
    filters = {"tenant_id": tx.principal.tenant_id, "queue": queue, "status": status}
    page = {"before": before, "offset": offset, "limit": limit}
    return await tx.fetch_all(JobRow, sql["list_jobs"], filters | page, prepare=False)


async def count_jobs(tx: Transaction, *, queue: str | None, status: str | None, count_limit: int) -> int:
    """Counted up to a limit."""
    filters = {"tenant_id": tx.principal.tenant_id, "queue": queue, "status": status}
    found = await tx.fetch_value(sql["count_jobs"], filters | {"count_limit": count_limit}, prepare=False)
    return found if isinstance(found, int) else 0


class _Signal(msgspec.Struct):
    name: str


def job_row(principal: Principal, new: NewJob[Any], job_id: UUID) -> dict[str, object]:
    """The columns, for a statement that writes the row along with the rest. Once it is committed: `Ledger.ring`."""
    trace = current_trace.get()
    return {
        "tenant_id": principal.tenant_id,
        "id": job_id,
        "queue": new.type.queue,
        "kind": new.type.kind,
        "class": int(new.type.job_class),
        "priority": new.priority,
        "payload": _encode(new.payload),
        "delay_seconds": new.delay.total_seconds(),
        "user_id": principal.acting_user,
        "api_key_id": principal.api_key_id,
        "dedupe_key": new.dedupe_key,
        "max_failures": new.type.max_failures,
        "traceparent": trace.traceparent if trace else None,
    }


def _settle(job: Job[Any]) -> None:
    job.is_settled = True


def _key(tx: Transaction, job_id: UUID) -> dict[str, object]:
    return {"tenant_id": tx.principal.tenant_id, "id": job_id}


def _own(tx: Transaction, job: Job[Any]) -> dict[str, object]:
    return {**_key(tx, job.id), "fence": job.fence}
