"""Being told that a run has new events: over Redis, whoever follows the run looks at once instead of a second later.

One channel for all. A message holds nothing but ids of runs, those of one engine's last 50 ms: so an engine sends at
most 20 a second however many runs it leads, a reader of the API needs no subscription of its own, and none is lost
while one is made. What gets lost with Redis costs a reader a second.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from loguru import logger
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from copilot_common.platform.redis import REDIS_TIMEOUT_SECONDS
from copilot_common.platform.tasks import end_tasks

_CHANNEL = "copilot:runs"
_BATCH_SECONDS = 0.05
_MOST_RUNS = 1_024  # in one message; readers of what is left out look by themselves
_AWAY_SECONDS = 2.0  # how long a failed Redis is left alone
_LISTEN_SECONDS = 5.0  # without a message; then Redis is asked whether it is there
_ID_BYTES = 16

Nudge = Callable[[UUID], None]
"""Told the id of a run with new events. Neither blocks nor fails."""


def NO_NUDGE(run_id: UUID) -> None:  # noqa: N802 — a constant, where nobody is to be told
    """Nobody is told."""


class Nudger:
    """The engine's side. Start it once per process."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._pending: set[UUID] = set()
        self._dirty = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._send_forever(), name="nudges")

    async def stop(self) -> None:
        await end_tasks([self._task])

    def __call__(self, run_id: UUID) -> None:
        if len(self._pending) < _MOST_RUNS:
            self._pending.add(run_id)
            self._dirty.set()

    async def _send_forever(self) -> None:
        while True:
            await self._dirty.wait()
            await asyncio.sleep(_BATCH_SECONDS)
            self._dirty.clear()
            runs, self._pending = self._pending, set()
            try:
                async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
                    await self._redis.publish(_CHANNEL, b"".join(run_id.bytes for run_id in runs))
            except Exception as error:  # whatever it is, runs go on and are looked at
                if not isinstance(error, RedisError | OSError | TimeoutError):
                    logger.opt(exception=error).error("Nudging failed")
                await asyncio.sleep(_AWAY_SECONDS)


class NudgeListener:
    """The API's side: one connection per process. Start it once."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._watching: defaultdict[bytes, set[asyncio.Event]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._listen_forever(), name="nudges")

    async def stop(self) -> None:
        await end_tasks([self._task])

    @contextmanager
    def watch(self, run_id: UUID) -> Iterator[asyncio.Event]:
        """Set whenever the run has new events, as far as Redis is there."""
        nudged = asyncio.Event()
        self._watching[run_id.bytes].add(nudged)
        try:
            yield nudged
        finally:
            self._watching[run_id.bytes].discard(nudged)
            if not self._watching[run_id.bytes]:
                del self._watching[run_id.bytes]

    async def _listen_forever(self) -> None:
        while True:
            try:
                async with self._redis.pubsub() as pubsub:
                    await self._listen(pubsub)
            except (RedisError, OSError, TimeoutError) as error:
                logger.bind(error_type=type(error).__name__).debug("Nudges not listened to")
            except Exception as error:  # the client's: this loop must outlive any one fault
                logger.opt(exception=error).error("Listening to nudges failed")
            await asyncio.sleep(_AWAY_SECONDS)

    async def _listen(self, pubsub: PubSub) -> None:
        """Raises TimeoutError where Redis says nothing any more."""
        async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
            await pubsub.subscribe(_CHANNEL)
        is_asked = False
        while True:
            message = await pubsub.get_message(timeout=_LISTEN_SECONDS)
            if message is None and is_asked:
                raise TimeoutError
            if message is None:
                async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
                    await pubsub.ping()
            elif message["type"] == "message":
                self._nudged(message["data"])
            is_asked = message is None

    def _nudged(self, runs: bytes) -> None:
        for start in range(0, len(runs), _ID_BYTES):
            for nudged in self._watching.get(runs[start : start + _ID_BYTES], ()):
                nudged.set()
