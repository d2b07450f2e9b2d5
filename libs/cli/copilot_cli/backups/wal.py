"""Files of WAL, by their names: `000000010000000A000000FE` is timeline 1, position 0000000A000000FE."""

import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import PurePosixPath

WAL_FOLDER = "wal"
COMPRESSED = ".gz"
PARTIAL = ".partial"

_SEGMENT = re.compile(r"^[0-9A-F]{24}$")
_HISTORY = re.compile(r"^[0-9A-F]{8}\.history$")
_SEGMENT_BYTES = 16 * 1024 * 1024  # what initdb makes unless told otherwise
_SEGMENTS_PER_LOG = 2**32 // _SEGMENT_BYTES


def segment_at(timeline: int, lsn: str, *, is_end: bool = False) -> str:
    """The segment that has that byte; with `is_end` the one before it. `lsn` as in `A/FE000028`."""
    log, offset = (int(part, 16) for part in lsn.split("/"))
    place = ((log << 32) + offset - is_end) // _SEGMENT_BYTES
    return f"{timeline:08X}{place // _SEGMENTS_PER_LOG:08X}{place % _SEGMENTS_PER_LOG:08X}"


def archived_name(segment: str) -> str:
    return f"{WAL_FOLDER}/{segment}{COMPRESSED}"


def segment_of(archived: str) -> str:
    return PurePosixPath(archived).name.removesuffix(COMPRESSED)


def is_segment(name: str) -> bool:
    return _SEGMENT.match(name) is not None


def is_finished(name: str) -> bool:
    """A whole segment, or the history of a timeline."""
    return is_segment(name) or _HISTORY.match(name) is not None


def is_before(archived: str, segment: str) -> bool:
    """Whatever their timelines. Histories stay: they are tiny, and each may be needed."""
    name = segment_of(archived)
    return is_segment(name) and name[8:] < segment[8:]


def first_gap(segments: Iterable[str]) -> str | None:
    """The position (16 hex digits) of the first segment that is missing between the first and the last."""
    places = sorted({_place(segment) for segment in segments if is_segment(segment)})
    for before, after in pairwise(places):
        if after != before + 1:
            log, number = divmod(before + 1, _SEGMENTS_PER_LOG)
            return f"{log:08X}{number:08X}"
    return None


def _place(segment: str) -> int:
    return int(segment[8:16], 16) * _SEGMENTS_PER_LOG + int(segment[16:], 16)
