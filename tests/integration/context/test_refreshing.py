"""Pages that are fetched again by themselves. What is due is set back in the database; nobody waits."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from copilot_common.queue import Job, JobFailed, Ledger
from copilot_context_service.ingesting import ItemIngester
from copilot_domain.context import Item
from copilot_domain.context.jobs import IngestItem
from copilot_domain.context.refreshing import PageRefresher
from integration.context.ground import ContextGround
from support.receiver import Answer, Receiver, answer, receiver

HTML = "Content-Type: text/html"
PAGE = b"<p>The copper walrus signals from the harbour.</p>"
OTHER_PAGE = b"<p>The heron is back.</p>"
HOUR = 3_600
SAME = answer(b"", status="304 Not Modified")
GONE = answer(b"", status="404 Not Found")


def page(body: bytes = PAGE, *headers: str) -> Answer:
    return answer(body, headers=(HTML, *headers))


def refresher(context: ContextGround) -> PageRefresher:
    return PageRefresher(context.db, Ledger(lambda _: None))


def make_due(context: ContextGround, item_id: UUID | None = None) -> None:
    query = "UPDATE context_items SET next_fetch_at = now() - interval '1 second'"
    context.site.rows(f"{query} WHERE id = coalesce(%s, id) AND refresh_seconds IS NOT NULL RETURNING id", item_id)


def jobs(context: ContextGround) -> list[tuple[str, int]]:
    return context.site.rows("SELECT kind, class FROM jobs WHERE kind <> 'context.merge/1' ORDER BY id")


def chunk_ids(context: ContextGround) -> list[UUID]:
    return [row[0] for row in context.site.rows("SELECT id FROM context_chunks ORDER BY id")]


def seconds_left(context: ContextGround) -> float:
    """Until its next fetch."""
    query = "SELECT extract(epoch FROM next_fetch_at - now())::float FROM context_items WHERE next_fetch_at IS NOT NULL"
    return float(context.site.rows(query)[0][0])


async def refreshed(context: ContextGround, item: Item) -> Item:
    """As it is after its time has come."""
    make_due(context, item.id)
    assert await refresher(context).look() == 1
    assert (await context.get(item.id)).status == "pending"
    await context.ingestion.ingest(context.acme, item.id, context.generation(item.id), is_refresh=True)
    return await context.get(item.id)


@asynccontextmanager
async def page_of(context: ContextGround, *answers: Answer) -> AsyncIterator[tuple[Item, Receiver]]:
    """An item that is ready, and whose page is fetched again every hour."""
    async with receiver(*answers) as server:
        item = await context.add_url(f"http://127.0.0.1:{server.port}/page", HOUR)
        yield await context.ingested(item), server


async def test_a_page_is_due_a_while_after_its_last_fetch_and_says_so(context: ContextGround) -> None:
    async with page_of(context, page()) as (item, _):
        assert item.fetched_at is not None
        assert item.next_fetch_at is not None
        hour = timedelta(hours=1)
        assert hour <= item.next_fetch_at - item.fetched_at <= hour * 1.1
        assert await refresher(context).look() == 0
        make_due(context)
        assert await refresher(context).look() == 1
        assert await refresher(context).look() == 0  # its time is set onward before anything is fetched
        assert jobs(context)[-1] == ("context.refresh/1", 4)
        make_due(context)
        assert await refresher(context).look() == 0  # its ingestion is under way


async def test_a_page_that_the_server_says_is_the_same_is_not_cut_again(context: ContextGround) -> None:
    async with page_of(context, page(PAGE, 'ETag: "one"'), SAME) as (item, server):
        before = chunk_ids(context), context.count("context_segments"), context.count("blobs")
        again = await refreshed(context, item)
    assert (again.status, again.chunk_count, len(server.requests)) == ("ready", 1, 2)
    assert again.fetched_at is not None
    assert item.fetched_at is not None
    assert again.fetched_at > item.fetched_at
    assert before == (chunk_ids(context), context.count("context_segments"), context.count("blobs"))
    assert HOUR - 10 < seconds_left(context) < HOUR * 1.1


async def test_a_page_that_is_sent_again_but_the_same_is_not_cut_again(context: ContextGround) -> None:
    async with page_of(context, page()) as (item, _):
        before = chunk_ids(context)
        again = await refreshed(context, item)
    assert (again.status, chunk_ids(context), context.count("blobs"), context.orphans()) == ("ready", before, 2, 0)


async def test_a_reindex_cuts_it_again_whatever_the_server_says(context: ContextGround) -> None:
    async with page_of(context, page(PAGE, 'ETag: "one"'), SAME) as (item, _):
        before = chunk_ids(context)
        assert (await context.reindexed(item)).status == "ready"
    assert chunk_ids(context) != before


async def test_a_page_that_has_changed_is_found_by_its_new_words(context: ContextGround) -> None:
    async with page_of(context, page(), page(OTHER_PAGE)) as (item, _):
        assert (await refreshed(context, item)).size_bytes == len(OTHER_PAGE)
    assert (await context.search("walrus", "text"), len(await context.search("heron", "text"))) == ([], 1)


async def test_chunks_of_an_older_fetch_are_cut_anew_though_the_page_is_the_same_since(context: ContextGround) -> None:
    """The fetch between came to nothing after its bytes were stored."""
    async with page_of(context, page(), page(b"<p> </p>"), page(OTHER_PAGE, 'ETag: "2"'), SAME) as (item, _):
        assert (await refreshed(context, item)).status == "failed"
        assert len(await context.search("walrus", "text")) == 1
        assert (await refreshed(context, item)).status == "ready"
        assert len(await context.search("heron", "text")) == 1
        context.site.rows("UPDATE context_items SET live_tokenizer = 'another' RETURNING id")
        before = chunk_ids(context)
        assert (await refreshed(context, item)).status == "ready"
        assert chunk_ids(context) != before


async def test_fetches_that_fail_come_ever_later_and_what_was_there_stays_findable(context: ContextGround) -> None:
    waits = []
    async with page_of(context, page(), *([GONE] * 7), page(OTHER_PAGE)) as (item, _):
        for _ in range(7):
            assert (await refreshed(context, item)).status == "failed"
            waits.append(round(seconds_left(context) / HOUR / 1.05))
            assert len(await context.search("walrus", "text")) == 1
        assert (await refreshed(context, item)).status == "ready"
    assert waits[:4] == [1, 2, 4, 8]
    assert 22 <= waits[-1] <= 26  # a day, and its jitter
    assert seconds_left(context) < HOUR * 1.1


async def test_the_handler_gives_up_after_its_tries_and_the_old_chunks_stay(context: ContextGround) -> None:
    async with page_of(context, page(), answer(b"", status="503 Service Unavailable")) as (item, _):
        make_due(context)
        await refresher(context).look()
        handle = ItemIngester(context.ingestion, is_refresh=True)
        for failures, status in ((4, "processing"), (5, "failed")):
            payload = IngestItem(item.id, context.generation(item.id))
            with pytest.raises(JobFailed, match="FETCH_FAILED"):
                await handle(Job(id=uuid4(), fence=1, payload=payload, principal=context.acme, failures=failures))
            assert (await context.get(item.id)).status == status
    assert len(await context.search("walrus", "text")) == 1


async def test_a_page_whose_stored_bytes_are_gone_is_fetched_whole(context: ContextGround) -> None:
    lost = ("DELETE FROM blobs WHERE id = (SELECT source_id FROM context_items) RETURNING id",) * 2
    torn = "DELETE FROM blob_pieces WHERE blob_id = (SELECT source_id FROM context_items) RETURNING number"
    tagged = page(PAGE, 'ETag: "one"')
    async with page_of(context, tagged, tagged, tagged, tagged) as (item, server):
        context.site.rows(lost[0])
        assert (await context.reindexed(item)).status == "ready"
        context.site.rows(lost[1])
        assert (await refreshed(context, item)).status == "ready"
        context.site.rows(torn)
        assert (await context.reindexed(item)).status == "ready"
    asked = [request.headers.get("if-none-match") for request in server.requests]
    assert asked == [None] * 4
    assert (context.count("blobs"), context.orphans()) == (2, 0)


async def test_a_schedule_is_changed_and_ended_by_hand(context: ContextGround) -> None:
    async with page_of(context, page()) as (item, _):
        assert (await context.change(item.id, name="other")).refresh_seconds == HOUR
        faster = await context.change(item.id, refresh_seconds=300)
        assert faster.next_fetch_at is not None
        assert faster.fetched_at is not None
        assert faster.next_fetch_at - faster.fetched_at <= timedelta(seconds=330)
        ended = await context.change(item.id, refresh_seconds=None)
        assert (ended.refresh_seconds, ended.next_fetch_at) == (None, None)
        assert await refresher(context).look() == 0


async def test_nobody_fetches_for_somebody_who_has_left(context: ContextGround) -> None:
    async with page_of(context, page()) as (item, _):
        make_due(context)
        context.site.rows("UPDATE tenants SET status = 'suspended' WHERE slug = 'acme' RETURNING id")
        assert await refresher(context).look() == 0
        context.site.rows("UPDATE tenants SET status = 'active' WHERE slug = 'acme' RETURNING id")
        make_due(context)
        context.site.rows("DELETE FROM memberships WHERE user_id = %s RETURNING user_id", context.acme.user_id)
        assert await refresher(context).look() == 0
        left = await context.get(item.id)
        assert (left.refresh_seconds, left.next_fetch_at) == (HOUR, None)
    assert ("context.refresh/1", 4) not in jobs(context)


FILL = """
    INSERT INTO context_items (tenant_id, id, user_id, name_sealed, type, status, refresh_seconds, refresh_user_id,
        next_fetch_at)
    SELECT %s, gen_random_uuid(), %s, '', 'url', 'ready', 300, %s, now() + make_interval(secs => n)
    FROM generate_series(%s::integer, %s::integer) n RETURNING id
