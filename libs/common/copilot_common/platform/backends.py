"""The process that serves a connection within PostgreSQL, its backend: where it runs on this machine, it can be told to
stand back as we do."""

import asyncio
import os
import socket
from contextlib import suppress
from pathlib import Path

from copilot_common.platform.background import NICENESS, stand_back_as_session
from copilot_common.platform.db import Connection
from copilot_common.platform.scheduling import stand_back

_TRIES = 6  # a pool opens several connections at once
_AGAIN_SECONDS = 0.15


async def stand_back_in_postgres(connection: Connection) -> None:
    """The backend, too, for all of the connection's life: else what nobody waits for has as much of the processor
    there as what somebody does. Nothing happens where it is on another machine, in another container, behind a pooler
    or a socket file, or another account's that we may not change."""
    with suppress(OSError):
        pid = connection.info.backend_pid
        if _serves(pid, connection.fileno()):
            stand_back(NICENESS, pid)
            await _stand_back_as_session(pid)


async def _stand_back_as_session(pid: int) -> None:
    for _ in range(_TRIES):
        try:
            return stand_back_as_session(pid)
        except BlockingIOError:
            await asyncio.sleep(_AGAIN_SECONDS)


def _serves(pid: int, descriptor: int) -> bool:
    """The number alone may be any process's here. A backend's title tells whom it serves:
    `postgres: user database 127.0.0.1(51234) idle`."""
    with socket.socket(fileno=os.dup(descriptor)) as ours:
        address = ours.getsockname()
    if not isinstance(address, tuple):
        return False  # a socket file, which has no port
    title = Path(f"/proc/{pid}/cmdline").read_bytes()
    return title.startswith(b"postgres: ") and f" {address[0]}({address[1]}) ".encode() in title
