"""Computing that nobody waits for, in one thread of the process, in turns with the children that do the same.

The event loop shares the interpreter's lock with that thread. With many such threads the loop would stand in line
behind all of them whenever it has something to do; with one it waits for a switch at most (`sys.setswitchinterval`).

Priorities say who has a processor first; but where all are busy with what nobody waits for, whoever wakes up for
somebody has to drive one of it away first. So it leaves one processor alone, where there is more than one.
"""

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from copilot_common.platform.scheduling import stand_back

P = ParamSpec("P")
T = TypeVar("T")

NICENESS: Final = 10
_LONGEST_SECONDS: Final = 1.0  # most turns take some hundredths


class Turns:
    """`at_once` pieces of work are done at a time, the others wait in line. None: as many as there are processors for
    this process, but one."""

    def __init__(self, at_once: int | None = None, *, longest_seconds: float = _LONGEST_SECONDS) -> None:
        self._at_once = at_once or max(1, _processors() - 1)
        self._longest_seconds = longest_seconds
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._at_work: set[asyncio.Future[None]] = set()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Around one piece. Who needs longer than a second goes on beside the next, so that nothing slow holds up all
        others. Never within another turn: it would wait for that one's second."""
        loop = asyncio.get_running_loop()
        place = loop.create_future()
        self._waiting.append(place)
        self._call_in()
        try:
            await place
            expiry = loop.call_later(self._longest_seconds, self._leave, place)
            try:
                yield
            finally:
                expiry.cancel()
        finally:
            self._leave(place)

    def _call_in(self) -> None:
        while self._waiting and len(self._at_work) < self._at_once:
            place = self._waiting.popleft()
            if not place.done():  # who waited was cancelled
                place.set_result(None)
                self._at_work.add(place)

    def _leave(self, place: asyncio.Future[None]) -> None:
        self._at_work.discard(place)
        self._call_in()


@cache
def turns() -> Turns:
    """Of this process's thread and its children."""
    return Turns()


async def in_background(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """As `asyncio.to_thread`, one after the other, and in its turn: never wait for it in a transaction. What was begun
    ends, though not in its turn any more, when the caller is cancelled."""
    async with _line().turn(), turns().turn():  # who only waits for the thread takes nobody's turn
        return await asyncio.get_running_loop().run_in_executor(_thread(), lambda: function(*args, **kwargs))


def stand_back_together() -> None:
    """Let this process and its children stand back behind other services, where it leads its session."""
    with suppress(OSError):
        stand_back_as_session(os.getpid())


def stand_back_as_session(pid: int) -> None:
    """Outside of containers Linux parts the processor by session (sched(7), autogroup), and niceness counts within one
    alone. Raises OSError where it does not, or may not be told; BlockingIOError where it wants to be told again in a
    tenth of a second, as by all who are not root."""
    if os.getsid(pid) == pid:
        Path(f"/proc/{pid}/autogroup").write_text(str(NICENESS))


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _line() -> Turns:
    return Turns(1)


@cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="background", initializer=stand_back, initargs=(NICENESS,))
