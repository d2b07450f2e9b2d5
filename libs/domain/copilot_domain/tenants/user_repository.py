"""Rows of users: the look-up at log-in, and the transaction's own user."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from copilot_common.base.ids import TenantId, UserId
from copilot_common.platform.db import Database
from copilot_common.tenancy import Role, Transaction
from copilot_domain.tenants.repository import sql, unique_names
from copilot_domain.tenants.types import User


@dataclass(frozen=True, slots=True)
class LoginRow:
    """One membership of a user; without any active tenant there is one row whose tenant is None."""

    user_id: UserId
    password_hash: str
    is_active: bool
    tenant_id: TenantId | None
    tenant_slug: str | None
    role: Role | None


@dataclass(frozen=True, slots=True)
class _UserRow:
    id: UUID
    username: str
    email: str
    is_active: bool
    email_verified: bool
    created_at: datetime
    last_login_at: datetime | None


async def find_login(database: Database, identifier: str) -> list[LoginRow]:
    """By e-mail or username, before any tenant is known; the oldest membership first."""
    async with (
        database.connection() as connection,
        connection.cursor(row_factory=class_row(LoginRow), binary=True) as cursor,
    ):
        await cursor.execute(sql["find_login"], {"identifier": identifier})
        return await cursor.fetchall()


async def insert_user(tx: Transaction, user_id: UserId, email: str, username: str, password_hash: str) -> None:
    params = {"user_id": user_id, "email": email, "username": username, "password_hash": password_hash}
    with unique_names():
        await tx.execute(sql["insert_user"], params)


async def get_own_user(tx: Transaction, role: Role) -> User:
    row = await tx.fetch_one(_UserRow, sql["get_user"], {"user_id": tx.principal.acting_user})
    if row is None:
        raise LookupError("the transaction's user is gone")
    return User(
        id=row.id,
        username=row.username,
        email=row.email,
        roles=[role],
        tenant_id=tx.principal.tenant_id,
        is_active=row.is_active,
        email_verified=row.email_verified,
        created_at=row.created_at,
        last_login_at=row.last_login_at,
    )


async def note_login(tx: Transaction) -> None:
    await tx.execute(sql["note_login"], {"user_id": tx.principal.acting_user})


async def update_password_hash(tx: Transaction, password_hash: str) -> None:
    params = {"user_id": tx.principal.acting_user, "password_hash": password_hash}
    await tx.execute(sql["update_password_hash"], params)
