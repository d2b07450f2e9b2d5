"""Who acts. Made by `auth`, carried by every transaction."""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from copilot_common.base.ids import PLATFORM_TENANT, TenantId, UserId

PrincipalKind = Literal["user", "api_key", "platform_key", "system"]
Role = Literal["owner", "admin", "member", "viewer"]
Scope = Literal["read", "write", "chat", "workflows", "context", "admin", "platform"]

_NOBODY = UserId(UUID(int=0))


@dataclass(frozen=True, slots=True)
class Principal:
    """`credential_id` is the API key, the platform key or the user itself: limits and idempotency go by it.

    `address` is the client's, for audit rows. A system principal acts for the product (sweeping) and for one user.
    """

    kind: PrincipalKind
    tenant_id: TenantId
    credential_id: UUID
    user_id: UserId | None = None
    role: Role | None = None
    scopes: frozenset[Scope] = frozenset()
    address: str | None = None

    @property
    def is_platform(self) -> bool:
        return self.kind == "platform_key"

    @property
    def api_key_id(self) -> UUID | None:
        return self.credential_id if self.kind == "api_key" else None

    @property
    def acting_user(self) -> UserId:
        """The user whose rights count. Platform keys have none and must not get here."""
        if self.user_id is None:
            raise PermissionError("a platform principal has no user")
        return self.user_id

    @classmethod
    def nobody(cls, tenant_id: TenantId) -> "Principal":
        """For what is the tenant's and no user's: it may see what all of the tenant may."""
        return cls.system(tenant_id, _NOBODY)

    @classmethod
    def system(cls, tenant_id: TenantId, user_id: UserId) -> "Principal":
        return cls(kind="system", tenant_id=tenant_id, credential_id=user_id, user_id=user_id)

    @classmethod
    def platform(cls, key_id: UUID, *, address: str | None = None) -> "Principal":
        return cls(
            kind="platform_key",
            tenant_id=PLATFORM_TENANT,
            credential_id=key_id,
            scopes=frozenset({"platform"}),
            address=address,
        )

    def inside(self, tenant_id: TenantId) -> "Principal":
        """The platform principal, working on one tenant's rows (making it, its key, its audit row)."""
        if not self.is_platform:
            raise PermissionError("only a platform principal may enter another tenant")
        return Principal(
            kind=self.kind,
            tenant_id=tenant_id,
            credential_id=self.credential_id,
            scopes=self.scopes,
            address=self.address,
        )
