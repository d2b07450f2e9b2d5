"""Quotas of a tenant: what is counted, what is refused, and that the sums are always those of the items."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from copilot_common.base.errors import CopilotError
from copilot_common.platform import migrate
from copilot_common.queue import Ledger
from copilot_common.tenancy import Principal
from copilot_domain.context import ContextRepository, ContextService, Item, NewItem
from copilot_domain.context.ingestion import pipeline
from copilot_domain.context.quotas import QuotaExceeded, QuotaLimits, Quotas
from copilot_domain.context.uploading import receive_files
from integration.context.ground import ContextGround
from support.clients import eventually
from support.receiver import answer, receiver

PAGE = b"<p>The copper walrus signals from the harbour.</p>"
HTML = ("Content-Type: text/html",)


def limit(context: ContextGround, **limits: int) -> None:
    """Of acme's own."""
    for name, value in limits.items():
        context.site.rows(f"UPDATE tenants SET context_{name} = %s WHERE slug = 'acme' RETURNING id", value)


def counted(context: ContextGround) -> tuple[int, int, int]:
    ((items, size, chunks),) = context.site.rows(
        "SELECT coalesce(sum(items), 0), coalesce(sum(bytes), 0), coalesce(sum(chunks), 0) FROM context_usage"
    )
    return int(items), int(size), int(chunks)


def recounted(context: ContextGround) -> tuple[int, int, int]:
    ((items, size, chunks),) = context.site.rows(
        "SELECT count(*), coalesce(sum(size_bytes), 0),"
        " (SELECT count(*) FROM context_chunks c JOIN context_items i ON i.id = c.item_id"
        "  AND i.live_attempt = c.attempt) FROM context_items"
    )
    return int(items), int(size), int(chunks)


def code(item: Item) -> str:
    return item.error.code if item.error else item.status


async def test_usage_is_what_came_in_and_what_is_found_and_deleting_frees_it(context: ContextGround) -> None:
    limit(context, max_bytes=1_000)
    note = await context.add("Ünder the harbour.")
    file = await context.add_file(b"a,b\n1,2\n", "a.csv")
    assert await context.ingest(file.id) == "ready"
    async with context.db.transaction(context.acme) as tx:
        usage = await context.service.usage(tx)
    assert (usage.items, usage.bytes, usage.chunks) == (2, 19 + 8, 2)
    assert usage.limits == QuotaLimits(max_bytes=1_000)
    async with context.db.transaction(context.other) as tx:
        assert (await context.service.usage(tx)).items == 0
    await context.change(note.id, content="short")
    assert counted(context) == (2, 5 + 8, 2)
    await context.delete(note.id)
    await context.delete(file.id)
    assert counted(context) == (0, 0, 0)


async def test_what_would_be_too_much_is_refused_by_name_and_leaves_nothing(context: ContextGround) -> None:
    item = await context.add("ten bytes.")
    limit(context, max_items=1, max_bytes=20)
    with pytest.raises(QuotaExceeded) as refused:
        await context.add("x", ingest=False)
    assert (refused.value.code, refused.value.details) == (
        "QUOTA_EXCEEDED",
        {"quota": "items", "limit": 1, "used": 1},
    )
    with pytest.raises(QuotaExceeded) as refused:
        await context.change(item.id, content="x" * 21)
    assert refused.value.details == {"quota": "bytes", "limit": 20, "used": 10}
    assert (await context.change(item.id, content="x" * 20)).size_bytes == 20
    limit(context, max_items=0, max_bytes=0, max_chunks=0)
    assert (await context.change(item.id, name="other", content="x" * 19)).size_bytes == 19
    assert await context.ingest(item.id) == "ready"  # what does not grow is never refused
    assert (context.count("blobs"), counted(context)) == (1, (1, 19, 1))


async def test_of_files_that_fit_one_by_one_but_not_together_none_is_taken(context: ContextGround) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"four"

    async def send() -> None:
        async with receive_files(context.service, context.blobs, context.acme, max_bytes=10) as batch:
            for name in ("a.txt", "b.txt", "c.txt"):
                await batch.add(name, "text/plain", pieces())
            async with context.db.transaction(context.acme) as tx:
                await batch.create(tx)

    for limits in ({"max_items": 2}, {"max_items": 3, "max_bytes": 11}):
        limit(context, **limits)
        with pytest.raises(QuotaExceeded):
            await send()
        assert (context.count("blobs"), counted(context)) == (0, (0, 0, 0))
    limit(context, max_bytes=12)
    await send()
    assert counted(context) == (3, 12, 0)


async def test_of_many_at_once_exactly_those_that_fit_get_in(context: ContextGround) -> None:
    limit(context, max_items=5)
    answers = await asyncio.gather(
        *(context.add(f"note {number}", ingest=False) for number in range(12)), return_exceptions=True
    )
    assert sum(isinstance(one, QuotaExceeded) for one in answers) == 7
    assert counted(context) == (5, 5 * 6, 0)


@pytest.mark.parametrize("has_some", [True, False], ids=["the last", "the first"])
async def test_two_that_fit_but_not_together_come_one_after_the_other(context: ContextGround, has_some: bool) -> None:
    if has_some:
        await context.add("one", ingest=False)
    limit(context, max_items=1 + has_some)

    async def is_waiting() -> bool:
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        return bool(context.site.rows(query)[0][0])

    async with context.db.transaction(context.acme) as tx:
        await context.service.create(tx, NewItem(name="x", type="text", content="x"))
        second = asyncio.create_task(context.add("x", ingest=False))
        await eventually(is_waiting, what="the second one waiting for the first")
    with pytest.raises(QuotaExceeded):
        await second
    assert counted(context)[0] == 1 + has_some


