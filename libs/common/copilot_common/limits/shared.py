"""Buckets in Redis, shared by every process."""

import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from copilot_common.limits.gcra import Bucket, Decision


class RedisBuckets:
    """Each call is one script, so that parallel requests never see each other half done. Raises what redis raises."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._consume = _Script(redis, "gcra.lua")
        self._give_back = _Script(redis, "give_back.lua")

    async def consume(self, buckets: Sequence[Bucket]) -> Decision:
        keys = [bucket.key for bucket in buckets]
        args = [number for bucket in buckets for number in (bucket.limit.interval_us, bucket.limit.capacity_us)]
        allowed, now_us, *full_at_us = await self._consume(keys, args)
        return Decision(bool(allowed), now_us, tuple(full_at_us))

    async def give_back(self, bucket: Bucket) -> None:
        await self._give_back([bucket.key], [bucket.limit.interval_us])

    async def refill(self, bucket: Bucket) -> None:
        await self._redis.delete(bucket.key)


class _Script:
    """By its hash, else as a whole, where its keys are: redis-py's own would load it at any node of a Cluster."""

    def __init__(self, redis: Redis, name: str) -> None:
        self._redis = redis
        self._text = resources.files(__package__).joinpath(name).read_text()
        self._hash = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, keys: Sequence[str], args: Sequence[int]) -> Any:
        try:
            return await self._redis.execute_command("EVALSHA", self._hash, len(keys), *keys, *args)
        except NoScriptError:
            return await self._redis.execute_command("EVAL", self._text, len(keys), *keys, *args)
