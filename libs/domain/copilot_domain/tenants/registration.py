"""Registration: closed, by invite, or open.

Threat model: strangers who look for accounts, guess passwords past the log-in, or join a tenant with an invite that is
not theirs. An invite is checked before anything is said about an account; a known user's password counts as a guess in
the same lock-out as at log-in. Only open registration, by its nature, tells that an e-mail is taken.
"""

import re
import secrets
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from copilot_common.auth.passwords import Passwords, check_password
from copilot_common.base.errors import Conflict, Forbidden, InvalidInput, Unauthenticated
from copilot_common.base.ids import TenantId, UserId, new_id
from copilot_common.limits import Lockout
from copilot_common.tenancy import Principal, Role, TenantDatabase, Transaction
from copilot_common.tenancy.audit import record_audit
from copilot_domain.tenants import names, repository, user_repository
from copilot_domain.tenants.invites import InviteService
from copilot_domain.tenants.types import User

RegistrationMode = Literal["closed", "invite", "open"]


@dataclass(frozen=True, slots=True)
class _Person:
    """Who registers: `new_hash` is None for a user who exists."""

    user_id: UserId
    email: str
    username: str
    new_hash: str | None


class RegistrationService:
    def __init__(
        self,
        db: TenantDatabase,
        *,
        mode: RegistrationMode,
        invites: InviteService,
        passwords: Passwords,
        lockout: Lockout,
    ) -> None:
        self._db = db
        self._mode = mode
        self._invites = invites
        self._passwords = passwords
        self._lockout = lockout

    async def register(
        self, *, username: str, email: str, password: str, invite_token: str | None, address: str | None
    ) -> User:
        """With an invite join its tenant (a known user with their password, keeping their username); else, where
        registration is open, get a tenant of one's own. Transactions of its own.

        Raises Forbidden, InvalidInput, Conflict, Unauthenticated for a known user's wrong password, RateLimited.
        """
        if self._mode == "closed":
            raise Forbidden("Registration is closed.")
        if invite_token is None and self._mode == "invite":
            raise InvalidInput({"invite_token": "is required: registration is by invite"})
        email, username = names.check_email(email), names.check_username(username)
        if invite_token is None:
            return await self._open_tenant(email, username, password, address)
        return await self._join(invite_token, email, username, password, address)

    async def _join(self, token: str, email: str, username: str, password: str, address: str | None) -> User:
        tenant_id, invite_id = self._invites.read_token(token)
        stranger = Principal(kind="system", tenant_id=tenant_id, credential_id=invite_id, address=address)
        async with self._db.transaction(stranger) as tx:
            await self._invites.check(tx, invite_id, email)
        attempt = await self._lockout.begin(email, address)
        person = await self._identify(email, username, password)
        async with self._db.transaction(_as_user(tenant_id, person.user_id, address)) as tx:
            user = await self._accept(tx, invite_id, person)
        await self._lockout.forgive(attempt)
        return user

    async def _identify(self, email: str, username: str, password: str) -> _Person:
        known = await user_repository.find_login(self._db.database, email)
        if not known:
            check_password(password, names=(email, username))
            return _Person(UserId(new_id()), email, username, await self._passwords.hash(password))
        if not await self._passwords.verify(known[0].password_hash, password) or not known[0].is_active:
            raise Unauthenticated("This e-mail has an account; use its password.")
        return _Person(known[0].user_id, email, username, new_hash=None)

    async def _accept(self, tx: Transaction, invite_id: UUID, person: _Person) -> User:
        role = await self._invites.check(tx, invite_id, person.email)
        if person.new_hash is not None:
            await _insert_user(tx, person, person.new_hash)
        if not await repository.insert_membership(tx, person.user_id, role):
            raise Conflict("This user is a member already.")
        await self._invites.accept(tx, invite_id)
        return await _welcome(tx, role)

    async def _open_tenant(self, email: str, username: str, password: str, address: str | None) -> User:
        check_password(password, names=(email, username))
        await self._lockout.begin(email, address)
        person = _Person(UserId(new_id()), email, username, await self._passwords.hash(password))
        tenant_id = TenantId(new_id())
        async with self._db.transaction(_as_user(tenant_id, person.user_id, address)) as tx:
            await _insert_user(tx, person, person.new_hash or "")
            await repository.insert_tenant(tx, tenant_id, username, _slug_for(username))
            await tx.keyring.create(tx.connection, tenant_id)
            await repository.insert_membership(tx, person.user_id, "owner")
            await record_audit(tx, "tenant.created", tenant_id)
            return await _welcome(tx, "owner")


async def _insert_user(tx: Transaction, person: _Person, password_hash: str) -> None:
    await user_repository.insert_user(tx, person.user_id, person.email, person.username, password_hash)
    await record_audit(tx, "user.created", person.user_id)


async def _welcome(tx: Transaction, role: Role) -> User:
    await record_audit(tx, "member.added", tx.principal.user_id, details={"role": role})
    return await user_repository.get_own_user(tx, role)


def _slug_for(username: str) -> str:
    """With a random end, so that nobody waits for a slug to become free."""
    readable = re.sub(r"[^a-z0-9]+", "-", username).strip("-")[:48]
    return f"{readable}-{secrets.token_hex(4)}"


def _as_user(tenant_id: TenantId, user_id: UserId, address: str | None) -> Principal:
    return Principal(kind="user", tenant_id=tenant_id, credential_id=user_id, user_id=user_id, address=address)
