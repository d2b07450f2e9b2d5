"""An ingestion replaces everything an item was found by, or changes nothing."""

from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from copilot_common.base.errors import ProviderError
from copilot_common.embedding import Embedded, Purpose
from copilot_common.embedding.wordllama_adapter import WordLlamaEmbedder
from copilot_common.queue import Job
from copilot_context_service.ingesting import ItemIngester
from copilot_domain.context import Item, SearchRequest
from copilot_domain.context.ingestion import pipeline
from copilot_domain.context.ingestion.errors import IngestionError
from copilot_domain.context.ingestion.metrics import IngestionMetrics
from copilot_domain.context.ingestion.pipeline import BATCH
from copilot_domain.context.jobs import IngestItem
from integration.context.ground import ContextGround, open_context
from support.api import Site

LONG = "\n\n".join(f"Paragraph {number} speaks of walrus and ocean number {number}. " * 8 for number in range(40))
PARTS = ("context_chunks", "context_embeddings")


async def dead(context: ContextGround) -> tuple[int, int]:
    """Chunks of segments that are no more, as counted and as they are."""
    known = context.site.rows("SELECT coalesce(sum(dead_count), 0) FROM context_indexes")[0][0]
    total = context.site.rows("SELECT coalesce(sum(chunk_count), 0) FROM context_segments")[0][0]
    return int(known), int(total) - context.count("context_chunks")


async def test_an_item_goes_from_pending_to_ready_with_its_counts(context: ContextGround) -> None:
    item = await context.add(LONG, ingest=False)
    assert (item.status, item.chunk_count, item.token_count) == ("pending", 0, 0)
    assert await context.ingest(item.id) == "ready"
    ready = await context.get(item.id)
    assert ready.status == "ready"
    assert ready.chunk_count == context.count("context_chunks") == context.count("context_embeddings")
    assert ready.chunk_count > 10
    tokens = context.site.rows("SELECT sum(token_count) FROM context_chunks")[0][0]
    assert ready.token_count == tokens
    assert len(set(await dead(context))) == 1


async def test_the_stored_ranges_cover_the_text_in_order(context: ContextGround) -> None:
    await context.add(LONG)
    ranges = context.site.rows("SELECT start_offset, end_offset FROM context_chunks ORDER BY number")
    end = 0
    for start, stop in ranges:
        assert LONG[end:start].strip() == ""
        end = stop
    assert LONG[end:].strip() == ""


async def test_an_edited_text_takes_the_place_of_the_old_one(context: ContextGround) -> None:
    item = await context.add(LONG)
    await context.change(item.id, content="Only the heron is left.")
    assert (await context.search("walrus", "text")) != []  # until it is ingested the old one is found
    assert await context.ingest(item.id) == "ready"
    assert await context.search("walrus", "text") == []
    assert [hit.text for hit in await context.search("heron")] == ["Only the heron is left."]
    assert context.count("context_chunks") == context.count("context_embeddings") == 1
    assert context.count("blobs") == 1
    assert len(set(await dead(context))) == 1


def blob_count(context: ContextGround) -> int:
    return int(context.site.rows("SELECT count(*) FROM blobs")[0][0])


async def test_an_edited_text_is_read_as_it_was_until_the_new_one_is_found(context: ContextGround) -> None:
    item = await context.add("The heron sleeps.")
    for text in ("The gannet flew in.", "The walrus swims."):
        assert (await context.change(item.id, content=text)).status == "pending"
        (hit,) = await context.search("heron", "text")
        assert (await context.text(item.id))[hit.start : hit.end] == hit.text == "The heron sleeps."
        assert blob_count(context) == 2
    assert await context.ingest(item.id) == "ready"
    assert await context.text(item.id) == "The walrus swims."
    assert [hit.text for hit in await context.search("walrus heron gannet", "text")] == ["The walrus swims."]
    assert blob_count(context) == 1
    assert (await context.reindexed(item)).status == "ready"
    assert await context.text(item.id) == "The walrus swims."


async def test_an_edit_back_to_what_is_found_is_ingested_too(context: ContextGround) -> None:
    item = await context.add("The heron sleeps.")
    await context.change(item.id, content="The gannet flew in.")
    await context.change(item.id, content="The heron sleeps.")
    assert await context.ingest(item.id) == "ready"
    assert (await context.text(item.id), blob_count(context)) == ("The heron sleeps.", 1)


async def test_a_text_that_was_never_found_is_replaced_at_once(context: ContextGround) -> None:
    item = await context.add("The heron sleeps.", ingest=False)
    await context.change(item.id, content="The gannet flew in.")
    assert (await context.text(item.id), blob_count(context)) == ("The gannet flew in.", 1)


