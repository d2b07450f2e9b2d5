"""What is to be done about each file, from what there is and what the journal knows."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from copilot_cli.importing.journal import Entry, Journal, Version
from copilot_cli.importing.scanning import Candidate, Scan, is_gone

Step = Literal["new", "changed", "unchanged", "again", "touched", "unreadable"]

HOPELESS = frozenset({"EMPTY", "EXTRACTION_FAILED", "TOO_LARGE", "UNSUPPORTED_TYPE"})
"""Why an item failed that will fail again as long as its file is the same; others are indexed again."""

LOST = "NOT_FOUND"
"""The code of an entry whose item somebody else has deleted: its file is sent anew."""


class Task(msgspec.Struct, frozen=True):
    """`version` is there for what is new, changed or touched, `problem` for what cannot be read."""

    path: str
    step: Step
    version: Version | None = None
    problem: str = ""


def tasks(root: Path, found: Scan, journal: Journal) -> Iterator[Task]:
    """In the order of the scan; a file is read when its turn comes, and only where its size or time differs."""
    for path, problem in found.unreadable:
        yield Task(path, "unreadable", problem=problem)
    for candidate in found.files:
        try:
            yield _task(root, candidate, journal.entries.get(candidate.path))
        except OSError as error:
            yield Task(candidate.path, "unreadable", problem=problem_of(error))


def gone(root: Path, found: Scan, journal: Journal) -> list[Entry]:
    """What the journal knows and the folder has not any more; what is only left out now is not gone."""
    there = {candidate.path for candidate in found.files}
    return [entry for path, entry in journal.entries.items() if path not in there and is_gone(root, path)]


def expected(found: Scan, journal: Journal) -> tuple[int, int]:
    """How many files, and of how many bytes together, look as if they were to be sent."""
    sizes = [file.size for file in found.files if not _looks_same(file, journal.entries.get(file.path))]
    return len(sizes), sum(sizes)


def read_version(root: Path, path: str) -> Version:
    """Raises OSError. What is written meanwhile makes its time differ, and is seen the next time."""
    with (root / path).open("rb") as file:
        info = os.fstat(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Version(path, info.st_size, info.st_mtime_ns, digest)


def problem_of(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _task(root: Path, candidate: Candidate, known: Entry | None) -> Task:
    path = candidate.path
    if known is not None and _looks_same(candidate, known):
        return Task(path, "again" if _is_worth_another_try(known) else "unchanged")
    version = read_version(root, path)
    if known is None:
        return Task(path, "new", version)
    if known.sha256 == version.sha256 and known.code != LOST:
        return Task(path, "again") if _is_worth_another_try(known) else Task(path, "touched", version)
    return Task(path, "changed", msgspec.structs.replace(version, olds=known.items))


def _is_worth_another_try(known: Entry) -> bool:
    return known.state == "failed" and known.item is not None and known.code not in HOPELESS


def _looks_same(candidate: Candidate, known: Entry | None) -> bool:
    if known is None or known.code == LOST:
        return False
    return (candidate.size, candidate.mtime_ns) == (known.size, known.mtime_ns)
