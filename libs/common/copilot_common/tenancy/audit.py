"""Audit rows: who changed what, from where. Written in the transaction of the change."""

from uuid import UUID

from psycopg.types.json import Jsonb

from copilot_common.base.ids import new_id
from copilot_common.tenancy.transaction import Transaction

_INSERT = """
INSERT INTO audit_log (tenant_id, id, actor_type, actor_id, user_id, action, resource_type, resource_id, address, details)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


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
        _INSERT,
        [
            principal.tenant_id,
            new_id(),
            principal.kind,
            principal.credential_id,
            principal.user_id,
            action,
            action.partition(".")[0],
            resource_id,
            principal.address,
            Jsonb(details or {}),
        ],
    )
