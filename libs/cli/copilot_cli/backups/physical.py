"""Base backups: the whole cluster's files by `pg_basebackup`, and how a data directory is made of one again.

With the WAL that `archive` keeps, PostgreSQL itself then replays to any moment after the backup's end.
"""

import gzip
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from copilot_cli.backups import catalogue
from copilot_cli.backups.catalogue import Backup
from copilot_cli.backups.programs import Login, find_program, reading
from copilot_cli.backups.server import backing_up, schema_version
from copilot_cli.backups.targets import CHUNK_BYTES, Target
from copilot_cli.backups.wal import (
    PARTIAL,
    WAL_FOLDER,
    first_gap,
    is_before,
    is_finished,
    is_segment,
    segment_at,
    segment_of,
)
from copilot_cli.backups.writing import Written, verify, write_verified
from copilot_common.base.errors import Conflict, Unavailable

_NEEDED = frozenset({"PG_VERSION", "global/pg_control", "backup_label"})
_MANIFEST = "backup_manifest"
_MANIFEST_BYTES = 256 * 1024 * 1024  # a line for each of a million files
_WAL_PLACE = "copilot_wal"
"""Within the data directory, where restore_command can be a plain `cp`: the server needs no program of ours."""


def base_backup(url: str, target: Target, archived: Callable[[str], None]) -> Backup:
    """As a role that may stream WAL. `archived` returns once the target has the segment that it is given: a base backup
    is worth nothing without the WAL that was written during it. Raises Conflict, SettingsError, Unavailable."""
    started_at = datetime.now(UTC)
    with backing_up(url, "physical") as (connection, facts):
        name = catalogue.new_name("physical", started_at)
        files = _Files()
        written = write_verified(target, name, _taken(url, facts.server_major), files.look_through)
        finished_at = datetime.now(UTC)
        archived(files.last_wal)
        backup = Backup(
            name=name,
            kind="physical",
            started_at=started_at,
            finished_at=finished_at,
            size_bytes=written.size_bytes,
            sha256=written.sha256,
            database=facts.database,
            server_version_num=facts.server_version_num,
            schema_version=schema_version(connection),
            first_wal=files.first_wal,
        )
        catalogue.record(target, backup)
    return backup


def _taken(url: str, server_major: int) -> Iterator[bytes]:
    """One tar, without WAL, which the archive has."""
    login = Login.of(url)
    return reading(
        find_program("pg_basebackup", server_major),
        "--pgdata=-",
        "--format=tar",
        "--wal-method=none",
        "--compress=client-gzip:1",
        "--checkpoint=fast",
        "--label=copilot",
        "--no-password",
        f"--dbname={login.conninfo}",
        login=login,
    )


class _WalRange(msgspec.Struct, rename={"timeline": "Timeline", "start": "Start-LSN", "end": "End-LSN"}):
    timeline: int
    start: str
    end: str


class _Manifest(msgspec.Struct, rename={"wal_ranges": "WAL-Ranges"}):
    """PostgreSQL's own."""

    wal_ranges: list[_WalRange]


class _Files:
    """Whether a base backup has all that recovery begins with, and which WAL it needs."""

    first_wal = ""
    last_wal = ""

    def look_through(self, chunks: Iterator[bytes]) -> None:
        found = set()
        with _opened(chunks) as files:
            for member in files:
                found.add(member.name)
                if member.name == _MANIFEST and (file := files.extractfile(member)):
                    self._note(msgspec.json.decode(file.read(_MANIFEST_BYTES), type=_Manifest).wal_ranges)
        if not self.last_wal or not found >= _NEEDED:
            raise Unavailable("pg_basebackup has left out what recovery needs. Take another backup.")

    def _note(self, ranges: list[_WalRange]) -> None:
        self.first_wal = segment_at(ranges[0].timeline, ranges[0].start)
        self.last_wal = segment_at(ranges[-1].timeline, ranges[-1].end, is_end=True)


@dataclass(frozen=True)
class Restored:
    """`missing_wal`: nothing after this position can be reached, since the archive has no such segment."""

    backup: Backup
    segments: int
    missing_wal: str | None


def restore(target: Target, backup: Backup, into: Path, *, moment: datetime | None, spool: Path | None) -> Restored:
    """A data directory that recovers to `moment`, or to the end of the WAL there is, when a server is started on it.
    Raises Conflict where `into` has something in it, Unavailable where the backup is damaged."""
    if into.exists() and any(into.iterdir()):
        raise Conflict(f"{into} is not empty: restore into a new directory, or move away what is in it.")
    into.mkdir(exist_ok=True)
    into.chmod(0o700)  # the server refuses a directory that others may read
    unfinished = into / f".copilot-unfinished-{uuid4().hex}"
    unfinished.mkdir(mode=0o700)
    try:
        _extract(target, backup, unfinished)
        segments = _gather_wal(target, backup, unfinished / _WAL_PLACE, spool)
        _ask_for_recovery(unfinished, moment)
        _put(unfinished, into)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return Restored(backup, len(segments), first_gap([backup.first_wal or "", *segments]))


def _extract(target: Target, backup: Backup, into: Path) -> None:
    def unpack(chunks: Iterator[bytes]) -> None:
        with _opened(chunks) as files:
            files.extractall(into, filter="tar")

    verify(target, backup.name, Written(backup.size_bytes, backup.sha256), unpack)


def _gather_wal(target: Target, backup: Backup, into: Path, spool: Path | None) -> list[str]:
    """From the archive, then what had not been sent there yet, a segment that was being written included."""
    into.mkdir(mode=0o700)
    for name in target.names(WAL_FOLDER):
        if not is_before(name, backup.first_wal or ""):
            _decompress(target.read(name), into / segment_of(name))
    for path in sorted(spool.iterdir()) if spool and spool.is_dir() else []:
        name = path.name.removesuffix(PARTIAL)
        if is_finished(name) and not (into / name).exists() and not is_before(name, backup.first_wal or ""):
            shutil.copyfile(path, into / name)
    return sorted(path.name for path in into.iterdir() if is_segment(path.name))


def _decompress(chunks: Iterator[bytes], path: Path) -> None:
    with gzip.open(_as_file(chunks)) as source, path.open("wb") as file:
        shutil.copyfileobj(source, file)


def _ask_for_recovery(into: Path, moment: datetime | None) -> None:
    """The last line of a setting counts: those of an earlier recovery may be above."""
    settings = {
        "restore_command": f"cp {_WAL_PLACE}/%f %p",
        "recovery_end_command": f"rm -rf {_WAL_PLACE}",
        "recovery_target_time": moment.astimezone(UTC).isoformat(sep=" ") if moment else "",
        "recovery_target_action": "promote",
        "recovery_target_timeline": "latest",
    }
    with (into / "postgresql.auto.conf").open("a") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
    (into / "recovery.signal").touch(mode=0o600)


def _put(unfinished: Path, into: Path) -> None:
    """What makes a data directory of it comes last."""
    for path in sorted(unfinished.iterdir(), key=lambda path: path.name == "PG_VERSION"):
        path.rename(into / path.name)
    unfinished.rmdir()


def _opened(chunks: Iterable[bytes]) -> tarfile.TarFile:
    return tarfile.open(fileobj=_as_file(chunks), mode="r|gz")


def _as_file(chunks: Iterable[bytes]) -> BufferedReader:
    return BufferedReader(_Chunks(chunks), CHUNK_BYTES)


class _Chunks(RawIOBase):
    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._left = chunk
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
