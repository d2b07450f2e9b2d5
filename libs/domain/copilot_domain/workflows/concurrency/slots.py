"""The slot of one run, under one claim of its job."""

import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from copilot_common.base.errors import NotFound
from copilot_common.encryption import HashPurpose, TenantCipher
from copilot_common.platform.sql import Queries
from copilot_common.queue import Job, Ledger, park
from copilot_common.tenancy import TenantDatabase, Transaction
from copilot_domain.workflows.definition import Concurrency
from copilot_domain.workflows.runs.cancelling import request_cancel
from copilot_domain.workflows.runs.jobs import AdvanceRun

sql = Queries(__package__)

_SLOT_FREE = "slot.free"
_BATCH = 1_000

Admission = Literal["admitted", "refused", "parked", "called"]
"""`parked`: the run waits without this process. `called`: something has come for it meanwhile, so that it is to be
opened again."""


@dataclass(frozen=True, slots=True)
class _Found:
    id: UUID


@dataclass(frozen=True, slots=True)
class _Place:
    workflow_id: UUID
    key_hash: bytes
    is_held: bool


class RunSlot:
    """`created_at`: the run's. Each step is a transaction that may be repeated. Its lock of the queue comes before that
    of any job, or two runs could wait for each other."""

    def __init__(
        self,
        db: TenantDatabase,
        ledger: Ledger,
        job: Job[AdvanceRun],
        workflow_id: UUID,
        created_at: datetime,
        rule: Concurrency,
    ) -> None:
        self._db = db
        self._ledger = ledger
        self._job = job
        self._rule = rule
        self._run: dict[str, object] = {
            "tenant_id": job.tenant_id,
            "workflow_id": workflow_id,
            "run_id": job.payload.run_id,
            "job_id": job.id,
            "created_at": created_at,
            "slot_limit": rule.limit,
        }

    async def is_held(self) -> bool:
        async with self._db.transaction(self._job.principal) as tx:
            place = await tx.fetch_one(_Place, sql["own_place"], self._run)
            return place is not None and place.is_held

    def in_queue(self, cipher: TenantCipher, key: bytes) -> "QueueForSlot":
        """`key`: what the definition's `key` came to; runs with the same share the slots."""
        key_hash = hmac.digest(cipher.hash_key(HashPurpose.CONCURRENCY_KEY), key, "sha256")
        return QueueForSlot(self._db, self._ledger, self._job, self._rule, self._run | {"key_hash": key_hash})

    async def leave(self) -> None:
        """The run has ended: whose turn it is now is told."""
        async with self._db.transaction(self._job.principal) as tx:
            place = await tx.fetch_one(_Place, sql["own_place"], self._run)
            if place is None:
                return
            queue = self._run | {"workflow_id": place.workflow_id, "key_hash": place.key_hash}
            await tx.execute(sql["lock_queue"], queue)
            await tx.execute(sql["leave_queue"], queue)
            for job in await tx.fetch_all(_Found, sql["next_in_queue"], queue):
                await self._ledger.signal(tx, job.id, _SLOT_FREE)


class QueueForSlot:
    """The queue of a run that has no slot yet."""

    def __init__(
        self, db: TenantDatabase, ledger: Ledger, job: Job[AdvanceRun], rule: Concurrency, queue: dict[str, object]
    ) -> None:
        self._db = db
        self._ledger = ledger
        self._job = job
        self._rule = rule
        self._queue = queue

    async def ask(self) -> Admission:
        """Without waiting: `parked` means that there is none yet, and nothing is parked."""
        async with self._db.transaction(self._job.principal) as tx:
            await tx.execute(sql["lock_queue"], self._queue)
            return "admitted" if await self._is_taken(tx) else "refused" if self._refuses else "parked"

    async def make_room(self) -> None:
        """Ask the oldest runs to end, where the definition wants that; this one may be among them."""
        while self._rule.on_limit == "cancel_oldest":
            async with self._db.transaction(self._job.principal) as tx:
                beyond = await tx.fetch_all(_Found, sql["beyond_limit"], self._queue | {"batch": _BATCH})
            for run in beyond:  # one after the other: each locks a job
                await self._cancel(run.id)
            if len(beyond) < _BATCH:
                return

    async def wait(self) -> Admission:
        """Parked until somebody leaves, unless there is a slot by now. Raises JobLost."""
        async with self._db.transaction(self._job.principal) as tx:
            await tx.execute(sql["lock_queue"], self._queue)
            if await self._is_taken(tx):
                return "admitted"
            return "called" if await park(tx, self._job) else "parked"

    async def _cancel(self, run_id: UUID) -> None:
        try:
            async with self._db.transaction(self._job.principal) as tx:
                await request_cancel(tx, self._ledger, run_id)
        except NotFound:
            pass

    @property
    def _refuses(self) -> bool:
        return self._rule.on_limit == "reject"

    async def _is_taken(self, tx: Transaction) -> bool:
        if await tx.fetch_value(sql["lends_slot"], self._queue):
            return True
        before = await tx.fetch_value(sql["count_before"], self._queue)
        has_room = isinstance(before, int) and before < self._rule.limit
        if has_room or not self._refuses:
            await tx.execute(sql["join_queue"], self._queue | {"is_held": has_room})
        return has_room
