"""Rows of refresh tokens."""

from dataclasses import dataclass
from uuid import UUID

from copilot_common.tenancy import Principal, Transaction
from copilot_domain.tenants.repository import sql


@dataclass(frozen=True, slots=True)
class RefreshRow:
    """`is_ended`: revoked or expired. `is_just_spent`: within the grace in which its successor is given again."""

    id: UUID
    family_id: UUID
    successor_id: UUID | None
    is_ended: bool
    is_spent: bool
    is_just_spent: bool | None


async def insert(tx: Transaction, token_id: UUID, family_id: UUID, *, ttl_seconds: int) -> None:
    params = _own(tx.principal) | {"token_id": token_id, "family_id": family_id, "ttl_seconds": ttl_seconds}
    await tx.execute(sql["insert_refresh_token"], params)


async def lock(tx: Transaction, token_id: UUID) -> RefreshRow | None:
    return await tx.fetch_one(RefreshRow, sql["lock_refresh_token"], _own(tx.principal) | {"token_id": token_id})


async def spend(tx: Transaction, token_id: UUID, successor_id: UUID) -> None:
    params = _own(tx.principal) | {"token_id": token_id, "successor_id": successor_id}
    await tx.execute(sql["spend_refresh_token"], params)


async def revoke_family(tx: Transaction, family_id: UUID) -> bool:
    """False when the session had ended already."""
    return await tx.execute(sql["revoke_family"], _own(tx.principal) | {"family_id": family_id}) > 0


async def find_role(tx: Transaction) -> object:
    """The user's present role in the tenant; None when either is inactive or the membership is gone."""
    return await tx.fetch_value(sql["find_member"], _own(tx.principal))


def _own(principal: Principal) -> dict[str, object]:
    return {"tenant_id": principal.tenant_id, "user_id": principal.acting_user}
