"""Lua that Redis runs as one step."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError


@dataclass(frozen=True, slots=True, eq=False)
class ScriptCall:
    keys: Sequence[str]
    args: Sequence[str | int]


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

    async def call_all(self, calls: Sequence[ScriptCall]) -> Mapping[ScriptCall, Any]:
        """In one round trip. What each gives, or what redis would have raised for it."""
        if len(calls) == 1:
            return {calls[0]: await self(calls[0].keys, calls[0].args)}
        pipeline = self._redis.pipeline(transaction=False)
        for call in calls:
            pipeline.execute_command("EVALSHA", self._hash, len(call.keys), *call.keys, *call.args)
        results = dict(zip(calls, await pipeline.execute(raise_on_error=False), strict=True))
        unknown = [call for call, result in results.items() if isinstance(result, NoScriptError)]
        again = await asyncio.gather(*(self(call.keys, call.args) for call in unknown), return_exceptions=True)
        return results | dict(zip(unknown, again, strict=True))
