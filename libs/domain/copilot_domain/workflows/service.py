"""What a principal can do with definitions of workflows. They are the tenant's, whoever made them."""

import asyncio
from typing import TypeAlias
from uuid import UUID

from copilot_common.base.errors import Conflict, InvalidInput
from copilot_common.base.ids import new_id
from copilot_common.tenancy import Transaction
from copilot_common.tenancy.audit import record_audit
from copilot_domain.pagination import EXACT_TOTAL, Page, PageRequest, page
from copilot_domain.workflows.parsing import Syntax, parse
from copilot_domain.workflows.repository import WorkflowRepository
from copilot_domain.workflows.types import NewVersion, PinnedDefinition, Workflow, WorkflowSummary, WorkflowVersion
from copilot_domain.workflows.validation import ExpressionChecker, Fault, expression_faults, validate

_Checked: TypeAlias = NewVersion | list[Fault]


class WorkflowService:
    """Each method that takes a transaction is one step of it; the caller commits. The others come before: they wait for
    a thread and for another process."""

    def __init__(self, checker: ExpressionChecker) -> None:
        self._checker = checker
        self._workflows = WorkflowRepository()

    async def check(self, raw: bytes, syntax: Syntax) -> NewVersion:
        """Raises InvalidInput with every fault by its path, BAD_REQUEST where it cannot be read, TooLarge."""
        checked = await self._check(raw, syntax)
        if isinstance(checked, list):
            raise InvalidInput(dict(checked))
        return checked

    async def faults(self, raw: bytes, syntax: Syntax) -> list[Fault]:
        """All that is wrong with a definition. Raises BAD_REQUEST where it cannot be read, TooLarge."""
        try:
            checked = await self._check(raw, syntax)
        except InvalidInput as error:
            return [Fault(path, message) for path, message in error.fields.items()]
        return checked if isinstance(checked, list) else []

    async def create(self, tx: Transaction, new: NewVersion) -> Workflow:
        """Raises InvalidInput for a version other than 1."""
        if new.version not in {None, 1}:
            raise InvalidInput({"version": "must be 1, or absent"})
        workflow_id = new_id()
        row = await self._workflows.insert(tx, workflow_id, new.definition)
        await record_audit(tx, "workflow.created", workflow_id, details={"steps": len(new.definition.steps)})
        return row.show(1, new.definition)

    async def update(self, tx: Transaction, workflow_id: UUID, new: NewVersion) -> Workflow:
        """A new version. Raises NotFound; Conflict where the caller takes it for another one than it is."""
        current = (await self._workflows.get(tx, workflow_id, for_update=True)).current_version
        version = current + 1
        if new.version not in {None, version}:
            message = f"The current version is {current}, so this would be version {version}, not {new.version}."
            raise Conflict(message, details={"current_version": current})
        row = await self._workflows.add_version(tx, workflow_id, version, new.definition)
        await record_audit(tx, "workflow.updated", workflow_id, details={"version": version})
        return row.show(version, new.definition)

    async def get(self, tx: Transaction, workflow_id: UUID, version: int | None = None) -> Workflow:
        """The current version, or that one. Raises NotFound."""
        row = await self._workflows.get(tx, workflow_id)
        wanted = row.current_version if version is None else version
        return row.show(wanted, await self._workflows.definition(tx, workflow_id, wanted))

    async def list(self, tx: Transaction, request: PageRequest) -> Page[WorkflowSummary]:
        """Newest first."""
        cipher = await tx.cipher()
        before = request.position(UUID)
        rows = await self._workflows.page(tx, before=before, offset=request.offset, limit=request.fetch)
        counted = await self._workflows.count(tx, up_to=EXACT_TOTAL + 1)
        return page(request, rows, key=lambda row: row.id, item=lambda row: row.open(cipher), counted=counted)

    async def versions(self, tx: Transaction, workflow_id: UUID, request: PageRequest) -> Page[WorkflowVersion]:
        """Newest first. Raises NotFound."""
        row = await self._workflows.get(tx, workflow_id)
        before = request.position(int)
        rows = await self._workflows.versions(
            tx, workflow_id, before=before, offset=request.offset, limit=request.fetch
        )
        return page(request, rows, key=lambda row: row.version, item=lambda row: row, counted=row.current_version)

    async def delete(self, tx: Transaction, workflow_id: UUID) -> None:
        """It is gone for everybody, with its schedules and triggers; what runs goes on. Raises NotFound."""
        await self._workflows.delete(tx, workflow_id)
        await record_audit(tx, "workflow.deleted", workflow_id)

    async def pin(self, tx: Transaction, workflow_id: UUID, version: int | None = None) -> PinnedDefinition:
        """What a new run is of: the current version, or that one. Raises NotFound, also where it is deleted."""
        shown = await self._workflows.get(tx, workflow_id)
        wanted = shown.current_version if version is None else version
        return PinnedDefinition(workflow_id, wanted, await self._workflows.definition(tx, workflow_id, wanted))

    async def _check(self, raw: bytes, syntax: Syntax) -> _Checked:
        checked = await asyncio.to_thread(_read, raw, syntax)
        if isinstance(checked, NewVersion):
            return await expression_faults(checked.definition, self._checker) or checked
        return checked


def _read(raw: bytes, syntax: Syntax) -> _Checked:
    value = parse(raw, syntax)
    definition = validate(value)
    if isinstance(definition, list):
        return definition
    version = value.get("version") if isinstance(value, dict) else None
    return NewVersion(definition=definition, version=version if isinstance(version, int) else None)
