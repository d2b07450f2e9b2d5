"""What a search ranks before it assembles passages, and what it should: all of a tenant's vectors compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
import psycopg

from bench.product import Product
from copilot_common.embedding import Embedder
from copilot_common.tenancy import Principal, TenantDatabase
from copilot_domain.context.columns import decode_vector
from copilot_domain.context.reembedding.embedders import Embedders
from copilot_domain.context.search.ranking import rank
from copilot_domain.context.search.searching import ContextSearch
from copilot_domain.context.segments.types import Numbers, to_uuid
from copilot_domain.context.types import SearchRequest

_ROWS_AT_ONCE = 5_000


@dataclass(frozen=True)
class Candidates:
    """Those of one question, a row each: what a fusion is made of. `vector` is the question's."""

    chunk_ids: list[UUID]
    text_scores: Numbers
    vectors: Numbers
    vector: Numbers


class Rankings:
    """The search up to its ranking: what is shown then leaves out near-duplicates and joins neighbours."""

    def __init__(self, db: TenantDatabase, embedder: Embedder) -> None:
        self._search = ContextSearch(db, Embedders(embedder))

    async def rank(self, principal: Principal, request: SearchRequest) -> list[UUID]:
        candidates, vector = await self._search.candidates(principal, request)
        ids = rank(request.mode, vector, candidates).ids
        return [to_uuid(chunk_id) for chunk_id in ids]

    async def candidates(self, principal: Principal, query: str) -> Candidates:
        """Raises RuntimeError for a question without a vector."""
        found, vector = await self._search.candidates(principal, SearchRequest(query=query))
        if vector is None:
            raise RuntimeError("the question has no vector")
        return Candidates([to_uuid(one) for one in found.chunk_ids], found.text_scores, found.vectors, vector)


def exact_best(product: Product, principal: Principal, model: str, queries: Numbers, count: int) -> list[set[UUID]]:
    """The chunks whose vectors are nearest to each row of `queries`. Needs little memory, however many there are."""
    scores = np.full((len(queries), count), -np.inf, np.float32)
    chosen = np.full((len(queries), count), None, object)
    statement = "SELECT chunk_id, embedding FROM context_embeddings WHERE tenant_id = %s AND model = %s"
    with (
        psycopg.connect(product.stores.postgres.admin_url) as connection,
        connection.cursor("vectors", binary=True) as cursor,
    ):
        cursor.execute(statement, (principal.tenant_id, model))
        while rows := cursor.fetchmany(_ROWS_AT_ONCE):
            near = queries @ np.stack([decode_vector(bytes(vector)) for _, vector in rows]).T
            ids = np.broadcast_to(np.array([chunk_id for chunk_id, _ in rows], object), near.shape)
            scores, chosen = np.hstack([scores, near]), np.hstack([chosen, ids])
            best = np.argpartition(-scores, count - 1, axis=1)[:, :count]
            scores, chosen = np.take_along_axis(scores, best, 1), np.take_along_axis(chosen, best, 1)
    return [{one for one in row if one is not None} for row in chosen.tolist()]


def recall(found: Sequence[Sequence[UUID]], exact: Sequence[set[UUID]]) -> float:
    """The share of the true best that are among as many of those found."""
    hits = sum(len(best & set(ranked[: len(best)])) for ranked, best in zip(found, exact, strict=True))
    return hits / max(sum(len(best) for best in exact), 1)
