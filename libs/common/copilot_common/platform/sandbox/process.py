"""The parent's side of one child."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from dataclasses import asdict, dataclass
from typing import Final, Self

from copilot_common.platform.sandbox.errors import KillReason, SandboxKilled
from copilot_common.platform.sandbox.frames import LENGTH_BYTES, Status, call_frame
from copilot_common.platform.sandbox.limits import Limits, Lockdown

# The import path is the parent's, in its order, however that came about: an editable install, a wheel, PYTHONPATH.
_BOOT: Final = (
    "import sys; sys.path[:] = [*sys.argv[4:], *(path for path in sys.path if path not in sys.argv[4:])];"
    "from copilot_common.platform.sandbox.child import main; main()"
)
_ENDED: Final[dict[int, KillReason]] = {
    -signal.SIGXCPU: "time",
    -signal.SIGABRT: "memory",  # what native allocators do when the cap refuses them
}
_REST_BYTES: Final = 2**16  # a pipe holds that much
_REST_SECONDS: Final = 5.0  # its end is there at once, but where root's child has left a process behind
_MAX_READY_BYTES: Final = 1_000  # a class name, or a Lockdown
_REFUSED: Final[dict[Status, KillReason]] = {Status.MEMORY: "memory", Status.OUTPUT: "output"}


class StartFailed(Exception):
    """`error_type` is the class of what the child met, "" where it just ended."""

    def __init__(self, error_type: str) -> None:
        super().__init__(error_type)
        self.error_type = error_type


class EntryRaised(SandboxKilled):
    """The entry is wrong: it has to catch what its requests bring about. Memory is no longer known to be sound."""

    def __init__(self, error_type: str) -> None:
        super().__init__("died")
        self.error_type = error_type


@dataclass(frozen=True, slots=True)
class Reply:
    payload: bytes
    is_last: bool


class Child:
    """One call at a time. After anything but a reply that is not its last, `kill` it."""

    lockdown: Lockdown  # once it is ready

    def __init__(self, process: Process, output_bytes: int) -> None:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("A child has two pipes.")
        self._process = process
        self._requests = process.stdin
        self._replies = process.stdout
        self._output_bytes = output_bytes
        self._is_killed = False
        self._reading = asyncio.Lock()  # whoever waits for the end of a child may be another than who reads

    @classmethod
    async def start(cls, entry: str, limits: Limits) -> Self:
        """Returns when it is ready for a call. Raises StartFailed; set a time limit around it."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-c", _BOOT, entry, str(os.getpid()), json.dumps(asdict(limits))),
            *(path for path in sys.path if os.path.isabs(path)),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,  # a library may print what it was given
            env={},
            close_fds=True,
            start_new_session=True,
        )
        child = cls(process, limits.output_bytes)
        try:
            await child._until_ready()
        except BaseException:
            child.kill()
            await child.ended()
            raise
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None and not self._replies.at_eof()

    async def exchange(self, request: bytes) -> Reply:
        """Raises SandboxKilled, but not for time: set a time limit around it."""
        await self.send(call_frame(request))
        status, payload = await self.receive(self._output_bytes)
        if status in (Status.DONE, Status.DONE_AND_SPENT):
            return Reply(payload, is_last=status is Status.DONE_AND_SPENT)
        raise refusal(status, payload)

    async def send(self, data: bytes) -> bool:
        """Returns when the pipe has taken nearly all of it, and whether the child still listens: one that does not may
        have said why before it ended."""
        try:
            self._requests.write(data)
            await self._requests.drain()
        except ConnectionError:
            return False
        return True

    async def receive(self, max_bytes: int) -> tuple[Status, bytes]:
        """One frame, of at most that much payload. Raises SandboxKilled, but not for time."""
        try:
            async with self._reading:
                reply = await self._read_frame(max_bytes + 1)  # the status
        except (asyncio.IncompleteReadError, ConnectionError):
            raise SandboxKilled(_ENDED.get(await self._process.wait(), "died")) from None
        try:
            return Status(reply[0]), reply[1:]
        except (IndexError, ValueError):
            raise SandboxKilled("died") from None

    async def _read_frame(self, max_bytes: int) -> bytes:
        size = int.from_bytes(await self._replies.readexactly(LENGTH_BYTES), "big")
        if size > max_bytes:
            raise SandboxKilled("output")
        return await self._replies.readexactly(size)

    def kill(self) -> None:
        if self._process.returncode is None and not self._is_killed:
            self._process.kill()
        self._is_killed = True

    async def ended(self) -> None:
        """Returns when the process is gone and its pipes are closed. Only after `kill`."""
        self._requests.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_REST_SECONDS), self._reading:
                # A full pipe that nobody reads does not see its end, for which asyncio's wait waits.
                while await self._replies.read(_REST_BYTES):
                    pass
        await self._process.wait()

    async def _until_ready(self) -> None:
        try:
            status, payload = await self.receive(_MAX_READY_BYTES)
        except SandboxKilled:
            raise StartFailed("") from None
        if status is not Status.READY:
            raise StartFailed(_name(payload))
        self.lockdown = Lockdown(**json.loads(payload))


def refusal(status: Status, payload: bytes) -> SandboxKilled:
    """What a frame means that is no answer."""
    if status in _REFUSED:
        return SandboxKilled(_REFUSED[status])
    return EntryRaised(_name(payload))


def _name(payload: bytes) -> str:
    """As it is logged: a class name and nothing else, whatever the child says."""
    name = payload[:100].decode(errors="replace")
    return name if name.isidentifier() else ""
