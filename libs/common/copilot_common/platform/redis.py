"""The Redis client. Redis only wakes and shares: every caller has a way to go on without it."""

from redis.asyncio import Redis
from redis.asyncio.connection import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

_CONNECTIONS = 32
_TIMEOUT_SECONDS = 0.5  # a Redis slower than this counts as away; the caller degrades


def connect_redis(url: str) -> Redis:
    """A bounded pool with short timeouts. Connects lazily, so that a service starts while Redis is away."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        timeout=_TIMEOUT_SECONDS,
        socket_timeout=_TIMEOUT_SECONDS,
        socket_connect_timeout=_TIMEOUT_SECONDS,
        # One attempt: a retry inside the client would stretch every request while Redis is away.
        retry=Retry(NoBackoff(), 0),
        protocol=3,
    )
    return Redis(connection_pool=pool)
