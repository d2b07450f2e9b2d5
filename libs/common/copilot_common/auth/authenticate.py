"""From a request's credential to a principal, with one statement against the database.

Threat model: credentials are guessed, stolen, replayed after they were revoked. Nothing about a principal is cached: a
revoked key, a removed member, a demoted role or a suspended tenant counts from the next request on. An API key never
has more than its creator has now. Every refusal reads the same, and costs no look-up where the form alone is wrong.
"""

from collections.abc import Sequence
from uuid import UUID

from psycopg.rows import TupleRow

from copilot_common.auth.api_keys import hash_key, key_kind
from copilot_common.auth.authority import ROLE_SCOPES
from copilot_common.auth.tokens import REFUSAL, AccessTokens
from copilot_common.base.errors import Unauthenticated
from copilot_common.platform.coalescing import CoalescedEach
from copilot_common.platform.db import Database
from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Principal, Role

_sql = Queries(__package__)


class Authenticator:
    def __init__(self, database: Database, access_tokens: AccessTokens) -> None:
        self._database = database
        self._access_tokens = access_tokens
        # Requests of a burst share a look-up, whether or not they come with the same credential. That of a single one
        # has a statement of its own, which takes two thirds of the time.
        self._members = CoalescedEach(self._find_members)
        self._api_keys = CoalescedEach(self._find_api_keys)

    async def authenticate(
        self, *, authorization: str | None, api_key: str | None, address: str | None = None
    ) -> Principal:
        """From the headers `Authorization` and `X-API-Key`; a key is taken as a bearer token too, as OpenAI's clients
        send it. Raises Unauthenticated."""
        credential = _one_credential(authorization, api_key)
        match key_kind(credential):
            case "live":
                return await self._by_api_key(credential, address)
            case "platform":
                return await self._by_platform_key(credential, address)
            case None:
                if api_key is not None:
                    raise Unauthenticated(REFUSAL)
                return await self._by_access_token(credential, address)

    async def _by_access_token(self, token: str, address: str | None) -> Principal:
        claims = self._access_tokens.read(token)
        role = await self._members((claims.tenant_id, claims.user_id))
        if role is None:
            raise Unauthenticated(REFUSAL)
        return Principal(
            kind="user",
            tenant_id=claims.tenant_id,
            credential_id=claims.user_id,
            user_id=claims.user_id,
            role=role,
            scopes=ROLE_SCOPES[role],
            address=address,
        )

    async def _by_api_key(self, secret: str, address: str | None) -> Principal:
        found = await self._api_keys(hash_key(secret))
        if found is None:
            raise Unauthenticated(REFUSAL)
        tenant_id, key_id, user_id, role, scopes = found
        return Principal(
            kind="api_key",
            tenant_id=tenant_id,
            credential_id=key_id,
            user_id=user_id,
            role=role,
            scopes=ROLE_SCOPES[role].intersection(scopes),
            address=address,
        )

    async def _by_platform_key(self, secret: str, address: str | None) -> Principal:
        row = await self._database.fetch_row(_sql["find_platform_key"], {"key_hash": hash_key(secret)})
        if row is None:
            raise Unauthenticated(REFUSAL)
        return Principal.platform(row[0], address=address)

    async def _find_members(self, several: Sequence[tuple[UUID, UUID]]) -> Sequence[Role | None]:
        tenant_ids, user_ids = zip(*set(several), strict=True)
        if len(user_ids) == 1:
            one = {"tenant_id": tenant_ids[0], "user_id": user_ids[0]}
            row = await self._database.fetch_row(_sql["find_member"], one)
            return [None if row is None else row[0]] * len(several)
        params = {"tenant_ids": list(tenant_ids), "user_ids": list(user_ids)}
        rows = await self._database.fetch_rows(_sql["find_members"], params)
        roles: dict[tuple[UUID, UUID], Role] = {(tenant_id, user_id): role for tenant_id, user_id, role in rows}
        return [roles.get(one) for one in several]

    async def _find_api_keys(self, hashes: Sequence[bytes]) -> Sequence[TupleRow | None]:
        different = list(set(hashes))
        if len(different) == 1:
            row = await self._database.fetch_row(_sql["find_api_key"], {"key_hash": different[0]})
            return [row] * len(hashes)
        rows = await self._database.fetch_rows(_sql["find_api_keys"], {"key_hashes": different})
        found = {row[0]: row[1:] for row in rows}
        return [found.get(one) for one in hashes]


def _one_credential(authorization: str | None, api_key: str | None) -> str:
    if authorization is not None and api_key is not None:
        raise Unauthenticated("Send either Authorization or X-API-Key, not both.")
    if api_key is not None:
        return api_key
    scheme, _, credential = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not credential:
        raise Unauthenticated(REFUSAL)
    return credential.strip()
