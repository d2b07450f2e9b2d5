"""From a request's credential to a principal, with one statement against the database.

Threat model: credentials are guessed, stolen, replayed after they were revoked. Nothing about a principal is cached: a
revoked key, a removed member, a demoted role or a suspended tenant counts from the next request on. An API key never
has more than its creator has now. Every refusal reads the same, and costs no look-up where the form alone is wrong.
"""

import asyncio
from collections.abc import Sequence
from typing import LiteralString, TypeAlias
from uuid import UUID

from psycopg.rows import TupleRow

from copilot_common.auth.api_keys import hash_key, key_kind
from copilot_common.auth.authority import ROLE_SCOPES
from copilot_common.auth.tokens import REFUSAL, AccessTokens
from copilot_common.base.errors import Unauthenticated
from copilot_common.platform.coalescing import CoalescedEach
from copilot_common.platform.db import Database
from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Principal

_sql = Queries(__package__)

_LookUp: TypeAlias = tuple[LiteralString, tuple[tuple[str, bytes | UUID], ...]]


class Authenticator:
    def __init__(self, database: Database, access_tokens: AccessTokens) -> None:
        self._database = database
        self._access_tokens = access_tokens
        # What a client asks in a burst comes with the same credential, which is looked up once for all of it.
        self._rows = CoalescedEach(self._find_rows)

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
        (role,) = await self._find(_sql["find_member"], tenant_id=claims.tenant_id, user_id=claims.user_id)
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
        found = await self._find(_sql["find_api_key"], key_hash=hash_key(secret))
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
        (key_id,) = await self._find(_sql["find_platform_key"], key_hash=hash_key(secret))
        return Principal.platform(key_id, address=address)

    async def _find(self, query: LiteralString, **params: bytes | UUID) -> TupleRow:
        row = await self._rows((query, tuple(params.items())))
        if row is None:
            raise Unauthenticated(REFUSAL)
        return row

    async def _find_rows(self, several: Sequence[_LookUp]) -> Sequence[TupleRow | None | BaseException]:
        different = set(several)
        asked = (self._database.fetch_row(query, dict(params)) for query, params in different)
        rows = dict(zip(different, await asyncio.gather(*asked, return_exceptions=True), strict=True))
        return [rows[one] for one in several]


def _one_credential(authorization: str | None, api_key: str | None) -> str:
    if authorization is not None and api_key is not None:
        raise Unauthenticated("Send either Authorization or X-API-Key, not both.")
    if api_key is not None:
        return api_key
    scheme, _, credential = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not credential:
        raise Unauthenticated(REFUSAL)
    return credential.strip()
