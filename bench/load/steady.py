"""POSTs at a steady rate over kept connections: each at its moment, whether those before are answered or not."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from time import monotonic, time

from bench.load.http1 import Connection, post


@dataclass(frozen=True, slots=True)
class Answered:
    """Moments in epoch seconds: sent, and whole answer received."""

    began: float
    ended: float
    status: int
    body: bytes


class SteadyPosts:
    """The same body again and again, to one path or to several in turn. `connections` are opened first; more where
    those are all in use."""

    def __init__(self, host: str, port: int, paths: Sequence[str], headers: dict[str, str], body: bytes) -> None:
        self._host, self._port = host, port
        self._requests = cycle([post(host, path, headers, body) for path in paths])
        self._free: list[Connection] = []

    async def send(self, count: int, *, per_second: float, connections: int) -> list[Answered]:
        """Raises BadResponse."""
        while len(self._free) < connections:
            self._free.append(await Connection.open(self._host, self._port))
        began, tasks = monotonic(), []
        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / per_second - monotonic()))
            tasks.append(asyncio.create_task(self._send_one()))
        return list(await asyncio.gather(*tasks))

    def close(self) -> None:
        for connection in self._free:
            connection.close()

    async def _send_one(self) -> Answered:
        connection = self._free.pop() if self._free else await Connection.open(self._host, self._port)
        body: list[bytes] = []
        began = time()
        status = await connection.request(next(self._requests), body.append)
        ended = time()
        self._free.append(connection)
        return Answered(began, ended, status, b"".join(body))
