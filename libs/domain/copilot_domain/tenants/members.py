"""Members of a tenant and their roles.

Threat model: an admin who makes themselves owner, or removes the owners; two owners who remove each other at the same
time and leave a tenant that nobody owns. So only owners touch owners, and the owners' rows are locked before they are
counted.
"""

from uuid import UUID

from copilot_common.base.errors import Conflict, Forbidden, NotFound
from copilot_common.tenancy import Principal, Role, Transaction
from copilot_common.tenancy.audit import record_audit
from copilot_domain.pagination import Page, PageRequest, page
from copilot_domain.tenants import repository
from copilot_domain.tenants.types import Member


async def list_members(tx: Transaction, request: PageRequest) -> Page[Member]:
    """By the age of their account, the oldest first."""
    rows = await repository.list_members(tx, request)
    counted = await repository.count_members(tx)
    return page(request, rows, key=lambda row: row.user_id, item=lambda row: row, counted=counted)


async def change_role(tx: Transaction, user_id: UUID, role: Role) -> Member:
    """Counts from the member's next request on. Raises NotFound, Forbidden, Conflict for the last owner."""
    before = await _lock(tx, user_id, becomes=role)
    if before != role:
        await repository.update_role(tx, user_id, role)
        await record_audit(tx, "member.updated", user_id, details={"from": before, "to": role})
    member = await repository.get_member(tx, user_id)
    if member is None:
        raise NotFound("member")
    return member


async def remove_member(tx: Transaction, user_id: UUID) -> None:
    """Their API keys and sessions here end with it; the account and what they wrote stay. Raises as `change_role`."""
    role = await _lock(tx, user_id, becomes=None)
    await repository.delete_member(tx, user_id)
    await record_audit(tx, "member.removed", user_id, details={"role": role})


def require_owner_for(principal: Principal, *roles: object) -> None:
    """Raise Forbidden where one of `roles` is owner and the principal is none."""
    if "owner" in roles and principal.role != "owner":
        raise Forbidden("Only an owner may do this to an owner.", details={"role": "owner"})


async def _lock(tx: Transaction, user_id: UUID, *, becomes: Role | None) -> str:
    """The member's present role, which cannot change until the transaction ends."""
    owners = await repository.lock_owners(tx)
    role = await repository.lock_member(tx, user_id)
    if not isinstance(role, str):
        raise NotFound("member")
    require_owner_for(tx.principal, role, becomes)
    if role == "owner" and becomes != "owner" and owners == {user_id}:
        raise Conflict("This is the last owner; make another one first.")
    return role
