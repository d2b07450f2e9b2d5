"""Where a fork begins: how much of a run's history a new one takes over, so that it begins at a step of its own."""

import asyncio

from copilot_common.base.errors import Conflict, InvalidInput
from copilot_common.tenancy import Transaction
from copilot_domain.workflows.execution.history import attempts_set_aside, facts
from copilot_domain.workflows.execution.rows import step_of
from copilot_domain.workflows.program import Program
from copilot_domain.workflows.runs.repository import HistoryRow, RunRow, sql
from copilot_domain.workflows.runs.starting import Fork
from copilot_domain.workflows.state import Fact, RunStarted, facts_until


async def find_fork(tx: Transaction, row: RunRow, program: Program, place: str) -> Fork:
    """`place`: a path, or the id of a step for the first time that it began. Raises InvalidInput where that is no step,
    Conflict where the run has not come to it."""
    if step_of(place) not in program.steps:
        raise InvalidInput({"from_step": "names no step of this run's version"})
    if row.facts_to_copy is not None:
        raise Conflict("This run is a fork that has not its own beginning yet.", details={"status": row.status})
    key = {"tenant_id": tx.principal.tenant_id, "run_id": row.id}
    history, cipher = await tx.fetch_all(HistoryRow, sql["history"], key), await tx.cipher()

    def kept() -> list[Fact] | None:
        recorded = [RunStarted(started_at(row)), *facts(row.id, history, cipher)]
        return facts_until(program, recorded, place, attempts_set_aside(history))

    # Half a second of a long run's history must not hold up everybody else.
    if (found := await asyncio.to_thread(kept)) is None:
        raise Conflict("This run has not come to that step.", details={"status": row.status})
    return Fork(row.id, len(found) - 1)


def started_at(row: RunRow) -> float:
    """Epoch seconds; of one that has not begun, so early that nothing is late."""
    return row.started_at.timestamp() if row.started_at else 0.0
