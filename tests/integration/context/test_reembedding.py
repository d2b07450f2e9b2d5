"""Another model's vectors are made while searches go on with the old ones, and then all searches use them at once."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import msgspec
import numpy as np
import psycopg
import pytest

from copilot_common.base.errors import Conflict, InvalidInput, ProviderError, SettingsError
from copilot_common.embedding import Embedded, Embedder, EmbedderSpec, Purpose
from copilot_common.embedding.vectors import unit_length
from copilot_common.queue import Job, JobFailed, JobLost, JobType, Ledger
from copilot_common.tenancy import Principal
from copilot_context_service.reembedding import IndexReembedder
from copilot_domain.context.jobs import FORGET_MODEL, REEMBED
from copilot_domain.context.reembedding import walking
from copilot_domain.context.reembedding.embedders import ModelUnavailable
from copilot_domain.context.reembedding.forgetting import ModelForgetter
from copilot_domain.context.reembedding.service import IndexService, IndexState
from copilot_domain.context.reembedding.walking import Reembedder
from copilot_domain.context.segments import merging
from copilot_domain.context.segments.merging import Merger
from copilot_domain.context.types import SearchRequest
from integration.context.ground import ContextGround, open_context
from support.api import Site

OLD, NEW = "wordllama-256", "compatible/hashing@64"
ANIMALS = ("walrus", "heron", "lynx", "otter", "badger")


@dataclass
class Hashing:
    """Each word is a direction of its own, so that what is found by it is known; counts what it embeds."""

    spec = EmbedderSpec(name=NEW, dimensions=64, max_batch=64, max_batch_tokens=99_999, max_input_tokens=9_999)
    texts: Counter[str] = field(default_factory=Counter)
    queries: int = 0
    happens: Callable[[], Awaitable[object]] | None = None
    """Before the next texts are embedded, once."""
    fails: ProviderError | None = None

    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Embedded:
        if purpose == "document" and self.happens is not None:
            happens, self.happens = self.happens, None
            await happens()
        if self.fails is not None:
            raise self.fails
        if purpose == "query":
            self.queries += 1
        else:
            self.texts.update(texts)
        rows = np.zeros((len(texts), 64), np.float32)
        for number, text in enumerate(texts):
            for word in text.lower().replace(".", " ").split():
                rows[number, hashlib.sha256(word.encode()).digest()[0] % 64] += 1
        return Embedded(unit_length(rows))

    async def load(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


@dataclass
class Reembedding:
    context: ContextGround
    hashing: Hashing
    indexes: IndexService
    reembedder: Reembedder

    async def state(self) -> IndexState:
        async with self.context.db.transaction(self.context.acme) as tx:
            return await self.indexes.show(tx)

    async def start(self, model: str = NEW) -> IndexState:
        async with self.context.db.transaction(self.context.acme) as tx:
            return await self.indexes.reembed(tx, model)

    async def run(self) -> None:
        """As a worker does."""
        await self.reembedder.reembed(self.claim(REEMBED))

    async def forget(self) -> None:
        await ModelForgetter(self.context.db).forget(self.claim(FORGET_MODEL))

    def claim(self, kind: JobType[Any]) -> Job[Any]:
        """The last of its kind, now this process's."""
        ((job_id, fence, payload),) = self.context.site.rows(
            "UPDATE jobs SET status = 'running', fence = fence + 1, process_id = %s "
            "WHERE id = (SELECT id FROM jobs WHERE kind = %s ORDER BY id DESC LIMIT 1) RETURNING id, fence, payload",
            uuid4(),
            kind.kind,
        )
        return Job(job_id, fence, msgspec.msgpack.decode(payload, type=kind.payload), self.context.acme, failures=0)

    def missing(self, model: str) -> int:
        """Live chunks without a vector, and segments without codes."""
        table = "context_embeddings" if model == OLD else "context_embeddings_wide"
        chunks = (
            "SELECT count(*) FROM context_chunks c "
            "JOIN context_items i ON i.id = c.item_id AND i.live_attempt = c.attempt "
            f"WHERE NOT EXISTS (SELECT FROM {table} e WHERE e.chunk_id = c.id AND e.model = %s)"
        )
        segments = (
            "SELECT count(*) FROM context_segments s WHERE NOT EXISTS "
            "(SELECT FROM context_segment_codes c WHERE c.segment_id = s.id AND c.model = %s)"
        )
        return sum(int(self.context.site.rows(query, model)[0][0]) for query in (chunks, segments))

    def stored(self, model: str) -> int:
        return sum(
            int(self.context.site.rows(f"SELECT count(*) FROM {table} WHERE model = %s", model)[0][0])
            for table in ("context_embeddings", "context_embeddings_wide", "context_segment_codes")
        )

    async def add_many(self, count: int = 6) -> list[Any]:
        return [
            await self.context.add(f"The {ANIMALS[number % 5]} of house {number} sleeps.") for number in range(count)
        ]


