"""Vectors that searches have read: a chunk that was likely once often is again."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from copilot_domain.context.segments.places import by_segment
from copilot_domain.context.segments.types import Numbers

_MOST: Final = np.iinfo(np.int16).max
_LEAST_UNIT: Final = np.finfo(np.float32).tiny
_UNREAD: Final = -1
_ROOM: Final = 64  # rows to begin with
_GROWTH: Final = 1.5  # copies at most 9 MB of a full segment at once: some 2 ms of the event loop


def vector_bytes(dimensions: int) -> int:
    """What a chunk's takes, once it has been read."""
    return np.dtype(np.int16).itemsize * dimensions + 2 * np.dtype(np.int32).itemsize


class SegmentVectors:
    """Of one segment by one model, in sixteen bits a component: products are some 0.00001 off."""

    def __init__(self, chunks: int, model: str, dimensions: int) -> None:
        self.model = model
        self.dimensions = dimensions
        self._rows = np.full(chunks, _UNREAD, np.int32)  # by ordinal
        self._count = 0
        self._numbers = np.empty((0, dimensions), np.int16)
        self._units = np.empty(0, np.float32)  # what the numbers of a row are multiples of

    @property
    def memory_bytes(self) -> int:
        return int(self._rows.nbytes + self._numbers.nbytes + self._units.nbytes)

    def are_read(self, ordinals: Numbers) -> Numbers:
        are_read: Numbers = self._rows[ordinals] != _UNREAD
        return are_read

    def add(self, ordinals: Numbers, vectors: Numbers) -> None:
        """Of vectors that are all zeros nothing is kept: another may come. Nor of those that are there."""
        units = np.abs(vectors).max(axis=1) / _MOST
        are_new = (units > 0) & ~self.are_read(ordinals)
        ordinals, vectors, units = ordinals[are_new], vectors[are_new], np.maximum(units[are_new], _LEAST_UNIT)
        rows = np.arange(self._count, self._count + len(ordinals))
        self._make_room(self._count + len(ordinals))
        self._numbers[rows] = np.rint(vectors / units[:, None])
        self._units[rows] = units
        self._rows[ordinals] = rows
        self._count += len(ordinals)

    def at(self, ordinals: Numbers) -> Numbers:
        """Zeros for what has not been read."""
        vectors = np.zeros((len(ordinals), self.dimensions), np.float32)
        rows = self._rows[ordinals]
        are_read = rows != _UNREAD
        vectors[are_read] = self._numbers[rows[are_read]] * self._units[rows[are_read], None]
        return vectors

    def _make_room(self, count: int) -> None:
        room = len(self._units)
        if count <= room:
            return
        room = min(max(count, _ROOM, int(room * _GROWTH)), len(self._rows))
        self._numbers = _with_rows(self._numbers, room)
        self._units = _with_rows(self._units, room)


def _with_rows(array: Numbers, count: int) -> Numbers:
    longer = np.empty((count, *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer


class ReadVectors:
    """Of all segments of an index, by place; places rise. `starts`: as in `by_segment`."""

    def __init__(self, segments: Sequence[SegmentVectors], starts: Numbers, dimensions: int) -> None:
        self._segments = segments
        self._starts = starts
        self._dimensions = dimensions

    def are_there(self, places: Numbers) -> Numbers:
        """For each place whether its vector has been read."""
        found = np.empty(len(places), bool)
        for number, rows, ordinals in by_segment(places, self._starts):
            found[rows] = self._segments[number].are_read(ordinals)
        return found

    def add(self, places: Numbers, vectors: Numbers) -> None:
        """A row for each place."""
        for number, rows, ordinals in by_segment(places, self._starts):
            self._segments[number].add(ordinals, vectors[rows])

    def at(self, places: Numbers) -> Numbers:
        """A row for each place, zeros for what has not been read."""
        vectors = np.empty((len(places), self._dimensions), np.float32)
        for number, rows, ordinals in by_segment(places, self._starts):
            vectors[rows] = self._segments[number].at(ordinals)
        return vectors
