"""Invites into a tenant. The token is its ids and a MAC: it cannot be guessed, and is good only while its row is."""

from dataclasses import dataclass
from uuid import UUID

import msgspec

from copilot_common.auth.signed_ids import SignedIds
from copilot_common.base.errors import Conflict, InvalidInput, NotFound, Unauthenticated
from copilot_common.base.ids import TenantId, new_id
from copilot_common.tenancy import Role, Transaction
from copilot_common.tenancy.audit import record_audit
from copilot_domain.pagination import Page, PageRequest, page
from copilot_domain.tenants import names
from copilot_domain.tenants.members import require_owner_for
from copilot_domain.tenants.repository import COUNT_UP_TO, number, sql
from copilot_domain.tenants.types import CreatedInvite, Invite

_TTL_DAYS = 7


@dataclass(frozen=True, slots=True)
class _InviteRow:
    email: str
    role: Role
    is_used: bool
    is_expired: bool


class InviteService:
    """Each method is one step of the caller's transaction."""

    def __init__(self, tokens: SignedIds) -> None:
        self._tokens = tokens

    async def create(self, tx: Transaction, email: str, role: Role) -> CreatedInvite:
        """Good for seven days and one person. Only an owner invites owners."""
        require_owner_for(tx.principal, role)
        return await self.insert(tx, names.check_email(email), role, invited_by=tx.principal.acting_user)

    async def insert(self, tx: Transaction, email: str, role: Role, *, invited_by: UUID) -> CreatedInvite:
        """Without checks of the inviter: a new tenant's first owner is invited by the platform."""
        params = {
            "tenant_id": tx.principal.tenant_id,
            "invite_id": new_id(),
            "email": email,
            "role": role,
            "invited_by": invited_by,
            "ttl_days": _TTL_DAYS,
        }
        invite = await tx.fetch_one(Invite, sql["insert_invite"], params)
        assert invite is not None  # noqa: S101 — RETURNING of an INSERT that did not raise
        await record_audit(tx, "invite.created", invite.id, details={"role": role})
        token = self._tokens.render(tx.principal.tenant_id, invite.id)
        return CreatedInvite(**msgspec.structs.asdict(invite), token=token)

    async def list(self, tx: Transaction, request: PageRequest) -> Page[Invite]:
        """The newest first, used and expired ones too."""
        tenant = {"tenant_id": tx.principal.tenant_id}
        params = tenant | {"before": request.position(UUID), "offset": request.offset, "limit": request.fetch}
        rows = await tx.fetch_all(Invite, sql["list_invites"], params, prepare=False)
        counted = number(await tx.fetch_value(sql["count_invites"], tenant | {"up_to": COUNT_UP_TO}))
        return page(request, rows, key=lambda row: row.id, item=lambda row: row, counted=counted)

    async def withdraw(self, tx: Transaction, invite_id: UUID) -> None:
        """Its token is refused from now on. Raises NotFound."""
        if not await tx.execute(sql["delete_invite"], _ids(tx, invite_id)):
            raise NotFound("invite")
        await record_audit(tx, "invite.deleted", invite_id)

    def read_token(self, token: str) -> tuple[TenantId, UUID]:
        """Tenant and invite. Raises InvalidInput for a token we did not make."""
        try:
            tenant_id, invite_id = self._tokens.read(token)
        except Unauthenticated:
            raise _bad("is not valid") from None
        return TenantId(tenant_id), invite_id

    async def check(self, tx: Transaction, invite_id: UUID, email: str) -> Role:
        """The role it gives, while it is good for that e-mail; locked until the transaction ends.

        Raises InvalidInput, or Conflict when it was used.
        """
        row = await tx.fetch_one(_InviteRow, sql["lock_invite"], _ids(tx, invite_id))
        if row is None:
            raise _bad("is not valid")
        if row.is_used:
            raise Conflict("This invite has been used.")
        if row.is_expired:
            raise _bad("has expired")
        if row.email != email:
            raise InvalidInput({"email": "is not the one that was invited"})
        return row.role

    async def accept(self, tx: Transaction, invite_id: UUID) -> None:
        await tx.execute(sql["accept_invite"], _ids(tx, invite_id))
        await record_audit(tx, "invite.accepted", invite_id)


def _ids(tx: Transaction, invite_id: UUID) -> dict[str, object]:
    return {"tenant_id": tx.principal.tenant_id, "invite_id": invite_id}


def _bad(problem: str) -> InvalidInput:
    return InvalidInput({"invite_token": problem})
