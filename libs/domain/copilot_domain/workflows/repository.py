"""Rows of workflows and versions, unsealed into the domain's types."""

from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID

from copilot_common.base.errors import NotFound
from copilot_common.encryption import Purpose, TenantCipher
from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Transaction
from copilot_domain.workflows.definition import Definition
from copilot_domain.workflows.types import ShownStep, Workflow, WorkflowSummary, WorkflowVersion
from copilot_domain.workflows.validation import decode, encode

sql = Queries(__package__)

LAST_ID = UUID(int=2**128 - 1)
LAST_VERSION = 2**31 - 1


@dataclass(frozen=True, slots=True)
class WorkflowRow:
    id: UUID
    user_id: UUID
    name_sealed: bytes
    description_sealed: bytes | None
    current_version: int
    created_at: datetime
    updated_at: datetime

    def open(self, cipher: TenantCipher) -> WorkflowSummary:
        text = self.description_sealed
        return WorkflowSummary(
            id=self.id,
            name=cipher.open_text(Purpose.WORKFLOW_NAME, self.id, self.name_sealed),
            description=cipher.open_text(Purpose.WORKFLOW_DESCRIPTION, self.id, text) if text else None,
            version=self.current_version,
            user_id=self.user_id,
            created_at=self.created_at,
            updated_at=self.updated_at,
        )

    def show(self, version: int, definition: Definition) -> Workflow:
        """`name` and `description` too are those of that version."""
        return Workflow(
            id=self.id,
            name=definition.name,
            description=definition.description,
            version=version,
            user_id=self.user_id,
            created_at=self.created_at,
            updated_at=self.updated_at,
            steps=[ShownStep.of(step) for step in definition.steps],
            entry_point=definition.entry_point,
            inputs_schema=definition.inputs_schema,
            concurrency=definition.concurrency,
            priority=definition.priority,
            max_duration_ms=definition.max_duration_ms,
            metadata=definition.metadata,
        )


@dataclass(frozen=True, slots=True)
class _VersionRow:
    version: int
    definition_sealed: bytes


class WorkflowRepository:
    """Every method runs in the caller's transaction, as its principal."""

    async def insert(self, tx: Transaction, workflow_id: UUID, definition: Definition) -> WorkflowRow:
        columns = await self._columns(tx, workflow_id, definition) | {"user_id": tx.principal.acting_user}
        row = _present(await tx.fetch_one(WorkflowRow, sql["insert_workflow"], columns))
        await self._insert_version(tx, workflow_id, 1, definition)
        return row

    async def add_version(
        self, tx: Transaction, workflow_id: UUID, version: int, definition: Definition
    ) -> WorkflowRow:
        """`version` is current from now on; the caller holds the workflow's lock. Raises NotFound."""
        columns = await self._columns(tx, workflow_id, definition) | {"version": version}
        row = _present(await tx.fetch_one(WorkflowRow, sql["update_workflow"], columns))
        await self._insert_version(tx, workflow_id, version, definition)
        return row

    async def get(self, tx: Transaction, workflow_id: UUID, *, for_update: bool = False) -> WorkflowRow:
        """Raises NotFound, also where it is deleted."""
        query = sql["lock_workflow"] if for_update else sql["get_workflow"]
        return _present(await tx.fetch_one(WorkflowRow, query, _key(tx, workflow_id)))

    async def definition(self, tx: Transaction, workflow_id: UUID, version: int) -> Definition:
        """Also of a deleted workflow. Raises NotFound."""
        row = await tx.fetch_one(_VersionRow, sql["get_version"], _key(tx, workflow_id) | {"version": version})
        if row is None:
            raise NotFound("version of this workflow")
        cipher = await tx.cipher()
        return decode(cipher.open(Purpose.WORKFLOW_DEFINITION, workflow_id, row.definition_sealed, part=version))

    async def page(self, tx: Transaction, *, before: UUID | None, offset: int, limit: int) -> list[WorkflowRow]:
        params = {"tenant_id": tx.principal.tenant_id, "before": before or LAST_ID, "offset": offset, "limit": limit}
        return await tx.fetch_all(WorkflowRow, sql["list_workflows"], params)

    async def count(self, tx: Transaction, *, up_to: int) -> int:
        params = {"tenant_id": tx.principal.tenant_id, "count_limit": up_to}
        return cast(int, await tx.fetch_value(sql["count_workflows"], params))

    async def versions(
        self, tx: Transaction, workflow_id: UUID, *, before: int | None, offset: int, limit: int
    ) -> list[WorkflowVersion]:
        params = {"before": LAST_VERSION if before is None else before, "offset": offset, "limit": limit}
        return await tx.fetch_all(WorkflowVersion, sql["list_versions"], _key(tx, workflow_id) | params)

    async def delete(self, tx: Transaction, workflow_id: UUID) -> None:
        """With its schedules and triggers. Raises NotFound."""
        if not await tx.execute(sql["delete_workflow"], _key(tx, workflow_id)):
            raise NotFound("workflow")
        await tx.execute(sql["delete_starts"], _key(tx, workflow_id))

    async def _insert_version(self, tx: Transaction, workflow_id: UUID, version: int, definition: Definition) -> None:
        encoded = encode(definition)
        sealed = (await tx.cipher()).seal(Purpose.WORKFLOW_DEFINITION, workflow_id, encoded, part=version)
        own = {"version": version, "definition_sealed": sealed, "user_id": tx.principal.acting_user}
        await tx.execute(sql["insert_version"], _key(tx, workflow_id) | own)

    async def _columns(self, tx: Transaction, workflow_id: UUID, definition: Definition) -> dict[str, object]:
        cipher, text = await tx.cipher(), definition.description
        return {
            **_key(tx, workflow_id),
            "name_sealed": cipher.seal_text(Purpose.WORKFLOW_NAME, workflow_id, definition.name),
            "description_sealed": cipher.seal_text(Purpose.WORKFLOW_DESCRIPTION, workflow_id, text) if text else None,
        }


def _key(tx: Transaction, workflow_id: UUID) -> dict[str, object]:
    return {"tenant_id": tx.principal.tenant_id, "id": workflow_id}


def _present(row: WorkflowRow | None) -> WorkflowRow:
    if row is None:
        raise NotFound("workflow")
    return row
