"""A run's end: its row, its job, what others are told of it, in one transaction."""

from dataclasses import dataclass
from uuid import UUID

from copilot_common.queue import Job, Ledger
from copilot_common.tenancy import TenantDatabase, Transaction
from copilot_domain.webhooks import WebhookEvent, publish
from copilot_domain.workflows.execution.admission import Gate
from copilot_domain.workflows.execution.journal import Journal, RunEnd
from copilot_domain.workflows.execution.patience import patiently
from copilot_domain.workflows.runs.cancelling import request_cancel
from copilot_domain.workflows.runs.jobs import AdvanceRun
from copilot_domain.workflows.runs.repository import RunRow, sql
from copilot_domain.workflows.runs.starting import run_news
from copilot_domain.workflows.state import Ended

_CHILD_ENDED = "child.ended"


@dataclass(frozen=True, slots=True)
class _Child:
    id: UUID


class RunEnder:
    """Of one run, under one claim of its job."""

    def __init__(self, db: TenantDatabase, ledger: Ledger, job: Job[AdvanceRun], gate: Gate) -> None:
        self._db = db
        self._ledger = ledger
        self._job = job
        self._gate = gate
        self._may_be_abandoned = False

    def key(self, run_id: UUID) -> dict[str, object]:
        return {"tenant_id": self._job.tenant_id, "id": run_id}

    def look_for_abandoned(self) -> None:
        """Children that nobody waits for any more are cancelled, with the next look at the database."""
        self._may_be_abandoned = True

    async def cancel_abandoned(self, journal: Journal) -> None:
        if self._may_be_abandoned:
            await journal.write()  # that they are not waited for
            await patiently(self._cancel_abandoned)
            self._may_be_abandoned = False

    async def end(self, row: RunRow, journal: Journal, ended: Ended) -> None:
        """Stored, whatever it takes: while PostgreSQL is away it is tried again. Raises JobLost."""

        async def tell(tx: Transaction, _: int) -> None:
            if ended.status != "cancelled":
                await self._tell(tx, row, "workflow.completed" if ended.status == "completed" else "workflow.failed")
            if row.parent_run_id is not None:
                await self._tell_parent(tx, row.parent_run_id)
            if self._may_be_abandoned:
                await self._cancel_children(tx)

        end = RunEnd(ended.status, ended.outputs_of, ended.error)
        await journal.end(end, tell, is_alone=not self._may_be_abandoned)
        await self._gate.leave()

    async def _tell(self, tx: Transaction, row: RunRow, event: WebhookEvent) -> None:
        await publish(tx, self._ledger, event, run_news(row.workflow_id, row.id, row.version))

    async def _tell_parent(self, tx: Transaction, run_id: UUID) -> None:
        job_id = await tx.fetch_value(sql["job_of_run"], self.key(run_id))
        if isinstance(job_id, UUID):
            await self._ledger.signal(tx, job_id, _CHILD_ENDED)

    async def _cancel_abandoned(self) -> None:
        async with self._db.transaction(self._job.principal) as tx:
            await self._cancel_children(tx)

    async def _cancel_children(self, tx: Transaction) -> None:
        """Told by their rows: whoever abandoned them may have died before it could say so."""
        key = {"tenant_id": self._job.tenant_id, "run_id": self._job.payload.run_id}
        for child in await tx.fetch_all(_Child, sql["abandoned_children"], key):
            await request_cancel(tx, self._ledger, child.id)
