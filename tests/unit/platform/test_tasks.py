import asyncio

from copilot_common.platform.tasks import end_tasks
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
