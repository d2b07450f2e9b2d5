"""A search, from its question to its passages.

Candidates come from the tenant's segments, in memory: those that share words with the query, by BM25, and those whose
vectors' signs are near its own. PostgreSQL then says which of them are live and may be seen, and gives their vectors,
by which they are ranked exactly. Where too few are left, it is asked first which items may be found at all: as many
passages are found as there are.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

import numpy as np

from copilot_common.base.errors import InvalidInput, ProviderError, Unavailable
from copilot_common.base.ids import TenantId
from copilot_common.platform.sql import Queries
from copilot_common.reranking import Reranker
from copilot_common.tenancy import Principal, TenantDatabase, Transaction
from copilot_domain.context.labels import label_hashes
from copilot_domain.context.reembedding.embedders import Embedders
from copilot_domain.context.repository import seen_by, wanted_metadata
from copilot_domain.context.search.candidates import Candidates, check_candidates
from copilot_domain.context.search.fusion import fuse, rank_hybrid
from copilot_domain.context.search.index import OpenIndex, open_index
from copilot_domain.context.search.passages import Assembler, Found
from copilot_domain.context.search.reranking import Ranked, assemble, rerank, reranked_count
from copilot_domain.context.segments.cache import SegmentCache
from copilot_domain.context.segments.types import Numbers, to_uuid
from copilot_domain.context.terms import TermHasher, query_terms
from copilot_domain.context.types import (
    MAX_RESULTS,
    NO_RERANKER,
    SearchFilter,
    SearchHit,
    SearchMode,
    SearchRequest,
    SearchResult,
)
from copilot_domain.metadata import check_metadata

_sql = Queries(__package__)

# A vector that is read costs some 10 µs, and those further down change nothing. By meaning a few are enough: of the
# true best ten none was further down (codes.py).
_BY_WORDS: Final = 100
_BY_MEANING: Final = 64
_LIMIT_SHARE: Final = 6  # times the limit, where that is more
_CHECKED: Final = 64  # of both together, by what is known of their vectors in memory
_CHECKED_SHARE: Final = 4  # times the limit, where that is more
_CHECKED_VECTOR_WEIGHT: Final = 0.4  # between what the first and the second ranking give it (fusion.py)
_BREADTHS: Final = (1, 16)  # so many times as many at first, and where too few passages come of them
_MOST: Final = 2_000
_MAX_TERMS: Final = 64  # of a query: those it has most often
_SHOWN_SHARE: Final = 2  # so many times the limit are opened at first: some are near-duplicates or neighbours
_TRIES: Final = 3  # the first may learn of another model than the last search, the second of a switch just made
_MODELS_KNOWN: Final = 10_000  # tenants with another model than the default: some 2 MB


@dataclass(frozen=True, slots=True)
class _Allowed:
    id: UUID
    live_attempt: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A request with the vector of its query by `model`; `failure`: of that model's embedder."""

    request: SearchRequest
    model: str
    vector: Numbers | None = None
    failure: ProviderError | None = None


