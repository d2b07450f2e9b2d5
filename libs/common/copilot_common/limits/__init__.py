"""How often: request limits and the lock-out of password guessing."""

from copilot_common.limits.gcra import Allowance, Bucket, Limit
from copilot_common.limits.limiter import Limiter
from copilot_common.limits.lockout import Lockout
from copilot_common.limits.requests import RequestLimits

__all__ = ["Allowance", "Bucket", "Limit", "Limiter", "Lockout", "RequestLimits"]
