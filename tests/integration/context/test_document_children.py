"""What the children that read documents are held to: their own limits, in a child with all that they load."""

import errno
import os
import resource
from collections.abc import AsyncIterator

import psutil
import pytest

from copilot_common.platform.sandbox.errors import SandboxKilled
from copilot_common.platform.sandbox.limits import Lockdown
from copilot_common.platform.sandbox.pool import Sandbox
from copilot_domain.context.ingestion.reading import document_sandbox
from copilot_domain.documents.reply import Part, ReadRequest, encode
from copilot_domain.documents.types import Source
from support.children import children

MEMORY_BYTES = 768 * 2**20
OPEN_FILES = 16
CPU_SECONDS = 100
NICENESS = 10

EPERM, EACCES = (str(number).encode() for number in (errno.EPERM, errno.EACCES))
NO_WALL = "this kernel, or what contains it, has no {}: run elsewhere to see this"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    made = document_sandbox(size=1)
    made._entry = "support.document_child:read_or_obey"
    await made.start()
    yield made
    await made.stop()


async def read(sandbox: Sandbox) -> psutil.Process:
    """The child, which has read a document."""
    request = ReadRequest(source=Source(name="a.md", media_type=""), form="file", tokenizer="wordllama", max_tokens=400)
    parts = [part async for part in sandbox.stream(encode(request), _body(b"# Port\n\nSome words."), 19)]
    assert [part[0] for part in parts] == [Part.TEXT, Part.PIECES, Part.DONE]
    (child,) = children()
    return child


async def tried(sandbox: Sandbox, *names: str) -> dict[str, bytes]:
    return {name: await ordered(sandbox, f"try {name}") for name in names}


async def ordered(sandbox: Sandbox, order: str) -> bytes:
    _, answer = [part async for part in sandbox.stream(b"then " + order.encode(), _body(), 0)]
    return answer


async def _body(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def in_force(sandbox: Sandbox) -> Lockdown:
    await read(sandbox)
    assert sandbox.lockdown is not None
    return sandbox.lockdown


async def test_the_pool_starts_the_reader_of_documents() -> None:
    """Which all other tests have something added to."""
    assert document_sandbox(size=1)._entry == "copilot_domain.documents.child:read_document"


async def test_its_kernel_holds_a_child_to_its_limits(sandbox: Sandbox) -> None:
    child = await read(sandbox)
    nothing = (resource.RLIMIT_NPROC, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE)  # no process or thread, no file
    assert [child.rlimit(limit) for limit in nothing] == [(0, 0)] * 3
    open_files, at_most = child.rlimit(resource.RLIMIT_NOFILE)
    assert (open_files - child.num_fds(), at_most) == (OPEN_FILES, open_files)
    room, at_most = child.rlimit(resource.RLIMIT_AS)
    assert (room - child.memory_info().vms) / MEMORY_BYTES == pytest.approx(1, abs=0.05)  # it has read something
    assert at_most == room
    cpu_seconds, _ = child.rlimit(resource.RLIMIT_CPU)
    assert CPU_SECONDS < cpu_seconds <= CPU_SECONDS + child.cpu_times().user + child.cpu_times().system + 1
    assert child.nice() == min(os.getpriority(os.PRIO_PROCESS, 0) + NICENESS, 19)


async def test_a_child_that_wants_more_memory_than_it_may_have_is_ended(sandbox: Sandbox) -> None:
    child = await read(sandbox)
    with pytest.raises(SandboxKilled) as caught:
        await ordered(sandbox, f"grow {MEMORY_BYTES * 105 // 100}")
    assert caught.value.reason == "memory"
    assert await read(sandbox) != child


async def test_seccomp_keeps_a_child_from_network_processes_threads_and_writing(sandbox: Sandbox) -> None:
    if not (await in_force(sandbox)).seccomp:
        pytest.skip(NO_WALL.format("seccomp filters"))
    names = (
        *("socket", "unix socket", "socketpair", "fork", "exec", "spawn", "thread", "io_uring"),
        *("signal to parent", "limits of parent", "write", "create", "unlink"),
    )
    assert await tried(sandbox, *names) == dict.fromkeys(names, EPERM)


async def test_landlock_keeps_a_child_from_reading_what_is_not_its_own(sandbox: Sandbox) -> None:
    if not (await in_force(sandbox)).landlock_abi:
        pytest.skip(NO_WALL.format("Landlock"))
    names = ("read settings", "read parent", "read itself", "read beside a package")
    assert await tried(sandbox, *names) == dict.fromkeys(names, EACCES)
    assert await tried(sandbox, "read own package") == {"read own package": b"done"}
