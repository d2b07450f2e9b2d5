"""One question's way from its candidates to its passages, within a transaction that others may share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Final, Protocol, TypeVar
from uuid import UUID

import numpy as np

from copilot_common.base.errors import ProviderError
from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Principal
from copilot_domain.context.labels import label_hashes
from copilot_domain.context.repository import seen_by, wanted_metadata
from copilot_domain.context.search.candidates import Candidates
from copilot_domain.context.search.likely import Scores, likely_places, promising_places
from copilot_domain.context.search.passages import Assembler, Found
from copilot_domain.context.search.ranking import Ranking, rank
from copilot_domain.context.search.reads import Reads
from copilot_domain.context.search.reranking import Ranked, Shortlist
from copilot_domain.context.segments.types import Numbers
from copilot_domain.context.terms import TermHasher, query_terms
from copilot_domain.context.types import SearchFilter, SearchHit, SearchRequest

_sql = Queries(__package__)

_NO_PLACES: Final = np.empty(0, np.int64)
_BREADTHS: Final = (1, 16)  # so many times as many are looked at first, and where too few passages come of them
_MORE: Final = 24  # times as many as last, of those not looked at yet, where nearly all say the same
_MAX_TERMS: Final = 64  # of a query: those it has most often
_MOST_SHOWN: Final = 160  # are opened at once: some 10 ms of the event loop


@dataclass(frozen=True, slots=True)
class _Allowed:
    id: UUID
    live_attempt: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A request with the vector of its query by `model`; `failure`: of that model's embedder."""

    principal: Principal
    request: SearchRequest
    model: str
    vector: Numbers | None = None
    failure: ProviderError | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """`ranked`: what is to be reranked first, where that was asked for; then there are no hits yet."""

    asked: Asked
    hits: list[SearchHit]
    ranked: Ranked | None = None


class _Takes(Protocol):
    """Takes what was found, from the best down."""

    @property
    def is_full(self) -> bool: ...

    @property
    def has_enough(self) -> bool: ...

    def needs(self, places: Numbers) -> int:
        """How many of the chunks at these places, the best first, it is likely to take."""

    def add_all(self, rows: Sequence[Found], scores: Sequence[float], vectors: Numbers) -> None: ...


_Taker = TypeVar("_Taker", bound=_Takes)


async def answer(reads: Reads, asked: Asked) -> Answer:
    request, cipher = asked.request, await reads.tx.cipher()
    if asked.failure is not None and request.mode == "vector":
        raise asked.failure
    if request.rerank:
        shortlist = await _fill(reads, asked, partial(Shortlist, cipher, request.limit))
        return Answer(asked, [], shortlist.ranked())
    new = partial(Assembler, cipher, limit=request.limit, max_tokens=request.max_tokens)
    return Answer(asked, (await _fill(reads, asked, new)).hits())


async def _fill(reads: Reads, asked: Asked, new: Callable[[], _Taker]) -> _Taker:
    """With enough where there is enough, also where most of what is likely says the same."""
    taker, seen = new(), _NO_PLACES
    for breadth in (*_BREADTHS, *repeat(_BREADTHS[-1], _MORE)):
        found = await find_candidates(reads, asked, breadth, seen)
        ranking = rank(asked.request.mode, asked.vector, found)
        await _show(reads, taker, ranking)
        if taker.has_enough or found.is_whole:
            break
        if breadth < _BREADTHS[-1]:
            taker = new()  # all are ranked anew, among more
        else:
            seen = np.union1d(seen, found.looked_at)
    return taker


async def _show(reads: Reads, taker: _Takes, ranking: Ranking) -> None:
    first, step = 0, min(taker.needs(ranking.places), _MOST_SHOWN)
    while first < ranking.size and not taker.is_full:
        taker.add_all(*await reads.rows(ranking.part(first, first + step)))
        first, step = first + step, min(2 * step, _MOST_SHOWN)


async def find_candidates(reads: Reads, asked: Asked, breadth: int = 1, seen: Numbers = _NO_PLACES) -> Candidates:
    """`seen`: places, rising, that are not looked at again."""
    request = asked.request
    terms = await _terms(reads, request)
    # Asked for in this order, nearness is computed while PostgreSQL looks for the words.
    postings = reads.postings(terms)
    nearness = None if asked.vector is None else reads.vector_scores(asked.vector)
    by_words = await reads.index.text_scores(terms, await postings)
    scores = Scores(by_words, None if nearness is None else await nearness)
    allowed = await _allowed(reads, asked) if _narrows(request.filter) else None
    found = await _look(reads, asked, scores, _without(seen, allowed, reads.index.size), breadth)
    looked_at = len(found.looked_at)
    is_crowded = found.size < min(request.limit, looked_at) or 2 * found.size < looked_at
    if is_crowded and allowed is None:
        # What may not be seen is in the way: look again, among what may.
        allowed = await _allowed(reads, asked)
        found = await _look(reads, asked, scores, _without(seen, allowed, reads.index.size), breadth)
    return found


def _without(seen: Numbers, allowed: Numbers | None, size: int) -> Numbers | None:
    """Of the allowed places (None: of all) those not seen."""
    if not len(seen):
        return allowed
    return np.setdiff1d(np.arange(size) if allowed is None else allowed, seen, assume_unique=True)


async def _look(reads: Reads, asked: Asked, scores: Scores, allowed: Numbers | None, breadth: int) -> Candidates:
    """Those of the promising ones that may be shown."""
    request = asked.request
    likely, is_whole = likely_places(scores, request.limit, breadth, allowed)
    places = promising_places(scores, likely, request.limit, breadth) if request.mode == "hybrid" else likely
    checked = await reads.check(asked.principal, places)
    is_whole = is_whole and len(places) == len(likely)
    by_words = scores.by_words[checked.places]
    return Candidates(checked.places, checked.chunk_ids, by_words, checked.vectors, places, is_whole)


async def _terms(reads: Reads, request: SearchRequest) -> list[int]:
    if request.mode == "vector":
        return []
    hash_term = TermHasher(await reads.tx.cipher())
    return [hash_term(term) for term, _ in query_terms(request.query, reads.index.languages).most_common(_MAX_TERMS)]


async def _allowed(reads: Reads, asked: Asked) -> Numbers:
    """The places of all chunks that may be found."""
    chosen = asked.request.filter
    labels = label_hashes(chosen.metadata, await reads.tx.cipher())
    params: dict[str, object] = {
        "item_ids": None if chosen.item_ids is None else list(chosen.item_ids),
        "collection_ids": None if chosen.collection_ids is None else list(chosen.collection_ids),
        "type": chosen.type,
        "metadata": wanted_metadata(chosen.metadata),
        "labels": labels,
        **seen_by(asked.principal),
    }
    query = _sql["find_labelled" if labels else "find_allowed"]
    rows = await reads.tx.fetch_all(_Allowed, query, params, prepare=False)
    return await reads.index.places_of({row.id.bytes: row.live_attempt for row in rows})


def _narrows(chosen: SearchFilter) -> bool:
    given = (chosen.item_ids, chosen.collection_ids, chosen.type)
    return any(one is not None for one in given) or bool(chosen.metadata)
