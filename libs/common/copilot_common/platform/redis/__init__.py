"""Redis: one server, one watched by Sentinels, or a Cluster; whoever uses it need not know which (ADR 35)."""

from copilot_common.platform.redis.connecting import REDIS_TIMEOUT_SECONDS, KeyPools, connect_redis
from copilot_common.platform.redis.faults import name_fault
from copilot_common.platform.redis.scripts import Script

__all__ = ["REDIS_TIMEOUT_SECONDS", "KeyPools", "Script", "connect_redis", "name_fault"]
