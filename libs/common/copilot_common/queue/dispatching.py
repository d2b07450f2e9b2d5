"""What a process does to jobs of all tenants: claiming, ending, handing back, sweeping. Ids only, never content."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from copilot_common.base.ids import ProcessId
from copilot_common.platform.db import Database
from copilot_common.queue.jobs import QUEUES, ClaimedJob
from copilot_common.queue.ledger import sql

_SWEEP_JOBS = 500  # each way; beyond it the next sweep goes on
_PRUNE_JOBS = 1_000
_DEAD_AGE = timedelta(days=30)  # somebody may want to see why, and redrive


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that this process owns under a fence."""

    tenant_id: UUID
    id: UUID
    fence: int


@dataclass(frozen=True, slots=True)
class OwnedJob:
    """As the ledger sees it: which job, under which fence, since when, and whether it was asked to stop."""

    tenant_id: UUID
    id: UUID
    fence: int
    running_seconds: float
    is_cancelled: bool

    @property
    def claim(self) -> Claim:
        return Claim(self.tenant_id, self.id, self.fence)


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """`due` is counted up to the cap that was asked for."""

    due: int
    oldest_due_seconds: float


class Dispatcher:
    """Each method is one statement and a transaction of its own; each raises Unavailable while the database is away."""

    def __init__(self, database: Database, process_id: ProcessId, *, waits_for_disk: bool = True) -> None:
        """`waits_for_disk`: False where jobs may be done again, and two doing one do no harm: a crash of PostgreSQL may
        take the last claims and completions back. Then what they do is not taken back without their completion, since
        that comes after it in the log."""
        self._database = database
        self._process_id = process_id
        self._synchronous_commit = None if waits_for_disk else "off"

    async def claim(
        self, queue: str, *, known: Sequence[str], limit: int, running: int, tenant_limit: int
    ) -> list[ClaimedJob]:
        """Due jobs of the known kinds; a claim without a fence is only kept for this process (see ClaimedJob)."""
        params = {
            "process_id": self._process_id,
            "queue": queue,
            "known": list(known),
            "limit": limit,
            "running": running,
            "tenant_limit": tenant_limit,
            "synchronous_commit": self._synchronous_commit,
        }
        return [ClaimedJob(*row) for row in await self._database.fetch_rows(sql["claim_jobs"], params)]

    async def complete(self, claims: Sequence[Claim]) -> set[UUID]:
        """Ids of those that were still this process's."""
        params = self._params(claims) | {"synchronous_commit": self._synchronous_commit}
        return {row[0] for row in await self._database.fetch_rows(sql["complete_jobs"], params)}

    async def fail(self, claim: Claim, *, is_final: bool, pause: timedelta, code: str, text: str) -> str | None:
        """The job's new status; None where it was no longer this process's."""
        params = {"is_final": is_final, "pause_seconds": pause.total_seconds(), "code": code, "text": text}
        row = await self._database.fetch_row(sql["fail_job"], self._param(claim) | params)
        return row[0] if row else None

    async def cancel(self, claim: Claim) -> bool:
        """End a running job that was asked to stop."""
        row = await self._database.fetch_row(sql["cancel_running_job"], self._param(claim))
        return row is not None and bool(row[0])

    async def release(self, claims: Sequence[Claim]) -> int:
        """Hand jobs back unfinished; returns how many were still this process's."""
        row = await self._database.fetch_row(sql["release_jobs"], self._params(claims))
        return row[0] if row else 0

    async def owned(self) -> list[OwnedJob]:
        params = {"process_id": self._process_id}
        return [OwnedJob(*row) for row in await self._database.fetch_rows(sql["owned_jobs"], params)]

    async def sweep(self) -> list[str]:
        """One bounded batch, by one process at a time; returns the queues that have due work."""
        params = {"queues": list(QUEUES), "limit": _SWEEP_JOBS}
        return [row[0] for row in await self._database.fetch_rows(sql["sweep_jobs"], params)]

    async def depth(self, queue: str, *, cap: int) -> QueueDepth:
        row = await self._database.fetch_row(sql["queue_depth"], {"queue": queue, "cap": cap})
        return QueueDepth(*row) if row else QueueDepth(0, 0.0)

    async def prune(self, age: timedelta) -> int:
        """Delete one bounded batch of ended jobs older than `age` (dead ones: a month); returns how many."""
        params = {
            "age_seconds": age.total_seconds(),
            "dead_age_seconds": max(age, _DEAD_AGE).total_seconds(),
            "limit": _PRUNE_JOBS,
        }
        row = await self._database.fetch_row(sql["prune_jobs"], params)
        return row[0] if row else 0

    def _param(self, claim: Claim) -> dict[str, object]:
        return {
            "process_id": self._process_id,
            "tenant_id": claim.tenant_id,
            "id": claim.id,
            "fence": claim.fence,
        }

    def _params(self, claims: Sequence[Claim]) -> dict[str, object]:
        return {
            "process_id": self._process_id,
            "tenant_ids": [claim.tenant_id for claim in claims],
            "ids": [claim.id for claim in claims],
            "fences": [claim.fence for claim in claims],
        }
