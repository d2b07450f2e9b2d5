"""Tenants, their members, and how people and programs get in."""

from copilot_domain.tenants.administration import get_current_tenant, rename_current_tenant
from copilot_domain.tenants.api_keys import create_api_key, list_api_keys, revoke_api_key
from copilot_domain.tenants.members import change_role, list_members, remove_member
from copilot_domain.tenants.service import TenantServices
from copilot_domain.tenants.types import (
    ApiKey,
    ContextQuota,
    ContextQuotaChanges,
    CreatedApiKey,
    CreatedInvite,
    CreatedTenant,
    Invite,
    Member,
    Session,
    Tenant,
    TenantStatus,
    TokenPair,
    User,
)

__all__ = [
    "ApiKey",
    "ContextQuota",
    "ContextQuotaChanges",
    "CreatedApiKey",
    "CreatedInvite",
    "CreatedTenant",
    "Invite",
    "Member",
    "Session",
    "Tenant",
    "TenantServices",
    "TenantStatus",
    "TokenPair",
    "User",
    "change_role",
    "create_api_key",
    "get_current_tenant",
    "list_api_keys",
    "list_members",
    "remove_member",
    "rename_current_tenant",
    "revoke_api_key",
]
