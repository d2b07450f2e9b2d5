"""Who follows a run is told of its new events, as long as Redis is there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID, uuid4

import pytest

from copilot_common.platform.redis import connect_redis
from copilot_domain.workflows.runs.nudging import NudgeListener, Nudger

RUN, OTHER = uuid4(), uuid4()
_SECONDS = 10.0


@asynccontextmanager
async def both(url: str) -> AsyncIterator[tuple[Nudger, NudgeListener]]:
    async with AsyncExitStack() as stack:
        ends = []
        for made in (Nudger, NudgeListener):
            redis = connect_redis(url)
            stack.push_async_callback(redis.aclose)
            ends.append(end := made(redis))
            await end.start()
            stack.push_async_callback(end.stop)
        nudger, listener = ends
        assert isinstance(nudger, Nudger)
        assert isinstance(listener, NudgeListener)
        yield nudger, listener


async def until_told(nudger: Nudger, run: UUID, nudged: asyncio.Event) -> None:
    """Nobody knows when the listener has begun to listen, so it is told more than once."""
    async with asyncio.timeout(_SECONDS):
        while not nudged.is_set():
            nudger(run)
            await asyncio.sleep(0.01)


async def test_all_who_watch_a_run_are_told_and_nobody_else(redis_url: str) -> None:
    async with both(redis_url) as (nudger, listener):
        with listener.watch(RUN) as first, listener.watch(RUN) as second, listener.watch(OTHER) as other:
            await until_told(nudger, RUN, first)
            assert second.is_set()
            assert not other.is_set()
            await until_told(nudger, OTHER, other)


async def test_a_listener_that_lost_its_connection_hears_again(redis_url: str) -> None:
    async with both(redis_url) as (nudger, listener):
        with listener.watch(RUN) as nudged:
            await until_told(nudger, RUN, nudged)
            admin = connect_redis(redis_url)
            assert await admin.client_kill_filter(_type="pubsub")
            await admin.aclose()
            nudged.clear()
            await until_told(nudger, RUN, nudged)


async def test_without_redis_nudging_neither_waits_nor_fails() -> None:
    async with both("redis://127.0.0.1:1/0") as (nudger, listener):
        for _ in range(5_000):
            nudger(uuid4())
        await asyncio.sleep(0.2)  # for the tasks to have found nobody there
        assert all(end._task and not end._task.done() for end in (nudger, listener))


@pytest.mark.parametrize("count", [1, 40])
async def test_many_runs_go_in_few_messages(redis_url: str, count: int) -> None:
    runs = [uuid4() for _ in range(count)]
    async with both(redis_url) as (nudger, _):
        redis = connect_redis(redis_url)
        async with redis.pubsub() as pubsub:
            await pubsub.subscribe("copilot:runs")
            await pubsub.get_message(timeout=_SECONDS)
            for _ in range(10):
                for run in runs:
                    nudger(run)
            message = await pubsub.get_message(timeout=_SECONDS)
            assert len(message["data"]) == 16 * count
            assert {message["data"][at : at + 16] for at in range(0, 16 * count, 16)} == {run.bytes for run in runs}
        await redis.aclose()
