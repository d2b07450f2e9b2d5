"""The Redis client. Redis only wakes and shares: every caller has a way to go on without it."""

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

# A pool that waits for a free connection costs half as much again per command; beyond this many at once a command
# fails as if Redis were away, and its caller does without.
_CONNECTIONS = 256
REDIS_TIMEOUT_SECONDS = 0.5
"""A Redis slower than this counts as away; the caller degrades."""


def connect_redis(url: str) -> Redis:
    """A bounded pool. Connects lazily, so that a service starts while Redis is away.

    Replies have no time limit here: redis-py would arm a timer for each of a pipeline's replies. Whoever waits puts one
    `asyncio.timeout(REDIS_TIMEOUT_SECONDS)` around all of what it waits for.
    """
    pool = ConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        socket_timeout=None,
        socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
        # One attempt: a retry inside the client would stretch every request while Redis is away.
        retry=Retry(NoBackoff(), 0),
        protocol=3,
    )
    return Redis(connection_pool=pool)
