"""From a name to its addresses, by the system's resolver."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeAlias

# Gives the addresses of a name as text; raises OSError where there are none.
Lookup: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]

# A look-up cannot be cancelled, and a hostile name server may take 30 s to say nothing.
_THREADS: Final = 16


class SystemLookup:
    """getaddrinfo on threads of its own: slow name servers of tenants must not hold up the loop's default executor."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="egress-lookup")

    async def __call__(self, name: str) -> Sequence[str]:
        found = await asyncio.get_running_loop().run_in_executor(self._threads, _look_up, name)
        return list(dict.fromkeys(found))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(name: str) -> list[str]:
    infos = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [str(address[0]) for *_, address in infos]
