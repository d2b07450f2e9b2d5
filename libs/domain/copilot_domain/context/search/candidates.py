"""What PostgreSQL says of candidates: which are live, who may see them, and such vectors of theirs as are not known."""

from dataclasses import dataclass
from operator import itemgetter
from typing import Any, LiteralString

import numpy as np

from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Principal, Transaction
from copilot_domain.context.columns import GUIDE_DIMENSIONS, Booleans, Integers, Uuids, accept_arrays, decode_vectors
from copilot_domain.context.repository import seen_by
from copilot_domain.context.search.index import OpenIndex
from copilot_domain.context.segments.types import Numbers

_sql = Queries(__package__)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Those that may be shown: ids of chunks in 16 bytes each, their BM25 scores, their vectors (zeros for none).
    `looked_at`: the places, rising, of these and of those that may not. `is_whole`: no others are found for this
    question, however many are looked at."""

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
    chunk_ids, item_ids, attempts = index.chunks(places)
    are_wanted = np.ones(len(places), bool) if index.vectors is None else ~index.vectors.are_there(places)
    params = {
        "tenant_id": tx.principal.tenant_id,
        "chunk_ids": Uuids(chunk_ids),
        "item_ids": Uuids(item_ids),
        "attempts": Integers(attempts.astype(">i4")),
        "wanted": Booleans(are_wanted),
        "model": model,
    }
    statement = "check_candidates" if index.dimensions == GUIDE_DIMENSIONS else "check_wide_candidates"
    rows = await _rows(tx, statement, params)
    found = np.fromiter((row[0] for row in rows), np.int64, len(rows))
    are_open = np.fromiter((row[1] for row in rows), bool, len(rows))
    read = found[are_wanted[found]]
    vectors = decode_vectors([row[2] for row in rows if are_wanted[row[0]]], index.dimensions)
    if index.vectors is not None:
        index.vectors.add(places[read], vectors)
        vectors = index.vectors.at(places[found])
    return Checked(places[found], chunk_ids[found], vectors, are_open)


async def check_rights(tx: Transaction, principal: Principal, index: OpenIndex, places: Numbers) -> Numbers:
    """Of these places, which rise, those that this principal may see."""
    _, item_ids, _ = index.chunks(places)
    rows = await _rows(tx, "check_rights", {"item_ids": Uuids(item_ids), **seen_by(principal)})
    seen: Numbers = places[np.fromiter((row[0] for row in rows), np.int64, len(rows))]
    return seen


async def _rows(tx: Transaction, name: LiteralString, params: dict[str, object]) -> list[tuple[Any, ...]]:
    """By their first column."""
    accept_arrays(tx)
    async with tx.connection.cursor(binary=True) as cursor:
        await cursor.execute(_sql[name], params)
        return sorted(await cursor.fetchall(), key=itemgetter(0))
