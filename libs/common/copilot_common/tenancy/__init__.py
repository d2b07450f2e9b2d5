"""Principals and their transactions."""

from copilot_common.tenancy.principal import Principal, PrincipalKind, Role, Scope
from copilot_common.tenancy.transaction import TenantDatabase, Transaction

__all__ = ["Principal", "PrincipalKind", "Role", "Scope", "TenantDatabase", "Transaction"]
