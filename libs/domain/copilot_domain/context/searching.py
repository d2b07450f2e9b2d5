"""Finding chunks: by their words (BM25), by their meaning (vectors), or by both."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

import msgspec
from pgvector import Vector

from copilot_common.base.errors import InvalidInput, ProviderError
from copilot_common.embedding import Embedder
from copilot_common.encryption import Purpose, TenantCipher
from copilot_common.tenancy import Principal, TenantDatabase, Transaction
from copilot_domain.context.fusion import best, fuse
from copilot_domain.context.indexing import accept_vectors
from copilot_domain.context.repository import seen_by, sql, wanted_metadata
from copilot_domain.context.terms import TermHasher, count_terms
from copilot_domain.context.types import MAX_RESULTS, SearchHit, SearchRequest, SearchResult
from copilot_domain.metadata import check_metadata

_CANDIDATES: Final = 200  # of each ranking; four times what a search can show
_MAX_TERMS: Final = 64  # of a query: those it has most often

_decode_heading = msgspec.json.Decoder(list[str]).decode


@dataclass(frozen=True, slots=True)
class _Scored:
    id: UUID
    score: float


@dataclass(frozen=True, slots=True)
class _Found:
    id: UUID
    item_id: UUID
    start_offset: int
    end_offset: int
    token_count: int
    heading_sealed: bytes | None
    text_sealed: bytes
    name_sealed: bytes
    metadata: dict[str, object]

    def open(self, cipher: TenantCipher, score: float) -> SearchHit:
        heading = self.heading_sealed
        return SearchHit(
            item_id=self.item_id,
            chunk_id=self.id,
            name=cipher.open_text(Purpose.CONTEXT_NAME, self.item_id, self.name_sealed),
            text=cipher.open_text(Purpose.CONTEXT_TEXT, self.id, self.text_sealed),
            score=score,
            start=self.start_offset,
            end=self.end_offset,
            heading=_decode_heading(cipher.open(Purpose.CONTEXT_HEADING, self.id, heading)) if heading else [],
            metadata=self.metadata,
        )


class ContextSearch:
    """The searcher of a process."""

    def __init__(self, db: TenantDatabase, embedder: Embedder) -> None:
        self._db = db
        self._embedder = embedder

    async def search(self, principal: Principal, request: SearchRequest) -> SearchResult:
        """The best first, of what the principal may see. Raises InvalidInput; ProviderError for a vector search whose
        embedder fails (a hybrid one goes by words alone and says so)."""
        _check(request)
        vector, degraded = await self._embed(request)
        async with self._db.transaction(principal) as tx:
            found = await self._rank(tx, request, vector)
            hits = await _show(tx, found, request.max_tokens)
        return SearchResult(results=hits, degraded=degraded)

    async def _embed(self, request: SearchRequest) -> tuple[list[float] | None, bool]:
        if request.mode == "text":
            return None, False
        try:
            vector = (await self._embedder.embed([request.query]))[0]
        except ProviderError:
            if request.mode == "vector":
                raise
            return None, True
        return (vector if any(vector) else None), False

    async def _rank(
        self, tx: Transaction, request: SearchRequest, vector: list[float] | None
    ) -> list[tuple[UUID, float]]:
        by_vector = {} if vector is None else await self._vectors(tx, request, vector)
        by_text = {} if request.mode == "vector" else await self._text(tx, request)
        if request.mode == "hybrid":
            return best(fuse(by_vector, by_text), request.limit)
        return best(by_vector or by_text, request.limit)

    async def _vectors(self, tx: Transaction, request: SearchRequest, vector: list[float]) -> dict[UUID, float]:
        accept_vectors(tx)
        params = {"model": self._embedder.name, "embedding": Vector(vector), **_filter(tx.principal, request)}
        return _scores(await tx.fetch_all(_Scored, sql["search_vectors"], params, prepare=False))

    async def _text(self, tx: Transaction, request: SearchRequest) -> dict[UUID, float]:
        hasher = TermHasher(await tx.cipher())
        terms = [hasher(term) for term, _ in count_terms(request.query).most_common(_MAX_TERMS)]
        if not terms:
            return {}
        params = {"terms": terms, **_filter(tx.principal, request)}
        return _scores(await tx.fetch_all(_Scored, sql["search_text"], params, prepare=False))


async def _show(tx: Transaction, found: list[tuple[UUID, float]], max_tokens: int | None) -> list[SearchHit]:
    """As many as fit the budget, from the best down. What an ingestion has replaced since it was found is left out."""
    params = {"tenant_id": tx.principal.tenant_id, "ids": [chunk_id for chunk_id, _ in found]}
    rows = {row.id: row for row in await tx.fetch_all(_Found, sql["show_chunks"], params)} if found else {}
    cipher = await tx.cipher()
    hits: list[SearchHit] = []
    left = max_tokens
    for chunk_id, score in found:
        row = rows.get(chunk_id)
        if row is None:
            continue
        if left is not None:
            left -= row.token_count
            if left < 0:
                break
        hits.append(row.open(cipher, score))
    return hits


def _scores(rows: list[_Scored]) -> dict[UUID, float]:
    return {row.id: row.score for row in rows}


def _filter(principal: Principal, request: SearchRequest) -> dict[str, object]:
    chosen = request.filter
    return {
        "item_ids": None if chosen.item_ids is None else list(chosen.item_ids),
        "type": chosen.type,
        "metadata": wanted_metadata(chosen.metadata),
        "limit": max(_CANDIDATES, request.limit),
        **seen_by(principal),
    }


def _check(request: SearchRequest) -> None:
    faults: dict[str, str] = {}
    if not request.query.strip():
        faults["query"] = "must not be empty"
    if not 1 <= request.limit <= MAX_RESULTS:
        faults["limit"] = f"must be from 1 to {MAX_RESULTS}"
    if request.max_tokens is not None and request.max_tokens < 1:
        faults["max_tokens"] = "must be at least 1"
    if faults:
        raise InvalidInput(faults)
    check_metadata(request.filter.metadata, field="filter.metadata")
