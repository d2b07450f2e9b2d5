"""Few large segments of many small ones, without what is dead in them.

A merge writes its segment unseen, in transactions of a bounded size; the last one shows it and takes away those it was
made of. A process that dies on the way has changed nothing that searches see: the next merge removes what it left.
A tenant's merges take turns by a lease in its row of context_indexes, which each transaction prolongs.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, LiteralString
from uuid import UUID

import numpy as np

from copilot_common.base.ids import new_id
from copilot_common.platform.background import in_background
from copilot_common.tenancy import Principal, TenantDatabase, Transaction
from copilot_domain.context.segments.store import (
    SegmentRow,
    add_codes,
    add_postings,
    add_segment,
    list_segments,
    load_codes,
    load_segments,
    scan_postings,
    sql,
    sum_segments,
)
from copilot_domain.context.segments.types import MAX_CHUNKS, Layout, Numbers, PostingLists, to_uuid

MERGE_AT: Final = 8
"""So many merged segments of one level make one of the next."""

MERGE_FRESH: Final = 16
"""So many fresh ones make one: each costs a search some 50 µs."""

MAX_FRESH_CHUNKS: Final = 1_024
"""Or as many as have so many chunks: their postings are in memory, some 1 KB a chunk."""

DEAD_SHARE: Final = 0.25
"""Of all chunks: beyond it every segment is rewritten."""

LEASE_SECONDS: Final = 30.0
"""Longer than any of a merge's transactions takes."""

_POSTINGS_AT_ONCE: Final = 1 << 16
"""Sorted and written together: some 1 MB and 12 ms. With four times as many a chat beside it waits twice as long for
PostgreSQL's log, and a merge takes a quarter less."""


class MergeBusy(Exception):
    """Another merge of the tenant's is at work, or has taken this one's place."""


@dataclass(frozen=True, slots=True)
class _LiveItem:
    id: UUID
    live_attempt: int
    attempts: int


@dataclass(frozen=True, slots=True)
class _Source:
    """A segment that goes into a merge: `ordinals` are what its chunks have in the new one, -1 for the dead."""

    id: UUID
    layout: Layout
    fresh: PostingLists | None
    ordinals: Numbers


def choose(segments: Sequence[SegmentRow]) -> list[SegmentRow]:
    """What should be merged next, the lowest level first; nothing where there are few of each."""
    for level in sorted({segment.level for segment in segments}):
        same = [segment for segment in segments if segment.level == level]
        if level == 0:
            is_due = _are_too_many_fresh(len(same), sum(segment.chunk_count for segment in same))
        else:
            is_due = len(same) >= MERGE_AT and len(_that_fit(same)) > 1
        if is_due:
            return _that_fit(same)
    return []


def _are_too_many_fresh(count: int, chunks: int) -> bool:
    return count >= MERGE_FRESH or chunks > MAX_FRESH_CHUNKS


def _are_too_many_dead(dead: int, chunks: int) -> bool:
    return dead > DEAD_SHARE * chunks and dead > MERGE_AT


async def _with_dead(tx: Transaction, segments: Sequence[SegmentRow]) -> list[SegmentRow]:
    """Some that have dead chunks, so that each merge for their sake removes some. Where none has, the count was wrong:
    it is set right."""
    sources = await _sources(tx, [segment.id for segment in segments])
    with_dead = {source.id for source in sources if (source.ordinals < 0).any()}
    if not with_dead:
        await tx.execute(sql["forget_dead"], {"tenant_id": tx.principal.tenant_id})
    return _that_fit([segment for segment in segments if segment.id in with_dead])


def _that_fit(segments: Sequence[SegmentRow]) -> list[SegmentRow]:
    chosen: list[SegmentRow] = []
    size = 0
    for segment in sorted(segments, key=lambda one: one.chunk_count):
        size += segment.chunk_count
        if size > MAX_CHUNKS and chosen:
            break
        chosen.append(segment)
    return chosen