async def test_a_page_that_does_not_fit_fails_with_a_sentence(context: ContextGround) -> None:
    limit(context, max_bytes=len(PAGE) - 1)
    async with receiver(answer(PAGE, headers=HTML), answer(PAGE, headers=HTML)) as server:
        item = await context.ingested(await context.add_url(f"http://127.0.0.1:{server.port}/"))
        assert code(item) == "QUOTA_EXCEEDED"
        assert item.error is not None
        assert "Delete" in item.error.message
        assert (context.count("blobs"), counted(context)) == (0, (1, 0, 0))
        limit(context, max_bytes=len(PAGE))
        assert (await context.reindexed(item)).status == "ready"
    assert counted(context) == (1, len(PAGE), 1)


async def fits_by_now(*_: object, **__: object) -> None:
    """Somebody else comes between."""


@pytest.mark.parametrize(
    ("batch", "is_foreseen"),
    [(1, True), (256, True), (1, False)],
    ids=["before any is embedded", "with the only batch", "with the last batch"],
)
async def test_chunks_that_do_not_fit_fail_the_item_and_none_is_left(
    context: ContextGround, monkeypatch: pytest.MonkeyPatch, batch: int, is_foreseen: bool
) -> None:
    monkeypatch.setattr(pipeline, "BATCH", batch)
    if not is_foreseen:
        monkeypatch.setattr(Quotas, "foresee", fits_by_now)
    limit(context, max_chunks=2)
    text = "\n\n".join(f"Paragraph {number}. " + "The walrus of that day swims on. " * 40 for number in range(3))
    item = await context.add(text, ingest=False)
    assert await context.ingest(item.id) == "failed"
    assert code(await context.get(item.id)) == "QUOTA_EXCEEDED"
    assert (context.count("context_chunks"), counted(context)) == (0, (1, len(text), 0))
    note = await context.add("It fits.")
    await context.change(note.id, content=text)
    assert await context.ingest(note.id) == "failed"
    assert len(await context.search("fits", "text")) == 1  # what was there stays


async def test_the_sums_are_those_of_the_items_after_any_mix(context: ContextGround) -> None:
    chance = random.Random(7)
    limit(context, max_items=8, max_bytes=4_000, max_chunks=20)
    text = "The walrus swims on. " * 60
    ids: list[UUID] = []
    outcomes: list[str] = []

    async def step(number: int) -> None:
        try:
            match chance.choice(("add", "add", "file", "change", "delete", "ingest", "ingest", "lost")):
                case "add":
                    ids.append((await context.add(text[: chance.randrange(20, 1_200)], ingest=False)).id)
                case "file":
                    ids.append((await context.add_file(b"x" * chance.randrange(1, 900), f"{number}.txt")).id)
                case "change":
                    await context.change(chance.choice(ids), content=text[: chance.randrange(20, 1_200)])
                case "delete":
                    await context.delete(chance.choice(ids))
                case "ingest":
                    await context.ingest(chance.choice(ids))
                case "lost":
                    async with context.db.transaction(context.acme) as tx:
                        await context.service.create(tx, NewItem(name="x", type="text", content="x"))
                        raise RuntimeError("the process died, say")
        except (CopilotError, RuntimeError, LookupError):  # the last: it is deleted already
            outcomes.append("refused")
        else:
            outcomes.append("done")

    ids.append((await context.add("first")).id)
    for first in range(0, 60, 3):
        await asyncio.gather(*(step(first + number) for number in range(3)))
    assert counted(context) == recounted(context)
    assert counted(context)[0] > 0
    assert set(outcomes) == {"refused", "done"}


async def test_a_tenant_that_is_deleted_takes_its_sums_along(context: ContextGround) -> None:
    await context.add("gone soon")
    context.site.rows("DELETE FROM tenants WHERE slug = 'acme' RETURNING id")
    assert context.count("context_usage") == context.count("context_items") == 0


@asynccontextmanager
async def other_limits(context: ContextGround) -> AsyncIterator[tuple[ContextService, Principal]]:
    quotas = Quotas(QuotaLimits(max_items=1))
    yield ContextService(ContextRepository(), context.blobs, Ledger(lambda _: None), quotas=quotas), context.other


async def test_a_tenant_without_its_own_limits_has_those_of_the_settings(context: ContextGround) -> None:
    limit(context, max_items=3)
    async with other_limits(context) as (service, other):
        new = NewItem(name="x", type="text", content="x")
        for principal, fits in ((other, 1), (context.acme, 3)):
            for _ in range(fits):
                async with context.db.transaction(principal) as tx:
                    await service.create(tx, new)
            with pytest.raises(QuotaExceeded):
                async with context.db.transaction(principal) as tx:
                    await service.create(tx, new)


async def test_items_from_before_there_were_quotas_are_counted_and_the_way_back_keeps_them(
    context: ContextGround,
) -> None:
    urls = migrate.DatabaseUrls(migration=context.site.database.owner_url, app=context.site.database.app_url)
    await context.add("from before")
    assert 15 in await migrate.down(urls, to_version=14)
    context.site.rows("UPDATE context_items SET size_bytes = NULL RETURNING id")
    assert 15 in await migrate.up(urls)
    assert counted(context) == (1, 11, 1)
