"""How many requests a principal, and all principals of a tenant together, may send."""

from copilot_common.limits.gcra import Allowance, Bucket, Limit
from copilot_common.limits.limiter import Limiter
from copilot_common.tenancy import Principal

_TENANT_FACTOR = 10  # a tenant may send as much as ten busy principals; more keys bring no more than that


class RequestLimits:
    """RATE_LIMIT_REQUESTS per RATE_LIMIT_WINDOW_MS for each principal, ten times that for its tenant."""

    def __init__(self, limiter: Limiter, limit: Limit) -> None:
        self._limiter = limiter
        self._per_principal = limit
        self._per_tenant = limit.times(_TENANT_FACTOR)

    async def consume(self, principal: Principal) -> Allowance:
        """Count one request. A refused one takes nothing, from neither bucket."""
        start = f"copilot:limit:{{{principal.tenant_id}}}:"
        return await self._limiter.consume(
            Bucket(f"{start}{principal.credential_id}", self._per_principal), Bucket(f"{start}all", self._per_tenant)
        )