async def is_merge_due(tx: Transaction, *, adding: int) -> bool:
    """Once there is a fresh segment of so many chunks more, which the transaction's end will write. What that does to
    the other levels the merge sees itself."""
    sums = await sum_segments(tx)
    if sums is None:
        return False
    return _are_too_many_fresh(sums.fresh_count + 1, sums.fresh_chunks + adding) or _are_too_many_dead(
        sums.dead_count, sums.chunks
    )


class Merger:
    """The merger of a process."""

    def __init__(self, db: TenantDatabase) -> None:
        self._db = db

    async def merge_all(self, principal: Principal) -> int:
        """Merges until `choose` finds nothing more; returns how many there were. Raises MergeBusy."""
        lease = _Lease(self._db, principal, new_id())
        async with lease.transaction("claim_merge"):
            pass
        count = 0
        while await self._merge_next(lease):
            count += 1
        async with lease.transaction("end_merge"):
            return count

    async def _merge_next(self, lease: "_Lease") -> bool:
        async with lease.transaction() as tx:
            await tx.execute(sql["drop_unfinished"], {"tenant_id": tx.principal.tenant_id})
            segments = await list_segments(tx)
            chosen = choose(segments)
            chunks = sum(segment.chunk_count for segment in segments)
            is_for_dead = not chosen and _are_too_many_dead(segments[0].dead_count if segments else 0, chunks)
            if is_for_dead:
                chosen = await _with_dead(tx, segments)
            sources = await _sources(tx, [segment.id for segment in chosen])
        languages = {language for segment in chosen for language in segment.languages}
        if not sources:
            return False
        level = max(1, max(segment.level for segment in chosen) + (not is_for_dead))
        await _merge(lease, sources, level, languages)
        return True


@dataclass(frozen=True, slots=True)
class _Lease:
    db: TenantDatabase
    principal: Principal
    id: UUID

    @asynccontextmanager
    async def transaction(self, hold: LiteralString = "hold_merge") -> AsyncIterator[Transaction]:
        """One that holds the lease. Raises MergeBusy where it is another's."""
        async with self.db.transaction(self.principal) as tx:
            params = {"tenant_id": self.principal.tenant_id, "merge_id": self.id, "seconds": LEASE_SECONDS}
            if not await tx.execute(sql[hold], params):
                raise MergeBusy
            yield tx


async def _merge(lease: _Lease, sources: Sequence[_Source], level: int, languages: Collection[str]) -> None:
    merged = _merged_layout(sources)
    new: UUID | None = None
    if merged.size:
        async with lease.transaction() as tx:
            new = await add_segment(tx, merged, level=level, languages=languages, is_visible=False)
            await _copy_codes(tx, sources, new)
        for low, high in _term_ranges(sources):
            async with lease.transaction() as tx:
                parts = await _gather(tx, sources, low, high)
            # Not within a transaction: it may have to wait for the thread.
            lists = await in_background(_sorted, parts)
            async with lease.transaction() as tx:
                await add_postings(tx, new, lists)
    async with lease.transaction() as tx:
        await _switch(tx, sources, new, dead=sum(source.layout.size for source in sources) - merged.size)


async def _sources(tx: Transaction, ids: Sequence[UUID]) -> list[_Source]:
    loaded = await load_segments(tx, ids)
    item_ids = {to_uuid(item) for layout, _ in loaded.values() for item in layout.item_ids}
    params = {"tenant_id": tx.principal.tenant_id, "ids": list(item_ids)}
    live = {item.id: item for item in await tx.fetch_all(_LiveItem, sql["find_attempts"], params)}
    sources: list[_Source] = []
    first = 0
    for one in ids:
        if one not in loaded:
            continue
        layout, fresh = loaded[one]
        is_alive = _living(layout, live)
        ordinals = np.where(is_alive, first + np.cumsum(is_alive) - 1, -1)
        first += int(is_alive.sum())
        sources.append(_Source(one, layout, fresh, ordinals))
    return sources


