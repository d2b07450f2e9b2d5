"""Lua that Redis runs as one step."""

import asyncio
import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError


class Script:
    """By its hash, else as a whole, where its keys are: redis-py's own would load it at any node of a Cluster."""

    def __init__(self, redis: Redis, package: str, name: str) -> None:
        """`name` is a file of that package."""
        self._redis = redis
        self._text = resources.files(package).joinpath(name).read_text()
        self._hash = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, keys: Sequence[str], args: Sequence[str | int]) -> Any:
        """Raises what redis raises."""
        try:
            return await self._redis.execute_command("EVALSHA", self._hash, len(keys), *keys, *args)
        except NoScriptError:
            return await self._redis.execute_command("EVAL", self._text, len(keys), *keys, *args)

    async def call_all(self, calls: Sequence[tuple[Sequence[str], Sequence[str | int]]]) -> list[Any]:
        """Of keys and arguments, in one round trip. What each gives, or what redis would have raised for it."""
        if len(calls) == 1:
            return [await self(*calls[0])]
        pipeline = self._redis.pipeline(transaction=False)
        for keys, args in calls:
            pipeline.execute_command("EVALSHA", self._hash, len(keys), *keys, *args)
        results = await pipeline.execute(raise_on_error=False)
        again = [number for number, result in enumerate(results) if isinstance(result, NoScriptError)]
        found = await asyncio.gather(*(self(*calls[number]) for number in again), return_exceptions=True)
        for number, result in zip(again, found, strict=True):
            results[number] = result
        return results
