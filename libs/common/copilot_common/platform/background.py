"""Computing that nobody waits for, in one thread of the process.

The event loop shares the interpreter's lock with it. With many such threads the loop would stand in line behind all of
them whenever it has something to do; with one it waits for a switch at most (`sys.setswitchinterval`).
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from copilot_common.platform.scheduling import stand_back

P = ParamSpec("P")
T = TypeVar("T")

_NICENESS: Final = 10


async def in_background(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """As `asyncio.to_thread`, one after the other: never wait for it in a transaction. What was begun ends, whether or
    not the caller is cancelled."""
    return await asyncio.get_running_loop().run_in_executor(_thread(), lambda: function(*args, **kwargs))


def stand_back_together() -> None:
    """Let this process and its children stand back behind other services, where it leads its session. Outside of
    containers Linux parts the processor by session (sched(7), autogroup), and niceness counts within one alone."""
    if os.getsid(0) == os.getpid():
        with suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(_NICENESS))


@cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="background", initializer=stand_back, initargs=(_NICENESS,))