def _living(layout: Layout, live: dict[UUID, _LiveItem]) -> Numbers:
    """By ordinal. What is on its way in stays as well."""
    of_items = np.zeros(len(layout.item_ids), bool)
    for number, (item_id, attempt) in enumerate(zip(layout.item_ids, layout.attempts.tolist(), strict=True)):
        item = live.get(to_uuid(item_id))
        of_items[number] = item is not None and attempt in (item.live_attempt, item.attempts)
    living: Numbers = of_items[layout.item_numbers]
    return living


def _merged_layout(sources: Sequence[_Source]) -> Layout:
    masks = [source.ordinals >= 0 for source in sources]
    firsts = np.cumsum([0, *(len(source.layout.item_ids) for source in sources)])
    numbers = np.concatenate(
        [
            source.layout.item_numbers[mask].astype(np.int64) + first
            for source, mask, first in zip(sources, masks, firsts, strict=False)
        ]
    )
    kept, numbers = np.unique(numbers, return_inverse=True)
    return Layout(
        np.concatenate([source.layout.chunk_ids[mask] for source, mask in zip(sources, masks, strict=True)]),
        np.concatenate([source.layout.lengths[mask] for source, mask in zip(sources, masks, strict=True)]),
        numbers.astype("<u4"),
        np.concatenate([source.layout.item_ids for source in sources])[kept],
        np.concatenate([source.layout.attempts for source in sources])[kept],
    )


async def _copy_codes(tx: Transaction, sources: Sequence[_Source], new: UUID) -> None:
    """Of each model that all of them have."""
    models = await tx.fetch_value(
        sql["find_models"], {"tenant_id": tx.principal.tenant_id, "ids": [source.id for source in sources]}
    )
    for model in models if isinstance(models, list) else []:
        codes = await load_codes(tx, [source.id for source in sources], model)
        matrices = [
            np.frombuffer(codes[source.id], np.uint8).reshape(source.layout.size, -1)[source.ordinals >= 0]
            for source in sources
        ]
        await add_codes(tx, new, model, np.concatenate(matrices))


def _term_ranges(sources: Sequence[_Source]) -> list[tuple[int, int]]:
    """Terms are hashes: equal ranges of them hold about equally many postings."""
    postings = sum(int(source.layout.lengths.sum(dtype=np.int64)) for source in sources)
    count = postings // _POSTINGS_AT_ONCE + 1
    bounds = [-(1 << 63) + (1 << 64) * number // count for number in range(count + 1)]
    return [(low, high - 1) for low, high in pairwise(bounds)]


async def _gather(
    tx: Transaction, sources: Sequence[_Source], low: int, high: int
) -> list[tuple[Numbers, Numbers, Numbers]]:
    """Terms, ordinals and counts of each source."""
    parts: list[tuple[Numbers, Numbers, Numbers]] = []
    for source in sources:
        if source.fresh:
            parts.append(_fresh_part(source, low, high))
        else:
            terms, postings = await scan_postings(tx, source.id, low, high)
            parts.append((terms, source.ordinals[postings.ordinals], postings.counts))
    return parts


def _sorted(parts: Sequence[tuple[Numbers, Numbers, Numbers]]) -> PostingLists:
    terms, ordinals, counts = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    living = ordinals >= 0
    return PostingLists.gather(terms[living], ordinals[living], counts[living])


def _fresh_part(source: _Source, low: int, high: int) -> tuple[Numbers, Numbers, Numbers]:
    if source.fresh is None:
        raise RuntimeError("only a fresh segment carries its postings")
    terms = source.fresh.flat_terms()
    part = slice(int(np.searchsorted(terms, low)), int(np.searchsorted(terms, high, side="right")))
    return terms[part], source.ordinals[source.fresh.ordinals[part]], source.fresh.counts[part]


async def _switch(tx: Transaction, sources: Sequence[_Source], new: UUID | None, *, dead: int) -> None:
    key = {"tenant_id": tx.principal.tenant_id, "ids": [source.id for source in sources]}
    if new is not None:
        await tx.execute(sql["show_segment"], {**key, "id": new})
    await tx.execute(sql["delete_segments"], key)
    if dead:
        await tx.execute(sql["count_dead"], {**key, "count": -dead})