async def test_an_edit_that_comes_to_nothing_leaves_what_is_found_and_goes_with_the_item(
    context: ContextGround,
) -> None:
    item = await context.add("The heron sleeps.")
    await context.change(item.id, content=" \n")
    assert await context.ingest(item.id) == "failed"
    (hit,) = await context.search("heron", "text")
    assert (await context.text(item.id))[hit.start : hit.end] == hit.text
    await context.delete(item.id)
    assert blob_count(context) == 0


async def test_the_same_text_again_is_not_ingested_again(context: ContextGround) -> None:
    item = await context.add(LONG)
    before = context.generation(item.id)
    assert (await context.change(item.id, content=LONG, name="new name")).status == "ready"
    assert context.generation(item.id) == before
    assert (await context.search("walrus"))[0].name == "new name"


class MeanwhileEmbedder(WordLlamaEmbedder):
    """Something happens while it computes."""

    meanwhile: Any = None

    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Embedded:
        if self.meanwhile is not None:
            happens, self.meanwhile = self.meanwhile, None
            await happens()
        return await super().embed(texts, purpose=purpose)


async def test_an_ingestion_overtaken_by_an_edit_changes_nothing(site: Site) -> None:
    embedder = MeanwhileEmbedder()
    async with open_context(site, embedder) as context:
        item = await context.add(LONG, ingest=False)
        stale = context.generation(item.id)

        async def edit_and_ingest() -> None:
            await context.change(item.id, content="Only the heron is left.")
            assert await context.ingest(item.id) == "ready"

        embedder.meanwhile = edit_and_ingest
        assert await context.ingest(item.id, generation=stale) == "stale"
        assert [hit.text for hit in await context.search("heron walrus")] == ["Only the heron is left."]
        assert await context.ingest(item.id, generation=stale) == "stale"
        assert len(set(await dead(context))) == 1


async def test_an_ingestion_overtaken_by_an_edit_that_waits_changes_nothing(site: Site) -> None:
    embedder = MeanwhileEmbedder()
    async with open_context(site, embedder) as context:
        item = await context.add(LONG, ingest=False)
        embedder.meanwhile = lambda: context.change(item.id, content="Only the heron is left.")
        assert await context.ingest(item.id, generation=1) == "stale"
        await context.ingestion.fail(context.acme, item.id, 1, IngestionError("LATE", "too late"))
        assert (await context.get(item.id)).status == "pending"
        assert context.count("context_chunks") == 0


async def test_two_ingestions_of_one_generation_leave_one_set_of_chunks(site: Site) -> None:
    embedder = MeanwhileEmbedder()
    async with open_context(site, embedder) as context:
        item = await context.add(LONG, ingest=False)
        outcomes = []

        async def ingest_too() -> None:
            outcomes.append(await context.ingest(item.id))

        embedder.meanwhile = ingest_too
        outcomes.append(await context.ingest(item.id))
        assert outcomes == ["ready", "stale"]
        assert (await context.get(item.id)).chunk_count == context.count("context_chunks")
        assert len(set(await dead(context))) == 1


async def test_an_item_deleted_while_it_is_ingested_leaves_nothing(site: Site) -> None:
    embedder = MeanwhileEmbedder()
    async with open_context(site, embedder) as context:
        kept = await context.add("The heron stays.")
        item = await context.add(LONG, ingest=False)
        embedder.meanwhile = lambda: context.delete(item.id)
        assert await context.ingest(item.id, generation=1) == "stale"
        assert len(set(await dead(context))) == 1
        assert context.count("context_items") == context.count("context_chunks") == context.count("blobs") == 1
        assert (await context.search("heron"))[0].item_id == kept.id


async def test_deleting_an_item_takes_everything_of_it_away(context: ContextGround) -> None:
    kept = await context.add("The heron stays.")
    item = await context.add(LONG)
    await context.delete(item.id)
    assert len(set(await dead(context))) == 1
    assert [context.count(table) for table in ("context_chunks", "context_embeddings", "blobs")] == [1, 1, 1]
    await context.delete(kept.id)
    assert len(set(await dead(context))) == 1
    assert [context.count(table) for table in PARTS] == [0, 0]
    assert await context.search("heron walrus") == []


