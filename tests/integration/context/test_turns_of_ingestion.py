"""Whose item is ingested next: tenants in turns, however much one of them has sent, and what is sent in bulk last.

The worker has few slots, and the first item is held in one while the others are sent: nothing depends on speed.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from copilot_common.embedding import Embedded, Purpose
from copilot_common.embedding.wordllama_adapter import WordLlamaEmbedder
from copilot_common.tenancy import Principal
from copilot_domain.context.ingestion.pipeline import BATCH
from integration.context.ground import ContextGround, open_context
from integration.context.workers import at_work
from support.api import Site
from support.clients import eventually

MARK = "narwhal"
HUGE = "word " * 400 * BATCH + MARK


class HoldingEmbedder(WordLlamaEmbedder):
    """A text with MARK in it stays until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.holds = asyncio.Event()
        self.is_open = asyncio.Event()

    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Embedded:
        if any(MARK in text for text in texts):
            self.holds.set()
            await self.is_open.wait()
        return await super().embed(texts, purpose=purpose)


async def add(context: ContextGround, content: str, by: Principal, *, is_bulk: bool = False) -> UUID:
    return (await context.add(content, by=by, ingest=False, is_bulk=is_bulk)).id


@asynccontextmanager
async def one_held(
    site: Site, content: str, *, slots: int, is_bulk: bool = False
) -> AsyncIterator[tuple[ContextGround, HoldingEmbedder]]:
    """The first tenant's item is held while it is embedded, by a worker that goes on where it has more slots."""
    embedder = HoldingEmbedder()
    async with open_context(site, embedder) as context:
        await add(context, content, context.acme, is_bulk=is_bulk)
        async with at_work(context, slots=slots, tenant_limit=50), asyncio.timeout(30):
            await embedder.holds.wait()
            yield context, embedder


async def let_all_go(context: ContextGround, embedder: HoldingEmbedder) -> list[UUID]:
    """Until no item waits; those that were not begun before, in the order in which they were."""
    query = """
        SELECT i.id FROM context_items i JOIN jobs j ON j.id = i.job_id WHERE i.status = 'ready' ORDER BY j.started_at
    """
    embedder.is_open.set()

    async def are_ready() -> bool:
        return context.site.rows("SELECT DISTINCT status FROM context_items") == [("ready",)]

    await eventually(are_ready, seconds=30, what="the end of all ingestions")
    return [row[0] for row in context.site.rows(query)][1:]


async def test_an_item_is_next_but_one_at_most_though_another_tenant_has_sent_many_before(site: Site) -> None:
    async with one_held(site, f"A {MARK}.", slots=1) as (context, embedder):
        many = [await add(context, f"Note {number} of many.", context.acme) for number in range(5)]
        one = await add(context, "The only note.", context.other)
        assert await let_all_go(context, embedder) in ([one, *many], [many[0], one, *many[1:]])


async def test_what_is_sent_alone_comes_before_what_is_sent_in_bulk_and_that_in_turns(site: Site) -> None:
    async with one_held(site, f"A {MARK}.", slots=1, is_bulk=True) as (context, embedder):
        many = [await add(context, f"Note {number} of many.", context.acme, is_bulk=True) for number in range(4)]
        few = await add(context, "One of another's many.", context.other, is_bulk=True)
        alone = await add(context, "A note that somebody waits for.", context.acme)
        first, *others = await let_all_go(context, embedder)
    assert first == alone
    assert others in ([few, *many], [many[0], few, *many[1:]])


async def test_a_document_of_many_batches_keeps_no_other_tenants_waiting(site: Site) -> None:
    """It is held with its first batches written."""
    async with one_held(site, HUGE, slots=2) as (context, embedder):
        assert context.count("context_chunks") > 0
        small = await add(context, "The only note.", context.other)

        async def is_ready() -> bool:
            return (await context.get(small, by=context.other)).status == "ready"

        await eventually(is_ready, what="the small item")
        assert await context.search("the only note", by=context.other)
        assert context.site.rows("SELECT status FROM jobs WHERE status = 'running'") == [("running",)]
        assert len(await let_all_go(context, embedder)) == 1
