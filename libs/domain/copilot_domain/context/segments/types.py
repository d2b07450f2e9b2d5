"""Segments in memory, and the bytes they are stored as. All numbers are little-endian."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from typing import Any, Final, TypeAlias
from uuid import UUID

import msgspec
import numpy as np
from numpy.typing import NDArray

MAX_CHUNKS: Final = 65_536
"""Of a segment: a posting's chunk is a number of two bytes."""

_ID: Final = np.dtype("V16")
_RECORD: Final = np.dtype([("ordinal", "<u2"), ("count", "u1")])  # three bytes
RECORD_BYTES: Final = _RECORD.itemsize
_MAX_TF: Final = 255
_MAX_LENGTH: Final = 65_535

Numbers: TypeAlias = NDArray[Any]


@dataclass(frozen=True, slots=True)
class ChunkTerms:
    """What the index must know of one chunk. `terms`: how often it has each, by the term's hash."""

    chunk_id: UUID
    item_id: UUID
    attempt: int
    terms: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Layout:
    """Which chunks, by ordinal: their ids, their lengths in terms, the number of their item; and the items."""

    chunk_ids: Numbers
    lengths: Numbers
    item_numbers: Numbers
    item_ids: Numbers
    attempts: Numbers

    @property
    def size(self) -> int:
        return len(self.chunk_ids)

    @property
    def memory_bytes(self) -> int:
        return sum(part.nbytes for part in self._parts())

    def _parts(self) -> Sequence[Numbers]:
        return self.chunk_ids, self.lengths, self.item_numbers, self.item_ids, self.attempts

    def encode(self) -> bytes:
        return _encode_arrays(*self._parts())

    @staticmethod
    def decode(data: bytes) -> "Layout":
        return Layout(*_decode_arrays(data, _ID, "<u2", "<u4", _ID, "<i4"))


@dataclass(frozen=True, slots=True)
class Postings:
    """Which chunks have a term: their ordinals, rising, and how often (255 at most). Stored as one record after the
    other, so that many lists can be read as one."""

    ordinals: Numbers
    counts: Numbers

    @staticmethod
    def decode(data: bytes) -> "Postings":
        records = np.frombuffer(data, _RECORD)
        return Postings(records["ordinal"], records["count"])


@dataclass(frozen=True, slots=True)
class SpreadPostings:
    """A term's postings in several segments, as they are stored, and the number of each one's segment."""

    segments: Sequence[int]
    encoded: Sequence[bytes]

    @property
    def count(self) -> int:
        return sum(map(len, self.encoded)) // RECORD_BYTES


@dataclass(frozen=True, slots=True)
class PlacedPostings:
    """Which chunks of a whole index have a term: their places, and how often."""

    places: Numbers
    counts: Numbers


def place_postings(several: Sequence[SpreadPostings], starts: Numbers) -> list[PlacedPostings]:
    """Of several terms, read as one. `starts`: the place of each segment's first chunk, by its number."""
    segments = list(chain.from_iterable(one.segments for one in several))
    encoded = list(chain.from_iterable(one.encoded for one in several))
    postings = Postings.decode(b"".join(encoded))
    places = postings.ordinals + np.repeat(starts[segments], [len(one) // RECORD_BYTES for one in encoded])
    bounds = pairwise(accumulate((one.count for one in several), initial=0))
    return [PlacedPostings(places[first:last], postings.counts[first:last]) for first, last in bounds]


@dataclass(frozen=True, slots=True)
class PostingLists:
    """Many terms' postings: those of `terms[i]` are from `starts[i]` to `starts[i + 1]`. Terms rise."""

    terms: Numbers
    starts: Numbers
    ordinals: Numbers
    counts: Numbers

    @property
    def memory_bytes(self) -> int:
        return sum(part.nbytes for part in (self.terms, self.starts, self.ordinals, self.counts))

    def find(self, terms: Sequence[int]) -> dict[int, Postings]:
        """Those that are there."""
        if not len(self.terms):
            return {}
        wanted = np.array(terms, "<i8")
        places = np.minimum(np.searchsorted(self.terms, wanted), len(self.terms) - 1)
        is_there = self.terms[places] == wanted
        return {terms[number]: self.at(int(places[number])) for number in np.flatnonzero(is_there).tolist()}

    def at(self, place: int) -> Postings:
        part = slice(int(self.starts[place]), int(self.starts[place + 1]))
        return Postings(self.ordinals[part], self.counts[part])

    def flat_terms(self) -> Numbers:
        """The term of each posting."""
        return np.repeat(self.terms, np.diff(self.starts))

    def each_encoded(self) -> list[bytes]:
        """Each term's postings, as `Postings.decode` reads them."""
        records = np.empty(len(self.ordinals), _RECORD)
        records["ordinal"], records["count"] = self.ordinals, self.counts
        data, bounds = records.tobytes(), (self.starts.astype(np.int64) * RECORD_BYTES).tolist()
        return [data[start:end] for start, end in pairwise(bounds)]

    def encode(self) -> bytes:
        return _encode_arrays(self.terms, self.starts, self.ordinals, self.counts)

    @staticmethod
    def decode(data: bytes) -> "PostingLists":
        return PostingLists(*_decode_arrays(data, "<i8", "<u4", "<u2", "u1"))

    @staticmethod
    def gather(terms: Numbers, ordinals: Numbers, counts: Numbers) -> "PostingLists":
        """From postings in any order."""
        order = np.lexsort((ordinals, terms))
        terms = terms[order]
        firsts = np.flatnonzero(np.concatenate(([True], terms[1:] != terms[:-1]))) if len(terms) else np.empty(0, "i8")
        starts = np.append(firsts, len(terms)).astype("<u4")
        return PostingLists(
            terms[firsts].astype("<i8"), starts, ordinals[order].astype("<u2"), counts[order].astype("u1")
        )


def lay_out(chunks: Sequence[ChunkTerms]) -> tuple[Layout, PostingLists]:
    """At most MAX_CHUNKS."""
    items = list(dict.fromkeys((chunk.item_id, chunk.attempt) for chunk in chunks))
    numbers = {item: number for number, item in enumerate(items)}
    lengths = [min(sum(chunk.terms.values()), _MAX_LENGTH) for chunk in chunks]
    layout = Layout(
        ids_array([chunk.chunk_id for chunk in chunks]),
        np.array(lengths, "<u2"),
        np.array([numbers[chunk.item_id, chunk.attempt] for chunk in chunks], "<u4"),
        ids_array([item_id for item_id, _ in items]),
        np.array([attempt for _, attempt in items], "<i4"),
    )
    sizes = [len(chunk.terms) for chunk in chunks]
    terms = np.fromiter((term for chunk in chunks for term in chunk.terms), "<i8", sum(sizes))
    counts = np.fromiter((min(times, _MAX_TF) for chunk in chunks for times in chunk.terms.values()), "u1", sum(sizes))
    return layout, PostingLists.gather(terms, np.repeat(np.arange(len(chunks)), sizes), counts)


def ids_array(ids: Sequence[UUID]) -> Numbers:
    return np.frombuffer(b"".join(one.bytes for one in ids), _ID)


def _encode_arrays(*arrays: Numbers) -> bytes:
    return msgspec.msgpack.encode([array.tobytes() for array in arrays])


def _decode_arrays(data: bytes, *kinds: Any) -> list[Numbers]:
    parts = msgspec.msgpack.decode(data, type=list[bytes])
    return [np.frombuffer(part, dtype=kind) for part, kind in zip(parts, kinds, strict=True)]


def to_uuid(value: Any) -> UUID:
    return UUID(bytes=bytes(value))
