"""Log-in, refresh, log-out.

Threat model: passwords are guessed (see `limits.lockout`), and the answer, its time or a lock-out must not tell who has
an account: an unknown user costs the same look-up, hash and audit row as a wrong password. Refresh tokens are stolen:
each is good once, and a spent one that comes back means that two parties hold the session, so it ends for both. For
10 seconds it gets the same successor instead, so that an answer lost on the way does not log anyone out.
"""

from uuid import UUID

from copilot_common.auth.passwords import Passwords
from copilot_common.auth.signed_ids import SignedIds, refresh_tokens
from copilot_common.auth.tokens import AccessTokens
from copilot_common.base.errors import InvalidInput, Unauthenticated
from copilot_common.base.ids import PLATFORM_TENANT, TenantId, UserId, new_id
from copilot_common.limits import Lockout
from copilot_common.tenancy import Principal, TenantDatabase, Transaction
from copilot_common.tenancy.audit import record_audit
from copilot_domain.tenants import session_repository, user_repository
from copilot_domain.tenants.types import Session, TokenPair, User
from copilot_domain.tenants.user_repository import LoginRow

_WRONG = "The username, e-mail or password is wrong."
_NO_TOKEN = "The refresh token is not valid."  # noqa: S105 — a sentence


class SessionService:
    def __init__(
        self,
        db: TenantDatabase,
        *,
        passwords: Passwords,
        lockout: Lockout,
        access_tokens: AccessTokens,
        jwt_secret: str,
        refresh_ttl_seconds: int,
    ) -> None:
        self._db = db
        self._passwords = passwords
        self._lockout = lockout
        self._access_tokens = access_tokens
        self._refresh_tokens: SignedIds = refresh_tokens(jwt_secret)
        self._refresh_ttl_seconds = refresh_ttl_seconds

    async def log_in(self, identifier: str, password: str, *, tenant: str | None, address: str | None) -> Session:
        """`tenant` is a slug or an id; without it the oldest membership counts.

        Transactions of its own. Raises Unauthenticated whatever was wrong, RateLimited when locked out.
        """
        attempt = await self._lockout.begin(identifier, address)
        rows = await self._find(identifier)
        known = rows[0] if rows else None
        is_right = await self._passwords.verify(known.password_hash if known else None, password)
        chosen = _choose(rows, tenant)
        if not is_right or chosen is None or not chosen.is_active:
            await self._record_refusal(chosen or known, address)
            raise Unauthenticated(_WRONG)
        session = await self._open(chosen, password, address)
        await self._lockout.forgive(attempt)
        return session

    async def refresh(self, token: str, *, address: str | None) -> TokenPair:
        """Give a refresh token for its successor; a transaction of its own. Raises Unauthenticated."""
        tenant_id, user_id, token_id = self._read(token)
        async with self._db.transaction(_as_user(tenant_id, user_id, address)) as tx:
            pair = await self._rotate(tx, token_id)
        if pair is None:  # raised outside, so that the revocation of a stolen session is committed
            raise Unauthenticated(_NO_TOKEN)
        return pair

    async def log_out(self, tx: Transaction, *, refresh_token: str | None, access_token: str | None) -> None:
        """End the session of either token. Raises InvalidInput where neither is given or it is another user's."""
        family_id = await self._family(tx, refresh_token, access_token)
        if await session_repository.revoke_family(tx, family_id):
            await record_audit(tx, "session.ended", family_id)

    async def me(self, tx: Transaction) -> User:
        return await user_repository.get_own_user(tx, tx.principal.role or "viewer")

    async def _find(self, identifier: str) -> list[LoginRow]:
        # PostgreSQL cannot hold NUL; nobody is called so.
        wanted = identifier.strip().lower().replace("\0", "\N{REPLACEMENT CHARACTER}")
        return await user_repository.find_login(self._db.database, wanted)

    async def _open(self, row: LoginRow, password: str, address: str | None) -> Session:
        if row.tenant_id is None or row.role is None:
            raise Unauthenticated(_WRONG)
        rehashed = await self._passwords.hash(password) if self._passwords.needs_rehash(row.password_hash) else None
        async with self._db.transaction(_as_user(row.tenant_id, row.user_id, address)) as tx:
            if rehashed:
                await user_repository.update_password_hash(tx, rehashed)
            await user_repository.note_login(tx)
            family_id = new_id()
            pair = await self._issue(tx, family_id, new_id())
            await record_audit(tx, "session.started", family_id)
            user = await user_repository.get_own_user(tx, row.role)
        return Session(
            access_token=pair.access_token,
            refresh_token=pair.refresh_token,
            expires_in=pair.expires_in,
            refresh_expires_in=pair.refresh_expires_in,
            user=user,
        )

    async def _rotate(self, tx: Transaction, token_id: UUID) -> TokenPair | None:
        """None for a token that is no good; a stolen session is ended then."""
        row = await session_repository.lock(tx, token_id)
        if row is None or row.is_ended or await session_repository.find_role(tx) is None:
            return None
        if not row.is_spent:
            successor_id = new_id()
            pair = await self._issue(tx, row.family_id, successor_id)
            await session_repository.spend(tx, token_id, successor_id)
            return pair
        if row.is_just_spent and row.successor_id is not None:
            return self._pair(tx.principal, row.family_id, row.successor_id)
        await session_repository.revoke_family(tx, row.family_id)
        await record_audit(tx, "session.revoked", row.family_id, details={"reason": "a spent refresh token was reused"})
        return None

    async def _issue(self, tx: Transaction, family_id: UUID, token_id: UUID) -> TokenPair:
        await session_repository.insert(tx, token_id, family_id, ttl_seconds=self._refresh_ttl_seconds)
        return self._pair(tx.principal, family_id, token_id)

    def _pair(self, principal: Principal, family_id: UUID, token_id: UUID) -> TokenPair:
        user_id, tenant_id = principal.acting_user, principal.tenant_id
        return TokenPair(
            access_token=self._access_tokens.issue(user_id, tenant_id, family_id),
            refresh_token=self._refresh_tokens.render(tenant_id, user_id, token_id),
            expires_in=self._access_tokens.ttl_seconds,
            refresh_expires_in=self._refresh_ttl_seconds,
        )

    async def _family(self, tx: Transaction, refresh_token: str | None, access_token: str | None) -> UUID:
        if refresh_token is None:
            if access_token is None:
                raise InvalidInput({"refresh_token": "is required with an API key"})
            return self._access_tokens.read(access_token).sid
        tenant_id, user_id, token_id = self._read(refresh_token)
        if (tenant_id, user_id) != (tx.principal.tenant_id, tx.principal.user_id):
            raise InvalidInput({"refresh_token": "is not of this user"})
        row = await session_repository.lock(tx, token_id)
        if row is None:
            raise InvalidInput({"refresh_token": "is not known"})
        return row.family_id

    def _read(self, token: str) -> tuple[TenantId, UserId, UUID]:
        tenant_id, user_id, token_id = self._refresh_tokens.read(token)
        return TenantId(tenant_id), UserId(user_id), token_id

    async def _record_refusal(self, row: LoginRow | None, address: str | None) -> None:
        """In the user's tenant; of users without one in the platform's, so that all refusals cost the same."""
        tenant_id = (row.tenant_id if row else None) or PLATFORM_TENANT
        user_id = row.user_id if row else None
        principal = Principal(
            kind="system",
            tenant_id=tenant_id,
            credential_id=user_id or PLATFORM_TENANT,
            user_id=user_id,
            address=address,
        )
        async with self._db.transaction(principal) as tx:
            await record_audit(tx, "session.refused", user_id)


def _choose(rows: list[LoginRow], tenant: str | None) -> LoginRow | None:
    in_tenants = [row for row in rows if row.tenant_id is not None]
    if tenant is not None:
        wanted = tenant.strip().lower()
        in_tenants = [row for row in in_tenants if wanted in {row.tenant_slug, str(row.tenant_id)}]
    return in_tenants[0] if in_tenants else None


def _as_user(tenant_id: TenantId, user_id: UserId, address: str | None) -> Principal:
    return Principal(kind="user", tenant_id=tenant_id, credential_id=user_id, user_id=user_id, address=address)
