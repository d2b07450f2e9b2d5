"""The parent's side of one child."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from dataclasses import asdict, dataclass
from typing import Final, Self

from copilot_common.platform.sandbox.errors import KillReason, SandboxKilled
from copilot_common.platform.sandbox.frames import LENGTH_BYTES, Status, frame
from copilot_common.platform.sandbox.limits import Limits

# The import path is the parent's, in its order, however that came about: an editable install, a wheel, PYTHONPATH.
_BOOT: Final = (
    "import sys; sys.path[:] = [*sys.argv[4:], *(path for path in sys.path if path not in sys.argv[4:])];"
    "from copilot_common.platform.sandbox.child import main; main()"
)
_ENDED: Final[dict[int, KillReason]] = {
    -signal.SIGXCPU: "time",
    -signal.SIGABRT: "memory",  # what native allocators do when the cap refuses them
}
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

    def __init__(self, process: Process, output_bytes: int) -> None:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("A child has two pipes.")
        self._process = process
        self._requests = process.stdin
        self._replies = process.stdout
        self._max_frame_bytes = output_bytes + 1  # the status
        self._is_killed = False

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
        try:
            self._requests.write(frame(request))
            await self._requests.drain()
        except ConnectionError:
            pass  # it may have said why before it ended
        status, payload = await self._read()
        if status in (Status.DONE, Status.DONE_AND_SPENT):
            return Reply(payload, is_last=status is Status.DONE_AND_SPENT)
        if status in _REFUSED:
            raise SandboxKilled(_REFUSED[status])
        raise EntryRaised(_name(payload))

    def kill(self) -> None:
        if self._process.returncode is None and not self._is_killed:
            self._process.kill()
        self._is_killed = True

    async def ended(self) -> None:
        """Returns when the process is gone and its pipes are closed. Only after `kill`."""
        self._requests.close()
        await self._process.wait()

    async def _until_ready(self) -> None:
        try:
            status, payload = await self._read()
        except SandboxKilled:
            raise StartFailed("") from None
        if status is not Status.READY:
            raise StartFailed(_name(payload))

    async def _read(self) -> tuple[Status, bytes]:
        try:
            size = int.from_bytes(await self._replies.readexactly(LENGTH_BYTES), "big")
            if size > self._max_frame_bytes:
                raise SandboxKilled("output")
            reply = await self._replies.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise SandboxKilled(_ENDED.get(await self._process.wait(), "died")) from None
        try:
            return Status(reply[0]), reply[1:]
        except (IndexError, ValueError):
            raise SandboxKilled("died") from None


def _name(payload: bytes) -> str:
    """As it is logged: a class name and nothing else, whatever the child says."""
    name = payload[:100].decode(errors="replace")
    return name if name.isidentifier() else ""
