"""Vectors that searches have read: a chunk that was likely once often is again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from copilot_domain.context.segments.places import by_segment
from copilot_domain.context.segments.types import Numbers

_MOST: Final = np.iinfo(np.int16).max
_LEAST_UNIT: Final = np.finfo(np.float32).tiny


def vector_bytes(dimensions: int) -> int:
    """What a chunk's takes."""
    return np.dtype(np.int16).itemsize * dimensions + np.dtype(np.float32).itemsize


@dataclass(frozen=True, slots=True)
class SegmentVectors:
    """Of one segment, a row per chunk, in sixteen bits a component: products are some 0.00001 off. `units`: what the
    numbers of a row are multiples of; 0 where the vector has not been read."""

    numbers: Numbers
    units: Numbers

    @staticmethod
    def unread(chunks: int, dimensions: int) -> "SegmentVectors":
        # Of memory it takes what has been written.
        return SegmentVectors(np.zeros((chunks, dimensions), np.int16), np.zeros(chunks, np.float32))

    def add(self, ordinals: Numbers, vectors: Numbers) -> None:
        units = np.abs(vectors).max(axis=1) / _MOST
        self.numbers[ordinals] = np.rint(vectors / np.maximum(units, _LEAST_UNIT)[:, None])
        self.units[ordinals] = units


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
            found[rows] = self._segments[number].units[ordinals] > 0
        return found

    def add(self, places: Numbers, vectors: Numbers) -> None:
        """A row for each place. One of zeros stays unread: it may come later."""
        for number, rows, ordinals in by_segment(places, self._starts):
            self._segments[number].add(ordinals, vectors[rows])

    def at(self, places: Numbers) -> Numbers:
        """A row for each place, zeros for what has not been read."""
        vectors = np.empty((len(places), self._dimensions), np.float32)
        for number, rows, ordinals in by_segment(places, self._starts):
            segment = self._segments[number]
            np.multiply(segment.numbers[ordinals], segment.units[ordinals][:, None], out=vectors[rows])
        return vectors
