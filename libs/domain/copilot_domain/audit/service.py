"""Who changed what in a tenant, from where."""

from datetime import datetime
from uuid import UUID

import msgspec

from copilot_common.tenancy import Transaction
from copilot_domain.audit import repository
from copilot_domain.audit.repository import AuditFilter, AuditRow
from copilot_domain.pagination import Page, PageRequest, page


class Actor(msgspec.Struct, frozen=True):
    """`type` is user, api_key, platform_key or system; `id` the credential; `user_id` whose it is, where known."""

    type: str
    id: UUID | None
    user_id: UUID | None


class AuditEntry(msgspec.Struct, frozen=True):
    """`details` hold ids and settings, never content."""

    id: UUID
    at: datetime
    actor: Actor
    action: str
    resource_type: str
    resource_id: UUID | None
    address: str | None
    details: dict[str, object]


async def list_audit(tx: Transaction, wanted: AuditFilter, request: PageRequest) -> Page[AuditEntry]:
    """The newest first. Raises InvalidInput for a bad cursor."""
    rows = await repository.list_rows(tx, wanted, request)
    counted = await repository.count_rows(tx, wanted)
    return page(request, rows, key=lambda row: row.id, item=_entry, counted=counted)


def _entry(row: AuditRow) -> AuditEntry:
    return AuditEntry(
        id=row.id,
        at=row.at,
        actor=Actor(type=row.actor_type, id=row.actor_id, user_id=row.user_id),
        action=row.action,
        resource_type=row.resource_type,
        resource_id=row.resource_id,
        address=row.address,
        details=row.details,
    )