async def test_a_reindexed_item_is_the_same_as_before(context: ContextGround) -> None:
    item = await context.add(LONG)
    before = context.count("context_chunks")
    async with context.db.transaction(context.acme) as tx:
        assert (await context.service.reindex(tx, item.id)).status == "pending"
    assert await context.ingest(item.id) == "ready"
    assert context.count("context_chunks") == before
    assert len(set(await dead(context))) == 1


async def test_an_item_without_text_fails_with_a_reason(context: ContextGround) -> None:
    item = await context.add("  \n\n ", ingest=False)
    assert await context.ingest(item.id) == "failed"
    failed = await context.get(item.id)
    assert (failed.status, failed.error and failed.error.code) == ("failed", "EMPTY")


async def test_an_item_whose_content_is_gone_or_damaged_fails_with_a_reason(context: ContextGround) -> None:
    for damage, code in (
        ("UPDATE blob_pieces SET content_sealed = 'x'", "CONTENT_UNREADABLE"),
        ("DELETE FROM blobs", "CONTENT_MISSING"),
    ):
        item = await context.add("text", ingest=False)
        context.site.rows(damage)
        assert await context.ingest(item.id) == "failed"
        failed = await context.get(item.id)
        assert failed.error
        assert failed.error.code == code


def refusal(status: int | None) -> ProviderError:
    return ProviderError("secret words of the provider", provider="test", retryable=False, status=status)


class FailingEmbedder(WordLlamaEmbedder):
    is_away = True
    fault = ProviderError("secret words of the provider", provider="test", retryable=True)

    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Embedded:
        if self.is_away:
            raise self.fault
        return await super().embed(texts, purpose=purpose)


async def test_an_embedder_that_is_away_leaves_the_item_for_another_try_or_to_be_given_up(site: Site) -> None:
    embedder = FailingEmbedder()
    async with open_context(site, embedder) as context:
        item = await context.add("text", ingest=False)
        with pytest.raises(ProviderError) as raised:
            await context.ingest(item.id)
        assert (await context.get(item.id)).status == "processing"
        await context.ingestion.fail(context.acme, item.id, 1, raised.value)
        failed = await context.get(item.id)
        assert failed.error
        assert (failed.status, failed.error.code) == ("failed", "EMBEDDING_FAILED")
        assert "secret" not in failed.error.message
        embedder.is_away = False
        assert await context.ingest(item.id) == "ready"
        await context.ingestion.fail(context.acme, item.id, 1, IngestionError("LATE", "too late"))
        assert (await context.get(item.id)).status == "ready"


@pytest.mark.parametrize("status", [400, 404, 413, 422, None])
async def test_a_text_that_the_embedder_refuses_ends_the_item_at_once(site: Site, status: int | None) -> None:
    embedder = FailingEmbedder()
    embedder.fault = refusal(status)
    async with open_context(site, embedder) as context:
        item = await context.add("text", ingest=False)
        await ItemIngester(context.ingestion)(first_try(context, item))
        failed = await context.get(item.id)
        assert failed.error
        assert (failed.status, failed.error.code) == ("failed", "EMBEDDING_FAILED")
        assert "secret" not in failed.error.message
        assert (str(status) in failed.error.message) == (status is not None)


async def test_a_text_that_is_refused_after_others_leaves_nothing_of_them(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "BATCH", 4)
    embedder = FailingEmbedder()
    embedder.fault, embedder.is_away = refusal(400), False
    async with open_context(site, embedder) as context:
        item = await context.add(LONG, ingest=False)

        async def refuse_the_rest(done: int, total: int) -> None:
            embedder.is_away = True

        assert await context.ingestion.ingest(context.acme, item.id, 1, on_progress=refuse_the_rest) == "failed"
        assert [context.count(table) for table in PARTS] == [0, 0]
        assert len(set(await dead(context))) == 1


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_a_key_that_is_refused_may_be_renewed_before_the_tries_are_over(site: Site, status: int) -> None:
    embedder = FailingEmbedder()
    embedder.fault = refusal(status)
    async with open_context(site, embedder) as context:
        item = await context.add("text", ingest=False)
        with pytest.raises(ProviderError):
            await ItemIngester(context.ingestion)(first_try(context, item))
        assert (await context.get(item.id)).status == "processing"
        embedder.is_away = False
        assert await context.ingest(item.id) == "ready"


def first_try(context: ContextGround, item: Item) -> Job[IngestItem]:
    payload = IngestItem(item.id, context.generation(item.id))
    return Job(id=uuid4(), fence=1, payload=payload, principal=context.acme, failures=0)


