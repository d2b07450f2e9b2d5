"""What the operator does against the database: the first tenant, and platform keys.

Threat model: MIGRATION_DATABASE_URL is copilot_owner, which bypasses row-level security; whoever has it owns everything
anyway, so no other right is asked. Passwords and keys go in as parameters, are never logged, and leave only once.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import psycopg
from psycopg import AsyncConnection

from copilot_common.auth.api_keys import new_key
from copilot_common.auth.authority import ALL_SCOPES
from copilot_common.auth.passwords import Passwords, check_password
from copilot_common.base.errors import NotFound, SettingsError
from copilot_common.base.ids import PLATFORM_TENANT, TenantId, UserId, new_id
from copilot_common.encryption import KeyRing
from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Principal, Transaction
from copilot_common.tenancy.audit import record_audit
from copilot_domain.tenants import names, repository, user_repository
from copilot_domain.tenants.api_keys import insert_api_key

_sql = Queries(__package__, "operator.sql")
_NO_CONTENT_KEY = bytes(32)  # platform keys touch nothing sealed


@dataclass(frozen=True)
class Bootstrapped:
    """`api_key` is the first key with every scope of a tenant, shown only here; None when the tenant existed."""

    tenant_id: TenantId
    user_id: UserId
    api_key: str | None = field(repr=False)


@dataclass(frozen=True)
class PlatformKey:
    id: UUID
    name: str
    prefix: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True)
class _Found:
    tenant_id: TenantId
    user_id: UserId


async def bootstrap(
    migration_url: str,
    *,
    encryption_key: bytes,
    tenant_slug: str,
    tenant_name: str,
    admin_email: str,
    admin_username: str,
    admin_password: str,
) -> Bootstrapped:
    """Make the first tenant, its data key, its owner and a first API key. Run again it changes nothing.

    A user with that e-mail becomes the owner with the password they have. Raises InvalidInput for a name or password
    that will not do, Conflict where the username is somebody else's, SettingsError where the database is out of reach
    or was filled under another key.
    """
    slug, name = names.check_slug(tenant_slug, field="tenant_slug"), names.check_name(tenant_name, field="tenant_name")
    email = names.check_email(admin_email, field="admin_email")
    username = names.check_username(admin_username, field="admin_username")
    keyring = KeyRing(encryption_key)
    async with _as_owner(migration_url, Principal.nobody(PLATFORM_TENANT)) as tx:
        await tx.execute(_sql["lock_bootstrap"])
        found = await tx.fetch_one(_Found, _sql["find_bootstrapped"], {"slug": slug})
        if found is not None:
            return Bootstrapped(found.tenant_id, found.user_id, api_key=None)
        await keyring.refuse_other_key_at(tx.connection)
        user_id = await _ensure_user(tx, email, username, admin_password)
        principal = Principal.system(TenantId(new_id()), user_id)
        secret = await _make_tenant(Transaction(tx.connection, principal, keyring), slug, name)
        return Bootstrapped(principal.tenant_id, user_id, api_key=secret)


async def create_platform_key(migration_url: str, name: str) -> tuple[UUID, str]:
    """A key for `/tenants`: its id, and the key itself, shown only here."""
    name, key, key_id = names.check_name(name), new_key("platform"), new_id()
    async with _as_owner(migration_url, Principal.platform(key_id)) as tx:
        params = {"key_id": key_id, "name": name, "prefix": key.prefix, "key_hash": key.hash}
        await tx.execute(_sql["insert_platform_key"], params)
        await record_audit(tx, "platform_key.created", key_id)
    return key_id, key.secret


async def list_platform_keys(migration_url: str) -> list[PlatformKey]:
    async with _as_owner(migration_url, Principal.platform(PLATFORM_TENANT)) as tx:
        return await tx.fetch_all(PlatformKey, _sql["list_platform_keys"])


async def revoke_platform_key(migration_url: str, key_id: UUID) -> None:
    """Raises NotFound for one that is not there or not good any more."""
    async with _as_owner(migration_url, Principal.platform(key_id)) as tx:
        if not await tx.execute(_sql["revoke_platform_key"], {"key_id": key_id}):
            raise NotFound("platform key")
        await record_audit(tx, "platform_key.revoked", key_id)


async def _ensure_user(tx: Transaction, email: str, username: str, password: str) -> UserId:
    existing = await tx.fetch_value(_sql["find_user_by_email"], {"email": email})
    if isinstance(existing, UUID):
        return UserId(existing)
    check_password(password, names=(email, username), field="admin_password")
    user_id = UserId(new_id())
    await user_repository.insert_user(tx, user_id, email, username, await Passwords().hash(password))
    return user_id


async def _make_tenant(tx: Transaction, slug: str, name: str) -> str:
    owner, tenant_id, key = tx.principal.acting_user, tx.principal.tenant_id, new_key("live")
    await repository.insert_tenant(tx, tenant_id, name, slug)
    await tx.keyring.create(tx.connection, tenant_id)
    await repository.insert_membership(tx, owner, "owner")
    await record_audit(tx, "tenant.created", tenant_id, details={"slug": slug})
    await insert_api_key(tx, owner, "bootstrap", key, sorted(ALL_SCOPES), expires_in_days=None)
    return key.secret


@asynccontextmanager
async def _as_owner(url: str, principal: Principal) -> AsyncIterator[Transaction]:
    try:
        connection = await AsyncConnection.connect(url, connect_timeout=10)
    except psycopg.OperationalError:
        message = "MIGRATION_DATABASE_URL: the database cannot be reached as copilot_owner"
        raise SettingsError(message, details={"variable": "MIGRATION_DATABASE_URL"}) from None
    async with connection:
        yield Transaction(connection, principal, KeyRing(_NO_CONTENT_KEY))