def build(hashing: Hashing) -> Callable[[str], Embedder]:
    def of_name(name: str) -> Embedder:
        if name != NEW:
            raise SettingsError(f"{name} is not configured")
        return hashing

    return of_name


@asynccontextmanager
async def open_reembedding(site: Site) -> AsyncIterator[Reembedding]:
    hashing = Hashing()
    ledger = Ledger(lambda _: None)
    names = {OLD: OLD, NEW: NEW, "compatible/hashing": NEW, "compatible/away@8": "compatible/away@8"}

    def describe(name: str) -> EmbedderSpec | None:
        return hashing.spec if name == NEW else None

    async with open_context(site, build=build(hashing), describe=describe) as context:
        indexes = IndexService(ledger, OLD, names.get)
        yield Reembedding(context, hashing, indexes, Reembedder(context.db, context.embedders, ledger))


@pytest.fixture
async def one(site: Site) -> AsyncIterator[Reembedding]:
    async with open_reembedding(site) as made:
        yield made


async def best(one: Reembedding, query: str) -> str:
    return (await one.context.search(query, "vector", limit=1))[0].text


async def test_searches_go_on_and_then_use_the_next_model(one: Reembedding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking, "_BATCH", 2)
    await one.add_many()
    assert (await one.start("compatible/hashing")).next_model == NEW
    seen: list[tuple[str, int, str | None]] = []
    write = walking._Walk._write

    async def watched(walk: walking._Walk, vectors: Any) -> bool:
        written = await write(walk, vectors)
        text = await best(one, "a sleeping walrus")
        seen.append((text, one.hashing.queries, (await one.state()).next_model))
        return written

    monkeypatch.setattr(walking._Walk, "_write", watched)
    await one.run()
    assert len(seen) == 6
    assert {(queries, model) for _, queries, model in seen} == {(0, NEW)}  # the old model answered
    state = await one.state()
    assert (state.model, state.next_model, state.error) == (NEW, None, None)
    assert (state.chunk_count, state.segments, one.missing(NEW)) == (6, 6, 0)
    assert await best(one, "the walrus of house 5 sleeps") == "The walrus of house 5 sleeps."
    assert one.hashing.queries == 1
    assert (await one.context.search("walrus"))[0].text.startswith("The walrus")


async def test_progress_is_told(one: Reembedding) -> None:
    await one.add_many(4)
    await one.start()
    told: list[tuple[int, int]] = []

    async def look() -> None:
        state = await one.state()
        told.append((state.done, state.total))
        one.hashing.happens = look

    await look()
    await one.run()
    assert told == [(0, 0), (0, 0), (1, 4), (2, 4), (3, 4)]


async def test_what_comes_from_the_begin_of_a_reembedding_on_is_cut_as_the_next_model_reads_it(
    one: Reembedding,
) -> None:
    """Nothing of a chunk is lost to its vector, whatever the process's own model reads."""
    one.hashing.spec = msgspec.structs.replace(Hashing.spec, chunk_tokens=100)
    text = " ".join(f"Sentence {number} tells of a walrus." for number in range(200))
    before = await one.context.add(text)
    await one.start()
    meanwhile = await one.context.add(f"{text} That is all.")
    await one.run()
    after = await one.context.add(f"{text} Nothing else.")
    cuttings = dict(one.context.site.rows("SELECT id, live_tokenizer FROM context_items"))
    assert [cuttings[item.id] for item in (before, meanwhile, after)] == ["wordllama", "estimate 100", "estimate 100"]
    assert meanwhile.chunk_count == after.chunk_count > 2 * before.chunk_count


