"""Rows of tenants and memberships; what several operations of this slice need."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec
from psycopg.errors import UniqueViolation

from copilot_common.base.errors import Conflict
from copilot_common.base.ids import TenantId, UserId
from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Role, Transaction
from copilot_domain.pagination import EXACT_TOTAL, PageRequest
from copilot_domain.tenants.types import ContextQuota, Member, Tenant, TenantStatus

sql = Queries(__package__)

_TAKEN = {
    "tenants_slug_key": ("slug", "This slug is taken."),
    "users_email_unique": ("email", "This e-mail has an account already."),
    "users_username_unique": ("username", "This username is taken."),
}
COUNT_UP_TO = EXACT_TOTAL + 1


@dataclass(frozen=True, slots=True)
class TenantRow:
    id: UUID
    name: str
    slug: str
    status: TenantStatus
    context_max_items: int | None
    context_max_bytes: int | None
    context_max_chunks: int | None
    created_at: datetime
    updated_at: datetime

    def open(self) -> Tenant:
        return Tenant(
            id=self.id,
            name=self.name,
            slug=self.slug,
            status=self.status,
            context_quota=ContextQuota(
                max_items=self.context_max_items, max_bytes=self.context_max_bytes, max_chunks=self.context_max_chunks
            ),
            created_at=self.created_at,
            updated_at=self.updated_at,
        )


@contextmanager
def unique_names() -> Iterator[None]:
    """Turns a taken slug, e-mail or username into Conflict; the transaction is lost with it."""
    try:
        yield
    except UniqueViolation as error:
        taken = _TAKEN.get(error.diag.constraint_name or "")
        if taken is None:
            raise
        raise Conflict(taken[1], details={"field": taken[0]}) from None


def number(value: object) -> int:
    """The result of a count."""
    return value if isinstance(value, int) else 0


async def insert_tenant(tx: Transaction, tenant_id: TenantId, name: str, slug: str) -> None:
    with unique_names():
        await tx.execute(sql["insert_tenant"], {"tenant_id": tenant_id, "name": name, "slug": slug})


async def get_tenant(tx: Transaction, tenant_id: UUID, *, for_update: bool = False) -> Tenant | None:
    query = sql["lock_tenant"] if for_update else sql["get_tenant"]
    return _opened(await tx.fetch_one(TenantRow, query, {"tenant_id": tenant_id}))


async def list_tenants(tx: Transaction, request: PageRequest) -> list[Tenant]:
    params = {"before": request.position(UUID), "offset": request.offset, "limit": request.fetch}
    return [row.open() for row in await tx.fetch_all(TenantRow, sql["list_tenants"], params, prepare=False)]


async def count_tenants(tx: Transaction) -> int:
    return number(await tx.fetch_value(sql["count_tenants"], {"up_to": COUNT_UP_TO}))


async def update_tenant(
    tx: Transaction, tenant_id: UUID, *, name: str | None, status: TenantStatus | None
) -> Tenant | None:
    params = {"tenant_id": tenant_id, "name": name, "status": status}
    return _opened(await tx.fetch_one(TenantRow, sql["update_tenant"], params))


async def set_context_quota(tx: Transaction, tenant_id: UUID, quota: ContextQuota) -> None:
    await tx.execute(sql["set_context_quota"], {"tenant_id": tenant_id, **msgspec.structs.asdict(quota)})


async def delete_tenant(tx: Transaction, tenant_id: UUID) -> None:
    await tx.execute(sql["delete_tenant"], {"tenant_id": tenant_id})


async def enter_tenant(tx: Transaction, tenant_id: UUID) -> None:
    await tx.execute(sql["enter_tenant"], {"tenant_id": str(tenant_id)})


async def insert_membership(tx: Transaction, user_id: UserId, role: Role) -> bool:
    """False where the user is a member already; the present role stays."""
    params = {"tenant_id": tx.principal.tenant_id, "user_id": user_id, "role": role}
    return await tx.execute(sql["insert_membership"], params) > 0


async def list_members(tx: Transaction, request: PageRequest) -> list[Member]:
    params = {"after": request.position(UUID), "offset": request.offset, "limit": request.fetch}
    return await tx.fetch_all(Member, sql["list_members"], params)


async def count_members(tx: Transaction) -> int:
    params = {"tenant_id": tx.principal.tenant_id, "up_to": COUNT_UP_TO}
    return number(await tx.fetch_value(sql["count_members"], params))


async def get_member(tx: Transaction, user_id: UUID) -> Member | None:
    params = {"user_id": user_id, "just_before": UUID(int=user_id.int - 1) if user_id.int else None}
    return await tx.fetch_one(Member, sql["get_member"], params)


async def lock_owners(tx: Transaction) -> set[UUID]:
    async with tx.connection.cursor(binary=True) as cursor:
        await cursor.execute(sql["lock_owners"], {"tenant_id": tx.principal.tenant_id})
        return {row[0] for row in await cursor.fetchall()}


async def lock_member(tx: Transaction, user_id: UUID) -> object:
    """Their role, None where they are no member."""
    return await tx.fetch_value(sql["lock_member"], {"tenant_id": tx.principal.tenant_id, "user_id": user_id})


async def update_role(tx: Transaction, user_id: UUID, role: Role) -> None:
    await tx.execute(sql["update_role"], {"tenant_id": tx.principal.tenant_id, "user_id": user_id, "role": role})


async def delete_member(tx: Transaction, user_id: UUID) -> None:
    await tx.execute(sql["delete_member"], {"tenant_id": tx.principal.tenant_id, "user_id": user_id})


def _opened(row: TenantRow | None) -> Tenant | None:
    return None if row is None else row.open()
