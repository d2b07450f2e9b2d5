"""Which files of a folder there are to import, and why the others are not."""

import mimetypes
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from copilot_common.base.errors import CopilotError
from copilot_domain.context.file_names import MAX_NAME_CHARACTERS, refuse_hopeless


@dataclass(frozen=True, slots=True)
class Candidate:
    """`path` is relative to the folder, with slashes."""

    path: str
    size: int
    mtime_ns: int


@dataclass
class Scan:
    """`skipped` counts by reason; `unreadable` are paths with what the system said."""

    files: list[Candidate] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    unreadable: list[tuple[str, str]] = field(default_factory=list)


def scan(root: Path, *, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> Scan:
    """In the order of their paths, folder by folder. `root` is resolved. A pattern with a slash is for the path below
    `root`, any other for the name of a file, or of a folder where it excludes."""
    found = Scan()
    folders = [""]
    while folders:
        entries = _entries(root, folders.pop(), found)
        below = []
        for entry in entries:
            path = os.path.relpath(entry.path, root)
            if _is_left_out(root, entry, path, found.skipped, exclude):
                continue
            if entry.is_dir(follow_symlinks=False):
                below.append(path)
            elif include and not _matches(path, include):
                found.skipped["not included"] += 1
            else:
                _look(entry, path, found)
        folders += reversed(below)
    return found


def is_gone(root: Path, path: str) -> bool:
    """Surely; what cannot be looked at may be there."""
    try:
        (root / path).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def media_type_of(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _entries(root: Path, folder: str, found: Scan) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(root / folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        if not folder:
            raise
        found.unreadable.append((folder, error.strerror or type(error).__name__))
        return []


def _is_left_out(root: Path, entry: os.DirEntry[str], path: str, skipped: Counter[str], exclude: Sequence[str]) -> bool:
    reasons = _reasons(root, entry, path, exclude)
    reason = next(reasons, None)
    if reason:
        skipped[reason] += 1
    return reason is not None


def _reasons(root: Path, entry: os.DirEntry[str], path: str, exclude: Sequence[str]) -> Iterator[str]:
    if entry.name.startswith("."):
        yield "hidden"
    if not _is_unicode(entry.name):
        yield "name is not UTF-8"
    if exclude and _matches(path, exclude):
        yield "excluded"
    if entry.is_symlink():
        target = Path(os.path.realpath(entry.path))
        if not target.is_relative_to(root):
            yield "link that leads outside"
        if target.is_dir():
            yield "link to a folder"  # what is below it comes under its own path


def _look(entry: os.DirEntry[str], path: str, found: Scan) -> None:
    try:
        info = entry.stat()
    except OSError as error:
        found.unreadable.append((path, error.strerror or type(error).__name__))
        return
    if reason := _unfit(entry.name, info):
        found.skipped[reason] += 1
    else:
        found.files.append(Candidate(path, info.st_size, info.st_mtime_ns))


def _unfit(name: str, info: os.stat_result) -> str | None:
    if not stat.S_ISREG(info.st_mode):
        return "not a file"
    if not info.st_size:
        return "empty"
    if len(name) > MAX_NAME_CHARACTERS:
        return "name is too long"
    try:
        refuse_hopeless(name, media_type_of(name), which=name)
    except CopilotError:
        return "unsupported type"
    return None


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _matches(path: str, patterns: Sequence[str]) -> bool:
    name = path.rpartition("/")[2]
    return any(fnmatchcase(path if "/" in pattern else name, pattern) for pattern in patterns)
