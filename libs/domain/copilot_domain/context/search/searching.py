"""A search, from its question to its passages.

Candidates come from the tenant's segments, in memory: those that share words with the query, by BM25, and those whose
vectors' signs are near its own. PostgreSQL then says which of them are live and may be seen, and gives their vectors,
by which they are ranked exactly. Where too few are left, it is asked first which items may be found at all: as many
passages are found as there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import numpy as np

from copilot_common.base.errors import InvalidInput, ProviderError
from copilot_common.embedding import Embedder
from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Principal, TenantDatabase, Transaction
from copilot_domain.context.ingestion.writing import GUIDE_DIMENSIONS, decode_vector
from copilot_domain.context.labels import label_hashes
from copilot_domain.context.repository import seen_by, wanted_metadata
from copilot_domain.context.search.fusion import fuse, rank_hybrid
from copilot_domain.context.search.index import OpenIndex, open_index
from copilot_domain.context.search.passages import Found, assemble
from copilot_domain.context.segments.cache import SegmentCache
from copilot_domain.context.segments.types import Numbers
from copilot_domain.context.terms import TermHasher, count_terms
from copilot_domain.context.types import MAX_RESULTS, SearchFilter, SearchHit, SearchRequest, SearchResult
from copilot_domain.metadata import check_metadata

_sql = Queries(__package__)

_NEAR_CANDIDATES: Final = 400  # recall of the best ten 0.987 among 50 000 passages (docs/adr/0024)
_TEXT_CANDIDATES: Final = 150
_MAX_TERMS: Final = 64  # of a query: those it has most often
_SHOWN_SHARE: Final = 3  # so many times the limit are looked at: some are near-duplicates or neighbours


@dataclass(frozen=True, slots=True)
class _Allowed:
    id: UUID
    live_generation: int


@dataclass(frozen=True, slots=True)
class _Checked:
    place: int
    embedding: bytes | None


@dataclass(frozen=True, slots=True)
class _Question:
    request: SearchRequest
    vector: Numbers | None
    terms: Sequence[int]


@dataclass(frozen=True, slots=True)
class _Weighed:
    """A candidate that may be shown."""

    chunk_id: UUID
    text_score: float
    vector: Numbers | None


class ContextSearch:
    """The searcher of a process."""

    def __init__(self, db: TenantDatabase, embedder: Embedder, cache: SegmentCache | None = None) -> None:
        self._db = db
        self._embedder = embedder
        self._cache = cache or SegmentCache()

    async def search(self, principal: Principal, request: SearchRequest) -> SearchResult:
        """The best first, of what the principal may see. Raises InvalidInput; ProviderError for a vector search whose
        embedder fails (a hybrid one goes by words alone and says so)."""
        _check(request)
        vector, degraded = await self._embed(request)
        async with self._db.transaction(principal) as tx:
            question = _Question(request, vector, await _terms(tx, request))
            weighed = await self._weigh(tx, question)
            hits = await _show(tx, _rank(question, weighed), request)
        return SearchResult(results=hits, degraded=degraded)

    async def _embed(self, request: SearchRequest) -> tuple[Numbers | None, bool]:
        if request.mode == "text":
            return None, False
        try:
            vector: Numbers = (await self._embedder.embed([request.query], purpose="query")).vectors[0]
        except ProviderError:
            if request.mode == "vector":
                raise
            return None, True
        return (vector if vector.any() else None), False

    async def _weigh(self, tx: Transaction, question: _Question) -> list[_Weighed]:
        index = await open_index(tx, self._cache)
        text_scores = await index.text_scores(tx, question.terms)
        request = question.request
        allowed = await _allowed(tx, index, request.filter) if _narrows(request.filter) else None
        places = await self._candidates(tx, index, question, text_scores, allowed)
        weighed = await self._check(tx, index, places, text_scores)
        if len(weighed) < request.limit and allowed is None and len(places) < index.size:
            # Others than may be seen are in the way: look again, among those that may.
            allowed = await _allowed(tx, index, request.filter)
            places = await self._candidates(tx, index, question, text_scores, allowed)
            weighed = await self._check(tx, index, places, text_scores)
        return weighed

    async def _candidates(
        self, tx: Transaction, index: OpenIndex, question: _Question, text_scores: Numbers, allowed: Numbers | None
    ) -> Numbers:
        found = [_best_places(text_scores, max(_TEXT_CANDIDATES, question.request.limit), allowed)]
        if question.vector is not None:
            model, limit = self._embedder.spec.name, max(_NEAR_CANDIDATES, question.request.limit)
            found.append(await index.near(tx, self._cache, model, question.vector, limit, allowed))
        return np.unique(np.concatenate(found))

    async def _check(self, tx: Transaction, index: OpenIndex, places: Numbers, text_scores: Numbers) -> list[_Weighed]:
        if not len(places):
            return []
        chunk_ids, item_ids, generations = index.chunks(places)
        params = {
            "chunk_ids": chunk_ids,
            "item_ids": item_ids,
            "generations": generations,
            "model": self._embedder.spec.name,
            **seen_by(tx.principal),
        }
        is_guides = self._embedder.spec.dimensions == GUIDE_DIMENSIONS
        query = _sql["check_candidates"] if is_guides else _sql["check_wide_candidates"]
        return [
            _Weighed(
                chunk_ids[row.place],
                float(text_scores[places[row.place]]),
                None if row.embedding is None else decode_vector(row.embedding),
            )
            for row in await tx.fetch_all(_Checked, query, params)
        ]


async def _terms(tx: Transaction, request: SearchRequest) -> list[int]:
    if request.mode == "vector":
        return []
    hash_term = TermHasher(await tx.cipher())
    return [hash_term(term) for term, _ in count_terms(request.query).most_common(_MAX_TERMS)]


async def _allowed(tx: Transaction, index: OpenIndex, chosen: SearchFilter) -> Numbers:
    labels = label_hashes(chosen.metadata, await tx.cipher()) if chosen.metadata else None
    params = {
        "item_ids": None if chosen.item_ids is None else list(chosen.item_ids),
        "type": chosen.type,
        "metadata": wanted_metadata(chosen.metadata),
        "labels": labels or None,
        **seen_by(tx.principal),
    }
    rows = await tx.fetch_all(_Allowed, _sql["find_allowed"], params, prepare=False)
    return index.places_of({row.id.bytes: row.live_generation for row in rows})


def _narrows(chosen: SearchFilter) -> bool:
    return chosen.item_ids is not None or chosen.type is not None or bool(chosen.metadata)


def _best_places(scores: Numbers, limit: int, allowed: Numbers | None) -> Numbers:
    places = np.flatnonzero(scores) if allowed is None else allowed[scores[allowed] > 0]
    if len(places) <= limit:
        return places
    return places[np.argpartition(-scores[places], limit)[:limit]]


def _rank(question: _Question, weighed: Sequence[_Weighed]) -> list[tuple[UUID, float]]:
    """The best first; by id among equals, so that a repeat gives the same."""
    mode, query = question.request.mode, question.vector
    if not weighed:
        return []
    by_text = np.array([one.text_score for one in weighed])
    if query is None:
        scores = by_text if mode == "text" else fuse(np.zeros_like(by_text), by_text)
        is_found = by_text > 0
    else:
        vectors = np.stack([np.zeros_like(query) if one.vector is None else one.vector for one in weighed])
        scores = vectors @ query if mode == "vector" else rank_hybrid(query, vectors, by_text)
        is_found = np.any(vectors, axis=1) | ((by_text > 0) & (mode == "hybrid"))
    found = [(one.chunk_id, float(scores[number])) for number, one in enumerate(weighed) if is_found[number]]
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))[: _SHOWN_SHARE * question.request.limit]


async def _show(tx: Transaction, ranked: Sequence[tuple[UUID, float]], request: SearchRequest) -> list[SearchHit]:
    """What an ingestion has replaced since it was found is left out."""
    params = {"tenant_id": tx.principal.tenant_id, "ids": [chunk_id for chunk_id, _ in ranked]}
    rows = {row.id: row for row in await tx.fetch_all(Found, _sql["show_chunks"], params)} if ranked else {}
    shown = [(rows[chunk_id], score) for chunk_id, score in ranked if chunk_id in rows]
    return assemble(shown, await tx.cipher(), limit=request.limit, max_tokens=request.max_tokens)


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
