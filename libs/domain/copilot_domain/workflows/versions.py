"""Versions of workflows as runs use them. They never change: what has been read once is kept."""

from collections import OrderedDict
from dataclasses import dataclass
from uuid import UUID

from copilot_common.platform.json_schema import JsonSchema
from copilot_common.tenancy import Transaction
from copilot_domain.workflows.definition import Definition
from copilot_domain.workflows.program import Program
from copilot_domain.workflows.repository import WorkflowRepository

_KEPT = 256


@dataclass(frozen=True, slots=True)
class Version:
    """`inputs`: what a run's inputs must be."""

    definition: Definition
    program: Program
    inputs: JsonSchema | None


class Versions:
    """One per process. Whether the workflow is still there is the caller's question."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[UUID, UUID, int], Version] = OrderedDict()
        self._current: OrderedDict[tuple[UUID, UUID], int] = OrderedDict()

    def current(self, tenant_id: UUID, workflow_id: UUID) -> int | None:
        """The newest one when this process looked last: whoever goes by it must ask whether it still is."""
        return self._current.get((tenant_id, workflow_id))

    async def look_up_current(self, tx: Transaction, workflow_id: UUID) -> int:
        """Raises NotFound."""
        found = (await WorkflowRepository().get(tx, workflow_id)).current_version
        self._current[tx.principal.tenant_id, workflow_id] = found
        if len(self._current) > _KEPT:
            self._current.popitem(last=False)
        return found

    def known(self, tenant_id: UUID, workflow_id: UUID, version: int) -> Version | None:
        return self._kept.get((tenant_id, workflow_id, version))

    async def get(self, tx: Transaction, workflow_id: UUID, version: int) -> Version:
        """Raises NotFound."""
        key = tx.principal.tenant_id, workflow_id, version
        if (found := self._kept.get(key)) is None:
            found = _version(await WorkflowRepository().definition(tx, workflow_id, version))
            if len(self._kept) >= _KEPT:
                self._kept.popitem(last=False)
            self._kept[key] = found
        self._kept.move_to_end(key)
        return found


def _version(definition: Definition) -> Version:
    schema = definition.inputs_schema
    return Version(definition, Program(definition), None if schema is None else JsonSchema(schema))