"""


def fill(context: ContextGround, who: str, first: int, last: int) -> None:
    """Pages due so many seconds from now."""
    credentials = context.site.acme if who == "acme" else context.site.other
    user = credentials.user_id
    context.site.rows(FILL, credentials.tenant_id, user, user, first, last)


async def test_a_tenant_with_many_due_pages_keeps_no_other_one_waiting(context: ContextGround) -> None:
    fill(context, "acme", -500, -100)
    fill(context, "other", -3, -1)
    look = refresher(context)
    assert await look.look() == 50 + 3
    assert await look.look() == 50
    per_tenant = dict(context.site.rows("SELECT tenant_id::text, count(*) FROM jobs GROUP BY 1"))
    assert per_tenant == {context.site.acme.tenant_id: 100, context.site.other.tenant_id: 3}


async def test_two_processes_ask_for_a_page_once(context: ContextGround, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(context, "acme", -5, -1)
    first, second = refresher(context), refresher(context)
    found = await second._find()
    assert await first.look() == 5

    async def stale() -> object:
        return found

    monkeypatch.setattr(second, "_find", stale)
    assert await second.look() == 0


async def test_a_page_that_cannot_be_asked_for_does_not_come_first_for_ever(
    context: ContextGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(context, "acme", -2, -1)

    async def broken(*_: object) -> bool:
        raise ValueError("something nobody thought of")

    with monkeypatch.context() as patched:
        patched.setattr(PageRefresher, "_request", broken)
        assert await refresher(context).look() == 0
    assert await refresher(context).look() == 0
    assert seconds_left(context) > 290


def test_what_is_not_due_costs_a_look_nothing(context: ContextGround) -> None:
    fill(context, "acme", 1_000, 5_000)
    fill(context, "other", -1, 3_000)
    context.site.rows("SELECT 1")
    with psycopg.connect(context.site.database.admin_url, autocommit=True) as admin:
        admin.execute("VACUUM ANALYZE context_items")
    counters = "SELECT seq_scan, idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'context_items'"
    with (
        psycopg.connect(context.site.database.app_url, autocommit=True) as app,
        app.transaction(force_rollback=True),
    ):
        found = app.execute("SELECT id FROM dispatch.due_pages(NULL, 500, 50, 200) WHERE id IS NOT NULL").fetchall()
        assert len(found) == 2
        (counted,) = app.execute(counters).fetchall()
    assert counted[0] == 0
    assert counted[1] <= 10
