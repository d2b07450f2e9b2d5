"""Transactions of the operator: as copilot_owner, which row-level security does not bind.

Threat model: whoever has MIGRATION_DATABASE_URL owns everything anyway, so no other right is asked for. Every change
leaves an audit row in the tenant it touches, with the actor `system`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from psycopg import AsyncConnection

from copilot_common.base.ids import PLATFORM_TENANT, TenantId
from copilot_common.encryption import KeyRing
from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Principal, Transaction

sql = Queries(__package__)

_NO_CONTENT_KEY = bytes(32)  # nothing here opens or seals content
_OPERATOR = UUID(int=0)


@asynccontextmanager
async def operator_transaction(url: str) -> AsyncIterator[Transaction]:
    """Committed at the end, rolled back on any exception."""
    async with await AsyncConnection.connect(url, connect_timeout=10, application_name="copilot") as connection:
        yield Transaction(connection, _operator(PLATFORM_TENANT), KeyRing(_NO_CONTENT_KEY))


def inside(tx: Transaction, tenant_id: UUID) -> Transaction:
    """The same transaction, acting in that tenant."""
    return Transaction(tx.connection, _operator(TenantId(tenant_id)), tx.keyring)


def _operator(tenant_id: TenantId) -> Principal:
    return Principal(kind="system", tenant_id=tenant_id, credential_id=_OPERATOR)
