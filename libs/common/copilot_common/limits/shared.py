"""Buckets in Redis, shared by every process."""

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from copilot_common.limits.gcra import Bucket, Decision
from copilot_common.platform.coalescing import CoalescedEach
from copilot_common.platform.redis import REDIS_TIMEOUT_SECONDS, Script


class RedisBuckets:
    """Each call is one script, so that parallel requests never see each other half done; what requests of the same turn
    of the event loop consume is sent together. Raises what redis raises."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._consume = Script(redis, __package__, "gcra.lua")
        self._consume_all = CoalescedEach(self._send_all)
        self._give_back = Script(redis, __package__, "give_back.lua")

    async def consume(self, buckets: Sequence[Bucket]) -> Decision:
        keys = [bucket.key for bucket in buckets]
        args = [number for bucket in buckets for number in (bucket.limit.interval_us, bucket.limit.capacity_us)]
        allowed, now_us, *full_at_us = await self._consume_all((keys, args))
        return Decision(bool(allowed), now_us, tuple(full_at_us))

    async def _send_all(self, calls: Sequence[tuple[Sequence[str], Sequence[str | int]]]) -> list[Any]:
        # It goes on when those who asked no longer wait: a silent Redis would keep a connection for each.
        async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
            return await self._consume.call_all(calls)

    async def give_back(self, bucket: Bucket) -> None:
        await self._give_back([bucket.key], [bucket.limit.interval_us])

    async def refill(self, bucket: Bucket) -> None:
        await self._redis.delete(bucket.key)
