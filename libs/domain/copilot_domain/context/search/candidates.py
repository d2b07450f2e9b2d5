"""What PostgreSQL says of candidates: which are live and may be seen, and their vectors.

Hundreds of ids go there and hundreds of vectors come back with every search, so they go as arrays, not one by one: an
object for each would cost more than all the rest of a search.
"""

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format

from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Transaction
from copilot_domain.context.ingestion.writing import GUIDE_DIMENSIONS
from copilot_domain.context.repository import seen_by
from copilot_domain.context.search.index import OpenIndex
from copilot_domain.context.segments.types import Numbers

_sql = Queries(__package__)

_UUID_OID: Final = 2950  # pg_type.dat
_UUID_ARRAY_OID: Final = 2951
_INT4_OID: Final = 23
_INT4_ARRAY_OID: Final = 1007
_VECTOR_HEADER_BYTES: Final = 4  # pgvector sends two numbers of two bytes before the components


@dataclass(frozen=True, slots=True)
class Candidates:
    """Those that may be shown: ids of chunks in 16 bytes each, their BM25 scores, their vectors (zeros for none)."""

    chunk_ids: Numbers
    text_scores: Numbers
    vectors: Numbers

    @property
    def size(self) -> int:
        return len(self.chunk_ids)


@dataclass(frozen=True, slots=True)
class _Array:
    """A one-dimensional array as PostgreSQL takes it in binary, element by element of the same size, big-endian."""

    elements: Numbers
    element_oid: int

    def encode(self) -> bytes:
        size, count = self.elements.dtype.itemsize, len(self.elements)
        framed = np.empty(count, [("size", ">i4"), ("element", f"V{size}")])
        framed["size"] = size
        framed["element"] = self.elements.view(f"V{size}")
        return struct.pack(">iiIii", 1, 0, self.element_oid, count, 1) + framed.tobytes()


class _Uuids(_Array):
    pass


class _Integers(_Array):
    pass


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: _Array) -> Buffer | None:
        return obj.encode()


class _UuidsDumper(_ArrayDumper):
    oid = _UUID_ARRAY_OID


class _IntegersDumper(_ArrayDumper):
    oid = _INT4_ARRAY_OID


async def check_candidates(
    tx: Transaction, index: OpenIndex, places: Numbers, text_scores: Numbers, model: str, query: Numbers | None
) -> Candidates:
    """Of these places those that are live and that the principal may see, with their vectors by that model."""
    dimensions = GUIDE_DIMENSIONS if query is None else len(query)
    chunk_ids, item_ids, attempts = index.chunks(places)
    nothing = np.zeros((0, dimensions), np.float32)
    if not len(places):
        return Candidates(chunk_ids, np.zeros(0, np.float32), nothing)
    adapters = tx.connection.adapters
    adapters.register_dumper(_Uuids, _UuidsDumper)
    adapters.register_dumper(_Integers, _IntegersDumper)
    params = {
        "chunk_ids": _Uuids(chunk_ids, _UUID_OID),
        "item_ids": _Uuids(item_ids, _UUID_OID),
        "attempts": _Integers(attempts.astype(">i4"), _INT4_OID),
        "model": model,
        **seen_by(tx.principal),
    }
    statement = _sql["check_candidates" if dimensions == GUIDE_DIMENSIONS else "check_wide_candidates"]
    async with tx.connection.cursor(binary=True) as cursor:
        await cursor.execute(statement, params)
        rows = await cursor.fetchall()
    found = np.fromiter((row[0] for row in rows), np.int64, len(rows))
    return Candidates(chunk_ids[found], text_scores[places[found]], _matrix([row[1] for row in rows], dimensions))


def _matrix(sealed: list[bytes | None], dimensions: int) -> Numbers:
    zeros = bytes(_VECTOR_HEADER_BYTES + 4 * dimensions)
    joined = np.frombuffer(b"".join([one or zeros for one in sealed]), np.uint8).reshape(len(sealed), len(zeros))
    components = np.ascontiguousarray(joined[:, _VECTOR_HEADER_BYTES:]).view(">f4")
    matrix: Numbers = components.astype(np.float32)
    return matrix
