"""Identifiers. Everything we create gets a UUID version 7: unique, and in order of creation."""

from typing import NewType
from uuid import UUID

from uuid_utils.compat import uuid7

TenantId = NewType("TenantId", UUID)
UserId = NewType("UserId", UUID)
MessageId = NewType("MessageId", UUID)
ProcessId = NewType("ProcessId", UUID)

PLATFORM_TENANT = TenantId(UUID(int=0))
"""Stands where a tenant id is needed but the principal has none: platform keys and their audit rows."""


def new_id() -> UUID:
    return uuid7()
