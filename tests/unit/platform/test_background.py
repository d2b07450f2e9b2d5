"""What nobody waits for stands back."""

import asyncio
import os
import subprocess
import sys
import threading
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from copilot_common.platform.background import Turns, in_background, turns
from support.clients import eventually

AUTOGROUP = Path("/proc/self/autogroup")
STAND_BACK = (
    f"from copilot_common.platform.background import stand_back_together as f; f();print(open('{AUTOGROUP}').read())"
)


async def test_background_computing_has_one_niced_thread() -> None:
    first, second = [await in_background(_identify) for _ in range(2)]
    assert first == second
    assert first[1] == os.getpriority(os.PRIO_PROCESS, 0) + 10


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this kernel does not part the processor by session")
@pytest.mark.parametrize(("leads_session", "niceness"), [(True, "nice 10"), (False, "nice 0")])
def test_a_service_stands_back_in_a_session_of_its_own(leads_session: bool, niceness: str) -> None:
    inner = [sys.executable, "-c", STAND_BACK]
    # What does not lead its session has another process around it that does.
    around = [sys.executable, "-c", f"import subprocess; subprocess.run({inner!r}, check=True)"]
    command = inner if leads_session else around
    shown = subprocess.run(command, start_new_session=True, check=True, capture_output=True, text=True).stdout
    assert shown.strip().endswith(niceness)


class Work:
    """Pieces of work that begin when it is their turn and end when they are told to."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.begun: list[int] = []
        self.ends = [asyncio.Event() for _ in range(4)]
        self.tasks = [asyncio.create_task(self._do(number)) for number in range(4)]

    async def _do(self, number: int) -> None:
        async with self.turns.turn():
            self.begun.append(number)
            await self.ends[number].wait()

    async def settle(self) -> list[int]:
        for _ in range(5):
            await asyncio.sleep(0)
        return self.begun

    async def end(self) -> None:
        for each in self.ends:
            each.set()
        await asyncio.wait_for(asyncio.wait(self.tasks), 5)


async def test_turns_are_taken_in_order() -> None:
    turns = Turns(2)
    work = Work(turns)
    assert await work.settle() == [0, 1]
    work.ends[1].set()
    assert await work.settle() == [0, 1, 2]
    await work.end()
    assert work.begun == [0, 1, 2, 3]


@pytest.mark.parametrize("cancelled", [0, 1], ids=["at work", "in line"])
async def test_who_is_cancelled_leaves_the_place_to_the_next(cancelled: int) -> None:
    turns = Turns(1)
    work = Work(turns)
    await work.settle()
    work.tasks[cancelled].cancel()
    await work.settle()
    work.ends[0].set()
    assert (await work.settle())[-1] == (1 if cancelled == 0 else 2)
    await work.end()
    assert set(work.begun) == {0, 1, 2, 3} - ({cancelled} if cancelled else set())


async def test_who_is_cancelled_just_as_its_turn_comes_leaves_it_to_the_next() -> None:
    turns = Turns(1)
    async with turns.turn():
        work = Work(turns)
        await work.settle()
    work.tasks[0].cancel()  # it has its place, and has not run since
    assert await work.settle() == [1]
    await work.end()


async def test_who_takes_too_long_holds_up_nobody() -> None:
    turns = Turns(1, longest_seconds=0.0)
    work = Work(turns)
    await eventually(lambda: asyncio.sleep(0, len(work.begun) == 4))
    await work.end()


async def test_computing_waits_for_its_turn() -> None:
    async with AsyncExitStack() as others:
        for _ in range(max(1, len(os.sched_getaffinity(0)) - 1)):
            await others.enter_async_context(turns().turn())
        computing = asyncio.create_task(in_background(_identify))
        await asyncio.wait([computing], timeout=0.05)
        assert not computing.done()
    await asyncio.wait_for(computing, 5)


def _identify() -> tuple[int, int]:
    return threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
