"""What is in a target: which backups are good, which of them go.

A backup is a file and, written after it was read back and found whole, its manifest beside it. Without its manifest a
file is no backup.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from copilot_cli.backups.targets import Target
from copilot_cli.backups.wal import WAL_FOLDER, is_before
from copilot_common.base.errors import NotFound

Kind = Literal["logical", "physical"]
_ENDINGS: dict[Kind, str] = {"logical": ".dump", "physical": ".base.tar.gz"}
_MANIFEST = ".json"
_STAMP = "%Y%m%dT%H%M%SZ"
_NAME = re.compile(r"^copilot-(?P<stamp>\d{8}T\d{6}Z)(\.dump|\.base\.tar\.gz)(?P<manifest>\.json)?$")


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest. `first_wal` is the segment at which recovery of a physical one begins."""

    name: str
    kind: Kind
    started_at: datetime
    finished_at: datetime
    size_bytes: int
    sha256: str
    database: str
    server_version_num: int
    schema_version: int | None
    first_wal: str | None = None

    @property
    def server_major(self) -> int:
        return self.server_version_num // 10_000


def new_name(kind: Kind, now: datetime) -> str:
    return f"copilot-{now.astimezone(UTC).strftime(_STAMP)}{_ENDINGS[kind]}"


def record(target: Target, backup: Backup) -> None:
    """From here on it is a backup."""
    target.write(backup.name + _MANIFEST, [msgspec.json.format(msgspec.json.encode(backup))])


def backups(target: Target, kind: Kind | None = None) -> list[Backup]:
    """The oldest first."""
    found = [backup for backup in _manifests(target) if kind in {None, backup.kind}]
    return sorted(found, key=lambda backup: (backup.finished_at, backup.name))


def choose(target: Target, kind: Kind, *, name: str | None = None, before: datetime | None = None) -> Backup:
    """That one, or the newest that was finished by `before`. Raises NotFound."""
    found = [
        backup
        for backup in backups(target, kind)
        if name in {None, backup.name} and (before is None or backup.finished_at <= before)
    ]
    if not found:
        raise NotFound(f"{kind} backup" + (f": {name}" if name else " from before that moment" if before else ""))
    return found[-1]


def prune(target: Target, kind: Kind, *, keep: timedelta, now: datetime) -> list[str]:
    """Delete those of that kind that are older than `keep`; returns the names. The newest good one stays, whatever its
    age, and so does everything that we have not named. WAL goes with the last base backup that needs it."""
    deleted = []
    for backup in backups(target, kind)[:-1]:
        if backup.finished_at < now - keep:
            # In this order: what is half deleted must not be a backup.
            target.delete(backup.name + _MANIFEST)
            target.delete(backup.name)
            deleted.append(backup.name)
    deleted += _prune_orphans(target, _ENDINGS[kind], now - keep)
    if kind == "physical":
        _prune_wal(target)
    target.sweep()
    return deleted


def _manifests(target: Target) -> Iterator[Backup]:
    for name in target.names():
        match = _NAME.match(name)
        if match and match["manifest"]:
            try:
                backup = msgspec.json.decode(b"".join(target.read(name)), type=Backup)
            except (msgspec.DecodeError, NotFound):
                continue  # not ours, or deleted meanwhile
            if backup.name + _MANIFEST == name and target.size(backup.name) == backup.size_bytes:
                yield backup


def _prune_orphans(target: Target, ending: str, before: datetime) -> list[str]:
    """Files without a manifest: who wrote them died before they were verified."""
    names = set(target.names())
    orphans = []
    for name in sorted(names):
        match = _NAME.match(name)
        if match and name.endswith(ending) and name + _MANIFEST not in names and _stamp(match["stamp"]) < before:
            target.delete(name)
            orphans.append(name)
    return orphans


def _stamp(text: str) -> datetime:
    return datetime.strptime(text, _STAMP).replace(tzinfo=UTC)


def _prune_wal(target: Target) -> None:
    needed = [backup.first_wal for backup in backups(target, "physical") if backup.first_wal]
    if needed:
        for name in target.names(WAL_FOLDER):
            if is_before(name, min(needed, key=lambda segment: segment[8:])):
                target.delete(name)
