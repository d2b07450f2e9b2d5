"""Posting lists of merged segments: rows of many neighbouring ones, of which each is found again."""

from itertools import pairwise
from uuid import UUID

import numpy as np
import pytest

from copilot_common.base.ids import new_id
from copilot_common.platform import migrate
from copilot_domain.context.segments.store import add_postings, find_postings, scan_postings
from copilot_domain.context.segments.types import Numbers, PostingLists, Postings
from integration.context.ground import ContextGround

LOWEST, HIGHEST = -(1 << 63), (1 << 63) - 1

SEGMENT = """
    INSERT INTO context_segments (tenant_id, id, level, chunk_count, term_total, languages, layout)
    VALUES (%s, %s, 1, 1, 1, '{}', '')
"""


@pytest.fixture
def lists() -> PostingLists:
    """Most of one posting, some of dozens or hundreds, among them the lowest and the highest terms there can be."""
    rng = np.random.default_rng(11)
    terms = np.unique([LOWEST, LOWEST + 1, HIGHEST - 1, HIGHEST, *rng.integers(-(1 << 62), 1 << 62, 1_200).tolist()])
    sizes = np.where(rng.random(len(terms)) < 0.05, rng.integers(100, 3_000, len(terms)), 1)
    sizes = np.where(rng.random(len(terms)) < 0.1, rng.integers(50, 220, len(terms)), sizes)
    ordinals = np.concatenate([np.arange(size) for size in sizes])
    return PostingLists.gather(np.repeat(terms, sizes), ordinals, rng.integers(1, 255, len(ordinals)))


async def stored(context: ContextGround, lists: PostingLists) -> UUID:
    segment_id = new_id()
    context.site.rows(SEGMENT, context.acme.tenant_id, segment_id)
    async with context.db.transaction(context.acme) as tx:
        await add_postings(tx, segment_id, lists)
    return segment_id


def same(one: Postings, other: Postings) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("ordinals", "counts"))


async def test_each_is_found_by_its_term_and_nothing_by_others(context: ContextGround, lists: PostingLists) -> None:
    segment_id = await stored(context, lists)
    terms = lists.terms.tolist()
    others = [term + 1 for term in terms[:-1] if term + 1 not in set(terms)]
    async with context.db.transaction(context.acme) as tx:
        found = await find_postings(tx, [new_id(), segment_id], [*terms, *others])
    assert found.keys() == set(terms)
    assert all(same(Postings.decode(*found[term].encoded), lists.at(place)) for place, term in enumerate(terms))
    assert all(one.segments == (1,) for one in found.values())


async def test_those_of_several_segments_come_with_the_number_of_theirs(
    context: ContextGround, lists: PostingLists
) -> None:
    first, second = await stored(context, lists), await stored(context, lists)
    term, place = int(lists.terms[7]), 7
    async with context.db.transaction(context.acme) as tx:
        found = (await find_postings(tx, [new_id(), second, new_id(), first], [term]))[term]
    assert sorted(found.segments) == [1, 3]
    assert all(same(Postings.decode(one), lists.at(place)) for one in found.encoded)


async def test_many_short_ones_share_a_row_and_a_long_one_is_alone(context: ContextGround, lists: PostingLists) -> None:
    await stored(context, lists)
    rows = context.site.rows("SELECT cardinality(terms), pg_column_size(b.*) FROM context_posting_blocks b")
    assert all(count == 1 or size < 2_000 for count, size in rows)
    sizes = 3 * np.diff(lists.starts.astype(int))
    is_long = sizes > 600
    assert len(rows) <= 2 * is_long.sum() + (sizes[~is_long] + 16).sum() / 1_250 + 1
    assert max(count for count, _ in rows) > 40


@pytest.mark.parametrize("count", [1, 2, 7, 40])
async def test_any_ranges_of_terms_together_are_all(context: ContextGround, lists: PostingLists, count: int) -> None:
    segment_id = await stored(context, lists)
    bounds = [
        LOWEST,
        *sorted(np.random.default_rng(count).choice(lists.terms, count - 1, replace=False).tolist()),
        HIGHEST + 1,
    ]
    parts: list[tuple[Numbers, Postings]] = []
    async with context.db.transaction(context.acme) as tx:
        for low, following in pairwise(bounds):
            parts.append(await scan_postings(tx, segment_id, low, following - 1))
    assert np.concatenate([terms for terms, _ in parts]).tolist() == lists.flat_terms().tolist()
    whole = Postings(*(np.concatenate([getattr(one, name) for _, one in parts]) for name in ("ordinals", "counts")))
    assert same(whole, Postings(lists.ordinals, lists.counts))


async def test_the_migration_puts_them_together_and_its_rollback_apart(
    context: ContextGround, lists: PostingLists
) -> None:
    await stored(context, lists)
    urls = migrate.DatabaseUrls(migration=context.site.database.owner_url, app=context.site.database.app_url)
    blocks = "SELECT first_term, terms, postings FROM context_posting_blocks ORDER BY first_term"
    before = context.site.rows(blocks)
    assert 17 in await migrate.down(urls, to_version=16)
    apart = context.site.rows("SELECT term, postings FROM context_postings ORDER BY term")
    assert apart == list(zip(lists.terms.tolist(), lists.each_encoded(), strict=True))
    assert 17 in await migrate.up(urls)
    assert context.site.rows(blocks) == before


async def test_a_build_for_an_earlier_schema_reads_and_writes_them(context: ContextGround, lists: PostingLists) -> None:
    """With its own statements, and of its tenant's alone."""
    insert = "INSERT INTO context_postings (tenant_id, segment_id, term, postings) VALUES (%s, %s, %s, %s)"
    find = (
        "SELECT term, postings FROM context_postings WHERE tenant_id = %s AND segment_id = ANY (%s) AND term = ANY (%s)"
    )
    segment_id, term = await stored(context, lists), int(lists.terms[5])
    async with context.db.transaction(context.acme) as tx:
        cursor = await tx.connection.execute(find, [context.acme.tenant_id, [segment_id], [term, term + 1]])
        assert await cursor.fetchall() == [(term, lists.each_encoded()[5])]
        await tx.execute(insert, [context.acme.tenant_id, segment_id, term + 1, b"abc"])
        found = await find_postings(tx, [segment_id], [term + 1])
        assert Postings.decode(*found[term + 1].encoded).counts.tolist() == [ord("c")]
    async with context.db.transaction(context.other) as tx:
        cursor = await tx.connection.execute("SELECT count(*) FROM context_postings")
        assert await cursor.fetchone() == (0,)
