"""What PostgreSQL says of candidates: which are live and may be seen, and those of their vectors that are not known."""

from dataclasses import dataclass
from operator import itemgetter

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
    """The places, rising, of chunks that may be shown, their ids in 16 bytes each, and their vectors, a row each, zeros
    for none."""

    places: Numbers
    chunk_ids: Numbers
    vectors: Numbers

    def of(self, places: Numbers) -> "Checked":
        """Of these places, which rise, those that are here."""
        if not len(self.places):
            return self
        at = np.minimum(np.searchsorted(self.places, places), len(self.places) - 1)
        at = at[self.places[at] == places]
        return Checked(self.places[at], self.chunk_ids[at], self.vectors[at])


async def check_candidates(
    tx: Transaction, principal: Principal, index: OpenIndex, places: Numbers, model: str
) -> Checked:
    """Of these places, which rise, those that are live and that this principal may see, with their vectors by that
    model."""
    if not len(places):
        return Checked(places, np.empty(0, "V16"), np.zeros((0, index.dimensions), np.float32))
    accept_arrays(tx)
    chunk_ids, item_ids, attempts = index.chunks(places)
    are_wanted = np.ones(len(places), bool) if index.vectors is None else ~index.vectors.are_there(places)
    params = {
        "chunk_ids": Uuids(chunk_ids),
        "item_ids": Uuids(item_ids),
        "attempts": Integers(attempts.astype(">i4")),
        "wanted": Booleans(are_wanted),
        "model": model,
        **seen_by(principal),
    }
    statement = _sql["check_candidates" if index.dimensions == GUIDE_DIMENSIONS else "check_wide_candidates"]
    async with tx.connection.cursor(binary=True) as cursor:
        await cursor.execute(statement, params)
        rows = sorted(await cursor.fetchall(), key=itemgetter(0))
    found = np.fromiter((row[0] for row in rows), np.int64, len(rows))
    read = found[are_wanted[found]]
    vectors = decode_vectors([row[1] for row in rows if are_wanted[row[0]]], index.dimensions)
    if index.vectors is not None:
        index.vectors.add(places[read], vectors)
        vectors = index.vectors.at(places[found])
    return Checked(places[found], chunk_ids[found], vectors)
