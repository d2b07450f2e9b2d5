"""What log-in, keys, members, invites and tenants look like to a caller. Field names are the wire contract's."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from copilot_common.tenancy import Role, Scope

TenantStatus = Literal["active", "suspended"]


class User(msgspec.Struct, frozen=True):
    """A user as seen from one tenant; `roles` is their one role there."""

    id: UUID
    username: str
    email: str
    roles: list[Role]
    tenant_id: UUID
    is_active: bool
    email_verified: bool
    created_at: datetime
    last_login_at: datetime | None


class TokenPair(msgspec.Struct, frozen=True, kw_only=True):
    """`expires_in` and `refresh_expires_in` are seconds."""

    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 — a scheme, no secret
    expires_in: int
    refresh_expires_in: int


class Session(TokenPair, frozen=True, kw_only=True):
    """What a log-in answers."""

    user: User


class ApiKey(msgspec.Struct, frozen=True):
    id: UUID
    user_id: UUID
    name: str
    prefix: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    is_active: bool


class CreatedApiKey(ApiKey, frozen=True, kw_only=True):
    """`key` is shown only here."""

    key: str


class Member(msgspec.Struct, frozen=True):
    """`created_at` is when they joined."""

    user_id: UUID
    email: str
    username: str
    role: Role
    is_active: bool
    created_at: datetime


class Invite(msgspec.Struct, frozen=True):
    id: UUID
    email: str
    role: Role
    invited_by: UUID
    created_at: datetime
    expires_at: datetime
    accepted_at: datetime | None


class CreatedInvite(Invite, frozen=True, kw_only=True):
    """`token` goes to the invited person, who registers with it; shown only here."""

    token: str


class ContextQuota(msgspec.Struct, frozen=True, kw_only=True):
    """None: as the settings say."""

    max_items: int | None
    max_bytes: int | None
    max_chunks: int | None


class ContextQuotaChanges(msgspec.Struct, frozen=True, kw_only=True):
    """UNSET: stays as it is."""

    max_items: int | None | UnsetType = UNSET
    max_bytes: int | None | UnsetType = UNSET
    max_chunks: int | None | UnsetType = UNSET


class Tenant(msgspec.Struct, frozen=True):
    """`context_quota` is its own, which only the platform sets; `GET /context/usage` says what counts."""

    id: UUID
    name: str
    slug: str
    status: TenantStatus
    context_quota: ContextQuota
    created_at: datetime
    updated_at: datetime


class CreatedTenant(Tenant, frozen=True, kw_only=True):
    """`owner_invite_token` lets the first owner in; None when no `owner_email` was given. Shown only here."""

    owner_invite_token: str | None
