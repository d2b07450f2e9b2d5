"""What the kernel refuses to a child: what is reported is tried, also where one of the walls is missing."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from copilot_common.platform.sandbox.errors import SandboxKilled
from copilot_common.platform.sandbox.limits import Lockdown
from copilot_common.platform.sandbox.pool import Sandbox
from support.children import children

from .conftest import ENTRY, STREAM_ENTRY, Make

EPERM, EACCES, ENOSYS = (str(number).encode() for number in (errno.EPERM, errno.EACCES, errno.ENOSYS))
DONE = b"done"

BY_SECCOMP = (
    *("socket", "unix socket", "socketpair", "fork", "exec", "spawn", "thread", "io_uring", "pidfd"),
    *("signal to parent", "signal to all", "limits of parent"),
    *("write", "write own package", "append", "create", "truncate", "chmod", "touch", "mkdir", "unlink", "rename"),
)
BY_LANDLOCK = ("read settings", "read parent", "read itself", "read beside a package")
BY_NONE = (
    *("read own package", "read standard library", "read libraries"),
    *("signal to itself", "limits of itself"),
)


async def in_force(sandbox: Sandbox) -> Lockdown:
    await sandbox.call(b"ok")
    assert sandbox.lockdown is not None
    return sandbox.lockdown


async def tried(sandbox: Sandbox, name: str) -> bytes:
    return await sandbox.call(b"try " + name.encode())


async def test_nothing_is_reported_before_there_is_a_child(make: Make) -> None:
    assert (await make()).lockdown is None


async def shown(sandbox: Sandbox) -> list[tuple[str, str, dict[str, Any]]]:
    """Level, message and fields of what is logged of it."""
    lines: list[tuple[str, str, dict[str, Any]]] = []
    sink = logger.add(
        lambda line: lines.append((line.record["level"].name, line.record["message"], line.record["extra"])),
        level="INFO",
        filter="copilot_common.platform.sandbox",
    )
    try:
        await sandbox.show_lockdown()
    finally:
        logger.remove(sink)
    return lines


async def test_what_is_in_force_is_logged_without_a_call_and_once(make: Make) -> None:
    sandbox = await make()
    (line,) = await shown(sandbox)
    assert sandbox.lockdown is not None
    assert line == ("INFO", "Sandbox children locked down", {"entry": ENTRY, **asdict(sandbox.lockdown)})
    assert children() == []
    assert await sandbox.call(b"ok") == b"ok"
    assert await shown(sandbox) == []


async def test_a_child_that_does_not_start_is_logged_without_a_call(make: Make) -> None:
    sandbox = await make("no.such.module:run")
    fields = {"entry": "no.such.module:run", "error_type": "ModuleNotFoundError"}
    assert await shown(sandbox) == [("ERROR", "Sandbox child not started", fields)]
    assert sandbox.lockdown is None


async def test_a_child_may_do_what_it_needs(make: Make) -> None:
    sandbox = await make(open_files=2)
    assert {name: await tried(sandbox, name) for name in BY_NONE} == dict.fromkeys(BY_NONE, DONE)


async def test_seccomp_refuses_network_processes_signals_and_writing(make: Make) -> None:
    sandbox = await make(open_files=5)
    if not (await in_force(sandbox)).seccomp:
        pytest.skip("this kernel, or what contains it, has no seccomp filters: run elsewhere to see this")
    assert {name: await tried(sandbox, name) for name in BY_SECCOMP} == dict.fromkeys(BY_SECCOMP, EPERM)


async def test_seccomp_knows_no_calls_that_are_newer_than_its_tables(make: Make) -> None:
    sandbox = await make()
    await in_force(sandbox)
    assert await tried(sandbox, "too new") == ENOSYS


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="aarch64 has no such call that is always there")
async def test_a_call_of_another_architecture_ends_the_child(make: Make) -> None:
    sandbox = await make()
    if not (await in_force(sandbox)).seccomp:
        pytest.skip("this kernel, or what contains it, has no seccomp filters: run elsewhere to see this")
    with pytest.raises(SandboxKilled):
        await tried(sandbox, "another architecture")


async def test_threads_start_where_the_limits_say_so_and_processes_still_do_not(make: Make) -> None:
    sandbox = await make(threads=True)
    assert await tried(sandbox, "thread") == DONE
    if (await in_force(sandbox)).seccomp:
        assert {await tried(sandbox, name) for name in ("fork", "spawn", "exec")} == {EPERM}


async def test_landlock_lets_a_child_read_what_it_imports_from_and_nothing_else(make: Make) -> None:
    sandbox = await make(open_files=5)
    if not (await in_force(sandbox)).landlock_abi:
        pytest.skip("this kernel, or what contains it, has no Landlock: run elsewhere to see this")
    assert {name: await tried(sandbox, name) for name in BY_LANDLOCK} == dict.fromkeys(BY_LANDLOCK, EACCES)
    assert await tried(sandbox, "write") in (EPERM, EACCES)


async def test_streams_are_locked_down_in_the_same_way(make: Make) -> None:
    sandbox = await make(STREAM_ENTRY, open_files=5)
    parts = [part async for part in sandbox.stream(b"then try socket", _nothing(), 0)]
    assert sandbox.lockdown is not None
    assert (parts[1] == EPERM) is sandbox.lockdown.seccomp


async def _nothing(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


# A parent whose own filter answers some calls as a kernel without them, or a container that forbids them, does. Its
# children inherit it.
_PARENT = """
import asyncio, ctypes, dataclasses, json, os, struct, sys
sys.path.append(sys.argv[1])
from copilot_common.platform.sandbox import seccomp
from copilot_common.platform.sandbox.limits import Limits
from copilot_common.platform.sandbox.pool import Sandbox
from copilot_common.platform.sandbox.syscalls import ARCHITECTURES