class ContextSearch:
    """The searcher of a process."""

    def __init__(
        self,
        db: TenantDatabase,
        embedders: Embedders,
        cache: SegmentCache | None = None,
        reranker: Reranker | None = None,
    ) -> None:
        self._db = db
        self._embedders = embedders
        self._reranker = reranker
        self._cache = cache or SegmentCache()
        self._models: OrderedDict[TenantId, str] = OrderedDict()  # as they were; of others it is the default

    async def search(self, principal: Principal, request: SearchRequest) -> SearchResult:
        """The best first, of what the principal may see. Raises InvalidInput; ProviderError for a vector search whose
        embedder fails (a hybrid one goes by words alone and says so)."""
        return (await self.answer(principal, request))[0]

    async def nearest(self, tx: Transaction, asked: Asked) -> tuple[Candidates, OpenIndex]:
        """What a vector search ranks for this vector, and of which index."""
        index = await open_index(tx, self._cache)
        by_vector = Asked(SearchRequest(query="", mode="vector"), asked.model, asked.vector)
        return await self._candidates(tx, index, by_vector), index

    async def answer(self, principal: Principal, request: SearchRequest) -> tuple[SearchResult, Asked]:
        """As `search`, with what was asked of the index."""
        if request.rerank and self._reranker is None:
            raise InvalidInput({"rerank": NO_RERANKER})
        async with self._opened(principal, request) as (tx, index, asked):
            degraded = asked.failure is not None
            if not request.rerank or self._reranker is None:
                return SearchResult(results=await self._passages(tx, index, asked), degraded=degraded), asked
            ids, scores = rank(request.mode, asked.vector, await self._candidates(tx, index, asked))
            count = reranked_count(request.limit)
            ranked = Ranked(*await _rows(tx, ids[:count], scores[:count]), await tx.cipher())
        ranked, is_reranked = await rerank(self._reranker, request.query, ranked)
        return SearchResult(results=assemble(ranked, request), degraded=degraded or not is_reranked), asked

    async def candidates(self, principal: Principal, request: SearchRequest) -> tuple[Candidates, Numbers | None]:
        """What a search would rank, and the vector of its query: for measuring. Raises as `search`."""
        async with self._opened(principal, request) as (tx, index, asked):
            return await self._candidates(tx, index, asked), asked.vector

    @asynccontextmanager
    async def _opened(
        self, principal: Principal, request: SearchRequest
    ) -> AsyncIterator[tuple[Transaction, OpenIndex, Asked]]:
        """A transaction, the index in it, and the question by the index's model, which was embedded before."""
        _check(request)
        for _ in range(_TRIES):
            model = self._models.get(principal.tenant_id, self._embedders.default.name)
            asked = await self._embed(request, model)
            # A merge takes segments away and shows another: no statement may see both, or neither.
            async with self._db.transaction(principal, is_snapshot=True) as tx:
                index = await open_index(tx, self._cache)
                if request.mode != "text" and index.model not in {None, model}:
                    self._note_model(principal.tenant_id, str(index.model))
                    continue
                if asked.failure is not None and request.mode == "vector":
                    raise asked.failure
                yield tx, index, asked
                return
        raise Unavailable("The index is changing its model; try again.")

    def _note_model(self, tenant_id: TenantId, model: str) -> None:
        self._models[tenant_id] = model
        self._models.move_to_end(tenant_id)
        if len(self._models) > _MODELS_KNOWN:
            self._models.popitem(last=False)

    async def _embed(self, request: SearchRequest, model: str) -> Asked:
        if request.mode == "text":
            return Asked(request, model)
        try:
            async with self._embedders.use(model) as embedder:
                vector: Numbers = (await embedder.embed([request.query], purpose="query")).vectors[0]
        except ProviderError as error:
            return Asked(request, model, failure=error)
        return Asked(request, model, vector if vector.any() else None)

    async def _passages(self, tx: Transaction, index: OpenIndex, asked: Asked) -> list[SearchHit]:
        """As many as asked for where there are as many, also where most of what is likely says the same."""
        hits: list[SearchHit] = []
        for breadth in _BREADTHS:
            found = await self._candidates(tx, index, asked, breadth)
            assembler = await _show(tx, *rank(asked.request.mode, asked.vector, found), asked.request)
            hits = assembler.hits()
            if assembler.is_full or len(hits) == asked.request.limit or found.is_whole:
                break
        return hits

    async def _candidates(self, tx: Transaction, index: OpenIndex, asked: Asked, breadth: int = 1) -> Candidates:
        request, chosen = asked.request, asked.request.filter
        text_scores = await index.text_scores(tx, await _terms(tx, request, index.languages))
        allowed = await _allowed(tx, index, chosen) if _narrows(chosen) else None
        found, looked_at = await self._look(tx, index, asked, text_scores, allowed, breadth)
        is_crowded = found.size < min(request.limit, looked_at) or 2 * found.size < looked_at
        if is_crowded and allowed is None:
            # What may not be seen is in the way: look again, among what may.
            allowed = await _allowed(tx, index, chosen)
            found, _ = await self._look(tx, index, asked, text_scores, allowed, breadth)
        return found

    async def _look(
        self,
        tx: Transaction,
        index: OpenIndex,
        asked: Asked,
        text_scores: Numbers,
        allowed: Numbers | None,
        breadth: int,
    ) -> tuple[Candidates, int]:
        """Those of the promising ones that may be shown, and how many were looked at."""
        likely, is_whole = await self._likely(tx, index, asked, text_scores, allowed, breadth)
        places = await self._promising(tx, index, asked, text_scores, likely, breadth)
        found = await check_candidates(tx, index, places, text_scores, asked.model, asked.vector)
        return replace(found, is_whole=is_whole and len(places) == len(likely)), len(places)

    async def _promising(
        self, tx: Transaction, index: OpenIndex, asked: Asked, text_scores: Numbers, likely: Numbers, breadth: int
    ) -> Numbers:
        """Of the likely places those that may be ranked high by both: vectors are read of few."""
        count = max(_CHECKED, _CHECKED_SHARE * asked.request.limit * breadth)
        if asked.vector is None or asked.request.mode != "hybrid" or len(likely) <= count:
            return likely
        near = await index.similarities(tx, self._cache, asked.vector, likely)
        if near is None:
            return likely
        scores = fuse(near, text_scores[likely], vector_weight=_CHECKED_VECTOR_WEIGHT)
        return np.sort(likely[np.argpartition(-scores, count)[:count]])

    async def _likely(
        self,
        tx: Transaction,
        index: OpenIndex,
        asked: Asked,
        text_scores: Numbers,
        allowed: Numbers | None,
        breadth: int,
    ) -> tuple[Numbers, bool]:
        """The places of chunks that may be among the best, which rise, and whether they are all that can be."""
        least = min(_LIMIT_SHARE * asked.request.limit * breadth, _MOST)
        by_words, by_meaning = max(_BY_WORDS, least), max(_BY_MEANING, least)
        likely = [_best_places(text_scores, by_words, allowed)]
        is_whole = len(likely[0]) < by_words
        if asked.vector is not None:
            likely.append(await index.near(tx, self._cache, asked.vector, by_meaning, allowed))
            is_whole = is_whole and len(likely[1]) < by_meaning
        return np.unique(np.concatenate(likely)), is_whole


