"""URL items: fetched through the guarded way out, kept while they are the same, refused where they lead inside.

127.0.0.1 is exempt, so it stands for the public; 127.0.0.2 is not, so it stands for the inside.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from copilot_common.blobs import PostgresBlobStore, Upload
from copilot_common.platform.egress.client import Egress
from copilot_common.platform.egress.exemptions import parse_exemptions
from copilot_common.platform.egress.rules import EgressRules
from copilot_domain.context import Item
from copilot_domain.context.ingestion import fetching
from copilot_domain.context.ingestion.errors import FetchFailed
from integration.context.ground import MAX_FETCHED, ContextGround, open_context
from support.api import Site
from support.clients import eventually
from support.receiver import Answer, Received, answer, hang, receiver, redirect

HTML = "Content-Type: text/html; charset=utf-8"
PAGE = b"<h1>Harbour</h1><p>The copper walrus signals.</p>"
OTHER_PAGE = b"<h1>Harbour</h1><p>The heron is back.</p>"
NAME = "pages.example.com"


def page(body: bytes = PAGE, *headers: str) -> Answer:
    return answer(body, headers=(HTML, *headers))


@asynccontextmanager
async def site_of(context: ContextGround, *answers: Answer) -> AsyncIterator[tuple[Item, list[Received]]]:
    """A server, and an item of its page that is not yet ingested."""
    async with receiver(*answers) as server:
        yield await context.add_url(f"http://127.0.0.1:{server.port}/page"), server.requests


def source(context: ContextGround) -> UUID | None:
    return context.site.rows("SELECT source_id FROM context_items")[0][0]  # type: ignore[no-any-return]


def code(item: Item) -> str:
    return item.error.code if item.error else item.status


async def test_a_page_is_fetched_read_and_found(context: ContextGround) -> None:
    async with site_of(context, page()) as (new, requests):
        item = await context.ingested(new)
    assert (item.status, item.media_type, item.size_bytes) == ("ready", HTML.partition(": ")[2], len(PAGE))
    (hit,) = await context.search("copper walrus")
    assert (hit.item_id, hit.heading) == (item.id, ["Harbour"])
    assert (await context.text(item.id))[hit.start : hit.end] == hit.text
    assert (requests[0].method, requests[0].path) == ("GET", "/page")
    assert "if-none-match" not in requests[0].headers


async def test_a_page_that_has_not_changed_is_not_sent_nor_stored_again(context: ContextGround) -> None:
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    answers = (page(PAGE, 'ETag: "one"', f"Last-Modified: {date}"), answer(b"", status="304 Not Modified"))
    async with site_of(context, *answers) as (new, requests):
        item = await context.ingested(new)
        before = source(context), context.site.rows("SELECT fetched_at FROM context_items")
        again = await context.reindexed(item)
    assert (again.status, source(context)) == ("ready", before[0])
    assert context.site.rows("SELECT fetched_at FROM context_items") > before[1]
    assert (requests[1].headers["if-none-match"], requests[1].headers["if-modified-since"]) == ('"one"', date)
    assert (context.count("blobs"), len(await context.search("walrus", "text"))) == (2, 1)


async def test_a_page_that_has_changed_takes_the_place_of_the_old_one(context: ContextGround) -> None:
    async with site_of(context, page(PAGE, 'ETag: "one"'), page(OTHER_PAGE, 'ETag: "two"')) as (new, requests):
        item = await context.ingested(new)
        old = source(context)
        assert (await context.reindexed(item)).size_bytes == len(OTHER_PAGE)
        await context.reindexed(item)
    assert [request.headers.get("if-none-match") for request in requests] == [None, '"one"', '"two"']
    assert source(context) != old
    assert (context.count("blobs"), context.orphans()) == (2, 0)
    assert await context.search("walrus", "text") == []
    assert len(await context.search("heron", "text")) == 1


async def test_what_a_server_says_that_nobody_can_store_is_left_out(context: ContextGround) -> None:
    async def strange(_: Received, writer: asyncio.StreamWriter) -> None:
        head = b'HTTP/1.1 200 OK\r\nContent-Type: text/html; \xff\r\nETag: "\xff\xfe"\r\nLast-Modified: ' + b"x" * 600
        writer.write(head + b"\r\nContent-Length: %d\r\n\r\n" % len(PAGE) + PAGE)

    async with site_of(context, strange) as (new, requests):
        item = await context.ingested(new)
        assert (item.status, (await context.reindexed(item)).status) == ("ready", "ready")
    assert not {"if-none-match", "if-modified-since"} & set(requests[1].headers)


async def test_what_will_not_be_had_fails_at_once(context: ContextGround) -> None:
    found = {}
    for status in ("404 Not Found", "410 Gone", "401 Unauthorized", "403 Forbidden", "304 Not Modified"):
        async with site_of(context, answer(b"", status=status)) as (new, requests):
            found[status] = code(await context.ingested(new))
            assert len(requests) == 1
    assert set(found.values()) == {"FETCH_FAILED"}, found
    assert context.count("blobs") == 0


async def test_what_may_be_had_later_is_left_for_another_try_or_to_be_given_up(context: ContextGround) -> None:
    for status in ("503 Service Unavailable", "429 Too Many Requests", "500 Internal Server Error"):
        async with site_of(context, answer(b"", status=status), page()) as (new, _):
            with pytest.raises(FetchFailed) as raised:
                await context.ingest(new.id)
            assert (await context.get(new.id)).status == "processing"
            await context.ingestion.fail(context.acme, new.id, 1, raised.value)
            assert code(await context.get(new.id)) == "FETCH_FAILED"
            assert await context.ingest(new.id) == "ready"


async def test_a_server_that_takes_too_long_times_out(context: ContextGround, monkeypatch: pytest.MonkeyPatch) -> None:
    async def half(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()
        await hang()

    monkeypatch.setattr(fetching, "FETCH_SECONDS", 0.3)
    for silence in (hang, half):
        async with site_of(context, silence) as (new, _):
            with pytest.raises(FetchFailed) as raised:
                await context.ingest(new.id)
            await context.ingestion.fail(context.acme, new.id, 1, raised.value)
            assert code(await context.get(new.id)) == "FETCH_TIMEOUT"
    assert (context.count("blobs"), context.orphans()) == (0, 0)


async def test_a_server_that_cannot_be_reached_is_tried_again(context: ContextGround) -> None:
    async with site_of(context, page()) as (new, _):
        pass
    with pytest.raises(FetchFailed) as raised:
        await context.ingest(new.id)
    assert raised.value.reason == "FETCH_FAILED"


async def test_what_is_too_large_or_no_document_fails_and_leaves_nothing(context: ContextGround) -> None:
    large, picture = page(b"x" * (MAX_FETCHED + 1)), answer(b"\x89PNG", headers=("Content-Type: image/png",))
    for given, expected in ((large, "TOO_LARGE"), (picture, "UNSUPPORTED_TYPE"), (page(b""), "EMPTY")):
        async with site_of(context, given) as (new, _):
            failed = await context.ingested(new)
        assert code(failed) == expected
        await context.delete(new.id)
        assert context.count("blobs") == 0


async def test_urls_that_lead_inside_are_refused_however_they_do(context: ContextGround) -> None:
    inside = ("http://127.0.0.2/", "http://169.254.169.254/latest/meta-data/", "http://127.0.0.3:6379/")
    for url in inside:
        assert code(await context.ingested(await context.add_url(url))) == "FETCH_BLOCKED", url
    for target in (*inside, "file:///etc/passwd", "http://localhost/"):
        async with site_of(context, redirect("/next"), redirect(target)) as (new, requests):
            assert code(await context.ingested(new)) == "FETCH_BLOCKED", target
        assert len(requests) == 2
    assert context.count("blobs") == 0


async def test_without_an_exemption_this_machine_is_inside(site: Site) -> None:
    async with receiver(page()) as server, open_context(site, egress=Egress(EgressRules())) as context:
        for host in ("127.0.0.1", "[::ffff:127.0.0.1]"):
            item = await context.ingested(await context.add_url(f"http://{host}:{server.port}/"))
            assert code(item) == "FETCH_BLOCKED"
    assert server.connections == 0


async def test_a_name_that_changes_its_answer_is_refused_when_it_leads_inside(site: Site) -> None:
    answers = [["127.0.0.1"], ["127.0.0.2"]]

    async def look_up(_: str) -> list[str]:
        return answers.pop(0)

    async with receiver(page()) as server:
        rules = EgressRules(parse_exemptions("127.0.0.1"), frozenset({server.port}))
        async with open_context(site, egress=Egress(rules, lookup=look_up)) as context:
            item = await context.ingested(await context.add_url(f"http://{NAME}:{server.port}/"))
            assert item.status == "ready"
            again = await context.reindexed(item)
            assert code(again) == "FETCH_BLOCKED"
            assert len(await context.search("walrus", "text")) == 1  # what was there stays
    assert (server.connections, answers) == (1, [])


async def test_five_redirects_are_followed_and_no_more(context: ContextGround) -> None:
    hops = [redirect(f"/{number}") for number in range(1, 7)]
    async with site_of(context, *hops[:5], page()) as (new, requests):
        assert code(await context.ingested(new)) == "ready"
    assert [request.path for request in requests] == ["/page", "/1", "/2", "/3", "/4", "/5"]
    async with site_of(context, *hops, page()) as (new, requests):
        assert code(await context.ingested(new)) == "FETCH_FAILED"
    assert len(requests) == 6
    async with site_of(context, redirect("/page")) as (new, requests):
        assert code(await context.ingested(new)) == "FETCH_FAILED"
    assert len(requests) == 6


async def test_what_an_attempt_that_died_has_left_is_gone_after_the_next(context: ContextGround) -> None:
    async def half(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {2 * MAX_FETCHED}\r\n\r\n".encode() + b"x" * 600_000)
        await writer.drain()
        await hang()

    async def is_begun() -> bool:
        return context.count("blob_pieces") > 0

    async with site_of(context, half, page()) as (new, _):
        dying = asyncio.create_task(context.ingest(new.id))
        await eventually(is_begun, what="the first piece")
        dying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dying
        assert context.count("blobs") == 1
        assert await context.ingest(new.id) == "ready"
    assert (context.count("blobs"), context.orphans()) == (2, 0)


class Meanwhile:
    """Something happens before or after the first blob is filled."""

    def __init__(self, patch: pytest.MonkeyPatch, happens: Callable[[], Awaitable[object]], *, is_before: bool) -> None:
        upload, is_due = PostgresBlobStore.upload, True

        async def patched(store: PostgresBlobStore, *args: Any, **options: Any) -> Upload:
            nonlocal is_due
            is_first, is_due = is_due, False
            if is_first and is_before:
                await happens()
            filled = await upload(store, *args, **options)
            if is_first and not is_before:
                await happens()
            return filled

        patch.setattr(PostgresBlobStore, "upload", patched)


@pytest.mark.parametrize("is_before", [True, False], ids=["before it is written", "when it is written"])
@pytest.mark.parametrize("is_url", [True, False], ids=["source", "text"])
async def test_an_attempt_that_is_overtaken_leaves_no_blob(
    context: ContextGround, monkeypatch: pytest.MonkeyPatch, is_url: bool, is_before: bool
) -> None:
    async with site_of(context, page(), page(OTHER_PAGE)) as (page_item, _):
        item = page_item if is_url else await context.add_file(OTHER_PAGE, "a.html")
        outcomes = []

        async def overtake() -> None:
            outcomes.append(await context.ingest(item.id))

        Meanwhile(monkeypatch, overtake, is_before=is_before)
        outcomes.append(await context.ingest(item.id))
    assert outcomes == ["ready", "stale"]
    assert (context.count("blobs"), context.orphans()) == (2, 0)
    assert (len(await context.search("heron", "text")), code(await context.get(item.id))) == (1, "ready")


async def test_an_attempt_that_is_overtaken_while_it_reads_writes_and_fails_nothing(context: ContextGround) -> None:
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def slow(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 600000\r\n\r\n" + b"x" * 300_000)
        await writer.drain()
        begun.set()
        await goes_on.wait()
        writer.write(b"x" * 300_000)

    async with site_of(context, slow, page()) as (new, _):
        overtaken = asyncio.create_task(context.ingest(new.id))
        await begun.wait()
        assert await context.ingest(new.id) == "ready"
        goes_on.set()
        assert await overtaken == "stale"
    assert (context.count("blobs"), context.orphans()) == (2, 0)
    assert code(await context.get(new.id)) == "ready"


async def test_an_attempt_that_is_overtaken_does_not_fail_its_item(
    context: ContextGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was frozen, say, and finds that it took too long; the other one is at work."""
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def gone(_: Received, writer: asyncio.StreamWriter) -> None:
        begun.set()
        await goes_on.wait()
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    async def meanwhile() -> None:
        goes_on.set()
        assert await overtaken == "stale"

    async with site_of(context, gone, page()) as (new, _):
        overtaken = asyncio.create_task(context.ingest(new.id))
        await begun.wait()
        Meanwhile(monkeypatch, meanwhile, is_before=False)
        assert await context.ingest(new.id) == "ready"
