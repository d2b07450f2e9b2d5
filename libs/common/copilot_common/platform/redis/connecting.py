"""The Redis client. Redis only wakes and shares: every caller has a way to go on without it."""

from collections.abc import Callable
from functools import partial
from typing import Any

from redis.asyncio import Connection, ConnectionPool, Redis, SSLConnection
from redis.asyncio.cluster import ClusterParser
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from copilot_common.platform.redis.cluster import ClusterRedis, slot_of
from copilot_common.platform.redis.owners import ClusterOwners, Owners, SentinelOwners
from copilot_common.platform.redis.pools import CalmPool, OwnerPool, WatchedConnection, WatchedTlsConnection
from copilot_common.platform.redis_url import Address, RedisUrl, parse_redis_url

# A pool that waits for a free connection costs half as much again per command; beyond this many at once a command
# fails as if Redis were away, and its caller does without. Of a Cluster, to each master.
_CONNECTIONS = 256
REDIS_TIMEOUT_SECONDS = 0.5
"""A Redis slower than this counts as away; the caller degrades."""


def connect_redis(url: str) -> Redis:
    """A bounded pool. Connects lazily, so that a service starts while Redis is away. Raises ValueError.

    Replies have no time limit here: redis-py would arm a timer for each of a pipeline's replies. Whoever waits puts one
    `asyncio.timeout(REDIS_TIMEOUT_SECONDS)` around all of what it waits for.
    """
    place = parse_redis_url(url)
    bounds = _bounds(max_connections=_CONNECTIONS, socket_timeout=None) | {"protocol": 3}
    if place.kind == "single":
        return Redis.from_pool(_single_pool(place, bounds))
    if place.kind == "sentinel":
        return Redis.from_pool(OwnerPool(_sentinel_owners(place), 0, **_watched(place, bounds)))
    owners = _cluster_owners(place)
    options = _watched(place, bounds)
    return ClusterRedis(owners, partial(_open_node, owners, options), OwnerPool(owners, 0, **options))


class KeyPools:
    """For clients of other libraries, whose keys all share a {hash tag}: pools of connections to whoever has a key."""

    def __init__(self, url: str, *, max_connections: int, socket_timeout: float) -> None:
        """Raises ValueError."""
        place = parse_redis_url(url)
        bounds = _bounds(max_connections=max_connections, socket_timeout=socket_timeout)
        self._has_slots = place.kind == "cluster"
        self._pools: dict[int, ConnectionPool] = {}
        self._open: Callable[[int], ConnectionPool]
        if place.kind == "single":
            self._open = lambda _: _single_pool(place, bounds)
        else:
            owners = _cluster_owners(place) if place.kind == "cluster" else _sentinel_owners(place)
            self._open = lambda slot: OwnerPool(owners, slot, **_watched(place, bounds))

    def of(self, key: str) -> ConnectionPool:
        """One for each slot of a Cluster, else one for all."""
        slot = slot_of(key) if self._has_slots else 0
        if slot not in self._pools:
            self._pools[slot] = self._open(slot)
        return self._pools[slot]

    async def aclose(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()


def _bounds(*, max_connections: int, socket_timeout: float | None) -> dict[str, Any]:
    return {
        "max_connections": max_connections,
        "socket_timeout": socket_timeout,
        "socket_connect_timeout": REDIS_TIMEOUT_SECONDS,
        # One attempt: a retry inside the client would stretch every request while Redis is away.
        "retry": Retry(NoBackoff(), 0),
    }


def _single_pool(place: RedisUrl, bounds: dict[str, Any]) -> ConnectionPool:
    ((host, port),) = place.hosts
    kind = SSLConnection if place.tls else Connection
    return CalmPool(
        connection_class=kind, host=host, port=port, db=place.database, **place.login, **place.tls, **bounds
    )


def _watched(place: RedisUrl, bounds: dict[str, Any]) -> dict[str, Any]:
    """Options of a pool whose connections tell what goes wrong."""
    options: dict[str, Any] = {**place.login, **place.tls, **bounds, "db": place.database}
    options["connection_class"] = WatchedTlsConnection if place.tls else WatchedConnection
    if place.kind == "cluster":
        options["parser_class"] = ClusterParser  # that knows MOVED
    return options


def _open_node(owners: Owners, options: dict[str, Any], address: Address) -> ConnectionPool:
    host, port = address
    return CalmPool(host=host, port=port, owners=owners, **options)


def _cluster_owners(place: RedisUrl) -> ClusterOwners:
    def connect(address: Address) -> Redis:
        host, port = address
        bounds = _bounds(max_connections=1, socket_timeout=REDIS_TIMEOUT_SECONDS)
        kind = SSLConnection if place.tls else Connection
        pool = CalmPool(connection_class=kind, host=host, port=port, **place.login, **place.tls, **bounds)
        return Redis.from_pool(pool)

    return ClusterOwners(place.hosts, connect)


def _sentinel_owners(place: RedisUrl) -> SentinelOwners:
    options = _bounds(max_connections=1, socket_timeout=REDIS_TIMEOUT_SECONDS)
    sentinels = Sentinel(
        place.hosts, sentinel_kwargs={**options, **place.sentinel_login, **place.tls, "ssl": bool(place.tls)}
    )
    return SentinelOwners(sentinels, place.service)
