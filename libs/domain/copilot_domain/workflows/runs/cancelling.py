"""Asking a run to end."""

from uuid import UUID

from copilot_common.base.errors import Conflict, NotFound
from copilot_common.queue import CANCEL, Ledger
from copilot_common.tenancy import Transaction
from copilot_domain.workflows.runs.repository import RunRow, sql


async def request_cancel(tx: Transaction, ledger: Ledger, run_id: UUID) -> RunRow:
    """Whoever leads the run ends it: at once where it is being led, else as soon as its job is claimed, which this
    wakes. The run as it was. A run that has ended stays as it is. Raises NotFound."""
    key = {"tenant_id": tx.principal.tenant_id, "id": run_id}
    job_id = await tx.fetch_value(sql["job_of_run"], key)
    if isinstance(job_id, UUID):  # the job is locked first, as whoever leads the run does
        await ledger.signal(tx, job_id, CANCEL)
    row = await tx.fetch_one(RunRow, sql["lock_run"], key)
    if row is None:
        raise NotFound("run")
    if not row.has_ended:
        await tx.execute(sql["request_cancel"], key)
    return row


def check_unended(row: RunRow) -> None:
    """Raises Conflict."""
    if row.has_ended:
        raise Conflict(f"This run is {row.status}.", details={"status": row.status})
