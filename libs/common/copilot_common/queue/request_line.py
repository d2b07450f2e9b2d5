"""Questions to whichever process of a queue comes first, and their answers: lists in Redis.

One round trip each way, and fewer where there is much to say: what is sent in the same turn of the event loop goes
together, and who takes one takes others that wait. Whatever is lost on the way, or taken by a process that dies, costs
the asker its patience and nothing else.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from copilot_common.platform.coalescing import CoalescedEach
from copilot_common.platform.redis import REDIS_TIMEOUT_SECONDS
from copilot_common.queue.jobs import Queue

RedisFault = (RedisError, OSError, TimeoutError)

_MAX_QUESTIONS = 512  # in one queue: beyond it the oldest go, whose askers have waited longest
_EXPIRES_SECONDS = 60
_WAIT_SECONDS = 5  # then a connection that nobody writes to any more is noticed
_QUESTION_SECONDS = 1  # as long as a process that is to stop may be kept: who breaks off may lose what just comes
_ANSWERS = 64  # that are taken at once
_ANSWER_SECONDS = 2  # a connection that is silent for longer, beyond what it was asked to wait, is given up


class RequestLine:
    """Everything raises RedisFault where Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._pushes = CoalescedEach(self._push_all)

    async def ask(self, queue: Queue, question: bytes) -> None:
        if await self._push(_questions_key(queue), question) > _MAX_QUESTIONS:
            async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
                await cast(Awaitable[str], self._redis.ltrim(_questions_key(queue), 0, _MAX_QUESTIONS - 1))

    async def take_questions(self, queue: Queue, most: int) -> list[bytes]:
        """The oldest first, `most` of them; waits a second for one."""
        return await self._pop(_questions_key(queue), _QUESTION_SECONDS, most)

    async def answer(self, reply_key: str, answer: bytes) -> None:
        await self._push(reply_key, answer)

    async def take_answers(self, reply_key: str) -> list[bytes]:
        """The oldest first; waits some seconds for one."""
        return await self._pop(reply_key, _WAIT_SECONDS, _ANSWERS)

    async def _push(self, key: str, value: bytes) -> int:
        """How many there are now."""
        return await self._pushes((key, value))

    async def _push_all(self, pairs: Sequence[tuple[str, bytes]]) -> Sequence[int | BaseException]:
        """Of each key apart: another one's may be on a server that is away."""
        values: dict[str, list[bytes]] = {}
        for key, value in pairs:
            values.setdefault(key, []).append(value)
        sizes = await asyncio.gather(*map(self._push_several, values, values.values()), return_exceptions=True)
        by_key = dict(zip(values, sizes, strict=True))
        return [by_key[key] for key, _ in pairs]

    async def _push_several(self, key: str, values: Sequence[bytes]) -> int:
        async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.lpush(key, *values)
            pipeline.expire(key, _EXPIRES_SECONDS)
            return int((await pipeline.execute())[0])

    async def _pop(self, key: str, seconds: int, most: int) -> list[bytes]:
        async with asyncio.timeout(seconds + _ANSWER_SECONDS):
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.brpop([key], timeout=seconds)
            if most > 1:
                pipeline.rpop(key, most - 1)  # runs when the one before no longer waits
            first, *others = await pipeline.execute()
        return [*(first[1:] if first else ()), *((others and others[0]) or ())]


def _questions_key(queue: Queue) -> str:
    return f"copilot:{{{queue}}}:questions"
