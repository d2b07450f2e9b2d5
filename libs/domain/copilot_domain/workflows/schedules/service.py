"""What a principal does with a workflow's schedules. They are the tenant's; each acts as who made it."""

import asyncio
from uuid import UUID

from copilot_common.base.errors import Conflict, InvalidInput
from copilot_common.base.ids import new_id
from copilot_common.tenancy import Transaction
from copilot_common.tenancy.audit import record_audit
from copilot_domain.pagination import Page, PageRequest, page
from copilot_domain.workflows.repository import WorkflowRepository
from copilot_domain.workflows.runs.starting import checked_inputs
from copilot_domain.workflows.schedules.cron import Cron
from copilot_domain.workflows.schedules.repository import ScheduleRepository
from copilot_domain.workflows.schedules.types import NewSchedule, Schedule
from copilot_domain.workflows.versions import Versions

MAX_OF_WORKFLOW = 100
MAX_OF_TENANT = 1_000
"""They may all be due at once, and the engines take one after the other: about a hundred a second each."""


class ScheduleService:
    """Each method is one step of the caller's transaction; the caller commits."""

    def __init__(self, versions: Versions) -> None:
        self._versions = versions
        self._workflows = WorkflowRepository()
        self._schedules = ScheduleRepository()

    async def create(self, tx: Transaction, workflow_id: UUID, new: NewSchedule) -> Schedule:
        """Raises NotFound; InvalidInput, also for inputs that the current version does not take; Conflict where there
        are as many as there may be."""
        workflow = await self._workflows.get(tx, workflow_id, for_update=True)  # it is not deleted meanwhile
        version = await self._versions.get(tx, workflow_id, workflow.current_version)
        inputs = checked_inputs(version.inputs, new.inputs)
        counted = await self._schedules.count(tx, workflow_id)
        _check_bounds(counted.of_workflow, counted.of_tenant)
        next_at = await asyncio.to_thread(lambda: Cron(new.cron, new.timezone).next_after(counted.now))
        if next_at is None:
            raise InvalidInput({"cron": "names no time in the next 50 years"})
        schedule_id = new_id()
        row = await self._schedules.insert(tx, schedule_id, workflow_id, new, inputs, next_at)
        await record_audit(tx, "schedule.created", schedule_id, details={"workflow_id": str(workflow_id)})
        return row.open(await tx.cipher())

    async def list(self, tx: Transaction, workflow_id: UUID, wanted: PageRequest) -> Page[Schedule]:
        """Newest first. Raises NotFound."""
        before = wanted.position(UUID)
        await self._workflows.get(tx, workflow_id)
        cipher = await tx.cipher()
        rows = await self._schedules.page(tx, workflow_id, before=before, offset=wanted.offset, limit=wanted.fetch)
        counted = (await self._schedules.count(tx, workflow_id)).of_workflow
        return page(wanted, list(rows), key=lambda row: row.id, item=lambda row: row.open(cipher), counted=counted)

    async def delete(self, tx: Transaction, workflow_id: UUID, schedule_id: UUID) -> None:
        """What it has started goes on. Raises NotFound."""
        await self._schedules.delete(tx, workflow_id, schedule_id)
        await record_audit(tx, "schedule.deleted", schedule_id, details={"workflow_id": str(workflow_id)})


def _check_bounds(of_workflow: int, of_tenant: int) -> None:
    if of_workflow >= MAX_OF_WORKFLOW:
        message = f"A workflow may have {MAX_OF_WORKFLOW} schedules."
        raise Conflict(message, details={"limit": MAX_OF_WORKFLOW})
    if of_tenant >= MAX_OF_TENANT:
        raise Conflict(f"A tenant may have {MAX_OF_TENANT} schedules.", details={"limit": MAX_OF_TENANT})
