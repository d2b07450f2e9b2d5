"""The sandbox with an entry that does whatever it is told."""

import asyncio
import errno
import json
import os
import signal
from pathlib import Path

import psutil
import pytest
import uvloop

from copilot_common.base.errors import Unavailable
from copilot_common.platform.sandbox.errors import KillReason, SandboxKilled
from copilot_common.platform.sandbox.pool import Sandbox
from support import sandboxed
from support.children import children
from support.clients import eventually

from .conftest import ENTRY, LIMITS, Make


def proc(pid: int, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


async def pid_of(sandbox: Sandbox) -> int:
    return int(await sandbox.call(b"pid"))


async def until_busy(process: psutil.Process) -> None:
    before = process.cpu_times().user

    async def is_busy() -> bool:
        return process.cpu_times().user > before

    await eventually(is_busy, what="a child at work")


async def until_gone(pid: int) -> None:
    async def is_gone() -> bool:
        return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE

    await eventually(is_gone, what="the end of a child")


async def ends(sandbox: Sandbox, request: bytes, wall_seconds: float | None = None) -> KillReason:
    with pytest.raises(SandboxKilled) as caught:
        await sandbox.call(request, wall_seconds=wall_seconds)
    return caught.value.reason


@pytest.mark.parametrize("request_", [b"", b"x", b"\x00\xff" * 50_000, b"y" * 1_000_000])
async def test_a_child_answers_with_what_the_entry_returns(make: Make, request_: bytes) -> None:
    sandbox = await make()
    assert await sandbox.call(request_) == request_


async def test_a_large_request_reaches_the_child_whole(make: Make) -> None:
    sandbox = await make()
    assert await sandbox.call(b"size " + b"x" * 5_000_000) == b"5000000"


async def test_a_request_that_a_child_has_no_memory_for_is_told_so(make: Make) -> None:
    sandbox = await make()
    assert await ends(sandbox, b"x" * 100_000_000) == "memory"
    assert await sandbox.call(b"ok") == b"ok"


async def test_children_are_started_when_needed_and_stay(make: Make) -> None:
    sandbox = await make(size=3)
    assert children() == []
    assert await pid_of(sandbox) == await pid_of(sandbox)
    assert len(children()) == 1


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (b"grow 100000000", "memory"),
        (b"grow 99999999999999", "memory"),
        (b"abort", "memory"),
        (b"long 1048577", "output"),
        (b"raise secret", "died"),
        (b"exit", "died"),
        (b"lie ffffffff", "output"),
        (b"lie 00000000", "died"),
        (b"lie 0000000163", "died"),
    ],
)
async def test_a_hostile_call_is_told_why_and_its_child_is_replaced(
    make: Make, request_: bytes, reason: KillReason
) -> None:
    sandbox = await make()
    before = await pid_of(sandbox)
    assert await ends(sandbox, request_) == reason
    assert await pid_of(sandbox) != before
    assert not psutil.pid_exists(before)


async def test_a_call_that_takes_too_long_is_killed(make: Make) -> None:
    sandbox = await make()
    before = await pid_of(sandbox)
    async with asyncio.timeout(10):
        assert await ends(sandbox, b"loop", wall_seconds=0.1) == "time"
    assert await pid_of(sandbox) != before


async def test_a_call_may_not_ask_for_more_time_than_the_limits_give(make: Make) -> None:
    sandbox = await make(wall_seconds=0.1)
    async with asyncio.timeout(10):
        assert await ends(sandbox, b"loop", wall_seconds=1_000.0) == "time"


async def test_a_child_whose_parent_does_not_look_runs_out_of_cpu_time(make: Make) -> None:
    sandbox = await make(cpu_seconds=1)
    async with asyncio.timeout(15):
        assert await ends(sandbox, b"loop") == "time"


