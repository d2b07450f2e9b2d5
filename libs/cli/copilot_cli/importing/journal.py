"""What has become of each file of a folder: JSON lines that are only ever added to.

A line that a killed process has half written is cut off by the next one. Before a request is sent it is written down
(`Sending`), and again when its answer is known (`Settled`): whoever comes later knows what may have arrived.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Literal
from uuid import UUID, uuid4

import msgspec

from copilot_common.base.errors import CopilotError

State = Literal["sent", "ready", "failed"]

_MIN_LINES = 1_000  # of a journal that is worth writing anew


class Version(msgspec.Struct, frozen=True):
    """A file as it was when it was looked at. `olds` are the items that it takes the place of."""

    path: str
    size: int
    mtime_ns: int
    sha256: str
    olds: tuple[UUID, ...] = ()


class Entry(msgspec.Struct, frozen=True, omit_defaults=True, tag="entry"):
    """A file and its item; a file that was refused has none. `olds` are to be deleted once the item is ready."""

    path: str
    size: int
    mtime_ns: int
    sha256: str
    state: State
    item: UUID | None = None
    olds: tuple[UUID, ...] = ()
    code: str | None = None
    message: str | None = None

    @property
    def items(self) -> tuple[UUID, ...]:
        """All that there may be of the file."""
        return self.olds if self.item is None else (*self.olds, self.item)


class Sending(msgspec.Struct, frozen=True, tag="sending"):
    """A request that may have arrived. `at` in seconds since 1970."""

    key: str
    at: float
    files: tuple[Version, ...]


class _Begun(msgspec.Struct, frozen=True, tag="begun"):
    id: str
    server: str
    tenant: UUID
    folder: str


class _Gone(msgspec.Struct, frozen=True, tag="gone"):
    path: str


class _Settled(msgspec.Struct, frozen=True, tag="settled"):
    key: str


_Line = _Begun | Entry | Sending | _Gone | _Settled
_decoder = msgspec.json.Decoder(_Line)


class Journal:
    """Use it as a context manager; one process at a time. `entries` by path, `open` requests by key."""

    def __init__(self, folder: Path, *, server: str, tenant: UUID, imported: Path) -> None:
        """`folder` is where journals are kept, `imported` the absolute path of what is imported."""
        self._begun = _Begun(uuid4().hex, server, tenant, str(imported))
        name = hashlib.sha256(f"{server}\n{tenant}\n{imported}".encode()).hexdigest()[:32]
        self.path = folder / f"{name}.jsonl"
        self.entries: dict[str, Entry] = {}
        self.open: dict[str, Sending] = {}
        self._descriptor = -1

    @property
    def id(self) -> str:
        """Of all imports of this folder together."""
        return self._begun.id

    def __enter__(self) -> "Journal":
        """Raises CopilotError while another process imports the same folder, and for a journal that is damaged."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        while self._descriptor < 0:
            self._lock()
        try:
            self._read()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._descriptor)

    def sending(self, sending: Sending) -> None:
        """Is on the disk when this returns."""
        self.open[sending.key] = sending
        self._write([sending])
        os.fdatasync(self._descriptor)

    def settle(self, key: str, entries: Iterable[Entry] = ()) -> None:
        """What an open request came to."""
        known = list(entries)
        self.entries.update((entry.path, entry) for entry in known)
        self.open.pop(key, None)
        self._write([*known, _Settled(key)])

    def note(self, entry: Entry) -> None:
        self.entries[entry.path] = entry
        self._write([entry])

    def forget(self, path: str) -> None:
        if self.entries.pop(path, None):
            self._write([_Gone(path)])

    def _lock(self) -> None:
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._is_current(descriptor):
                self._descriptor, descriptor = descriptor, -1
        except BlockingIOError:
            raise CopilotError("This folder is being imported already, by another process.") from None
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _is_current(self, descriptor: int) -> bool:
        """Whether it has not been written anew between opening and locking."""
        try:
            return os.path.samestat(os.fstat(descriptor), self.path.stat())
        except FileNotFoundError:
            return False

    def _read(self) -> None:
        lines, whole_bytes = 0, 0
        with self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                lines, whole_bytes = lines + 1, whole_bytes + len(line)
                self._take(line, lines)
        os.ftruncate(self._descriptor, whole_bytes)
        if not lines:
            self._write([self._begun])
        if lines > _MIN_LINES + 4 * len(self.entries):
            self._write_anew()

    def _take(self, raw: bytes, number: int) -> None:
        try:
            line = _decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise CopilotError(
                f"Line {number} of {self.path} is damaged. Without that file all is sent again."
            ) from None
        match line:
            case _Begun():
                self._begun = line
            case Entry():
                self.entries[line.path] = line
            case Sending():
                self.open[line.key] = line
            case _Gone():
                self.entries.pop(line.path, None)
            case _Settled():
                self.open.pop(line.key, None)

    def _write_anew(self) -> None:
        """With a line for each file only, in the place of the one before."""
        following = self.path.with_suffix(".new")
        descriptor = os.open(following, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        old, self._descriptor = self._descriptor, descriptor
        self._write([self._begun])
        for entry in self.entries.values():
            self._write([entry])
        self._write(self.open.values())
        os.fdatasync(descriptor)
        following.replace(self.path)
        os.close(old)  # only now: its lock keeps others from what is being replaced

    def _write(self, lines: Iterable[_Line]) -> None:
        data = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
        while data:
            data = data[os.write(self._descriptor, data) :]
