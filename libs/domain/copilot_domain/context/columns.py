"""Ids, numbers and vectors on their way into the database and out of it.

They go by hundreds with every search and every batch of chunks, so they go as arrays, not one by one: an object for
each would cost more than all the rest.
"""

import struct
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from pgvector import Vector
from pgvector.psycopg.vector import VectorBinaryDumper
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format

from copilot_common.tenancy import Transaction
from copilot_domain.context.segments.types import Numbers

GUIDE_DIMENSIONS: Final = 256
"""Of context_embeddings, the deployment guide's table; vectors of others are in context_embeddings_wide."""

_VECTOR_HEADER_BYTES: Final = 4  # pgvector sends two numbers of two bytes before the components


@dataclass(frozen=True, slots=True)
class _Array:
    """A one-dimensional array as PostgreSQL takes it in binary, element by element of the same size, big-endian."""

    elements: Numbers
    element_oid: ClassVar[int]  # pg_type.dat

    def encode(self) -> bytes:
        size, count = self.elements.dtype.itemsize, len(self.elements)
        framed = np.empty(count, [("size", ">i4"), ("element", f"V{size}")])
        framed["size"] = size
        framed["element"] = self.elements.view(f"V{size}")
        return struct.pack(">iiIii", 1, 0, self.element_oid, count, 1) + framed.tobytes()


class Uuids(_Array):
    """Of elements of 16 bytes."""

    element_oid = 2950


class Integers(_Array):
    """Of big-endian integers of 4 bytes."""

    element_oid = 23


class Reals(_Array):
    """Of big-endian floats of 4 bytes."""

    element_oid = 700


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: _Array) -> Buffer | None:
        return obj.encode()


class _UuidsDumper(_ArrayDumper):
    oid = 2951


class _IntegersDumper(_ArrayDumper):
    oid = 1007


class _RealsDumper(_ArrayDumper):
    oid = 1021


def accept_arrays(tx: Transaction) -> None:
    """Let the connection send arrays, and pgvector's `Vector`, in binary. Statements cast the latter, so its type
    needs no look-up."""
    adapters = tx.connection.adapters
    adapters.register_dumper(Uuids, _UuidsDumper)
    adapters.register_dumper(Integers, _IntegersDumper)
    adapters.register_dumper(Reals, _RealsDumper)
    adapters.register_dumper(Vector, VectorBinaryDumper)


def reals(matrix: Numbers) -> Reals:
    """Row after row."""
    return Reals(matrix.ravel().astype(">f4"))


def decode_vectors(sent: list[bytes | None], dimensions: int) -> Numbers:
    """A row for each, zeros for None."""
    zeros = bytes(_VECTOR_HEADER_BYTES + 4 * dimensions)
    joined = np.frombuffer(b"".join([one or zeros for one in sent]), np.uint8).reshape(len(sent), len(zeros))
    components = np.ascontiguousarray(joined[:, _VECTOR_HEADER_BYTES:]).view(">f4")
    matrix: Numbers = components.astype(np.float32)
    return matrix


def decode_vector(sent: bytes) -> Numbers:
    return np.frombuffer(sent, ">f4", offset=_VECTOR_HEADER_BYTES).astype(np.float32)
