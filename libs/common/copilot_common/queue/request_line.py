"""Questions to whichever process of a queue comes first, and their answers: lists in Redis.

One round trip each way. Whatever is lost on the way, or taken by a process that dies, costs the asker its patience and
nothing else.
"""

import asyncio
from collections.abc import Awaitable
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from copilot_common.platform.redis import REDIS_TIMEOUT_SECONDS
from copilot_common.queue.jobs import Queue

RedisFault = (RedisError, OSError, TimeoutError)

_MAX_QUESTIONS = 512  # in one queue: beyond it the oldest go, whose askers have waited longest
_EXPIRES_SECONDS = 60
_WAIT_SECONDS = 5  # then a connection that nobody writes to any more is noticed
_QUESTION_SECONDS = 1  # as long as a process that is to stop may be kept: who breaks off may lose what just comes
_ANSWER_SECONDS = 2  # a connection that is silent for longer, beyond what it was asked to wait, is given up


class RequestLine:
    """Everything raises RedisFault where Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def ask(self, queue: Queue, question: bytes) -> None:
        if await self._push(_questions_key(queue), question) > _MAX_QUESTIONS:
            async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
                await cast(Awaitable[str], self._redis.ltrim(_questions_key(queue), 0, _MAX_QUESTIONS - 1))

    async def take_question(self, queue: Queue) -> bytes | None:
        """The oldest; waits a second for it."""
        return await self._pop(_questions_key(queue), _QUESTION_SECONDS)

    async def answer(self, reply_key: str, answer: bytes) -> None:
        await self._push(reply_key, answer)

    async def take_answer(self, reply_key: str) -> bytes | None:
        """The oldest; waits some seconds for it."""
        return await self._pop(reply_key, _WAIT_SECONDS)

    async def _push(self, key: str, value: bytes) -> int:
        """How many there are now."""
        async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.lpush(key, value)
            pipeline.expire(key, _EXPIRES_SECONDS)
            return int((await pipeline.execute())[0])

    async def _pop(self, key: str, seconds: int) -> bytes | None:
        async with asyncio.timeout(seconds + _ANSWER_SECONDS):
            found = await cast(Awaitable[list[bytes] | None], self._redis.brpop([key], timeout=seconds))
        return found[1] if found else None


def _questions_key(queue: Queue) -> str:
    return f"copilot:{{{queue}}}:questions"
