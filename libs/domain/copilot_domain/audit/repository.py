"""Rows of the audit log."""

from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Transaction
from copilot_domain.pagination import EXACT_TOTAL, PageRequest

_sql = Queries(__package__)


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """What is given must match. `actor` is the credential (a user, a key), `user` whose it is."""

    actor: UUID | None = None
    user: UUID | None = None
    action: str | None = None
    resource_type: str | None = None
    resource_id: UUID | None = None
    address: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class AuditRow:
    id: UUID
    at: datetime
    actor_type: str
    actor_id: UUID | None
    user_id: UUID | None
    action: str
    resource_type: str
    resource_id: UUID | None
    address: str | None
    details: dict[str, object]


async def list_rows(tx: Transaction, wanted: AuditFilter, request: PageRequest) -> list[AuditRow]:
    position = {"before": request.position(UUID), "offset": request.offset, "limit": request.fetch}
    return await tx.fetch_all(AuditRow, _sql["list_audit"], _params(tx, wanted) | position, prepare=False)


async def count_rows(tx: Transaction, wanted: AuditFilter) -> int:
    params = _params(tx, wanted) | {"up_to": EXACT_TOTAL + 1}
    counted = await tx.fetch_value(_sql["count_audit"], params, prepare=False)
    return counted if isinstance(counted, int) else 0


def _params(tx: Transaction, wanted: AuditFilter) -> dict[str, object]:
    return {"tenant_id": tx.principal.tenant_id, **asdict(wanted)}
