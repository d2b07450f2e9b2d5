"""Users and where they are members."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from copilot_cli.operators import tenants
from copilot_cli.operators.database import inside, operator_transaction, sql
from copilot_common.auth.passwords import Passwords, check_password
from copilot_common.base.errors import Conflict, NotFound
from copilot_common.base.ids import UserId, new_id
from copilot_common.tenancy import Role, Transaction
from copilot_common.tenancy.audit import record_audit
from copilot_domain.tenants import names, repository, user_repository


@dataclass(frozen=True)
class User:
    id: UUID
    email: str
    username: str
    is_active: bool
    created_at: datetime
    last_login_at: datetime | None


@dataclass(frozen=True)
class Membership(User):
    """A user in one tenant; tenant and role are None for one who is in none."""

    tenant: str | None
    role: Role | None


@dataclass(frozen=True)
class _TenantOfUser:
    tenant_id: UUID


async def exists(url: str, named: str) -> bool:
    """Whether an account has that e-mail or username."""
    async with operator_transaction(url) as tx:
        return await _find(tx, named) is not None


async def add(url: str, *, email: str, username: str, password: str | None, tenant: str, role: Role) -> User:
    """Make the account where there is none (then `password` is needed) and the membership.

    Raises InvalidInput, NotFound for the tenant, Conflict for a taken username or a user who is a member already.
    """
    email, username = names.check_email(email), names.check_username(username)
    async with operator_transaction(url) as tx:
        within = inside(tx, (await tenants.find(tx, tenant)).id)
        if await _find(tx, email) is None:
            await _insert(tx, email, username, password or "")
        user = await _get(tx, email)
        if not await repository.insert_membership(within, UserId(user.id), role):
            raise Conflict(f"{email} is a member of {tenant} already.")
        await record_audit(within, "member.added", user.id, details={"role": role})
    return user


async def list_all(url: str, *, tenant: str | None, limit: int) -> list[Membership]:
    """One row per membership."""
    async with operator_transaction(url) as tx:
        tenant_id = (await tenants.find(tx, tenant)).id if tenant else None
        return await tx.fetch_all(Membership, sql["list_users"], {"tenant_id": tenant_id, "limit": limit})


async def set_password(url: str, named: str, password: str) -> User:
    """Ends every session of theirs: whoever knew the old password is out. API keys stay."""
    async with operator_transaction(url) as tx:
        user = await _get(tx, named)
        check_password(password, names=(user.email, user.username))
        params = {"user_id": user.id, "password_hash": await Passwords().hash(password)}
        await tx.execute(sql["set_password"], params)
        await tx.execute(sql["end_sessions"], {"user_id": user.id})
        await _audit_everywhere(tx, user, "user.password_set")
    return user


async def set_active(url: str, named: str, *, is_active: bool) -> User:
    """An inactive user's tokens and keys are refused from the next request on. Raises Conflict for no change."""
    async with operator_transaction(url) as tx:
        user = await _get(tx, named)
        if user.is_active is is_active:
            raise Conflict(f"{user.email} is {'active' if is_active else 'deactivated'} already.")
        await tx.execute(sql["set_active"], {"user_id": user.id, "is_active": is_active})
        if not is_active:
            await tx.execute(sql["end_sessions"], {"user_id": user.id})
        await _audit_everywhere(tx, user, "user.activated" if is_active else "user.deactivated")
        return await _get(tx, named)


async def _insert(tx: Transaction, email: str, username: str, password: str) -> None:
    check_password(password, names=(email, username))
    await user_repository.insert_user(tx, UserId(new_id()), email, username, await Passwords().hash(password))


async def _audit_everywhere(tx: Transaction, user: User, action: str) -> None:
    """Users are global, audit rows are not: each tenant of theirs gets one."""
    for row in await tx.fetch_all(_TenantOfUser, sql["tenants_of_user"], {"user_id": user.id}):
        await record_audit(inside(tx, row.tenant_id), action, user.id)


async def _find(tx: Transaction, named: str) -> User | None:
    return await tx.fetch_one(User, sql["find_user"], {"named": named.strip().lower()})


async def _get(tx: Transaction, named: str) -> User:
    user = await _find(tx, named)
    if user is None:
        raise NotFound(f"user: {named}")
    return user
