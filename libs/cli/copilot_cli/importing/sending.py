"""Files on their way: some requests at once, each repeated until it is answered."""

import hashlib
import io
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import TypeVar

import httpx
import msgspec

from copilot_cli.client import ApiClient, ApiError, Item
from copilot_cli.importing.journal import Version
from copilot_cli.importing.scanning import media_type_of

T = TypeVar("T")

MAX_FILES = 20
"""In one request; the API's bound."""

_MAX_BYTES = 8_000_000  # what is lost with a connection; a file that is larger goes alone
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0
_PATIENCE_SECONDS = 300.0  # without an answer that is one
_BUSY = frozenset({429, 502, 503, 504})


class Stopped(Exception):
    """The import is to end."""


class Calls:
    """Requests that wait where the API asks for it. One object for all threads."""

    def __init__(self, client: ApiClient, waiting: Callable[[str], None] = lambda why: None) -> None:
        """`waiting` is told why nothing goes on, and "" when it does."""
        self.client = client
        self._waiting = waiting
        self._stop = Event()

    def stop(self) -> None:
        self._stop.set()

    def check(self) -> None:
        """Raises Stopped."""
        if self._stop.is_set():
            raise Stopped

    def pause(self, seconds: float) -> None:
        """Raises Stopped."""
        self._stop.wait(seconds)
        self.check()

    def patiently(self, call: Callable[[], T]) -> T:
        """Waits while the API is busy or away. Raises ApiError and httpx.HTTPError once that has lasted too long,
        and at once for what will not change."""
        began, pause = time.monotonic(), _FIRST_PAUSE_SECONDS
        while True:
            self.check()
            try:
                answer = call()
            except (ApiError, httpx.TransportError) as error:
                wished = _wished_pause(error, pause)
                # Who is told to slow down has been answered: that may go on for ever.
                is_over = time.monotonic() - began > _PATIENCE_SECONDS and not _is_limit(error)
                if wished is None or is_over:
                    raise
                self._waiting(_reason(error))
                self.pause(wished)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            else:
                self._waiting("")
                return answer


class Batch(msgspec.Struct, frozen=True):
    """What goes in one request. The same files under the same marks have the same key."""

    files: tuple[Version, ...]
    key: str


def batches(versions: Iterable[Version], journal_id: str, marks: Mapping[str, str]) -> Iterator[Batch]:
    files: list[Version] = []
    for version in versions:
        if files and (len(files) == MAX_FILES or sum(file.size for file in files) + version.size > _MAX_BYTES):
            yield batch(files, journal_id, marks)
            files = []
        files.append(version)
    if files:
        yield batch(files, journal_id, marks)


def batch(files: Sequence[Version], journal_id: str, marks: Mapping[str, str]) -> Batch:
    """The items that are replaced are in the key: what was there once, and went, may come again."""
    known_by = msgspec.json.encode((journal_id, marks, files), order="deterministic")
    return Batch(tuple(files), f"import-{hashlib.sha256(known_by).hexdigest()}")


def send(
    calls: Calls, root: Path, batch: Batch, marks: Mapping[str, str], advance: Callable[[int], None]
) -> Sequence[Item]:
    """An item for each file. Of the files 64 KB are in memory. Raises OSError for a file that cannot be read any more.
    `advance` is told of bytes, also of those that come back where a request is repeated."""
    return calls.patiently(lambda: _send(calls, root, batch, marks, advance))


def _send(
    calls: Calls, root: Path, batch: Batch, marks: Mapping[str, str], advance: Callable[[int], None]
) -> Sequence[Item]:
    told = 0

    def moved(count: int) -> None:
        nonlocal told
        calls.check()
        told += count
        advance(count)

    try:
        with ExitStack() as opened:
            files = [_part(opened.enter_context(_Watched(root / file.path, moved)), file.path) for file in batch.files]
            own = [{"path": file.path} for file in batch.files]
            return calls.client.context.add_files(files, marks, own, key=batch.key)
    except BaseException:
        advance(-told)
        raise


def _part(file: io.BufferedReader, path: str) -> tuple[str, io.BufferedReader, str]:
    name = path.rpartition("/")[2]
    return name, file, media_type_of(name)


class _Watched(io.BufferedReader):
    """A file that tells how much of it is read."""

    def __init__(self, path: Path, moved: Callable[[int], None]) -> None:
        super().__init__(io.FileIO(path))
        self._moved = moved

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._moved(len(data))
        return data


def _wished_pause(error: ApiError | httpx.TransportError, pause: float) -> float | None:
    """Seconds with some jitter; None where another try will not mend it."""
    if isinstance(error, ApiError):
        if error.status not in _BUSY and error.code != "IDEMPOTENCY_IN_PROGRESS":
            return None
        pause = max(pause, error.retry_after_seconds or 0.0)
    elif isinstance(error, httpx.UnsupportedProtocol):
        return None
    return pause * random.uniform(1.0, 1.2)


def _is_limit(error: ApiError | httpx.TransportError) -> bool:
    return isinstance(error, ApiError) and error.status == 429


def _reason(error: ApiError | httpx.TransportError) -> str:
    if not isinstance(error, ApiError):
        return "The connection is lost; trying again."
    return "The API asks to slow down." if _is_limit(error) else "The API is busy; trying again."
