"""One schedule that is due: its run is started and its next time set in one transaction, so it fires once however many
engines try, and whichever of them dies."""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

from loguru import logger

from copilot_common.auth.authority import ROLE_SCOPES
from copilot_common.base.errors import CopilotError, InvalidInput, Unavailable
from copilot_common.queue import Ledger
from copilot_common.tenancy import Principal, TenantDatabase, Transaction
from copilot_common.tenancy.audit import record_audit
from copilot_domain.workflows.runs.starting import start_run
from copilot_domain.workflows.runs.types import NewRun
from copilot_domain.workflows.schedules.cron import Cron
from copilot_domain.workflows.schedules.repository import (
    DueSchedule,
    HeldSchedule,
    ScheduleRepository,
    open_inputs,
)
from copilot_domain.workflows.versions import Versions

MISSED_AFTER = timedelta(seconds=60)
"""Later than this it was missed, and its misfire policy decides. A restart of all engines takes less."""

_schedules = ScheduleRepository()


async def fire(db: TenantDatabase, ledger: Ledger, versions: Versions, due: DueSchedule) -> UUID | None:
    """The run it started, as its user. None where it starts none: another engine has it, it was missed, it is not due
    by the database's clock, or something is in its way, which its row then tells. Raises Unavailable."""
    principal = Principal.system(due.tenant_id, due.user_id)
    try:
        async with db.transaction(principal) as tx:
            return await _fire(tx, ledger, versions, due.id)
    except Unavailable:
        raise
    except CopilotError as error:
        code = str(error.code)
        logger.bind(schedule_id=str(due.id), code=code).warning("A schedule's run was not started")
    except Exception as error:  # one that always fails must not come first for ever
        code = "INTERNAL_ERROR"
        logger.bind(schedule_id=str(due.id)).opt(exception=error).error("A schedule's run was not started")
    async with db.transaction(principal) as tx:
        await _pass_over(tx, due.id, code)
    return None


async def _fire(tx: Transaction, ledger: Ledger, versions: Versions, schedule_id: UUID) -> UUID | None:
    held = await _schedules.hold_due(tx, schedule_id)
    if held is None:
        return None
    if held.is_tenant_active and (held.role is None or "workflows" not in ROLE_SCOPES[held.role]):
        await _schedules.move_on(tx, schedule_id, None, "FORBIDDEN")
        await record_audit(tx, "schedule.deactivated", schedule_id, details={"reason": "FORBIDDEN"})
        return None
    await _set_next(tx, schedule_id, held)
    if not held.is_tenant_active or (_is_missed(held) and held.misfire == "skip"):
        return None
    run_id = await _start(tx, ledger, versions, schedule_id, held)
    await _schedules.note_firing(tx, schedule_id, run_id=run_id)
    return run_id


async def _start(tx: Transaction, ledger: Ledger, versions: Versions, schedule_id: UUID, held: HeldSchedule) -> UUID:
    inputs = open_inputs(await tx.cipher(), schedule_id, held.inputs_sealed)
    new = NewRun(workflow_id=held.workflow_id, inputs=inputs)
    run = await start_run(tx, ledger, versions, new)
    details = {"workflow_id": str(held.workflow_id), "schedule_id": str(schedule_id)}
    await record_audit(tx, "run.started", run.id, details={**details})
    return run.id


async def _pass_over(tx: Transaction, schedule_id: UUID, code: str) -> None:
    held = await _schedules.hold_due(tx, schedule_id)
    if held is not None:
        await _set_next(tx, schedule_id, held)
        await _schedules.note_firing(tx, schedule_id, error=code)


async def _set_next(tx: Transaction, schedule_id: UUID, held: HeldSchedule) -> None:
    """Times that follow within the minute it may be late are still to come; of those it missed, none is."""
    after = held.moment if _is_missed(held) else held.next_at
    next_at = await asyncio.to_thread(_next_after, held, after)
    await _schedules.move_on(tx, schedule_id, next_at, None if next_at else "NEVER_DUE")


def _next_after(held: HeldSchedule, moment: datetime) -> datetime | None:
    try:
        return Cron(held.cron, held.timezone).next_after(moment)
    except InvalidInput:  # the time zone has been taken out of the database of zones since
        return None


def _is_missed(held: HeldSchedule) -> bool:
    return held.moment - held.next_at > MISSED_AFTER
