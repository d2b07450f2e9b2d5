import asyncio

import pytest

from copilot_common.platform.tasks import Overtime, end_tasks
from copilot_common.queue import Ringer


class Bell:
    """As a Redis client whose connection breaks in the moment in which it is told to stop."""

    def __init__(self) -> None:
        self.is_rung = asyncio.Event()

    async def ring(self, queue: str) -> None:
        self.is_rung.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ConnectionError from None


async def test_a_ringer_whose_cancellation_is_lost_stops_all_the_same() -> None:
    bell = Bell()
    ringer = Ringer(bell)
    ringer.start()
    ringer.ring("workflow")
    await bell.is_rung.wait()
    async with asyncio.timeout(5):
        await ringer.stop()


async def test_ended_tasks_and_none_are_fine() -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    task = asyncio.create_task(fail())
    await asyncio.wait({task})
    await end_tasks([task, None])
    await end_tasks([])


async def test_work_that_does_not_heed_its_cancellation_is_not_waited_for() -> None:
    was_cancelled, may_end = asyncio.Event(), asyncio.Event()

    async def stubborn() -> None:
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            was_cancelled.set()
            await may_end.wait()
            raise

    overtime = Overtime()
    with pytest.raises(TimeoutError):
        await overtime.within(0.01, stubborn())
    await was_cancelled.wait()
    caller = asyncio.create_task(overtime.within(3_600, stubborn()))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    may_end.set()
    await overtime.end()


async def test_what_work_gives_or_raises_is_its_callers() -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    overtime = Overtime()
    assert await overtime.within(3_600, asyncio.sleep(0, "done")) == "done"
    with pytest.raises(ZeroDivisionError):
        await overtime.within(3_600, fail())
