"""The parent's side of one streamed call: a body in pieces to the child, then parts from it."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable
from typing import TypeVar

from copilot_common.platform.sandbox.errors import SandboxKilled
from copilot_common.platform.sandbox.frames import MAX_PART_BYTES, Status, stream_frame
from copilot_common.platform.sandbox.process import Child, refusal

_T = TypeVar("_T")


class Clock:
    """`wall_seconds` are spent only while the child is waited for, `total_seconds` from now on."""

    def __init__(self, wall_seconds: float, total_seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._left = wall_seconds
        self._deadline = self._loop.time() + total_seconds

    async def of_child(self, waiting: Awaitable[_T]) -> _T:
        """Raises SandboxKilled for time, also where there is always something to be had at once."""
        started = self._loop.time()
        value = await self._until(started + self._left, waiting)
        self._left -= self._loop.time() - started
        if self._left <= 0:
            raise SandboxKilled("time")
        return value

    async def of_others(self, waiting: Awaitable[_T]) -> _T:
        return await self._until(self._deadline, waiting)

    async def _until(self, moment: float, waiting: Awaitable[_T]) -> _T:
        scope = asyncio.timeout_at(min(moment, self._deadline))
        try:
            async with scope:
                return await waiting
        except TimeoutError:
            if scope.expired():
                raise SandboxKilled("time") from None
            raise  # what was waited for has a clock of its own


class Exchange:
    """`send` once, then `next_part` until it returns None. After anything else, kill the child."""

    def __init__(self, child: Child, clock: Clock, output_bytes: int) -> None:
        self._child = child
        self._clock = clock
        self._left_bytes = output_bytes
        self.is_last = False

    async def send(self, header: bytes, body: AsyncIterable[bytes], body_bytes: int) -> None:
        """A child that does not want it all, for it has no memory for it, is asked for its answer at once."""
        pieces = aiter(body)
        left = body_bytes
        listens = await self._send(stream_frame(header, body_bytes))
        while listens and (piece := await self._next_piece(pieces)) is not None:
            left -= len(piece)
            if left < 0:
                raise ValueError(f"The body is longer than {body_bytes} bytes.")
            listens = await self._send(piece)
        if listens and left:
            raise ValueError(f"The body is {left} bytes shorter than {body_bytes}.")

    async def next_part(self) -> bytes | None:
        """None at the end."""
        status, payload = await self._clock.of_child(self._child.receive(MAX_PART_BYTES))
        match status:
            case Status.PART if payload:
                self._left_bytes -= len(payload)
                if self._left_bytes < 0:
                    raise SandboxKilled("output")
                return payload
            case Status.DONE | Status.DONE_AND_SPENT if not payload:
                self.is_last = status is Status.DONE_AND_SPENT
                return None
        raise refusal(status, payload)

    async def _send(self, data: bytes) -> bool:
        return await self._clock.of_child(self._child.send(data))

    async def _next_piece(self, pieces: AsyncIterator[bytes]) -> bytes | None:
        return await self._clock.of_others(anext(pieces, None))
