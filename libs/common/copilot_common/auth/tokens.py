"""Access tokens: short-lived JWTs, signed with JWT_SECRET.

Threat model: whoever forges a token is anyone they like. So the algorithm is fixed to HS256 whatever the token's header
says (`none` and public-key confusion fail), the type and the issuer are checked, and every refusal reads the same. A
token says who, in which tenant and session, and until when; never what they may do: that is read from the membership on
every request, so that a removed or demoted member is cut off at once.
"""

from time import time
from uuid import UUID

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from copilot_common.auth.signed_ids import is_canonical_base64url
from copilot_common.base.errors import Unauthenticated
from copilot_common.base.ids import TenantId, UserId, new_id

_ISSUER = "llm-copilot-agent"
_ALGORITHMS = ["HS256"]
_TYPE = "JWT"
_MAX_CHARACTERS = 2_048  # ours have about 400; nothing longer is worth parsing
_CLOCK_SKEW_SECONDS = 60  # between pods: how far in the future a token may have been issued
REFUSAL = "The credential is missing or not valid."
"""What every refused credential is answered, whatever was wrong with it."""


class AccessClaims(msgspec.Struct, frozen=True):
    """`tid` is the tenant, `sid` the session: the family of refresh tokens that a log-out ends."""

    iss: str
    sub: UUID
    tid: UUID
    sid: UUID
    iat: int
    exp: int
    jti: UUID

    @property
    def user_id(self) -> UserId:
        return UserId(self.sub)

    @property
    def tenant_id(self) -> TenantId:
        return TenantId(self.tid)


class AccessTokens:
    def __init__(self, jwt_secret: str, *, ttl_seconds: int) -> None:
        self._key = OctKey.import_key(jwt_secret)
        self.ttl_seconds = ttl_seconds

    def issue(self, user_id: UserId, tenant_id: TenantId, session_id: UUID) -> str:
        now = int(time())
        claims: dict[str, object] = {
            "iss": _ISSUER,
            "sub": str(user_id),
            "tid": str(tenant_id),
            "sid": str(session_id),
            "iat": now,
            "exp": now + self.ttl_seconds,
            "jti": str(new_id()),
        }
        return jwt.encode({"alg": "HS256", "typ": _TYPE}, claims, self._key, algorithms=_ALGORITHMS)

    def read(self, token: str) -> AccessClaims:
        """Raises Unauthenticated for all but an unexpired token of ours."""
        if len(token) > _MAX_CHARACTERS or not is_canonical_base64url(token.rpartition(".")[2]):
            raise Unauthenticated(REFUSAL)
        try:
            decoded = jwt.decode(token, self._key, algorithms=_ALGORITHMS)
            claims = msgspec.convert(decoded.claims, AccessClaims)
        except (JoseError, ValueError, TypeError, msgspec.ValidationError):
            raise Unauthenticated(REFUSAL) from None
        now = time()
        # One that lives longer than ours do was not made under today's settings.
        in_time = claims.iat <= now + _CLOCK_SKEW_SECONDS and now < claims.exp <= claims.iat + self.ttl_seconds
        if claims.iss != _ISSUER or decoded.header.get("typ") != _TYPE or not in_time:
            raise Unauthenticated(REFUSAL)
        return claims