async def test_the_old_vectors_go_afterwards_and_another_tenants_stay(one: Reembedding) -> None:
    await one.add_many(3)
    other = one.context.other
    await one.context.add("The gannet of another tenant.", by=other)
    kept = one.context.site.rows("SELECT count(*) FROM context_embeddings WHERE tenant_id = %s", other.tenant_id)
    await one.start()
    await one.run()
    assert one.stored(OLD) == 3 + 3 + 2  # searches that began before may still use them
    await one.forget()
    assert one.stored(OLD) == 2
    assert one.context.site.rows("SELECT tenant_id FROM context_embeddings") == [(other.tenant_id,)] * kept[0][0]
    assert one.context.site.rows("SELECT model FROM context_indexes WHERE tenant_id = %s", other.tenant_id) == [(OLD,)]
    assert len(await one.context.search("gannet", by=other)) == 1
    assert len(await one.context.search("walrus heron lynx", "vector")) == 3


async def test_what_is_added_changed_and_deleted_meanwhile_is_as_it_should_be(one: Reembedding) -> None:
    items = await one.add_many()
    await one.start()

    async def change() -> None:
        await one.context.add("The gannet flew in.")
        await one.context.delete(items[0].id)
        await one.context.change(items[5].id, content="The lemur took its place.")
        await one.context.ingest(items[5].id)

    one.hashing.happens = change
    await one.run()
    assert one.missing(NEW) == 0
    assert await best(one, "gannet") == "The gannet flew in."
    texts = [hit.text for hit in await one.context.search("sleeps", "vector", limit=20)]
    assert len(texts) == 6
    assert "The lemur took its place." in texts
    await one.context.add("The ibis came last.")
    assert await best(one, "ibis") == "The ibis came last."
    assert one.missing(NEW) == 0


async def test_a_merge_meanwhile_costs_no_second_embedding(one: Reembedding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "MERGE_FRESH", 6)
    await one.add_many(6)
    await one.start()

    async def second() -> None:
        assert await Merger(one.context.db).merge_all(one.context.acme) == 1

    async def first() -> None:
        one.hashing.happens = second  # when the first segment has its codes, and the others none

    one.hashing.happens = first
    await one.run()
    assert (await one.state()).segments == 1
    assert one.missing(NEW) == 0
    assert set(one.hashing.texts.values()) == {1}
    assert await best(one, "the walrus of house 5 sleeps") == "The walrus of house 5 sleeps."


async def test_a_merge_that_began_before_the_switch_shows_a_segment_of_the_new_model(
    one: Reembedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "MERGE_FRESH", 3)
    await one.add_many(3)
    await one.start()
    transaction, count = merging._Lease.transaction, 0

    @asynccontextmanager
    async def counted(lease: merging._Lease, *args: Any) -> AsyncIterator[Any]:
        nonlocal count
        count += 1
        if count == 4:  # its segment is written, and not shown
            await one.run()
            assert (await one.state()).model == NEW
        async with transaction(lease, *args) as tx:
            yield tx

    monkeypatch.setattr(merging._Lease, "transaction", counted)
    assert await Merger(one.context.db).merge_all(one.context.acme) == 1
    assert (await one.state()).segments == 1
    assert one.missing(NEW) == 0
    assert len(await one.context.search("walrus", "vector")) == 3


class Killed(Exception):
    pass


async def test_a_killed_one_goes_on_where_it_was(one: Reembedding) -> None:
    await one.add_many(5)
    await one.start()

    async def die() -> None:
        raise Killed

    async def live() -> None:
        one.hashing.happens = second

    async def second() -> None:
        one.hashing.happens = die

    one.hashing.happens = live
    with pytest.raises(Killed):
        await one.run()
    assert (await one.state()).model == OLD
    assert len(one.hashing.texts) == 2
    await one.run()
    assert (await one.state()).model == NEW
    assert set(one.hashing.texts.values()) == {1}
    assert len(one.hashing.texts) == 5


async def test_a_worker_that_lost_its_job_writes_no_more(one: Reembedding) -> None:
    await one.add_many(2)
    await one.start()

    async def take_over() -> None:
        one.claim(REEMBED)

    one.hashing.happens = take_over
    with pytest.raises(JobLost):
        await one.run()
    assert one.stored(NEW) == 0


