"""Audit rows: who changed what, from where. Written in the transaction of the change."""

from uuid import UUID

from psycopg.types.json import Jsonb

from copilot_common.base.ids import new_id
from copilot_common.platform.sql import Queries
from copilot_common.tenancy.transaction import Transaction

_sql = Queries(__package__)


async def record_audit(
    tx: Transaction,
    action: str,
    resource_id: UUID | None,
    *,
    details: dict[str, str | int | bool | None] | None = None,
) -> None:
    """`action` is `resource.past_tense` (`conversation.created`). `details` hold ids and settings, never content."""
    principal = tx.principal
    await tx.execute(
        _sql["insert_audit"],
        {
            "tenant_id": principal.tenant_id,
            "id": new_id(),
            "actor_type": principal.kind,
            "actor_id": principal.credential_id,
            "user_id": principal.user_id,
            "action": action,
            "resource_type": action.partition(".")[0],
            "resource_id": resource_id,
            "address": principal.address,
            "details": Jsonb(details or {}),
        },
    )
