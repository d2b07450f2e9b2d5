"""Computing that nobody waits for, in one thread of the process.

The event loop shares the interpreter's lock with it. With many such threads the loop would stand in line behind all of
them whenever it has something to do; with one it waits for a switch at most (`sys.setswitchinterval`).
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_thread: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="background")


async def in_background(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """As `asyncio.to_thread`, one after the other. What was begun ends, whether or not the caller is cancelled."""
    return await asyncio.get_running_loop().run_in_executor(_thread, lambda: function(*args, **kwargs))
