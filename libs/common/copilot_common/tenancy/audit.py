"""Audit rows: who changed what, from where. Written in the transaction of the change."""

from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from copilot_common.base.ids import new_id
from copilot_common.platform.sql import Queries
from copilot_common.tenancy.principal import Principal
from copilot_common.tenancy.transaction import Transaction

_sql = Queries(__package__)


AuditDetails = dict[str, str | int | bool | None]


async def record_audit(
    tx: Transaction, action: str, resource_id: UUID | None, *, details: AuditDetails | None = None
) -> None:
    """`action` is `resource.past_tense` (`conversation.created`). `details` hold ids and settings, never content. The
    row comes with the COMMIT: this transaction does not see it."""
    await tx.execute_last(_sql["insert_audit"], audit_columns(tx.principal, action, resource_id, details=details))


def audit_columns(
    principal: Principal, action: str, resource_id: UUID | None, *, details: AuditDetails | None = None
) -> dict[str, object]:
    """The row's columns, for a statement that writes it along with the change."""
    return {
        "tenant_id": principal.tenant_id,
        "id": new_id(),
        "actor_type": principal.kind,
        "actor_id": principal.credential_id,
        "user_id": principal.user_id,
        "action": action,
        "resource_type": action.partition(".")[0],
        "resource_id": resource_id,
        "address": principal.address,
        "details": Jsonb(details or {}, dumps=msgspec.json.encode),
    }
