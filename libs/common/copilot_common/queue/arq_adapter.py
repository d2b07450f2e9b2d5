"""arq, and all that this product uses of it. No other module imports it (ADR 15).

arq carries doorbells ("there is work in this queue") that nobody misses when they are lost. Its own idea of reliability
(in-progress keys, retries, results, time-outs) decides nothing: a doorbell's function returns at once.

Stock arq looks for jobs every 0.5 s. Our worker waits on a list that is pushed to with every doorbell, with a slow look
behind it; and where stock arq's main loop ends on a Redis error, ours begins anew.

Every key carries its queue as a hash tag, so that all keys of a queue live in one slot of a Redis Cluster, and each
queue has a client of its own, which is connected to that slot's master.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import time
from typing import Any, cast
from uuid import uuid4

import msgspec
from arq.connections import ArqRedis
from arq.constants import in_progress_key_prefix, job_key_prefix, retry_key_prefix
from arq.worker import Worker, func
from loguru import logger
from redis.exceptions import MovedError, RedisError

from copilot_common.platform.redis import REDIS_TIMEOUT_SECONDS, KeyPools, name_fault

_CONNECTIONS = 64
_MAX_DOORBELLS = 100  # in one queue: so many unanswered ones say all there is to say
_EXPIRES_SECONDS = 60
_LOOK_SECONDS = 5  # how long a wake-up may be lost before the queue is looked at anyway
_ANSWER_SECONDS = 2  # a connection that is silent for longer, beyond what it was asked to wait, is given up
_AGAIN_SECONDS = 1.0
_CONCURRENT = 64  # doorbells at once, which are short
_MAX_WAKES = 16

RedisFault = (RedisError, OSError, TimeoutError)


class ArqLine:
    """This process's connection to the queues. Connects lazily."""

    def __init__(self, redis_url: str) -> None:
        self._pools = KeyPools(
            redis_url,
            max_connections=_CONNECTIONS,
            # A Redis that says nothing any more (frozen, or cut off) must look like one that is gone.
            socket_timeout=_LOOK_SECONDS + REDIS_TIMEOUT_SECONDS,
        )
        self._clients: dict[str, ArqRedis] = {}
        # Its lines show arguments and exceptions' texts.
        logging.getLogger("arq").setLevel(logging.CRITICAL)

    async def ring(self, queue: str) -> None:
        """Raises what redis raises."""
        async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
            try:
                await self._ring(queue)
            except MovedError:  # the queue's slot is elsewhere by now, and the pool knows where
                await self._ring(queue)

    async def listen(self, queue: str, *, on_ring: Callable[[], None], on_connection: Callable[[bool], None]) -> None:
        """Answer a queue's doorbells until cancelled, through every fault of Redis. `on_connection` is told whenever
        the queue could be looked at, and whenever it could not."""
        while True:
            # A worker of its own after each fault: arq loses count of its slots when Redis fails in between.
            worker = _Listener(self._client(queue), queue, on_ring, on_connection)
            try:
                await worker.main()
            except RedisFault as error:
                logger.bind(queue=queue, error_type=name_fault(error)).warning("Queue not connected")
                on_connection(False)
            except Exception as error:  # arq's or the client's: this loop must outlive any one fault
                logger.bind(queue=queue).opt(exception=error).error("Listening failed")
                on_connection(False)
            finally:
                await worker.stop()
            await asyncio.sleep(_AGAIN_SECONDS)

    async def aclose(self) -> None:
        await self._pools.aclose()

    def _client(self, queue: str) -> ArqRedis:
        if queue not in self._clients:
            self._clients[queue] = ArqRedis(
                self._pools.of(_queue_key(queue)),
                job_serializer=msgspec.msgpack.encode,
                job_deserializer=msgspec.msgpack.decode,
            )
        return self._clients[queue]

    async def _ring(self, queue: str) -> None:
        # The wake-up first: whoever hears it claims meanwhile, and finds the doorbell with its next look.
        waiting = await self._wake(queue)
        # Skipping is safe: at least one of so many has not been answered yet, and will look later than now.
        if waiting < _MAX_DOORBELLS:
            await self._client(queue).enqueue_job(
                "ring",
                _queue_name=_queue_key(queue),
                _job_id=f"{{{queue}}}{uuid4().hex}",
                _expires=_EXPIRES_SECONDS,
            )

    async def _wake(self, queue: str) -> int:
        """How many doorbells nobody has answered yet."""
        pipeline = self._client(queue).pipeline(transaction=False)
        pipeline.lpush(_wake_key(queue), b"ring")
        pipeline.ltrim(_wake_key(queue), 0, _MAX_WAKES - 1)
        # What nobody has taken in time goes: the queue must not grow while no worker is there.
        pipeline.zremrangebyscore(_queue_key(queue), "-inf", (time() - _EXPIRES_SECONDS) * 1_000)
        pipeline.zcard(_queue_key(queue))
        return int((await pipeline.execute())[-1])


class _Listener(Worker):
    """arq's worker with a main loop that waits instead of polling."""

    def __init__(
        self,
        redis: ArqRedis,
        queue: str,
        on_ring: Callable[[], None],
        on_connection: Callable[[bool], None],
    ) -> None:
        async def ring(_: dict[Any, Any]) -> None:
            on_ring()

        super().__init__(
            [func(cast(Any, ring), name="ring")],
            redis_pool=redis,
            queue_name=_queue_key(queue),
            handle_signals=False,
            max_jobs=_CONCURRENT,
            max_tries=1,
            keep_result=0,
            job_timeout=30,
            log_results=False,
            health_check_interval=3_600,
            health_check_key=f"{_queue_key(queue)}:{uuid4().hex}",
            job_serializer=msgspec.msgpack.encode,
            job_deserializer=msgspec.msgpack.decode,
        )
        self._wake_key = _wake_key(queue)
        self._on_ring = on_ring
        self._on_connection = on_connection

    async def main(self) -> None:
        while True:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._poll_iteration()
            self._on_connection(True)
            if await self._wait():
                self._on_ring()  # at once: what arq does before it calls `ring` takes longer than the job's claim

    async def _wait(self) -> bool:
        """Some seconds, or until the doorbell is rung, which is True."""
        async with asyncio.timeout(_LOOK_SECONDS + _ANSWER_SECONDS):
            found = await cast(Awaitable[list[bytes] | None], self.pool.brpop([self._wake_key], timeout=_LOOK_SECONDS))
        return found is not None

    async def heart_beat(self) -> None:
        """No health key: whether this process lives is what its lease and its probes say."""

    async def finish_job(self, job_id: str, finish: bool, *_: object) -> None:
        """arq's own touches `arq:abort` in the same transaction: a key of another slot, where a Cluster refuses it all.
        Nothing is aborted, deferred or kept here."""
        keys = [in_progress_key_prefix + job_id]
        async with self.pool.pipeline(transaction=True) as pipeline:
            if finish:
                keys += [retry_key_prefix + job_id, job_key_prefix + job_id]
                pipeline.zrem(self.queue_name, job_id)
            pipeline.delete(*keys)
            await pipeline.execute()

    async def finish_failed_job(self, job_id: str, result_data: bytes | None) -> None:
        await self.finish_job(job_id, True)

    async def stop(self) -> None:
        for task in [*self.tasks.values(), *self.job_tasks.values()]:
            task.cancel()
        with suppress(Exception):
            await asyncio.gather(*self.tasks.values(), return_exceptions=True)


def _queue_key(queue: str) -> str:
    return f"arq:{{{queue}}}"


def _wake_key(queue: str) -> str:
    return f"copilot:{{{queue}}}:wake"
