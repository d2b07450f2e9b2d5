"""Calls of the sandbox whose body comes in pieces and whose answer goes in parts."""

import asyncio
import gc
import os
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from itertools import pairwise

import psutil
import pytest
import uvloop

from copilot_common.base.errors import Unavailable
from copilot_common.platform.sandbox.errors import KillReason, SandboxKilled
from copilot_common.platform.sandbox.frames import MAX_PART_BYTES
from copilot_common.platform.sandbox.pool import Sandbox
from support.children import children
from support.clients import eventually

from .conftest import LIMITS, STREAM_ENTRY, Make

PIECE = 64 * 2**10


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def answer(sandbox: Sandbox, header: bytes, body: bytes = b"", **options: float) -> list[bytes]:
    return [part async for part in sandbox.stream(header, pieces(body), len(body), **options)]


async def ends(sandbox: Sandbox, header: bytes, body: bytes = b"", **options: float) -> tuple[list[bytes], KillReason]:
    """What came before the end, and its reason."""
    parts = []
    try:
        async for part in sandbox.stream(header, pieces(body), len(body), **options):
            parts.append(part)  # noqa: PERF401  # what came is looked at also where it ends badly
    except SandboxKilled as killed:
        return parts, killed.reason
    pytest.fail(f"ended well after {len(parts)} parts")


async def is_replaced(sandbox: Sandbox, pid: int) -> bool:
    """Within the time of a call: the slot of the one that was killed is free."""
    async with asyncio.timeout(10):
        return int((await answer(sandbox, b"then pid"))[0]) != pid and not psutil.pid_exists(pid)


async def test_what_the_entry_yields_comes_in_order_and_an_empty_part_is_none(make: Make) -> None:
    sandbox = await make(STREAM_ENTRY)
    assert await answer(sandbox, b"count 5000") == [b"%d" % number for number in range(5_000)]
    first, last = await answer(sandbox, b"then size 123")
    assert (int(first), last) == (children()[0].pid, b"3")


