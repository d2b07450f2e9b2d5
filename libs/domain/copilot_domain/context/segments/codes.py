"""Vectors in four bits a component, kept in memory: by them candidates are found without reading the vectors."""

from dataclasses import dataclass
from typing import Final

import numkong
import numpy as np

from copilot_domain.context.segments.types import Numbers

# Components of a vector of length 1 lie about 1/√d around 0: sixteen levels from -3/√d to 3/√d lose little.
_CLIP: Final = 3.0
_LEVELS: Final = 16
_MAX_COMPONENT: Final = 7  # of a question, in four bits with a sign
_UPPER_BITS: Final = 0x88

UNKNOWN: Final = np.iinfo(np.int32).min
"""Below any nearness."""


@dataclass(frozen=True, slots=True)
class Codes:
    """A segment's, laid out for the product of all of them with a vector."""

    packed: numkong.PackedMatrix

    @property
    def memory_bytes(self) -> int:
        return self.packed.nbytes

    @staticmethod
    def decode(data: bytes, count: int) -> "Codes":
        # A level from 0 to 15 less eight is what four bits mean that have a sign, and differs in the upper one.
        levels = np.frombuffer(data, np.uint8).reshape(count, -1) ^ _UPPER_BITS
        return Codes(numkong.dots_pack(levels, dtype="int4"))


def encode_vectors(vectors: Numbers) -> Numbers:
    """The levels of unit vectors, as `Codes.decode` reads their bytes: a row per vector, two components a byte, the
    first one in the upper half."""
    dimensions = vectors.shape[1]
    levels = np.floor((vectors * (np.sqrt(dimensions) / _CLIP) + 1) * (_LEVELS / 2)).clip(0, _LEVELS - 1)
    return _in_pairs(levels.astype(np.uint8))


def encode_questions(vectors: Numbers) -> Numbers:
    """Vectors, one a row, for `nearness`."""
    # Four bits are multiplied with four bits: what a question loses by it is less than what the codes have lost.
    units = np.maximum(np.abs(vectors).max(axis=1, keepdims=True), 1e-9) / _MAX_COMPONENT
    components = np.rint(vectors / units).astype(np.int8)
    return _in_pairs(components.view(np.uint8) & 15)


def nearness(codes: Codes, questions: Numbers) -> Numbers:
    """For each of these questions, as `encode_questions` gives them, how near each vector of a segment is, by ordinal:
    whole numbers, of which a higher one means nearer to that question, in any segment. They are the products with its
    vector, times a factor, plus a number, some 0.03 off."""
    return np.asarray(numkong.dots_packed(questions, codes.packed))


def _in_pairs(rows: Numbers) -> Numbers:
    """Two numbers of four bits a byte."""
    count, dimensions = rows.shape
    padded = np.zeros((count, dimensions + dimensions % 2), np.uint8)
    padded[:, :dimensions] = rows
    paired: Numbers = padded[:, 0::2] << 4 | padded[:, 1::2]
    return paired