async def test_progress_is_told_after_each_batch(context: ContextGround) -> None:
    item = await context.add("word " * 400 * 300, ingest=False)
    told: list[tuple[int, int]] = []

    async def tell(done: int, total: int) -> None:
        told.append((done, total))

    assert await context.ingestion.ingest(context.acme, item.id, 1, on_progress=tell) == "ready"
    total = context.count("context_chunks")
    assert [done for done, _ in told] == [BATCH, total]
    assert {of for _, of in told} == {total}


async def test_no_transaction_is_open_while_it_embeds(site: Site) -> None:
    embedder = MeanwhileEmbedder()
    async with open_context(site, embedder) as context:
        item = await context.add(LONG, ingest=False)
        states: Counter[str] = Counter()

        async def look() -> None:
            query = "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND usename = 'copilot_app'"
            states.update(row[0] for row in site.rows(query))

        embedder.meanwhile = look
        assert await context.ingest(item.id) == "ready"
        assert states.keys() == {"idle"}


async def test_an_item_of_another_tenant_is_not_there_to_ingest(context: ContextGround) -> None:
    item = await context.add("text", ingest=False)
    assert await context.ingest(item.id, by=context.other) == "stale"
    assert await context.ingest(uuid4(), generation=1) == "stale"
    assert (await context.get(item.id)).status == "pending"


async def test_an_item_whose_job_is_dead_fails_and_others_wait_on(context: ContextGround) -> None:
    dead, waiting = await context.add("dead", ingest=False), await context.add("waiting", ingest=False)
    context.site.rows(
        "UPDATE jobs SET status = 'dead', error_code = 'GONE', ended_at = now()"
        " WHERE id = (SELECT job_id FROM context_items WHERE id = %s)",
        dead.id,
    )
    assert context.site.rows("SELECT dispatch.fail_abandoned_items(100)") == [(1,)]
    failed = await context.get(dead.id)
    assert failed.error
    assert (failed.status, failed.error.code) == ("failed", "WORKER_LOST")
    assert (await context.get(waiting.id)).status == "pending"


async def test_an_attempt_that_fails_leaves_nothing_that_searches_weigh(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first batches are in segments already when a later one fails."""
    monkeypatch.setattr(pipeline, "BATCH", 4)
    embedder = FailingEmbedder()
    async with open_context(site, embedder) as context:
        item = await context.add(LONG, ingest=False)
        embed, calls = FailingEmbedder.embed, 0

        async def fail_second(
            self: FailingEmbedder, texts: Sequence[str], *, purpose: Purpose = "document"
        ) -> Embedded:
            nonlocal calls
            calls += 1
            self.is_away = calls == 2
            return await embed(self, texts, purpose=purpose)

        monkeypatch.setattr(FailingEmbedder, "embed", fail_second)
        with pytest.raises(ProviderError):
            await context.ingest(item.id)
        assert context.count("context_segments") == 1
        assert await context.ingest(item.id) == "ready"
        found, _ = await context.searcher.candidates(context.acme, SearchRequest(query="walrus ocean paragraph"))
        assert found.size == context.count("context_chunks") == (await context.get(item.id)).chunk_count
        assert len(set(await dead(context))) == 1


async def test_what_is_reindexed_is_found_by_its_metadata(context: ContextGround) -> None:
    """Also where it comes from before there were labels."""
    item = await context.add("The heron stays.", metadata={"team": "x"})
    context.site.rows("DELETE FROM context_labels")
    assert await context.search("heron", metadata={"team": "x"}) == []
    async with context.db.transaction(context.acme) as tx:
        await context.service.reindex(tx, item.id)
    assert await context.ingest(item.id) == "ready"
    assert [hit.item_id for hit in await context.search("heron", metadata={"team": "x"})] == [item.id]


async def test_what_becomes_of_items_is_counted_by_its_code(site: Site) -> None:
    registry = CollectorRegistry()

    def counted(outcome: str, code: str) -> float | None:
        return registry.get_sample_value("context_ingestions_total", {"outcome": outcome, "code": code})

    async with open_context(site, metrics=IngestionMetrics(registry)) as context:
        item = await context.add("The lamp stands in the harbour.")
        empty = await context.add(" \n ", ingest=False)
        assert await context.ingest(empty.id) == "failed"
        assert (counted("ready", ""), counted("failed", "EMPTY")) == (1, 1)
        await context.change(item.id, content="It has gone out.")
        fault = ProviderError("away", provider="test", retryable=True)
        for generation in (1, 2):  # the item has moved on from the first
            await context.ingestion.fail(context.acme, item.id, generation, fault)
        assert counted("failed", "EMBEDDING_FAILED") == 1