@pytest.mark.parametrize("size", [0, 1, 65_536, 1_000_003])
async def test_a_body_arrives_as_it_was_sent(make: Make, size: int) -> None:
    sandbox = await make(STREAM_ENTRY)
    body = os.urandom(size)
    cut = [body[: size // 3], b"", body[size // 3 :]]
    parts = [part async for part in sandbox.stream(b"echo 7777", pieces(*cut), size)]
    assert b"".join(parts) == body


async def test_a_child_stays_for_the_next_call(make: Make) -> None:
    sandbox = await make(STREAM_ENTRY)
    pids = {(await answer(sandbox, b"then pid", b"x" * 100_000))[0] for _ in range(5)}
    assert len(pids) == 1


class Piece(bytearray):
    """Can be counted while somebody holds it."""


async def test_a_large_body_is_held_one_piece_at_a_time(make: Make) -> None:
    sandbox = await make(STREAM_ENTRY)
    alive: list[int] = []
    most = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal most
        for number in range(320):
            piece = Piece(b"\x01" * PIECE)
            alive.append(number)
            weakref.finalize(piece, alive.remove, number)
            most = max(most, len(alive))
            yield piece  # type: ignore[misc]  # bytes cannot be referred to weakly

    expected = b"%d %d" % (320 * PIECE, 320 * PIECE // 4096)
    assert [part async for part in sandbox.stream(b"size", body(), 320 * PIECE)] == [expected]
    assert most <= 2  # this one, and the one that is being let go of


async def test_a_child_that_does_not_read_holds_the_body_back(make: Make) -> None:
    sandbox = await make(STREAM_ENTRY)
    child = psutil.Process(int((await answer(sandbox, b"then pid"))[0]))
    asked = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal asked
        for _ in range(320):
            asked += 1
            yield b"x" * PIECE

    child.suspend()
    stream = asyncio.create_task(anext(sandbox.stream(b"size", body(), 320 * PIECE)))
    counts = [-1]

    async def is_stuck() -> bool:
        counts.append(asked)
        return counts[-1] == counts[-2] > 0

    await eventually(is_stuck, what="the body to be held back")
    child.resume()
    assert asked < 10
    assert (await stream).startswith(b"%d" % (320 * PIECE))


async def test_a_slow_consumer_holds_the_child_back_and_stops_its_clock(make: Make) -> None:
    sandbox = await make(STREAM_ENTRY, output_bytes=2**30, wall_seconds=1.0)
    taken = 0
    async with aclosing(sandbox.stream(b"echo 65536", pieces(b"x" * 2**22), 2**22)) as parts:
        async for part in parts:
            taken += len(part)
            await asyncio.sleep(0.02)  # longer, in sum, than the wall clock allows
    assert taken == 2**22


async def test_a_slow_body_does_not_cost_the_child_time(make: Make) -> None:
    sandbox = await make(STREAM_ENTRY, wall_seconds=1.0)

    async def body() -> AsyncIterator[bytes]:
        for _ in range(12):
            await asyncio.sleep(0.1)  # longer, in sum, than the wall clock allows
            yield b"x" * 10

    assert [part async for part in sandbox.stream(b"size", body(), 120)] == [b"120 120"]


@pytest.mark.parametrize(
    ("header", "count", "reason"),
    [
        (b"then grow 100000000", 1, "memory"),
        (b"then abort", 1, "memory"),
        (b"then raise secret", 1, "died"),
        (b"then exit", 1, "died"),
        (b"then long 1048576", 1, "output"),
        (b"unknown", 0, "died"),
        (b"endless 1000", 1048, "output"),
        (b"endless 1048577", 0, "output"),
        (b"then lie ffffffff", 1, "output"),
        (b"then lie 0000000163", 1, "died"),
        (b"then lie 0000000107", 1, "died"),  # a part without anything in it
        (b"then lie 000000020278", 1, "died"),  # an end with something in it
        (b"then lie 0000000101", 1, "died"),
    ],
)
async def test_a_hostile_stream_is_told_why_and_its_child_is_replaced(
    make: Make, header: bytes, count: int, reason: KillReason
) -> None:
    sandbox = await make(STREAM_ENTRY)
    pid = int((await answer(sandbox, b"then pid"))[0])
    parts, actual = await ends(sandbox, header)
    assert (len(parts), actual) == (count, reason)
    assert await is_replaced(sandbox, pid)


async def test_the_parent_takes_no_more_than_the_limit_from_a_child_that_does_not_count(make: Make) -> None:
    sandbox = await make(STREAM_ENTRY, output_bytes=10)
    part = b"00000006" + b"07" + b"78" * 5
    parts, reason = await ends(sandbox, b"then lie " + part * 3)
    assert reason == "output"
    assert sum(len(one) for one in parts) <= 10


@pytest.mark.parametrize("header", [b"then loop", b"sleep", b"freeze"])
async def test_a_child_that_takes_too_long_is_killed_however_often_it_answers(make: Make, header: bytes) -> None:
    sandbox = await make(STREAM_ENTRY)
    pid = int((await answer(sandbox, b"then pid"))[0])
    async with asyncio.timeout(10):
        parts, reason = await ends(sandbox, header, wall_seconds=0.2)
    assert parts
    assert reason == "time"
    assert await is_replaced(sandbox, pid)


async def test_a_stream_whose_parent_does_not_look_runs_out_of_cpu_time(make: Make) -> None:
    sandbox = await make(STREAM_ENTRY, cpu_seconds=1)
    async with asyncio.timeout(15):
        assert (await ends(sandbox, b"then loop"))[1] == "time"


async def test_a_body_that_a_child_has_no_memory_for_is_told_so_before_all_of_it_is_sent(make: Make) -> None:
    sandbox = await make(STREAM_ENTRY)
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(10_000):
            sent += 2**20
            yield b"x" * 2**20

    with pytest.raises(SandboxKilled) as caught:
        await anext(sandbox.stream(b"size", body(), 10_000 * 2**20))
    assert caught.value.reason == "memory"
    assert sent < 100 * 2**20
    assert (await answer(sandbox, b"count 1")) == [b"0"]


class Broken(Exception):
    pass


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * PIECE


async def broken() -> AsyncIterator[bytes]:
    yield b"x" * 100_000
    raise Broken


async def impatient() -> AsyncIterator[bytes]:
    yield b"x"
    raise TimeoutError("of the body's own")


@pytest.mark.parametrize(
    ("body", "size", "error"),
    [
        (broken, 200_000, Broken),
        (impatient, 2, TimeoutError),
        (lambda: pieces(b"abc"), 4, ValueError),
        (lambda: pieces(b"abc", b"def"), 5, ValueError),
        (lambda: pieces(b"abc"), 0, ValueError),
        (endless, 200_000, ValueError),
    ],
)
async def test_a_body_that_breaks_off_or_is_not_as_long_as_said_ends_the_call_and_the_child(
    make: Make, body: Callable[[], AsyncIterator[bytes]], size: int, error: type[Exception]
) -> None:
    sandbox = await make(STREAM_ENTRY)
    pid = int((await answer(sandbox, b"then pid"))[0])
    with pytest.raises(error):
        await anext(sandbox.stream(b"size", body(), size))
    assert await is_replaced(sandbox, pid)


async def test_a_consumer_that_stops_early_kills_the_child_and_frees_its_slot(make: Make) -> None:
    sandbox = await make(STREAM_ENTRY, output_bytes=2**30)
    async with aclosing(sandbox.stream(b"freeze", pieces(), 0)) as parts:
        pid = int(await anext(parts))
    assert await is_replaced(sandbox, pid)


async def test_an_exception_of_the_consumer_goes_on_and_kills_the_child(make: Make) -> None:
    sandbox = await make(STREAM_ENTRY)
    pids = []

    async def consume() -> None:
        async with aclosing(sandbox.stream(b"freeze", pieces(), 0)) as parts:
            pids.append(int(await anext(parts)))
            raise Broken

    with pytest.raises(Broken):
        await consume()
    assert await is_replaced(sandbox, pids[0])


async def test_a_generator_that_nobody_keeps_is_closed(make: Make) -> None:
    sandbox = await make(STREAM_ENTRY)
    pid = 0
    async for part in sandbox.stream(b"freeze", pieces(), 0):
        pid = int(part)
        break
    gc.collect()
    assert await is_replaced(sandbox, pid)


async def test_a_cancelled_consumer_takes_its_child_with_it(make: Make) -> None:
    sandbox = await make(STREAM_ENTRY)
    pids: asyncio.Queue[int] = asyncio.Queue()

    async def consume() -> None:
        async for part in sandbox.stream(b"freeze", pieces(), 0):
            pids.put_nowait(int(part))

    consumer = asyncio.create_task(consume())
    pid = await pids.get()
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    assert await is_replaced(sandbox, pid)


async def test_a_consumer_that_does_not_come_back_loses_its_child_when_the_whole_time_is_over(make: Make) -> None:
    sandbox = await make(STREAM_ENTRY, output_bytes=2**30)
    await answer(sandbox, b"count 1")
    async with aclosing(sandbox.stream(b"endless 60000", pieces(), 0, total_seconds=1.0)) as parts:
        await anext(parts)
        pid = children()[0].pid
        await until_held_back(pid)
        assert await is_replaced(sandbox, pid)  # before the consumer does anything
        with pytest.raises(SandboxKilled) as caught:
            async for _ in parts:
                pass
    assert caught.value.reason == "time"


async def test_a_body_that_does_not_come_is_not_waited_for_longer_than_the_whole_time(make: Make) -> None:
    sandbox = await make(STREAM_ENTRY)
    pid = int((await answer(sandbox, b"then pid"))[0])

    async def body() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b"never"

    async with asyncio.timeout(10):
        with pytest.raises(SandboxKilled) as caught:
            await anext(sandbox.stream(b"size", body(), 5, total_seconds=0.1))
    assert caught.value.reason == "time"
    assert await is_replaced(sandbox, pid)


async def test_a_pool_that_stops_does_not_wait_for_a_busy_consumer(make: Make) -> None:
    sandbox = await make(STREAM_ENTRY, size=2, output_bytes=2**30)
    stream = sandbox.stream(b"endless 60000", pieces(), 0)
    await anext(stream)
    waiting = asyncio.create_task(anext(sandbox.stream(b"size", _never(), 5)))
    await eventually(_two_children, what="two children")
    async with asyncio.timeout(10):
        await sandbox.stop()
    assert children() == []
    with pytest.raises(Unavailable):
        async for _ in stream:
            pass
    waiting.cancel()


async def _never() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b"never"


async def _two_children() -> bool:
    return len(children()) == 2


async def until_held_back(pid: int) -> None:
    """It has filled the pipe and all buffers, and sleeps."""
    child = psutil.Process(pid)
    spent = [-1.0]

    async def is_asleep() -> bool:
        spent.append(sum(child.cpu_times()[:2]))
        return spent[-1] == spent[-2] and child.status() == psutil.STATUS_SLEEPING

    await eventually(is_asleep, what="the child to be held back")


async def test_a_child_that_waits_to_be_read_is_killed_and_leaves_no_descriptor_behind(make: Make) -> None:
    sandbox = await make(STREAM_ENTRY, output_bytes=2**30)
    counts = []
    for _ in range(3):
        async with aclosing(sandbox.stream(b"endless 1000000", pieces(), 0)) as parts:
            await anext(parts)
            pid = children()[0].pid
            await until_held_back(pid)
        assert await is_replaced(sandbox, pid)
        counts.append(psutil.Process().num_fds())
    assert all(later <= earlier for earlier, later in pairwise(counts))


async def test_calls_and_streams_of_an_entry_that_does_not_know_them_end_their_child_only(make: Make) -> None:
    plain, streaming = await make(), await make(STREAM_ENTRY)
    assert (await ends(plain, b"count 1"))[1] == "died"
    with pytest.raises(SandboxKilled):
        await streaming.call(b"count 1")
    assert await plain.call(b"ok") == b"ok"
    assert await answer(streaming, b"count 1") == [b"0"]


def test_streams_work_on_the_loop_that_the_api_runs_on() -> None:
    async def use() -> None:
        sandbox = Sandbox(STREAM_ENTRY, size=1, limits=LIMITS)
        await sandbox.start()
        assert b"".join(await answer(sandbox, b"echo 50000", b"x" * 1_000_000)) == b"x" * 1_000_000
        for header, body, reason in (
            (b"then loop", b"", "time"),
            (b"size", b"x" * 100_000_000, "memory"),
            (b"endless 100000", b"", "output"),
        ):
            assert (await ends(sandbox, header, body, wall_seconds=1.0))[1] == reason
        async with aclosing(sandbox.stream(b"endless 60000", pieces(), 0)) as parts:
            await anext(parts)
        assert await answer(sandbox, b"count 2") == [b"0", b"1"]
        await sandbox.stop()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(use())
    assert children() == []


def test_a_part_fits_into_a_frame() -> None:
    assert MAX_PART_BYTES < 2**32 - 1