async def test_the_exception_of_an_entry_leaves_its_text_behind(make: Make) -> None:
    sandbox = await make()
    with pytest.raises(SandboxKilled) as caught:
        await sandbox.call(b"raise secret-of-a-tenant")
    assert "secret" not in repr(caught.value) + str(caught.value.details)
    assert caught.value.__cause__ is None


async def test_hostile_calls_cost_their_own_callers_only(make: Make) -> None:
    sandbox = await make(size=2)
    hostile = [b"loop", b"grow 999999999", b"long 9999999", b"exit", b"raise x", b"loop"]
    calls = [sandbox.call(b"good %d" % number) for number in range(20)]
    for position, request in enumerate(hostile):
        calls.insert(position * 3, sandbox.call(request, wall_seconds=0.2))
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [each for each in results if isinstance(each, bytes)] == [b"good %d" % number for number in range(20)]
    assert [each.reason for each in results if isinstance(each, SandboxKilled)] == [
        *("time", "memory", "output", "died", "died", "time"),
    ]
    assert len(children()) <= 2


async def test_a_child_that_somebody_kills_in_a_call_has_died_and_is_replaced(make: Make) -> None:
    sandbox = await make()
    child = psutil.Process(await pid_of(sandbox))
    call = asyncio.create_task(sandbox.call(b"loop"))
    await until_busy(child)
    child.send_signal(signal.SIGKILL)
    with pytest.raises(SandboxKilled) as caught:
        await call
    assert caught.value.reason == "died"
    assert await sandbox.call(b"ok") == b"ok"


async def test_a_child_that_died_while_idle_costs_nobody_a_call(make: Make) -> None:
    sandbox = await make()
    before = await pid_of(sandbox)
    os.kill(before, signal.SIGKILL)
    await until_gone(before)

    async def has_noticed() -> bool:
        return not psutil.pid_exists(before)  # reaped: asyncio knows

    await eventually(has_noticed, what="its parent to notice")
    for _ in range(10):
        await asyncio.sleep(0)  # what the loop has read of its pipes goes through a few callbacks
    assert await sandbox.call(b"ok") == b"ok"


async def test_a_cancelled_call_takes_its_child_with_it_and_frees_its_slot(make: Make) -> None:
    sandbox = await make()
    child = psutil.Process(await pid_of(sandbox))
    call = asyncio.create_task(sandbox.call(b"loop"))
    await until_busy(child)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await pid_of(sandbox) != child.pid


async def test_what_a_call_leaves_behind_is_not_missing_in_the_next_one(make: Make) -> None:
    sandbox = await make()
    first = int(await sandbox.call(b"keep 40000000"))
    assert int(await sandbox.call(b"keep 40000000")) != first


async def test_waiting_for_a_child_is_bounded_in_number(make: Make) -> None:
    sandbox = await make(max_waiting=1)
    child = psutil.Process(await pid_of(sandbox))
    holder = asyncio.create_task(sandbox.call(b"loop"))
    await until_busy(child)
    waiter = asyncio.create_task(sandbox.call(b"ok"))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await sandbox.call(b"one too many")
    child.kill()
    assert await waiter == b"ok"
    with pytest.raises(SandboxKilled):
        await holder


async def test_waiting_for_a_child_is_bounded_in_time(make: Make) -> None:
    sandbox = await make(wait_seconds=0.05)
    child = psutil.Process(await pid_of(sandbox))
    holder = asyncio.create_task(sandbox.call(b"loop"))
    await until_busy(child)
    async with asyncio.timeout(10):
        with pytest.raises(Unavailable):
            await sandbox.call(b"late")
    child.kill()
    with pytest.raises(SandboxKilled):
        await holder