missing = json.loads(sys.argv[2])
own = ARCHITECTURES[os.uname().machine]
numbers = {"seccomp": (own.seccomp,), "landlock": (444, 445, 446)}
seccomp.ARCHITECTURES = {os.uname().machine: dataclasses.replace(
    own, refused=tuple(number for name in missing for number in numbers[name]),
    unknown=(), signals=(), opens=(), clone=449, prlimit=450,  # all else is allowed
)}
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert seccomp.restrict(threads=True)

async def main():
    limits = Limits(memory_bytes=2**26, wall_seconds=20.0, cpu_seconds=20, open_files=5, output_bytes=1000)
    sandbox = Sandbox("support.sandboxed:run", size=1, limits=limits)
    await sandbox.start()
    tried = {name: (await sandbox.call(b"try " + name.encode())).decode() for name in sys.argv[3:]}
    print(json.dumps({"lockdown": dataclasses.asdict(sandbox.lockdown), "tried": tried}))
    await sandbox.stop()

asyncio.run(main())
"""


def under_a_kernel_without(missing: list[str], *names: str) -> tuple[Lockdown, dict[str, bytes]]:
    tests = Path(__file__).parents[2]
    parent = [sys.executable, "-c", _PARENT, str(tests), json.dumps(missing), *names]
    report = json.loads(subprocess.run(parent, stdout=subprocess.PIPE, check=True, timeout=60).stdout)
    return Lockdown(**report["lockdown"]), {name: result.encode() for name, result in report["tried"].items()}


async def test_where_the_kernel_has_nothing_a_child_works_and_says_so(make: Make) -> None:
    if not (await in_force(await make())).seccomp:
        pytest.skip("the other kernel is played by a seccomp filter, which this one does not have")
    lockdown, results = under_a_kernel_without(["seccomp", "landlock"], "socket", "read settings", "read own package")
    assert lockdown == Lockdown(seccomp=False, landlock_abi=0)
    assert str(lockdown) == "no seccomp, no Landlock"
    assert set(results.values()) == {DONE}


async def test_landlock_stands_where_there_is_no_seccomp(make: Make) -> None:
    here = await in_force(await make())
    if not (here.seccomp and here.landlock_abi):
        pytest.skip(
            "this kernel, or what contains it, has no seccomp filters or no Landlock: run elsewhere to see this"
        )
    refused = ("write", "write own package", "append", "read settings", "read parent")
    lockdown, results = under_a_kernel_without(["seccomp"], "read own package", *refused, "signal to parent")
    assert lockdown == Lockdown(seccomp=False, landlock_abi=here.landlock_abi)
    assert results.pop("read own package") == DONE
    assert results.pop("signal to parent") == (EPERM if here.landlock_abi >= 6 else DONE)
    assert set(results.values()) == {EACCES}


async def test_seccomp_stands_where_there_is_no_landlock(make: Make) -> None:
    if not (await in_force(await make())).seccomp:
        pytest.skip("this kernel, or what contains it, has no seccomp filters: run elsewhere to see this")
    lockdown, results = under_a_kernel_without(["landlock"], *BY_SECCOMP)
    assert lockdown == Lockdown(seccomp=True, landlock_abi=0)
    assert results == dict.fromkeys(BY_SECCOMP, EPERM)
