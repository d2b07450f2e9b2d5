"""Streams into a target and back, counted and hashed on their way."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from copilot_cli.backups.targets import Target
from copilot_common.base.errors import Unavailable


class Tally:
    """What has passed so far."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self._sha256 = hashlib.sha256()

    def passing(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.size_bytes += len(chunk)
            self._sha256.update(chunk)
            yield chunk

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()


@dataclass(frozen=True)
class Written:
    size_bytes: int
    sha256: str


def write_verified(
    target: Target, name: str, chunks: Iterable[bytes], check: Callable[[Iterator[bytes]], None]
) -> Written:
    """Written, read back, and looked through by `check`, which may raise. What is not whole is deleted."""
    tally = Tally()
    target.write(name, tally.passing(chunks))
    written = Written(tally.size_bytes, tally.sha256)
    try:
        verify(target, name, written, check)
    except BaseException:
        target.delete(name)
        raise
    return written


def verify(target: Target, name: str, expected: Written, check: Callable[[Iterator[bytes]], None]) -> None:
    """Read all of it. Raises Unavailable where it is not what was written, and what `check` raises."""
    tally = Tally()
    stream = tally.passing(target.read(name))
    check(stream)
    for _ in stream:
        pass  # what `check` did not need
    if (tally.size_bytes, tally.sha256) != (expected.size_bytes, expected.sha256):
        raise Unavailable(
            f"{name} is damaged: it is not what was written. Take another, or restore an older one with --name."
        )


def tallied(chunks: Iterable[bytes]) -> Written:
    """Of all of them, which go nowhere."""
    tally = Tally()
    for _ in tally.passing(chunks):
        pass
    return Written(tally.size_bytes, tally.sha256)
