"""What PostgreSQL says of candidates: which are live, who may see them, and such vectors of theirs as are not known."""

from dataclasses import dataclass
from typing import Any, LiteralString

import numpy as np

from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Principal, Transaction
from copilot_domain.context.columns import GUIDE_DIMENSIONS, Integers, Uuids, accept_arrays, decode_vectors
from copilot_domain.context.repository import seen_by
from copilot_domain.context.search.index import OpenIndex
from copilot_domain.context.segments.types import Numbers

_sql = Queries(__package__)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Those that may be shown: their places, which rise, ids of chunks in 16 bytes each, their BM25 scores, their
    vectors (zeros for none). `looked_at`: the places, rising, of these and of those that may not. `is_whole`: no others
    are found for this question, however many are looked at."""

    places: Numbers
    chunk_ids: Numbers
    text_scores: Numbers
    vectors: Numbers
    looked_at: Numbers
    is_whole: bool = True

    @property
    def size(self) -> int:
        return len(self.chunk_ids)


@dataclass(frozen=True, slots=True)
class Checked:
    """Chunks that are live: their places, which rise, their ids in 16 bytes each, their vectors, a row each, zeros for
    none, and whether everybody of the tenant may see them."""

    places: Numbers
    chunk_ids: Numbers
    vectors: Numbers
    are_open: Numbers

    def of(self, places: Numbers) -> "Checked":
        """Of these places, which rise, those that are here."""
        if not len(self.places):
            return self
        at = np.minimum(np.searchsorted(self.places, places), len(self.places) - 1)
        return self.at(at[self.places[at] == places])

    def at(self, chosen: Numbers) -> "Checked":
        """Those with these numbers, or of which this is true."""
        return Checked(self.places[chosen], self.chunk_ids[chosen], self.vectors[chosen], self.are_open[chosen])


async def check_candidates(tx: Transaction, index: OpenIndex, places: Numbers, model: str) -> Checked:
    """Of these places, which rise, those that are live, with their vectors by that model."""
    if not len(places):
        vectors = np.zeros((0, index.dimensions), np.float32)
        return Checked(places, np.empty(0, "V16"), vectors, np.empty(0, bool))
    items, chunk_ids = index.items(places), index.chunk_ids(places)
    unread = np.flatnonzero(np.ones(len(places), bool) if index.vectors is None else ~index.vectors.are_there(places))
    params = {
        "tenant_id": tx.principal.tenant_id,
        "item_ids": Uuids(items.ids),
        "attempts": Integers(items.attempts.astype(">i4")),
        "chunk_ids": Uuids(chunk_ids[unread]),
        "model": model,
    }
    statement = "check_candidates" if index.dimensions == GUIDE_DIMENSIONS else "check_wide_candidates"
    are_live, are_open = np.zeros(len(items.ids), bool), np.zeros(len(items.ids), bool)
    read, sent = [], []
    for number, is_open, vector in await _rows(tx, statement, params):
        if is_open is None:
            read.append(number)
            sent.append(vector)
        else:
            are_live[number], are_open[number] = True, is_open
    vectors = _vectors(index, places, unread[read], decode_vectors(sent, index.dimensions))
    live = np.flatnonzero(are_live[items.numbers])
    return Checked(places[live], chunk_ids[live], vectors[live], are_open[items.numbers[live]])


async def check_rights(tx: Transaction, principal: Principal, index: OpenIndex, places: Numbers) -> Numbers:
    """Of these places, which rise, those that this principal may see."""
    items = index.items(places)
    rows = await _rows(tx, "check_rights", {"item_ids": Uuids(items.ids), **seen_by(principal)})
    seen: Numbers = places[np.isin(items.numbers, [row[0] for row in rows])]
    return seen


def _vectors(index: OpenIndex, places: Numbers, read: Numbers, vectors: Numbers) -> Numbers:
    """A row for each place, zeros where it has no vector. `read`: which of them the vectors are of that come now."""
    if index.vectors is None:
        whole = np.zeros((len(places), index.dimensions), np.float32)
        whole[read] = vectors
        return whole
    order = np.argsort(read)
    index.vectors.add(places[read[order]], vectors[order])
    return index.vectors.at(places)


async def _rows(tx: Transaction, name: LiteralString, params: dict[str, object]) -> list[tuple[Any, ...]]:
    accept_arrays(tx)
    async with tx.connection.cursor(binary=True) as cursor:
        await cursor.execute(_sql[name], params)
        return await cursor.fetchall()