async def _terms(tx: Transaction, request: SearchRequest, languages: Sequence[str]) -> list[int]:
    if request.mode == "vector":
        return []
    hash_term = TermHasher(await tx.cipher())
    return [hash_term(term) for term, _ in query_terms(request.query, languages).most_common(_MAX_TERMS)]


async def _allowed(tx: Transaction, index: OpenIndex, chosen: SearchFilter) -> Numbers:
    """The places of all chunks that may be found."""
    labels = label_hashes(chosen.metadata, await tx.cipher())
    params: dict[str, object] = {
        "item_ids": None if chosen.item_ids is None else list(chosen.item_ids),
        "collection_ids": None if chosen.collection_ids is None else list(chosen.collection_ids),
        "type": chosen.type,
        "metadata": wanted_metadata(chosen.metadata),
        "labels": labels,
        **seen_by(tx.principal),
    }
    query = _sql["find_labelled" if labels else "find_allowed"]
    rows = await tx.fetch_all(_Allowed, query, params, prepare=False)
    return await index.places_of({row.id.bytes: row.live_attempt for row in rows})


def _narrows(chosen: SearchFilter) -> bool:
    given = (chosen.item_ids, chosen.collection_ids, chosen.type)
    return any(one is not None for one in given) or bool(chosen.metadata)


def _best_places(scores: Numbers, limit: int, allowed: Numbers | None) -> Numbers:
    places = np.flatnonzero(scores) if allowed is None else allowed[scores[allowed] > 0]
    if len(places) <= limit:
        return places
    return places[np.argpartition(-scores[places], limit)[:limit]]


def rank(mode: SearchMode, query: Numbers | None, candidates: Candidates) -> tuple[Numbers, Numbers]:
    """Ids of chunks (16 bytes each) and their scores, the best first; by id among equals, so that a repeat gives the
    same. `query` None: by words alone."""
    by_text, vectors = candidates.text_scores, candidates.vectors
    if not candidates.size:
        return candidates.chunk_ids, by_text
    is_found = by_text > 0
    if query is None:
        scores = by_text if mode == "text" else fuse(np.zeros_like(by_text), by_text)
    elif mode == "vector":
        scores, is_found = vectors @ query, np.any(vectors, axis=1)
    else:
        scores, is_found = rank_hybrid(query, vectors, by_text), is_found | np.any(vectors, axis=1)
    order = np.lexsort((candidates.chunk_ids, -scores))
    order = order[is_found[order]]
    return candidates.chunk_ids[order], scores[order]


async def _show(tx: Transaction, ids: Numbers, scores: Numbers, request: SearchRequest) -> Assembler:
    assembler = Assembler(await tx.cipher(), limit=request.limit, max_tokens=request.max_tokens)
    step = _SHOWN_SHARE * request.limit
    for first in range(0, len(ids), step):
        assembler.add_all(*await _rows(tx, ids[first : first + step], scores[first : first + step]))
        if assembler.is_full:
            break
    return assembler


async def _rows(tx: Transaction, ids: Numbers, scores: Numbers) -> tuple[list[Found], list[float]]:
    """What an ingestion has replaced since it was found is left out."""
    uuids = [to_uuid(chunk_id) for chunk_id in ids]
    params = {"tenant_id": tx.principal.tenant_id, "ids": uuids}
    rows = {row.id: row for row in await tx.fetch_all(Found, _sql["show_chunks"], params)}
    known = [(rows[one], score) for one, score in zip(uuids, scores.tolist(), strict=True) if one in rows]
    return [row for row, _ in known], [score for _, score in known]


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
