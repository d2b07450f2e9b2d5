"""Lua that Redis runs as one step."""

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
