"""Beginning a failed run again: the fact that ended it is set aside, the others are its history. The events of before
stay as they were, with their numbers."""

from collections.abc import Iterable

from copilot_common.base.errors import Conflict
from copilot_common.tenancy import Transaction
from copilot_domain.workflows.execution.history import RETRIED, attempts_set_aside, facts
from copilot_domain.workflows.program import Program
from copilot_domain.workflows.runs.repository import HistoryRow, RunRow, sql
from copilot_domain.workflows.state import Entered, Fact, Left, Machine, Path, RunStarted, to_retry


async def set_aside(tx: Transaction, row: RunRow, program: Program) -> None:
    """Raises Conflict where the run would fail again at once."""
    key = {"tenant_id": tx.principal.tenant_id, "run_id": row.id}
    history = await tx.fetch_all(HistoryRow, sql["history"], key)
    started_at = row.started_at.timestamp() if row.started_at else 0.0
    recorded = [RunStarted(started_at), *facts(row.id, history, await tx.cipher())]
    attempts = attempts_set_aside(history)
    again = to_retry(program, recorded, attempts)
    if row.error_step and again is None:
        raise Conflict("This run would fail again at once.", details={"status": row.status})
    if again is not None:
        await tx.execute(sql["set_aside"], key | {"kept": len(again.facts) - 1})
    paths = _going_on(Machine(program, attempts), recorded if again is None else again.facts)
    await tx.execute(sql["keep_ends"], key | {"paths": paths})
    await tx.execute(sql["insert_retry"], key | {"type": RETRIED})


def _going_on(machine: Machine, kept: Iterable[Fact]) -> list[Path]:
    """The `parallel`s and `loop`s that have not ended after these facts."""
    found: dict[Path, None] = {}
    for fact in kept:
        for effect in machine.apply(fact):
            match effect:
                case Entered(path):
                    found[path] = None
                case Left(path):
                    found.pop(path, None)
    return list(found)
