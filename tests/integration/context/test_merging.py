"""Merges make few segments of many, and change nothing that searches see."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from copilot_common.base.ids import new_id
from copilot_common.queue import Job, JobFailed
from copilot_common.tenancy import Transaction
from copilot_context_service.ingesting import SegmentMerger
from copilot_domain.context.jobs import MergeSegments
from copilot_domain.context.search import reads
from copilot_domain.context.segments import merging, store
from copilot_domain.context.segments.merging import MergeBusy, Merger
from integration.context.ground import ContextGround

ANIMALS = ("walrus", "heron", "lynx", "otter", "badger")


def segments(context: ContextGround) -> list[tuple[int, int]]:
    return context.site.rows("SELECT level, chunk_count FROM context_segments ORDER BY level, id")


async def add_many(context: ContextGround, count: int, *, first: int = 0) -> list[Any]:
    numbers = range(first, first + count)
    return [await context.add(f"The {ANIMALS[number % 5]} of house {number} sleeps.") for number in numbers]


async def found(context: ContextGround) -> list[tuple[Any, ...]]:
    searches = [await context.search(f"sleeping {animal} house 7", limit=20) for animal in ANIMALS]
    return [(hit.chunk_id, hit.text, pytest.approx(hit.score, abs=1e-5)) for hits in searches for hit in hits]


async def merge(context: ContextGround) -> int:
    return await Merger(context.db).merge_all(context.acme)


async def test_a_merged_index_finds_what_the_fresh_one_found(context: ContextGround) -> None:
    await add_many(context, merging.MERGE_FRESH)
    await context.add("The walrus of another tenant sleeps.", by=context.other)
    before = await found(context)
    assert await merge(context) == 1
    assert segments(context) == [(0, 1), (1, merging.MERGE_FRESH)]  # the other tenant's is left alone
    assert await found(context) == before
    fresh = await context.add("The walrus came later.")
    assert (await context.search("late walrus", "text"))[0].item_id == fresh.id


async def test_levels_are_merged_when_there_are_enough_of_them(
    context: ContextGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "MERGE_FRESH", 2)
    monkeypatch.setattr(merging, "MERGE_AT", 2)
    for number in range(8):
        await add_many(context, 2, first=2 * number)
        await merge(context)
    assert segments(context) == [(4, 16)]
    assert len({hit.chunk_id for hit in await context.search("house", "text", limit=20)}) == 16


async def test_what_is_dead_goes_with_a_merge(context: ContextGround) -> None:
    items = await add_many(context, merging.MERGE_FRESH)
    await merge(context)
    for item in items[: merging.MERGE_FRESH // 2]:
        await context.delete(item.id)
    await context.change(items[-1].id, content="The lemur took its place.")
    await context.ingest(items[-1].id)
    before = await found(context)
    assert await merge(context) == 1
    left = merging.MERGE_FRESH - merging.MERGE_FRESH // 2
    assert sum(count for _, count in segments(context)) == left == context.count("context_chunks")
    assert context.site.rows("SELECT dead_count FROM context_indexes") == [(0,)]
    # Statistics have changed with what is gone, ranks have not.
    assert [one[:2] for one in await found(context)] == [one[:2] for one in before]


async def test_dead_chunks_of_a_segment_that_fits_no_other_go_too(
    context: ContextGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "MERGE_FRESH", 4)
    monkeypatch.setattr(merging, "MERGE_AT", 2)
    monkeypatch.setattr(merging, "MAX_CHUNKS", 12)
    items = []
    for first, count in ((0, 10), (10, 6)):
        items += await add_many(context, count, first=first)
        await merge(context)
    for item in [*items[:8], *items[10:13]]:
        await context.delete(item.id)
    assert await asyncio.wait_for(merge(context), 20) >= 1
    assert sum(count for _, count in segments(context)) == context.count("context_chunks") == 5
    assert context.site.rows("SELECT dead_count FROM context_indexes") == [(0,)]


async def test_a_count_of_dead_chunks_that_are_not_there_is_set_right(context: ContextGround) -> None:
    await add_many(context, 3)
    context.site.rows("UPDATE context_indexes SET dead_count = 1000")
    assert await asyncio.wait_for(merge(context), 20) == 0
    assert context.site.rows("SELECT dead_count FROM context_indexes") == [(0,)]


async def test_a_search_during_which_segments_are_merged_misses_nothing(
    context: ContextGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "MERGE_FRESH", 4)
    monkeypatch.setattr(merging, "MERGE_AT", 2)
    await add_many(context, 4)
    await merge(context)
    await add_many(context, 4, first=4)
    find_postings = store.find_postings

    async def merged_before(*args: Any) -> Any:
        monkeypatch.setattr(reads, "find_postings", find_postings)
        assert await merge(context) > 0
        return await find_postings(*args)

    monkeypatch.setattr(reads, "find_postings", merged_before)
    assert len(await context.search("house", "text", limit=20)) == 8
    assert [level for level, _ in segments(context)] == [2]
    assert len(await context.search("house", "text", limit=20)) == 8


async def test_an_index_of_which_all_is_dead_is_empty(context: ContextGround) -> None:
    items = await add_many(context, merging.MERGE_FRESH)
    for item in items:
        await context.delete(item.id)
    assert await merge(context) == 1
    assert segments(context) == []
    assert context.count("context_posting_blocks") == context.count("context_segment_codes") == 0


def before_transaction(patch: pytest.MonkeyPatch, number: int, happens: Callable[[], Awaitable[object]]) -> None:
    """Something happens before the merge begins this transaction of its own, counted from 1."""
    transaction = merging._Lease.transaction
    count = 0

    @asynccontextmanager
    async def counted(lease: merging._Lease, *args: Any) -> AsyncIterator[Transaction]:
        nonlocal count
        count += 1
        if count == number:
            await happens()
        async with transaction(lease, *args) as tx:
            yield tx

    patch.setattr(merging._Lease, "transaction", counted)


async def test_what_comes_in_during_a_merge_is_neither_lost_nor_doubled(
    context: ContextGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = await add_many(context, merging.MERGE_FRESH)
    before_transaction(monkeypatch, 4, lambda: context.add("The gannet flew in."))
    await merge(context)
    assert len(await context.search("gannet", "text")) == 1
    assert segments(context) == [(0, 1), (1, len(items))]


class Died(Exception):
    pass


async def test_a_merge_that_dies_changes_nothing_and_the_next_one_cleans_up(
    context: ContextGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_many(context, merging.MERGE_FRESH)
    before = await found(context)

    async def die(*_: object, **__: object) -> None:
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(merging, "_switch", die)
        with pytest.raises(Died):
            await merge(context)
    assert context.count("context_segments") == merging.MERGE_FRESH + 1
    assert await found(context) == before
    with pytest.raises(MergeBusy):  # until its lease has lapsed
        await merge(context)
    context.site.rows("UPDATE context_indexes SET merge_until = now() - interval '1 second'")
    assert await merge(context) == 1
    assert segments(context) == [(1, merging.MERGE_FRESH)]
    assert await found(context) == before


@pytest.mark.parametrize("number", [2, 3, 4, 5])
async def test_a_merge_whose_place_was_taken_writes_no_more(
    context: ContextGround, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """By one that began when this one seemed dead."""
    monkeypatch.setattr(merging, "MERGE_FRESH", 4)
    await add_many(context, 4)
    before = await found(context)

    async def take_over() -> None:
        context.site.rows("UPDATE context_indexes SET merge_id = gen_random_uuid(), merge_until = NULL")
        assert await merge(context) == 1

    before_transaction(monkeypatch, number, take_over)
    with pytest.raises(MergeBusy):
        await merge(context)
    assert segments(context) == [(1, 4)]
    assert await found(context) == before


async def test_an_ingestion_asks_for_a_merge_when_one_is_due(context: ContextGround) -> None:
    await add_many(context, merging.MERGE_FRESH - 1)
    query = "SELECT count(*) FROM jobs WHERE kind = 'context.merge/1'"
    assert context.site.rows(query) == [(0,)]
    await add_many(context, 2)
    assert context.site.rows(query) == [(1,)]


async def test_a_deletion_asks_for_a_merge(context: ContextGround) -> None:
    item = (await add_many(context, 1))[0]
    await context.delete(item.id)
    query = "SELECT status FROM jobs WHERE kind = 'context.merge/1'"
    assert context.site.rows(query) == [("scheduled",)]


@pytest.mark.parametrize(("failures", "seconds"), [(0, 1), (3, 8), (19, 30)])
async def test_a_merge_that_finds_another_at_work_comes_again_soon_at_first(
    context: ContextGround, failures: int, seconds: int
) -> None:
    """While it waits no other one is asked for."""
    await context.add("A hare.")
    async with context.db.transaction(context.acme) as tx:
        params = {"tenant_id": context.acme.tenant_id, "merge_id": new_id(), "seconds": 60}
        assert await tx.execute(store.sql["claim_merge"], params)
    job = Job(new_id(), 1, MergeSegments(), context.acme, failures)
    with pytest.raises(JobFailed) as failed:
        await SegmentMerger(Merger(context.db))(job)
    assert (failed.value.code, failed.value.pause) == ("MERGE_BUSY", timedelta(seconds=seconds))
