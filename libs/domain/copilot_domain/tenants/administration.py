"""Tenants: one's own, and all of them for the platform's keys.

Threat model: a platform key makes and removes tenants but must read nothing in them. Its transactions see no tenant's
rows; while one is made, changed or removed they enter that tenant, for its data key, its invite and its audit row.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from msgspec import UNSET
from msgspec.structs import asdict, replace

from copilot_common.base.errors import NotFound
from copilot_common.base.ids import TenantId, new_id
from copilot_common.tenancy import Transaction
from copilot_common.tenancy.audit import record_audit
from copilot_domain.pagination import Page, PageRequest, page
from copilot_domain.tenants import names, repository
from copilot_domain.tenants.invites import InviteService
from copilot_domain.tenants.types import ContextQuota, ContextQuotaChanges, CreatedTenant, Tenant, TenantStatus

_NO_CHANGES: Final = ContextQuotaChanges()


async def get_current_tenant(tx: Transaction) -> Tenant:
    return await _get(tx, tx.principal.tenant_id)


async def rename_current_tenant(tx: Transaction, name: str) -> Tenant:
    tenant = await repository.update_tenant(tx, tx.principal.tenant_id, name=names.check_name(name), status=None)
    await record_audit(tx, "tenant.updated", tx.principal.tenant_id, details={"fields": "name"})
    return _found(tenant)


class PlatformService:
    """Each method is one step of the caller's transaction, whose principal is a platform key."""

    def __init__(self, invites: InviteService) -> None:
        self._invites = invites

    async def create(self, tx: Transaction, name: str, slug: str, *, owner_email: str | None) -> CreatedTenant:
        """A tenant with its data key and, with `owner_email`, an invite for its first owner. Raises Conflict."""
        name, slug = names.check_name(name), names.check_slug(slug)
        email = names.check_email(owner_email, field="owner_email") if owner_email is not None else None
        tenant_id = TenantId(new_id())
        await repository.insert_tenant(tx, tenant_id, name, slug)
        token = None
        async with _inside(tx, tenant_id) as inside:
            await inside.keyring.create(inside.connection, tenant_id)
            await record_audit(inside, "tenant.created", tenant_id, details={"slug": slug})
            if email is not None:
                inviter = inside.principal.credential_id
                token = (await self._invites.insert(inside, email, "owner", invited_by=inviter)).token
        tenant = await _get(tx, tenant_id)
        return CreatedTenant(**asdict(tenant), owner_invite_token=token)

    async def list(self, tx: Transaction, request: PageRequest) -> Page[Tenant]:
        """The newest first."""
        rows, counted = await repository.list_tenants(tx, request), await repository.count_tenants(tx)
        return page(request, rows, key=lambda row: row.id, item=lambda row: row, counted=counted)

    async def get(self, tx: Transaction, tenant_id: UUID) -> Tenant:
        return await _get(tx, tenant_id)

    async def update(
        self,
        tx: Transaction,
        tenant_id: UUID,
        *,
        name: str | None,
        status: TenantStatus | None,
        quota: ContextQuotaChanges = _NO_CHANGES,
    ) -> Tenant:
        """None leaves it as it is. A suspended tenant's credentials are refused from the next request on."""
        checked = names.check_name(name) if name is not None else None
        if quota != _NO_CHANGES:
            before = _found(await repository.get_tenant(tx, tenant_id, for_update=True))
            await repository.set_context_quota(tx, tenant_id, _changed(before.context_quota, quota))
        tenant = _found(await repository.update_tenant(tx, tenant_id, name=checked, status=status))
        details = {"status": tenant.status, **({} if quota == _NO_CHANGES else asdict(tenant.context_quota))}
        async with _inside(tx, tenant_id) as inside:
            await record_audit(inside, "tenant.updated", tenant_id, details=details)
        return tenant

    async def delete(self, tx: Transaction, tenant_id: UUID) -> None:
        """All its rows go, but for its audit log and its wrapped keys."""
        await _get(tx, tenant_id)
        async with _inside(tx, tenant_id) as inside:
            await record_audit(inside, "tenant.deleted", tenant_id)
        await repository.delete_tenant(tx, tenant_id)


@asynccontextmanager
async def _inside(tx: Transaction, tenant_id: UUID) -> AsyncIterator[Transaction]:
    """The same transaction, in that tenant for a while. Only a platform principal gets in."""
    principal = tx.principal.inside(TenantId(tenant_id))
    await repository.enter_tenant(tx, tenant_id)
    yield Transaction(tx.connection, principal, tx.keyring)
    # Not after an error: then the transaction is over, and so is the setting.
    await repository.enter_tenant(tx, tx.principal.tenant_id)


async def _get(tx: Transaction, tenant_id: UUID) -> Tenant:
    return _found(await repository.get_tenant(tx, tenant_id))


def _found(tenant: Tenant | None) -> Tenant:
    if tenant is None:
        raise NotFound("tenant")
    return tenant


def _changed(before: ContextQuota, changes: ContextQuotaChanges) -> ContextQuota:
    return replace(before, **{name: value for name, value in asdict(changes).items() if value is not UNSET})