async def test_a_child_knows_nothing_of_its_parent(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENCRYPTION_KEY", "canary")
    read, write = os.pipe()
    os.set_inheritable(read, True)
    sandbox = await make()
    facts = json.loads(await sandbox.call(b"facts"))
    child = await pid_of(sandbox)
    assert set(facts["environment"]) <= {"LC_CTYPE"}  # Python's own
    assert proc(child, "environ") == b""
    opened = [os.readlink(f"/proc/{child}/fd/{name}") for name in os.listdir(f"/proc/{child}/fd")]
    own_pipes = [name for name in opened if name.startswith("pipe:")]
    assert len(own_pipes) == 2
    assert os.readlink(f"/proc/self/fd/{read}") not in own_pipes
    assert {name for name in opened if not name.startswith("pipe:")} == {"/dev/null", f"/proc/{child}/statm"}
    os.close(read)
    os.close(write)


async def test_a_child_has_given_up_its_rights(make: Make) -> None:
    sandbox = await make()
    facts = json.loads(await sandbox.call(b"facts"))
    child = await pid_of(sandbox)
    assert facts["limits"] == {"RLIMIT_NPROC": 0, "RLIMIT_FSIZE": 0}
    assert facts["session"] == child
    assert b"NoNewPrivs:\t1" in proc(child, "status")
    assert await sandbox.call(b"open /etc/passwd") == str(errno.EMFILE).encode()


async def test_a_child_may_open_as_many_files_as_the_limits_say(make: Make) -> None:
    sandbox = await make(open_files=1)
    assert await sandbox.call(b"open " + sandboxed.__file__.encode()) == b'"""What th'


async def test_a_child_stands_back_as_far_as_the_limits_say(make: Make) -> None:
    child = await pid_of(await make(niceness=3))
    assert os.getpriority(os.PRIO_PROCESS, child) == min(os.getpriority(os.PRIO_PROCESS, 0) + 3, 19)


@pytest.mark.parametrize("niceness", [0, 3])
async def test_a_child_that_stands_back_lets_go_of_the_processor_again_and_again(make: Make, niceness: int) -> None:
    switches = int(await (await make(niceness=niceness)).call(b"switches 0.1"))
    # Some 140 pauses; what others take from it is no letting go.
    assert switches > 50 if niceness else switches < 5


async def test_what_an_entry_prints_or_reads_does_not_touch_the_frames(make: Make) -> None:
    sandbox = await make()
    assert await sandbox.call(b"print \xff\xff\xff\xff") == b""
    assert await sandbox.call(b"ok") == b"ok"


async def test_an_entry_that_cannot_be_started_is_not_started_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = 0
    start = asyncio.create_subprocess_exec

    async def counted(*arguments: str, **options: object) -> asyncio.subprocess.Process:
        nonlocal starts
        starts += 1
        return await start(*arguments, **options)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(asyncio, "create_subprocess_exec", counted)
    sandbox = Sandbox("no.such.module:run", size=1, limits=LIMITS)
    await sandbox.start()
    for _ in range(5):
        with pytest.raises(Unavailable):
            await sandbox.call(b"x")
    assert starts == 1
    await sandbox.stop()


async def test_a_pool_that_stops_ends_its_calls_and_leaves_no_process(make: Make) -> None:
    sandbox = await make(size=2)
    child = psutil.Process(await pid_of(sandbox))
    call = asyncio.create_task(sandbox.call(b"loop"))
    await until_busy(child)
    await sandbox.stop()
    with pytest.raises(Unavailable):
        await call
    assert children() == []
    with pytest.raises(Unavailable):
        await sandbox.call(b"x")


def test_it_works_on_the_loop_that_the_api_runs_on() -> None:
    async def use() -> None:
        sandbox = Sandbox(ENTRY, size=1, limits=LIMITS)
        await sandbox.start()
        assert await sandbox.call(b"ok") == b"ok"
        assert await ends(sandbox, b"loop", wall_seconds=0.1) == "time"
        assert await ends(sandbox, b"grow 100000000") == "memory"
        assert await sandbox.call(b"ok") == b"ok"
        await sandbox.stop()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(use())
    assert children() == []
