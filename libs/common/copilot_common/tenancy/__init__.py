"""Principals and their transactions."""

from copilot_common.tenancy.principal import Principal, PrincipalKind, Role, Scope
from copilot_common.tenancy.replica import Replica
from copilot_common.tenancy.transaction import TenantDatabase, Transaction
from copilot_common.tenancy.watermarks import Watermarks

__all__ = [
    "Principal",
    "PrincipalKind",
    "Replica",
    "Role",
    "Scope",
    "TenantDatabase",
    "Transaction",
    "Watermarks",
]
