"""Tenants, seen from outside."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from copilot_cli.operators.database import inside, operator_transaction, sql
from copilot_common.base.errors import Conflict, NotFound
from copilot_common.tenancy import Transaction
from copilot_common.tenancy.audit import record_audit
from copilot_domain.tenants import Tenant, TenantStatus, repository


@dataclass(frozen=True)
class TenantFigures:
    members: int
    api_keys: int
    conversations: int
    messages: int
    last_answer_at: datetime | None


async def find(tx: Transaction, named: str) -> Tenant:
    """By slug or id. Raises NotFound."""
    tenant = await tx.fetch_one(repository.TenantRow, sql["find_tenant"], {"named": named})
    if tenant is None:
        raise NotFound(f"tenant: {named}")
    return tenant.open()


async def list_all(url: str, limit: int) -> list[Tenant]:
    """The newest first."""
    async with operator_transaction(url) as tx:
        rows = await tx.fetch_all(repository.TenantRow, sql["list_tenants"], {"limit": limit})
    return [row.open() for row in rows]


async def show(url: str, named: str) -> tuple[Tenant, TenantFigures]:
    async with operator_transaction(url) as tx:
        tenant = await find(tx, named)
        figures = await tx.fetch_one(TenantFigures, sql["tenant_figures"], {"tenant_id": tenant.id})
    if figures is None:
        raise NotFound("tenant")
    return tenant, figures


async def set_status(url: str, named: str, status: TenantStatus) -> Tenant:
    """A suspended tenant's credentials are refused from the next request on. Raises Conflict where it is so already."""
    async with operator_transaction(url) as tx:
        tenant = await find(tx, named)
        if tenant.status == status:
            raise Conflict(f"Tenant {tenant.slug} is {status} already.")
        changed = await repository.update_tenant(tx, tenant.id, name=None, status=status)
        await record_audit(inside(tx, tenant.id), "tenant.updated", tenant.id, details={"status": status})
    return changed or tenant


async def delete(url: str, tenant_id: UUID) -> None:
    """All its rows go, but for its audit log and its wrapped keys."""
    async with operator_transaction(url) as tx:
        await record_audit(inside(tx, tenant_id), "tenant.deleted", tenant_id)
        await repository.delete_tenant(tx, tenant_id)
