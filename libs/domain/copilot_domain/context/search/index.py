"""A tenant's segments as one search sees them: all chunks in one row, each at its place."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Final, TypeVar
from uuid import UUID

import numpy as np

from copilot_common.tenancy import Transaction
from copilot_domain.context.columns import GUIDE_DIMENSIONS
from copilot_domain.context.segments.bm25 import TermScores, add_up, length_norms, score_terms
from copilot_domain.context.segments.cache import KnownTerms, SegmentCache
from copilot_domain.context.segments.codes import UNKNOWN, Codes, encode_questions, nearness
from copilot_domain.context.segments.places import by_segment
from copilot_domain.context.segments.read_vectors import ReadVectors
from copilot_domain.context.segments.store import list_segments
from copilot_domain.context.segments.types import (
    Layout,
    Numbers,
    PlacedPostings,
    PostingLists,
    SpreadPostings,
    place_postings,
)

_THREADS: Final = 2  # for what is larger: each holds some 8 bytes a chunk and question; more would only share cores
# So many are gone over in a millisecond or less. As long takes a thread's hand-over, with both cores busy, and what it
# does takes twice as long as here.
_INLINE_CHUNKS: Final = 262_144
_PRODUCTS: Final = 2  # with a vector count as one: for most of their time PostgreSQL's answer is waited for anyhow
_LOOK_UP: Final = 32  # as long as so many chunks takes looking up an item
_POSTING: Final = 4  # as long as so many chunks takes scoring one
_FRESH_LIST: Final = 256  # and so many, looking for a term in a fresh segment: most have few of a group's
_POSTINGS_AT_ONCE: Final = 262_144  # are scored: some 7 MB
_TERMS_PER_PASS: Final = 16  # of a question: scores of their chunks are added as fast

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Items:
    """Of some chunks: ids of 16 bytes each, attempts, and for each chunk the number of its item among these. One of
    which chunks are in several segments is there for each."""

    ids: Numbers
    attempts: Numbers
    numbers: Numbers


@dataclass(frozen=True)
class OpenIndex:
    """`model`: of the vectors, None without segments. `codes`: by it, None for a segment that has none, or if they were
    not asked for. `starts`: the place of each segment's first chunk, and their number at the end. `known`: of these
    segments. `vectors`: by the model, None where there is no room for all, or without a question that has one."""

    model: str | None
    ids: Sequence[UUID]
    layouts: Sequence[Layout]
    fresh: Sequence[PostingLists | None]
    codes: Sequence[Codes | None]
    languages: Sequence[str]
    term_total: int
    dimensions: int
    starts: Numbers
    known: KnownTerms
    vectors: ReadVectors | None
    _terms: dict[int, TermScores] = field(default_factory=dict, init=False)

    @property
    def size(self) -> int:
        return int(self.starts[-1])

    @property
    def stored(self) -> list[UUID]:
        """The segments whose posting lists are not in memory."""
        return [one for one, fresh in zip(self.ids, self.fresh, strict=True) if fresh is None]

    @cached_property
    def _stored_starts(self) -> Numbers:
        """Of these, in their order."""
        return self.starts[:-1][[fresh is None for fresh in self.fresh]].astype(np.uint32)

    def unscored(self, terms: Sequence[int]) -> list[int]:
        """Those whose postings must be found."""
        for term in terms:
            scores = None if term in self._terms else self.known.get(term)
            if scores is not None:
                # Held here from now on: before they are used, others may take their place among the known.
                self._terms[term] = scores
        return [term for term in terms if term not in self._terms]

    async def score_together(self, terms: Sequence[int], found: Mapping[int, SpreadPostings]) -> None:
        """What several questions ask for, where it is not much: else one with long lists would hold up the others.
        `found`: of the stored segments the posting lists of those terms."""
        if sum(one.count for one in found.values()) <= _POSTINGS_AT_ONCE:
            await self._score(self.unscored(terms), found)

    async def text_scores(self, terms: Sequence[int], found: Mapping[int, SpreadPostings]) -> Numbers:
        """BM25 by place. `found`: of the stored segments the posting lists of those terms that are not scored yet, and
        perhaps of others."""
        await self._score(self.unscored(terms), found)
        scores = [self._terms[term] for term in terms]
        return await self._compute(self.size * -(-len(terms) // _TERMS_PER_PASS), add_up, self.size, scores)

    async def _score(self, terms: Sequence[int], found: Mapping[int, SpreadPostings]) -> None:
        fresh = sum(one is not None for one in self.fresh)
        for run, count in _runs(terms, found):
            some = self.unscored(run)
            if not some:  # others have scored them meanwhile
                continue
            work = self.size + count * _POSTING + len(some) * fresh * _FRESH_LIST
            scores = await self._compute(work, self._compute_scores, some, found)
            self._terms.update(scores)
            for term in some if self.ids else ():
                self.known.put(term, scores[term])

    def _compute_scores(self, terms: Sequence[int], found: Mapping[int, SpreadPostings]) -> dict[int, TermScores]:
        parts: dict[int, list[PlacedPostings]] = {term: [] for term in terms}
        stored = [term for term in terms if term in found]
        placed = place_postings([found[term] for term in stored], self._stored_starts)
        for term, postings in zip(stored, placed, strict=True):
            parts[term].append(postings)
        for start, fresh in zip(self.starts.tolist(), self.fresh, strict=False):
            for term, one in fresh.find(terms).items() if fresh is not None else ():
                parts[term].append(PlacedPostings(one.ordinals + np.uint32(start), one.counts))
        return dict(zip(terms, score_terms(list(parts.values()), self._norms), strict=True))

    @cached_property
    def _norms(self) -> Numbers:
        return length_norms(self.layouts, self.term_total)

    async def vector_scores(self, vectors: Sequence[Numbers]) -> Sequence[Numbers]:
        """For each of these vectors how near the chunks' are (`nearness`), by place; UNKNOWN where there are no
        codes."""
        products = self.size * len(vectors)
        return list(await self._compute(products // _PRODUCTS, self._vector_scores, np.stack(vectors)))

    def _vector_scores(self, vectors: Numbers) -> Numbers:
        questions = encode_questions(vectors)
        parts = [
            np.full((len(vectors), layout.size), UNKNOWN, np.int32) if codes is None else nearness(codes, questions)
            for codes, layout in zip(self.codes, self.layouts, strict=True)
        ]
        return np.concatenate(parts, axis=1) if parts else np.empty((len(vectors), 0), np.int32)

    def chunk_ids(self, places: Numbers) -> Numbers:
        """Of these places, which rise, in 16 bytes each."""
        parts = by_segment(places, self.starts)
        found = [self.layouts[segment].chunk_ids[ordinals] for segment, _, ordinals in parts]
        return np.concatenate(found) if found else np.empty(0, "V16")

    def items(self, places: Numbers) -> Items:
        """Whose the chunks at these places are, which rise."""
        ids, attempts = np.empty(len(places), "V16"), np.empty(len(places), np.int32)
        numbers, first = np.empty(len(places), np.int64), 0  # of the items, one segment's after the other's
        for segment, rows, ordinals in by_segment(places, self.starts):
            layout = self.layouts[segment]
            items = layout.item_numbers[ordinals]
            ids[rows], attempts[rows], numbers[rows] = layout.item_ids[items], layout.attempts[items], items + first
            first += len(layout.item_ids)
        _, firsts, each = np.unique(numbers, return_index=True, return_inverse=True)
        return Items(ids[firsts], attempts[firsts], each)

    async def _compute(self, chunks: int, function: Callable[..., Result], *args: object) -> Result:
        """In a thread where it would hold up the event loop. `chunks`: how many the function goes over, in all passes
        together."""
        if chunks <= _INLINE_CHUNKS:
            return function(*args)
        return await asyncio.get_running_loop().run_in_executor(_threads(), function, *args)

    async def places_of(self, items: Mapping[bytes, int]) -> Numbers:
        """Where chunks of these items (by the bytes of their ids) in these attempts are."""
        known = sum(len(layout.item_ids) for layout in self.layouts)
        return await self._compute(self.size + known * _LOOK_UP, self._places_of, items)

    def _places_of(self, items: Mapping[bytes, int]) -> Numbers:
        masks = []
        for layout in self.layouts:
            pairs = zip(layout.item_ids.tolist(), layout.attempts.tolist(), strict=True)
            is_wanted = np.fromiter((items.get(one) == attempt for one, attempt in pairs), bool)
            masks.append(is_wanted[layout.item_numbers])
        return np.flatnonzero(np.concatenate(masks)) if masks else np.empty(0, np.int64)


def _runs(terms: Sequence[int], found: Mapping[int, SpreadPostings]) -> Iterator[tuple[list[int], int]]:
    """Terms in their order, and how many postings they have: so many terms as have at most _POSTINGS_AT_ONCE together,
    or one."""
    some: list[int] = []
    total = 0
    for term in terms:
        count = found[term].count if term in found else 0
        if some and total + count > _POSTINGS_AT_ONCE:
            yield some, total
            some, total = [], 0
        some.append(term)
        total += count
    if some:
        yield some, total


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="search")


async def open_index(tx: Transaction, cache: SegmentCache, vector: Numbers | None) -> OpenIndex:
    """`vector`: one of the questions', None where they have none."""
    dimensions = GUIDE_DIMENSIONS if vector is None else len(vector)
    rows = await list_segments(tx)
    known = await cache.segments(tx, [row.id for row in rows])
    rows = [row for row in rows if row.id in known]
    model = rows[0].model if rows else None
    sizes = {row.id: row.chunk_count for row in rows}
    codes = await cache.codes(tx, sizes, model) if model and vector is not None else {}
    starts = np.cumsum([0, *sizes.values()])
    vectors = cache.vectors(sizes, model, dimensions) if model and vector is not None else None
    return OpenIndex(
        model,
        [row.id for row in rows],
        [known[row.id][0] for row in rows],
        [known[row.id][1] for row in rows],
        [codes.get(row.id) for row in rows],
        sorted({language for row in rows for language in row.languages}),
        sum(row.term_total for row in rows),
        dimensions,
        starts,
        cache.terms([row.id for row in rows]),
        None if vectors is None else ReadVectors(vectors, starts, dimensions),
    )
