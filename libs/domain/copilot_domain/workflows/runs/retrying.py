"""Beginning a failed run again: the fact that ended it is set aside, the others are its history."""

from copilot_common.base.errors import Conflict
from copilot_common.tenancy import Transaction
from copilot_domain.workflows.execution.history import RETRIED, attempts_set_aside, facts
from copilot_domain.workflows.program import Program
from copilot_domain.workflows.runs.repository import HistoryRow, RunRow, sql
from copilot_domain.workflows.state import RunStarted, to_retry


async def set_aside(tx: Transaction, row: RunRow, program: Program) -> None:
    """Raises Conflict where the run would fail again at once."""
    key = {"tenant_id": tx.principal.tenant_id, "run_id": row.id}
    history = await tx.fetch_all(HistoryRow, sql["history"], key)
    recorded = list(facts(row.id, history, await tx.cipher()))
    started_at = row.started_at.timestamp() if row.started_at else 0.0
    again = to_retry(program, [RunStarted(started_at), *recorded], attempts_set_aside(history))
    if row.error_step and again is None:
        raise Conflict("This run would fail again at once.", details={"status": row.status})
    if again is not None:
        await tx.execute(sql["set_aside"], key | {"kept": len(again.facts) - 1})
    await tx.execute(sql["insert_retry"], key | {"type": RETRIED})