async def test_a_switch_during_an_ingestion_makes_it_embed_anew(
    one: Reembedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its vectors are of the model before."""
    await one.add_many(1)
    item = await one.context.add("The gannet flew in.", ingest=False)
    vectors = one.context.ingestion._vectors
    embed = vectors.embed
    made: list[list[str]] = []

    async def slowly(*args: Any) -> Any:
        found = await embed(*args)
        made.append(list(found))
        if len(made) == 1:
            await one.start()
            await one.run()
        return found

    monkeypatch.setattr(vectors, "embed", slowly)
    assert await one.context.ingest(item.id) == "ready"
    assert made == [[OLD], [NEW]]
    assert one.missing(NEW) == 0


async def test_a_switch_during_a_search_makes_it_begin_anew(one: Reembedding, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its query's vector is of the model before."""
    await one.add_many(2)
    await one.start()
    embed = one.context.searcher._embed
    asked: list[str] = []

    async def slowly(principal: Principal, request: SearchRequest, model: str) -> Any:
        question = await embed(principal, request, model)
        asked.append(model)
        if len(asked) == 1:
            await one.run()
        return question

    monkeypatch.setattr(one.context.searcher, "_embed", slowly)
    assert await best(one, "the heron of house 1 sleeps") == "The heron of house 1 sleeps."
    assert asked == [OLD, NEW]


async def test_a_next_model_that_fails_does_not_stop_ingestions(one: Reembedding) -> None:
    await one.add_many(1)
    await one.start()
    one.hashing.fails = ProviderError("away", provider="compatible", retryable=True)
    await one.context.add("The gannet flew in.")
    assert one.missing(NEW) > 0
    one.hashing.fails = None
    await one.run()
    assert one.missing(NEW) == 0


async def test_a_model_that_cannot_be_had_ends_it_and_the_index_says_so(one: Reembedding) -> None:
    await one.add_many(1)
    await one.start("compatible/away@8")
    with pytest.raises(JobFailed) as failed:
        await IndexReembedder(one.reembedder)(one.claim(REEMBED))
    assert failed.value.is_final
    state = await one.state()
    assert state.error is not None
    assert (state.model, state.next_model, state.error.code) == (OLD, None, "MODEL_UNAVAILABLE")
    assert (await one.start()).error is None  # another one may be begun


@pytest.mark.parametrize("status", [400, 404, None])
async def test_a_provider_that_refuses_the_texts_ends_it_at_once(one: Reembedding, status: int | None) -> None:
    await one.add_many(1)
    await one.start()
    one.hashing.fails = ProviderError("secret", provider="compatible", retryable=False, status=status)
    with pytest.raises(JobFailed) as failed:
        await IndexReembedder(one.reembedder)(one.claim(REEMBED))
    state = await one.state()
    assert state.error is not None
    assert (state.model, state.next_model, state.error.code) == (OLD, None, "EMBEDDING_FAILED")
    assert (failed.value.is_final, failed.value.code, failed.value.text) == (
        True,
        state.error.code,
        state.error.message,
    )
    assert "secret" not in state.error.message


@pytest.mark.parametrize(("status", "retryable"), [(401, False), (403, False), (503, True)])
async def test_a_provider_that_may_be_had_later_leaves_it_for_another_try(
    one: Reembedding, status: int, retryable: bool
) -> None:
    await one.add_many(1)
    await one.start()
    one.hashing.fails = ProviderError("no", provider="compatible", retryable=retryable, status=status)
    with pytest.raises(ProviderError):
        await IndexReembedder(one.reembedder)(one.claim(REEMBED))
    assert (await one.state()).next_model == NEW
    one.hashing.fails = None
    await one.run()
    assert (await one.state()).model == NEW


async def test_an_index_whose_model_cannot_be_had_is_searched_by_words_and_says_so(one: Reembedding) -> None:
    await one.add_many(2)
    one.context.site.rows("UPDATE context_indexes SET model = 'compatible/away@8'")
    found = await one.context.searcher.search(one.context.acme, SearchRequest(query="walrus"))
    assert (len(found.results), found.degraded) == (1, True)
    with pytest.raises(ProviderError):
        await one.context.search("walrus", "vector")
    item = await one.context.add("The gannet flew in.", ingest=False)
    assert await one.context.ingest(item.id) == "failed"
    failed = await one.context.get(item.id)
    assert failed.error is not None
    assert failed.error.code == "MODEL_UNAVAILABLE"


async def test_a_model_that_does_not_load_once_leaves_items_and_reembeddings_for_another_try(
    one: Reembedding,
) -> None:
    def build(name: str) -> Embedder:
        raise OSError("The disk is busy.")

    await one.add_many(1)
    async with open_context(one.context.site, build=build) as away:
        one.context.site.rows("UPDATE context_indexes SET model = %s", NEW)
        item = await away.add("The gannet flew in.", ingest=False)
        for _ in range(2):  # the second one within the pause
            with pytest.raises(ModelUnavailable):
                await away.ingest(item.id)
        assert (await away.get(item.id)).status == "processing"
        await away.ingestion.fail(away.acme, item.id, away.generation(item.id), ModelUnavailable(NEW, retryable=True))
        failed = await away.get(item.id)
        assert failed.error is not None
        assert failed.error.code == "MODEL_UNAVAILABLE"
        one.context.site.rows("UPDATE context_indexes SET model = %s", OLD)
        await one.start()
        handler = IndexReembedder(Reembedder(away.db, away.embedders, Ledger(lambda _: None)))
        with pytest.raises(ModelUnavailable):
            await handler(one.claim(REEMBED))
        assert (await one.state()).next_model == NEW  # it goes on
    await one.run()
    assert (await one.state()).model == NEW
    assert (await one.context.reindexed(item)).status == "ready"


async def test_an_index_keeps_its_model_when_the_default_changes(one: Reembedding) -> None:
    await one.add_many(1)
    async with open_context(one.context.site, one.hashing, build=lambda _: one.context.embedders._default) as later:
        await later.add("The gannet flew in.")
        assert len(await later.search("gannet walrus", "vector")) == 2
    assert (one.missing(OLD), one.stored(NEW), one.hashing.texts.total()) == (0, 0, 0)


async def test_it_is_begun_once(one: Reembedding) -> None:
    await one.add_many(1)
    with pytest.raises(Conflict):
        await one.start(OLD)
    with pytest.raises(InvalidInput):
        await one.start("nonsense")
    await one.start()
    await one.start()
    query = "SELECT count(*) FROM jobs WHERE kind = 'context.reembed/1'"
    assert one.context.site.rows(query) == [(1,)]
    with pytest.raises(Conflict):
        await one.start("compatible/away@8")
    dead = "UPDATE jobs SET status = 'dead', error_code = 'LAPSED', ended_at = now() WHERE kind = %s"
    one.context.site.rows(dead, REEMBED.kind)
    state = await one.state()
    assert state.error is not None
    assert state.error.code == "LAPSED"
    assert (await one.start()).error is None
    assert one.context.site.rows(query) == [(2,)]


async def test_asking_for_the_model_it_has_ends_it(one: Reembedding) -> None:
    await one.add_many(2)
    await one.start()

    async def end() -> None:
        assert (await one.start(OLD)).next_model is None

    one.hashing.happens = end
    await one.run()
    state = await one.state()
    assert (state.model, state.next_model, state.error) == (OLD, None, None)
    await one.forget()
    assert one.stored(NEW) == 0
    assert one.missing(OLD) == 0


async def test_what_an_index_has_come_back_to_is_not_forgotten(one: Reembedding) -> None:
    await one.add_many(2)
    await one.start()
    await one.run()
    job = one.claim(FORGET_MODEL)
    await one.start(OLD)
    await ModelForgetter(one.context.db).forget(job)
    assert one.missing(OLD) == 0


async def test_an_empty_index_switches_at_once(one: Reembedding) -> None:
    assert (await one.state()).model == OLD
    await one.start()
    await one.run()
    assert (await one.state()).model == NEW
    await one.context.add("The gannet flew in.")
    assert (one.missing(NEW), one.stored(OLD)) == (0, 0)


async def test_a_chunk_that_is_being_deleted_is_waited_for(one: Reembedding, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it will be gone is known when that transaction ends; neither waits with a lock of the other's."""
    await one.add_many(2)
    await one.start()
    with psycopg.connect(one.context.site.database.admin_url) as deleting:

        async def delete() -> None:
            deleting.execute("DELETE FROM context_chunks")

        async def roll_back(_: float) -> None:
            deleting.rollback()

        one.hashing.happens = delete
        monkeypatch.setattr(asyncio, "sleep", roll_back)
        await one.run()
        deleting.rollback()
    assert one.context.count("context_chunks") == 2
    assert one.missing(NEW) == 0
