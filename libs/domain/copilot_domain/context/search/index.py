"""A tenant's segments as one search sees them: all chunks in one row, each at its place."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Final
from uuid import UUID

import numpy as np

from copilot_common.tenancy import Transaction
from copilot_domain.context.segments.bm25 import bm25_scores
from copilot_domain.context.segments.cache import SegmentCache
from copilot_domain.context.segments.codes import Codes, similarities
from copilot_domain.context.segments.store import list_segments
from copilot_domain.context.segments.types import Layout, Numbers, PostingLists, Postings

_THREADS: Final = 2  # for what is larger: each holds some 24 bytes a chunk, and more would only share the cores
_INLINE_CHUNKS: Final = 65_536  # below this, computing takes less than 1 ms, and a thread's hand-over half of one


@dataclass(frozen=True, slots=True)
class OpenIndex:
    """`model`: of the vectors, None without segments. `codes`: by it, None for a segment that has none, or if they were
    not asked for. `starts`: the place of each segment's first chunk, and their number at the end."""

    model: str | None
    ids: Sequence[UUID]
    layouts: Sequence[Layout]
    fresh: Sequence[PostingLists | None]
    codes: Sequence[Codes | None]
    languages: Sequence[str]
    term_total: int
    starts: Numbers

    @property
    def size(self) -> int:
        return int(self.starts[-1])

    @property
    def stored(self) -> list[UUID]:
        """The segments whose posting lists are not in memory."""
        return [one for one, fresh in zip(self.ids, self.fresh, strict=True) if fresh is None]

    async def text_scores(self, terms: Sequence[int], found: Mapping[UUID, Mapping[int, Postings]]) -> Numbers:
        """BM25 by place. `found`: of the stored segments the posting lists of these terms, and perhaps of others."""
        lists = [
            _chosen(found.get(one, {}), terms) if fresh is None else fresh.find(terms)
            for one, fresh in zip(self.ids, self.fresh, strict=True)
        ]
        return await self._compute(bm25_scores, self.layouts, lists, self.term_total)

    async def vector_scores(self, vector: Numbers) -> Numbers:
        """About the products of this vector with the chunks', by place; -inf where there are no codes."""
        return await self._compute(_vector_scores, self.codes, [layout.size for layout in self.layouts], vector)

    def chunks(self, places: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        """Of these places, which rise: ids of chunks and of their items, in 16 bytes each, and attempts."""
        parts = np.split(places, np.searchsorted(places, self.starts[1:-1]))
        found = [
            _chunks(layout, part - start)
            for layout, start, part in zip(self.layouts, self.starts, parts, strict=False)
            if len(part)
        ]
        if not found:
            return np.empty(0, "V16"), np.empty(0, "V16"), np.empty(0, np.int32)
        chunk_ids, item_ids, attempts = zip(*found, strict=True)
        return np.concatenate(chunk_ids), np.concatenate(item_ids), np.concatenate(attempts)

    async def _compute(self, function: Callable[..., Numbers], *args: object) -> Numbers:
        """In a thread where it would hold up the event loop."""
        if self.size <= _INLINE_CHUNKS:
            return function(*args)
        return await asyncio.get_running_loop().run_in_executor(_threads(), function, *args)

    async def places_of(self, items: Mapping[bytes, int]) -> Numbers:
        """Where chunks of these items (by the bytes of their ids) in these attempts are."""
        return await self._compute(self._places_of, items)

    def _places_of(self, items: Mapping[bytes, int]) -> Numbers:
        masks = []
        for layout in self.layouts:
            pairs = zip(layout.item_ids.tolist(), layout.attempts.tolist(), strict=True)
            is_wanted = np.fromiter((items.get(one) == attempt for one, attempt in pairs), bool)
            masks.append(is_wanted[layout.item_numbers])
        return np.flatnonzero(np.concatenate(masks)) if masks else np.empty(0, np.int64)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="search")


async def open_index(tx: Transaction, cache: SegmentCache, *, with_codes: bool) -> OpenIndex:
    rows = await list_segments(tx)
    known = await cache.segments(tx, [row.id for row in rows])
    rows = [row for row in rows if row.id in known]
    model = rows[0].model if rows else None
    sizes = {row.id: row.chunk_count for row in rows}
    codes = await cache.codes(tx, sizes, model) if model and with_codes else {}
    return OpenIndex(
        model,
        [row.id for row in rows],
        [known[row.id][0] for row in rows],
        [known[row.id][1] for row in rows],
        [codes.get(row.id) for row in rows],
        sorted({language for row in rows for language in row.languages}),
        sum(row.term_total for row in rows),
        np.cumsum([0, *sizes.values()]),
    )


def _chosen(lists: Mapping[int, Postings], terms: Sequence[int]) -> dict[int, Postings]:
    return {term: lists[term] for term in terms if term in lists}


def _vector_scores(codes: Sequence[Codes | None], sizes: Sequence[int], vector: Numbers) -> Numbers:
    parts = [
        np.full(size, -np.inf, np.float32) if one is None else similarities(one, vector)
        for one, size in zip(codes, sizes, strict=True)
    ]
    return np.concatenate(parts) if parts else np.empty(0, np.float32)


def _chunks(layout: Layout, ordinals: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    items = layout.item_numbers[ordinals]
    return layout.chunk_ids[ordinals], layout.item_ids[items], layout.attempts[items]
