"""Rows of tenants, users, memberships and API keys."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from psycopg.errors import UniqueViolation

from copilot_common.auth.api_keys import NewKey
from copilot_common.base.errors import Conflict
from copilot_common.base.ids import TenantId, UserId, new_id
from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Role, Scope, Transaction

_sql = Queries(__package__)

_TAKEN: dict[str, tuple[str, LiteralString]] = {
    "tenants_slug_key": ("slug", "This slug is taken."),
    "users_email_unique": ("email", "This e-mail has an account already."),
    "users_username_unique": ("username", "This username is taken."),
}


@dataclass(frozen=True, slots=True)
class ApiKey:
    id: UUID
    name: str
    prefix: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    is_active: bool


@contextmanager
def unique_names() -> Iterator[None]:
    """Turns a taken slug, e-mail or username into Conflict; the transaction is lost with it."""
    try:
        yield
    except UniqueViolation as error:
        taken = _TAKEN.get(error.diag.constraint_name or "")
        if taken is None:
            raise
        raise Conflict(taken[1], details={"field": taken[0]}) from None


async def insert_tenant(tx: Transaction, tenant_id: TenantId, name: str, slug: str) -> None:
    with unique_names():
        await tx.execute(_sql["insert_tenant"], {"tenant_id": tenant_id, "name": name, "slug": slug})


async def insert_user(tx: Transaction, user_id: UserId, email: str, username: str, password_hash: str) -> None:
    params = {"user_id": user_id, "email": email, "username": username, "password_hash": password_hash}
    with unique_names():
        await tx.execute(_sql["insert_user"], params)


async def insert_membership(tx: Transaction, user_id: UserId, role: Role) -> bool:
    """False where the user is a member already; the present role stays."""
    params = {"tenant_id": tx.principal.tenant_id, "user_id": user_id, "role": role}
    return await tx.execute(_sql["insert_membership"], params) > 0


async def insert_api_key(
    tx: Transaction, user_id: UserId, name: str, key: NewKey, scopes: list[Scope], *, expires_in_days: int | None
) -> ApiKey:
    params = {
        "tenant_id": tx.principal.tenant_id,
        "key_id": new_id(),
        "user_id": user_id,
        "name": name,
        "prefix": key.prefix,
        "key_hash": key.hash,
        "scopes": list(scopes),
        "expires_in_days": expires_in_days,
    }
    made = await tx.fetch_one(ApiKey, _sql["insert_api_key"], params)
    assert made is not None  # noqa: S101 — RETURNING of an INSERT that did not raise
    return made
