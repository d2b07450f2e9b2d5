"""Redis's buckets, and this process's own while Redis is away.

Failing open would lift every limit with Redis, failing closed would stop the product: the local buckets have the same
settings, so N processes then allow at most N times as much. What Redis counted meanwhile is not carried over.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic
from typing import TypeVar

from loguru import logger
from prometheus_client import CollectorRegistry, Counter
from redis.asyncio import Redis

from copilot_common.limits.gcra import Allowance, Bucket, allowance
from copilot_common.limits.local import LocalBuckets
from copilot_common.limits.shared import RedisBuckets
from copilot_common.platform.redis import name_fault

_A = TypeVar("_A")
_R = TypeVar("_R")

_TIMEOUT_SECONDS = 0.25  # the script takes well under a millisecond; a request should not wait longer for a limit
_PAUSE_SECONDS = 1.0  # after a failure: one request in so long tries Redis again, all others go local at once


class RedisAway(Exception):
    """Redis did not answer, or did not just now and is not asked again yet."""


class Limiter:
    def __init__(self, redis: Redis, registry: CollectorRegistry, *, local: LocalBuckets | None = None) -> None:
        self._shared = RedisBuckets(redis)
        self._local = local or LocalBuckets()
        self._paused_until = 0.0
        self._local_decisions = Counter(
            "rate_limit_local_decisions", "Limits decided by this process alone: Redis was away", registry=registry
        )

    async def consume(self, *buckets: Bucket) -> Allowance:
        """One token from each bucket, or from none of them. Never raises for Redis."""
        try:
            decision = await self._ask(self._shared.consume, buckets)
        except RedisAway:
            self._local_decisions.inc()
            decision = self._local.consume(buckets)
        return allowance(buckets, decision)

    async def give_back(self, bucket: Bucket) -> None:
        """Undo one `consume`."""
        self._local.give_back(bucket)
        with suppress(RedisAway):
            await self._ask(self._shared.give_back, bucket)

    async def refill(self, bucket: Bucket) -> None:
        """Forget all that was consumed."""
        self._local.refill(bucket)
        with suppress(RedisAway):
            await self._ask(self._shared.refill, bucket)

    async def _ask(self, operation: Callable[[_A], Awaitable[_R]], argument: _A) -> _R:
        if monotonic() < self._paused_until:
            raise RedisAway
        was_paused = self._paused_until > 0
        if was_paused:
            self._paused_until = monotonic() + _PAUSE_SECONDS  # only this request tries; the others need not wait
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                result = await operation(argument)
        except Exception as error:  # whatever the client raises, a limit must not stop a request
            self._paused_until = monotonic() + _PAUSE_SECONDS
            if not was_paused:
                logger.bind(error_type=name_fault(error)).warning("Rate limits are local: Redis is away")
            raise RedisAway from None
        self._paused_until = 0.0
        return result
