"""A directory as a target: written under another name, synced, renamed, synced."""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from copilot_cli.backups.targets import CHUNK_BYTES
from copilot_common.base.errors import Conflict, NotFound

_UNFINISHED = ".copilot-unfinished-"
_ABANDONED_SECONDS = 24 * 3600  # longer than the CronJob may run, four hours
_MODE = 0o600


class DirectoryTarget:
    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, chunks: Iterable[bytes]) -> None:
        final = self.path / name
        if final.exists():
            raise Conflict(f"{name} is there already.")
        final.parent.mkdir(mode=0o700, exist_ok=True)
        unfinished = final.parent / f"{_UNFINISHED}{uuid4().hex}"
        try:
            _write(unfinished, chunks)
            unfinished.rename(final)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        sync_folder(final.parent)

    def read(self, name: str) -> Iterator[bytes]:
        try:
            file = (self.path / name).open("rb")
        except FileNotFoundError:
            raise NotFound(f"backup file: {name}") from None
        with file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def size(self, name: str) -> int | None:
        with suppress(FileNotFoundError):
            return (self.path / name).stat().st_size
        return None

    def names(self, folder: str = "") -> list[str]:
        place = self.path / folder
        found = place.iterdir() if place.is_dir() else []
        return sorted(str(path.relative_to(self.path)) for path in found if path.is_file() and not _is_unfinished(path))

    def delete(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)

    def sweep(self) -> None:
        for path in (*self.path.iterdir(), *self.path.glob("*/*")):
            if _is_unfinished(path) and time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                path.unlink(missing_ok=True)


def _is_unfinished(path: Path) -> bool:
    return path.name.startswith(_UNFINISHED)


def _write(path: Path, chunks: Iterable[bytes]) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE), "wb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """A rename outlives a power cut once its folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
