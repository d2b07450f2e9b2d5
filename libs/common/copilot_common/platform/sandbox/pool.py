"""A pool of children that run one function."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, Coroutine
from dataclasses import asdict
from typing import Final

from loguru import logger

from copilot_common.base.errors import Unavailable
from copilot_common.platform.sandbox.backoff import Backoff
from copilot_common.platform.sandbox.errors import SandboxKilled
from copilot_common.platform.sandbox.limits import Limits, Lockdown
from copilot_common.platform.sandbox.process import Child, EntryRaised, Reply, StartFailed
from copilot_common.platform.sandbox.streaming import Clock, Exchange

# Python and the entry's imports take 0.2 s; a machine that is busy starting other things may take many times that.
_START_SECONDS: Final = 20.0


class Sandbox:
    """`entry` is "package.module:function", which runs in the children only. For `call` it takes and returns bytes; for
    `stream` it takes the header and the body, a BytesIO whose `getvalue()` copies nothing, and yields the parts. What
    its module defines as `warm_up()` is called once before rights are given up: it has loaded what libraries load late
    from elsewhere than Python's own directories, such as shared libraries of the system.

    A child is started when it is first needed, at most `size` of them, and stays. One that was killed is replaced at
    once. At most `max_waiting` calls wait for a child, for at most `wait_seconds`.
    """

    def __init__(
        self, entry: str, *, size: int, limits: Limits, max_waiting: int = 256, wait_seconds: float = 10.0
    ) -> None:
        self._entry = entry
        self._limits = limits
        self._max_waiting = max_waiting
        self._wait_seconds = wait_seconds
        self._size = size
        self._slots = asyncio.Semaphore(size)
        self._waiting = 0
        self._idle: list[Child] = []  # the last used is used next: its caches are warm, the others may be paged out
        self._busy: set[Child] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._backoff = Backoff()
        self._is_open = False
        self._lockdown: Lockdown | None = None

    @property
    def lockdown(self) -> Lockdown | None:
        """What is in force in the children; None before the first."""
        return self._lockdown

    async def start(self) -> None:
        """Opens the pool. No child yet: the first call pays for that."""
        self._is_open = True

    async def show_lockdown(self) -> None:
        """Logs what is in force, or that no child starts, where no call has done so yet. For that a child is started,
        and ends: a pool that is idle holds no memory."""
        async with self._slots:
            if self._lockdown is None and self._is_open:
                with contextlib.suppress(Unavailable):  # it is logged why
                    child = await self._start_child()
                    child.kill()
                    await child.ended()

    async def stop(self) -> None:
        """Kills all children, also in a call, which then raises Unavailable; returns when they are gone."""
        self._is_open = False
        idle, self._idle = self._idle, []
        for child in tuple(self._busy):
            self._give_back(child, is_good=False)  # not by their callers: a stream's may be busy for long
        for child in idle:
            child.kill()
        for child in idle:
            await child.ended()
        # A slot comes back when its child has ended.
        for _ in range(self._size):
            await self._slots.acquire()
        for _ in range(self._size):
            self._slots.release()
        await asyncio.gather(*self._background)

    async def call(self, request: bytes, *, wall_seconds: float | None = None) -> bytes:
        """The entry's answer. `wall_seconds` replaces the limits' where it is less.

        Raises SandboxKilled, and Unavailable where no child is free in time or can be started, or the pool is stopped.
        """
        seconds = self._at_most(wall_seconds)
        child = await self._take()
        reply: Reply | None = None
        try:
            async with asyncio.timeout(seconds):
                reply = await child.exchange(request)
        except TimeoutError:
            raise self._killed(SandboxKilled("time")) from None
        except SandboxKilled as killed:
            raise self._killed(killed) from None
        finally:
            # Also where this call was cancelled: its child is in the middle of something.
            self._give_back(child, is_good=reply is not None and not reply.is_last)
        return reply.payload

    async def stream(
        self,
        header: bytes,
        body: AsyncIterable[bytes],
        body_bytes: int,
        *,
        wall_seconds: float | None = None,
        total_seconds: float = 600.0,
    ) -> AsyncGenerator[bytes, None]:
        """The parts of the entry's answer, as they come; each is at most MAX_PART_BYTES, none is empty. Of the body one
        piece is held at a time. It is read to its end before the first part, and is the caller's to close.

        The wall clock is the child's: it stands still while the body or whoever takes the parts is waited for.
        `total_seconds` is for all of it. When it has run out the child is gone, and its slot free, whatever the caller
        does. To stop early, close the generator (`contextlib.aclosing`): that kills the child.

        Raises what `call` does, what the body raises, and ValueError where that is not of `body_bytes`.
        """
        child = await self._take()
        clock = Clock(self._at_most(wall_seconds), total_seconds)
        expiry = asyncio.get_running_loop().call_later(total_seconds, self._expire, child)
        exchange = Exchange(child, clock, self._limits.output_bytes)
        is_good = False
        try:
            await exchange.send(header, body, body_bytes)
            while (part := await exchange.next_part()) is not None:
                yield part
            is_good = not exchange.is_last
        except SandboxKilled as killed:
            # It is not busy any more where it was taken away.
            raise self._killed(killed if child in self._busy else SandboxKilled("time")) from None
        finally:
            expiry.cancel()
            self._give_back(child, is_good=is_good)

    def _at_most(self, wall_seconds: float | None) -> float:
        return self._limits.wall_seconds if wall_seconds is None else min(wall_seconds, self._limits.wall_seconds)

    def _killed(self, killed: SandboxKilled) -> SandboxKilled | Unavailable:
        if not self._is_open:
            return _stopped()
        error_type = killed.error_type if isinstance(killed, EntryRaised) else None
        logger.bind(entry=self._entry, reason=killed.reason, error_type=error_type).warning("Sandbox call killed")
        return SandboxKilled(killed.reason)

    async def _take(self) -> Child:
        """A child that is this call's alone, with its slot."""
        await self._take_slot()
        try:
            child = self._pop_idle() or await self._start_child()
            if not self._is_open:
                child.kill()
                await child.ended()
                raise _stopped()
        except BaseException:
            self._slots.release()
            raise
        self._busy.add(child)
        return child

    async def _take_slot(self) -> None:
        if not self._is_open:
            raise _stopped()
        if self._slots.locked() and self._waiting >= self._max_waiting:
            raise _no_child()
        self._waiting += 1
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._slots.acquire()
        except TimeoutError:
            raise _no_child() from None
        finally:
            self._waiting -= 1

    def _pop_idle(self) -> Child | None:
        while self._idle:
            child = self._idle.pop()
            if child.is_alive:
                return child
            self._discard(child)
        return None

    async def _start_child(self) -> Child:
        if self._backoff.is_waiting:
            raise _no_child()
        try:
            async with asyncio.timeout(_START_SECONDS):
                child = await Child.start(self._entry, self._limits)
        except (StartFailed, TimeoutError, OSError) as error:
            self._backoff.failed()
            name = (error.error_type if isinstance(error, StartFailed) else None) or type(error).__name__
            logger.bind(entry=self._entry, error_type=name).error("Sandbox child not started")
            raise _no_child() from None
        self._backoff.succeeded()
        if self._lockdown is None:
            logger.bind(entry=self._entry, **asdict(child.lockdown)).info("Sandbox children locked down")
        self._lockdown = child.lockdown
        return child

    def _expire(self, child: Child) -> None:
        self._give_back(child, is_good=False)

    def _give_back(self, child: Child, *, is_good: bool) -> None:
        if child not in self._busy:
            return  # taken away: the pool stops, or its time ran out while its caller was busy
        self._busy.remove(child)
        if is_good and self._is_open:
            self._idle.append(child)
            self._slots.release()
            return
        child.kill()
        self._in_background(self._replace(child))

    async def _replace(self, child: Child) -> None:
        """Keeps the slot until there is another child, so that there are never more than `size`."""
        try:
            await child.ended()
            if self._is_open:
                with contextlib.suppress(Unavailable):  # the next call tries again
                    await self._start_idle()
        finally:
            self._slots.release()

    async def _start_idle(self) -> None:
        child = await self._start_child()
        if self._is_open:
            self._idle.append(child)
        else:
            child.kill()
            await child.ended()

    def _discard(self, child: Child) -> None:
        child.kill()
        self._in_background(child.ended())

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _stopped() -> Unavailable:
    return Unavailable("This process is stopping.")


def _no_child() -> Unavailable:
    return Unavailable("Too much work is waiting to be evaluated; try again.")
