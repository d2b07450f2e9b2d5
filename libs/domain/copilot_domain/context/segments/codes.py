"""Vectors in four bits a component, kept in memory: by them candidates are found without reading the vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from copilot_domain.context.segments.types import Numbers

# Components of a vector of length 1 lie about 1/√d around 0: sixteen levels from -3/√d to 3/√d lose little.
_CLIP: Final = 3.0
_LEVELS: Final = 16
# Measured with WordLlama on 50 000 passages (docs/adr/0024). Of the true best ten, 99.7 % of real ones are among the
# nearest 2 500 by the signs alone, and 99 % of the bench's, which are closer to each other, among the nearest 8 000.
# All of those are among the best 60 by the levels.
_NEAR: Final = 8_000
_NEAR_SHARE: Final = 50  # or one in fifty, where that is more
_MAX_NEAR: Final = 20_000


@dataclass(frozen=True, slots=True)
class Codes:
    """A row per vector. `levels`: two components a byte, the first one in the upper half. `signs`: a bit each, turned,
    so that what all vectors have of the same components lies together."""

    levels: Numbers
    signs: Numbers

    @property
    def memory_bytes(self) -> int:
        return self.levels.nbytes + self.signs.nbytes

    @staticmethod
    def decode(data: bytes, count: int) -> "Codes":
        levels = np.frombuffer(data, np.uint8).reshape(count, -1)
        bits = np.empty((count, 2 * levels.shape[1]), np.uint8)
        bits[:, 0::2], bits[:, 1::2] = levels >> 7, (levels >> 3) & 1
        return Codes(levels, np.ascontiguousarray(_words(np.packbits(bits, axis=1)).T))


def encode_vectors(vectors: Numbers) -> Numbers:
    """The levels of unit vectors, as `Codes.decode` reads their bytes."""
    count, dimensions = vectors.shape
    levels = np.floor((vectors * (np.sqrt(dimensions) / _CLIP) + 1) * (_LEVELS / 2)).clip(0, _LEVELS - 1)
    padded = np.zeros((count, dimensions + dimensions % 2), np.uint8)
    padded[:, :dimensions] = levels
    encoded: Numbers = padded[:, 0::2] << 4 | padded[:, 1::2]
    return encoded


def nearest(
    codes: Sequence[Codes], starts: Numbers, vector: Numbers, limit: int, allowed: Numbers | None = None
) -> Numbers:
    """The places of some `limit` rows that are most likely nearest, in no order. All of them where they are that few.

    `codes` have their first rows at the places `starts`, which rise. `allowed`: of these places only.
    """
    sizes = [len(one.levels) for one in codes]
    places = np.concatenate([start + np.arange(size) for start, size in zip(starts.tolist(), sizes, strict=True)])
    wanted = None if allowed is None else _are_in(places, allowed)
    if wanted is not None:
        places = places[wanted]
    if len(places) <= limit:
        return places
    near = max(limit, min(max(_NEAR, len(places) // _NEAR_SHARE), _MAX_NEAR))
    if len(places) > near:
        distances = _hamming(codes, vector)
        places = places[_closest(distances if wanted is None else distances[wanted], near)]
    return places[_lowest(-_products(_rows(codes, starts, places), vector), limit)]


def similarities(codes: Sequence[Codes], starts: Numbers, places: Numbers, vector: Numbers) -> Numbers:
    """About the products of the vectors at these places, which rise, with a vector: some 0.02 off at most."""
    components = vector.astype(np.float32)
    middles = (_products(_rows(codes, starts, places), components) + components.sum() / 2) * (2 / _LEVELS)
    scores: Numbers = (middles - components.sum()) * (_CLIP / np.sqrt(len(components)))
    return scores


def _are_in(places: Numbers, allowed: Numbers) -> Numbers:
    marks = np.zeros(int(places[-1]) + 1 if len(places) else 0, bool)
    marks[allowed[allowed < len(marks)]] = True
    return marks[places]


def _rows(codes: Sequence[Codes], starts: Numbers, rising: Numbers) -> Numbers:
    """The levels at these places."""
    parts = np.split(rising, np.searchsorted(rising, starts[1:]))
    return np.concatenate([one.levels[part - start] for one, part, start in zip(codes, parts, starts, strict=True)])


def _products(levels: Numbers, vector: Numbers) -> Numbers:
    """But for a constant and a factor that are the same for all: it is the order that counts."""
    even, odd = vector[0::2], vector[1::2]
    upper: Numbers = (levels >> 4).astype(np.float32) @ even
    return upper + (levels[:, : len(odd)] & 15).astype(np.float32) @ odd


def _hamming(codes: Sequence[Codes], vector: Numbers) -> Numbers:
    query = Codes.decode(encode_vectors(vector[None, :]).tobytes(), 1).signs
    return np.concatenate([_distances(one.signs, query) for one in codes])


def _distances(signs: Numbers, query: Numbers) -> Numbers:
    distances = np.zeros(signs.shape[1], np.uint16)
    for part, wanted in zip(signs, query, strict=True):
        distances += np.bitwise_count(part ^ wanted)
    return distances


def _words(signs: Numbers) -> Numbers:
    """Eight bytes at a time where they divide."""
    return np.ascontiguousarray(signs).view("<u8") if signs.shape[1] % 8 == 0 else signs


def _closest(distances: Numbers, count: int) -> Numbers:
    """Where the smallest are, rising. Distances are few whole numbers: counting them is faster than any partition."""
    limit = int(np.searchsorted(np.cumsum(np.bincount(distances)), count))
    closer = np.flatnonzero(distances < limit)
    others = np.flatnonzero(distances == limit)[: count - len(closer)]
    return np.sort(np.concatenate((closer, others)), kind="stable")


def _lowest(values: Numbers, count: int) -> Numbers:
    if count >= len(values):
        return np.arange(len(values))
    return np.argpartition(values, count)[:count]
