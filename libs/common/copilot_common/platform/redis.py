"""The Redis client. Redis only wakes and shares: every caller has a way to go on without it."""

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

# A pool that waits for a free connection costs half as much again per command; beyond this many at once a command
# fails as if Redis were away, and its caller does without.
_CONNECTIONS = 256
_TIMEOUT_SECONDS = 0.5  # a Redis slower than this counts as away; the caller degrades


def connect_redis(url: str) -> Redis:
    """A bounded pool with short timeouts. Connects lazily, so that a service starts while Redis is away."""
    pool = ConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        socket_timeout=_TIMEOUT_SECONDS,
        socket_connect_timeout=_TIMEOUT_SECONDS,
        # One attempt: a retry inside the client would stretch every request while Redis is away.
        retry=Retry(NoBackoff(), 0),
        protocol=3,
    )
    return Redis(connection_pool=pool)
