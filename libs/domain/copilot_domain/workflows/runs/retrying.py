"""Beginning a failed run again: the fact that ended it is set aside, the others are its history. The events of before
stay as they were, with their numbers."""

from copilot_common.base.errors import Conflict
from copilot_common.tenancy import Transaction
from copilot_domain.workflows.execution.history import RETRIED, attempts_set_aside, facts
from copilot_domain.workflows.program import Program
from copilot_domain.workflows.runs.forking import started_at
from copilot_domain.workflows.runs.repository import HistoryRow, RunRow, sql
from copilot_domain.workflows.state import Machine, RunStarted, going_on, to_retry


async def set_aside(tx: Transaction, row: RunRow, program: Program) -> None:
    """Raises Conflict where the run would fail again at once."""
    key = {"tenant_id": tx.principal.tenant_id, "run_id": row.id}
    history = await tx.fetch_all(HistoryRow, sql["history"], key)
    recorded = [RunStarted(started_at(row)), *facts(row.id, history, await tx.cipher())]
    attempts = attempts_set_aside(history)
    again = to_retry(program, recorded, attempts)
    if row.error_step and again is None:
        raise Conflict("This run would fail again at once.", details={"status": row.status})
    if again is not None:
        await tx.execute(sql["set_aside"], key | {"kept": len(again.facts) - 1})
    frames = going_on(Machine(program, attempts), recorded if again is None else again.facts)
    paths = [path for path, goes_on in frames.items() if goes_on]
    await tx.execute(sql["keep_ends"], key | {"paths": paths})
    await tx.execute(sql["insert_retry"], key | {"type": RETRIED})
