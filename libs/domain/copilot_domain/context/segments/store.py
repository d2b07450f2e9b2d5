"""Segments as rows. Every function runs in the caller's transaction, as its principal's tenant."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import numpy as np

from copilot_common.base.ids import new_id
from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Transaction
from copilot_domain.context.segments.codes import encode_vectors
from copilot_domain.context.segments.types import (
    RECORD_BYTES,
    ChunkTerms,
    Layout,
    Numbers,
    PostingLists,
    Postings,
    SpreadPostings,
    lay_out,
)

sql = Queries(__package__)

_LISTS_AT_ONCE: Final = 5_000  # some 50 ms a statement
# With a list that goes beyond it still what PostgreSQL keeps within the row, in a page.
_BLOCK_BYTES: Final = 1_250
_ENTRY_BYTES: Final = 16  # of a list beside its postings: its term, its length, and what aligns it
_LONG_LIST_BYTES: Final = 600


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """`model` and `dead_count` are those of the whole index."""

    id: UUID
    level: int
    chunk_count: int
    term_total: int
    languages: list[str]
    model: str
    dead_count: int


@dataclass(frozen=True, slots=True)
class SegmentSums:
    """Of all that are visible."""

    fresh_count: int
    fresh_chunks: int
    chunks: int
    dead_count: int


@dataclass(frozen=True, slots=True)
class Loaded:
    id: UUID
    layout: bytes
    fresh_postings: bytes | None


@dataclass(frozen=True, slots=True)
class LoadedCodes:
    id: UUID
    codes: bytes


@dataclass(frozen=True, slots=True)
class _Scanned:
    terms: bytes | None
    sizes: bytes | None
    postings: bytes | None


async def add_fresh(
    tx: Transaction, chunks: Sequence[ChunkTerms], vectors: Mapping[str, Numbers], languages: Collection[str]
) -> UUID:
    """A fresh segment, with the transaction's end; `vectors` by model, a row per chunk. Searches see it when the
    chunks' attempt is live."""
    layout, lists = lay_out(chunks)
    segment_id = await add_segment(tx, layout, level=0, fresh=lists, languages=languages)
    for model, matrix in vectors.items():
        await add_codes(tx, segment_id, model, encode_vectors(matrix))
    return segment_id


async def add_segment(
    tx: Transaction,
    layout: Layout,
    *,
    level: int,
    languages: Collection[str],
    fresh: PostingLists | None = None,
    is_visible: bool = True,
) -> UUID:
    segment_id = new_id()
    params = {
        "tenant_id": tx.principal.tenant_id,
        "id": segment_id,
        "level": level,
        "languages": sorted(languages),
        "chunk_count": layout.size,
        "term_total": int(layout.lengths.sum(dtype=np.int64)),
        "layout": layout.encode(),
        "fresh_postings": fresh.encode() if fresh else None,
        "is_visible": is_visible,
    }
    await tx.execute_last(sql["insert_segment"], params)
    return segment_id


async def add_codes(tx: Transaction, segment_id: UUID, model: str, codes: Numbers) -> None:
    params = {"tenant_id": tx.principal.tenant_id, "id": segment_id, "model": model, "codes": codes.tobytes()}
    await tx.execute_last(sql["insert_codes"], params)


async def add_postings(tx: Transaction, segment_id: UUID, lists: PostingLists) -> None:
    encoded, blocks = lists.each_encoded(), _blocks(lists)
    for first, last in _ranges(len(lists.terms)):
        params = {
            "tenant_id": tx.principal.tenant_id,
            "id": segment_id,
            "terms": lists.terms[first:last].tolist(),
            "postings": encoded[first:last],
            "blocks": blocks[first:last].tolist(),
        }
        await tx.execute(sql["insert_postings"], params)


async def list_segments(tx: Transaction) -> list[SegmentRow]:
    return await tx.fetch_all(SegmentRow, sql["list_segments"], {"tenant_id": tx.principal.tenant_id})


async def sum_segments(tx: Transaction) -> SegmentSums | None:
    """None where the tenant has no index yet."""
    return await tx.fetch_one(SegmentSums, sql["sum_segments"], {"tenant_id": tx.principal.tenant_id})


async def load_segments(tx: Transaction, ids: Sequence[UUID]) -> dict[UUID, tuple[Layout, PostingLists | None]]:
    """Those that are still there; the second is a fresh one's."""
    params = {"tenant_id": tx.principal.tenant_id, "ids": list(ids)}
    rows = await tx.fetch_all(Loaded, sql["load_segments"], params)
    return {
        row.id: (Layout.decode(row.layout), PostingLists.decode(row.fresh_postings) if row.fresh_postings else None)
        for row in rows
    }


async def load_codes(tx: Transaction, ids: Sequence[UUID], model: str) -> dict[UUID, bytes]:
    params = {"tenant_id": tx.principal.tenant_id, "ids": list(ids), "model": model}
    return {row.id: row.codes for row in await tx.fetch_all(LoadedCodes, sql["load_codes"], params)}


async def find_postings(tx: Transaction, ids: Sequence[UUID], terms: Sequence[int]) -> dict[int, SpreadPostings]:
    """By term, of segments that are not fresh: their numbers are those of the ids."""
    params = {"tenant_id": tx.principal.tenant_id, "ids": list(ids), "terms": list(terms)}
    found: dict[int, list[tuple[int, bytes]]] = {}
    # A question reads hundreds of lists, most of a few bytes: an object for each would cost more than all the rest.
    async with tx.connection.cursor(binary=True) as cursor:
        await cursor.execute(sql["find_postings"], params)
        for term, number, postings in await cursor.fetchall():
            found.setdefault(term, []).append((number, postings))
    return {term: SpreadPostings(*zip(*lists, strict=True)) for term, lists in found.items()}


async def scan_postings(tx: Transaction, segment_id: UUID, low: int, high: int) -> tuple[Numbers, Postings]:
    """All postings of a segment whose terms are from `low` to `high`: the term of each, and they."""
    params = {"tenant_id": tx.principal.tenant_id, "id": segment_id, "low": low, "high": high}
    row = await tx.fetch_one(_Scanned, sql["scan_postings"], params)
    if row is None or row.terms is None or row.sizes is None or row.postings is None:
        return np.empty(0, "<i8"), Postings.decode(b"")
    sizes = np.frombuffer(row.sizes, ">i4") // RECORD_BYTES
    return np.repeat(np.frombuffer(row.terms, ">i8").astype("<i8"), sizes), Postings.decode(row.postings)


def _blocks(lists: PostingLists) -> Numbers:
    """Which lists are in one row, as a number for each, which rises: most have a handful of bytes, and a row of its own
    takes a hundred. A long one is alone: it is read by who asks for its own term only."""
    sizes = np.diff(lists.starts.astype(np.int64)) * RECORD_BYTES
    is_long = sizes > _LONG_LIST_BYTES
    shares = np.cumsum(np.where(is_long, 0, sizes + _ENTRY_BYTES)) // _BLOCK_BYTES
    is_first = is_long.copy()
    is_first[1:] |= is_long[:-1] | (shares[1:] != shares[:-1])
    numbers: Numbers = np.cumsum(is_first)
    return numbers


def _ranges(size: int) -> Iterator[tuple[int, int]]:
    for first in range(0, size, _LISTS_AT_ONCE):
        yield first, min(first + _LISTS_AT_ONCE, size)
