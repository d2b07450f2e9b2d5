"""What vector searches miss is measured, after some of them, and no search is the worse for it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from copilot_common.embedding import Embedded, Embedder, Purpose
from copilot_common.embedding.wordllama_adapter import WordLlamaEmbedder
from copilot_common.tenancy import Principal
from copilot_domain.context import AclEntry, SearchRequest
from copilot_domain.context.reembedding.embedders import Embedders
from copilot_domain.context.search import canary as canary_module
from copilot_domain.context.search.canary import RecallCanary, RecallMetrics
from copilot_domain.context.search.likely import likely_places
from copilot_domain.context.search.searching import ContextSearch
from copilot_domain.context.segments.types import Numbers
from copilot_domain.context.types import SearchMode
from integration.context.ground import ContextGround, open_context, person
from support.api import Site

WORDS = ("apple", "bridge", "candle", "desert", "engine", "forest", "garden", "harbour", "island", "jacket", "kettle")
MINUTE = 60.0


class Watched:
    """A canary with its clock, and what it has counted."""

    def __init__(self, context: ContextGround, embedder: Embedder) -> None:
        self.context = context
        self.now = 0.0
        self.searcher = ContextSearch(context.db, Embedders(embedder))
        self.registry = CollectorRegistry()
        metrics = RecallMetrics(self.registry)
        self.canary = RecallCanary(context.db, self.searcher, metrics, clock=lambda: self.now, pause_seconds=0)

    async def ask(self, mode: SearchMode = "vector", *, by: Principal | None = None) -> int:
        request = SearchRequest(query="a lamp by the sea", mode=mode)
        return len((await self.canary.search(by or self.context.acme, request)).results)

    async def measure(self, mode: SearchMode = "vector", *, by: Principal | None = None) -> float | None:
        """After another minute: the recall that is told of, None where it is not measured."""
        self.now += MINUTE
        before, total = self.count(), self.sample("context_search_recall_sum", size="small")
        await self.ask(mode, by=by)
        await self.settle()
        if self.count() == before:
            return None
        return self.sample("context_search_recall_sum", size="small") - total

    async def settle(self) -> None:
        if self.canary._task is not None:
            await asyncio.wait([self.canary._task])

    def count(self, outcome: str = "measured") -> int:
        return int(self.sample("context_search_recall_checks_total", outcome=outcome))

    def sample(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def watching(site: Site, embedder: Embedder) -> AsyncIterator[Watched]:
    async with open_context(site, embedder) as context:
        watched = Watched(context, embedder)
        yield watched
        await watched.canary.stop()


@pytest.fixture
async def watched(site: Site) -> AsyncIterator[Watched]:
    async with watching(site, WordLlamaEmbedder()) as made:
        for word in WORDS[:10]:
            await made.context.add(f"The {word} is here.", name=word)
        yield made


def lose(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """So many of the candidates are overlooked."""

    def drop(*args: Any) -> tuple[Numbers, bool]:
        places, is_whole = likely_places(*args)
        return places[count:], is_whole

    monkeypatch.setattr("copilot_domain.context.search.answering.likely_places", drop)


class Narrow(WordLlamaEmbedder):
    """Of another size than the guide's table has."""

    spec = msgspec.structs.replace(WordLlamaEmbedder.spec, name="narrow-64", dimensions=64)

    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Embedded:
        vectors = (await super().embed(texts, purpose=purpose)).vectors[:, :64]
        return Embedded(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


async def test_what_is_overlooked_is_measured_and_else_nothing(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await watched.measure("vector") == 1
    assert await watched.measure("hybrid") == 1
    assert await watched.measure("text") is None
    lose(monkeypatch, 3)
    assert await watched.measure() == pytest.approx(0.7)
    assert (watched.count(), watched.sample("context_search_recall_count", size="small")) == (3, 3)


async def test_vectors_of_another_size_are_measured_too(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async with watching(site, Narrow()) as watched:
        for word in WORDS[:4]:
            await watched.context.add(f"The {word} is here.")
        assert await watched.measure() == 1
        lose(monkeypatch, 1)
        assert await watched.measure() == pytest.approx(0.75)


async def test_only_what_the_principal_may_see_counts(watched: Watched) -> None:
    for word in WORDS:
        await watched.context.add(f"A secret lamp by the sea, {word}.", acl=(AclEntry(role="owner"),))
    await watched.context.add("A lamp by the sea, elsewhere.", by=watched.context.other)
    assert await watched.measure(by=person(watched.context.acme.tenant_id, "member")) == 1
    assert await watched.measure() == 1


async def test_the_exact_scores_are_of_what_is_live_and_may_be_seen(watched: Watched) -> None:
    """One passage is left to the member, and that in a new generation."""
    items = watched.context.site.rows("SELECT id FROM context_items")
    for (item_id,) in items[1:]:
        await watched.context.change(item_id, acl=(AclEntry(role="owner"),))
    await watched.context.change(items[0][0], content="Another text.")
    await watched.context.ingest(items[0][0])
    member = person(watched.context.acme.tenant_id, "member")
    (vector,) = (await WordLlamaEmbedder().embed(["Another text."])).vectors
    async with watched.context.db.transaction(member) as tx:
        scores = await canary_module._score_exactly(tx, vector, WordLlamaEmbedder.spec.name)
    assert scores == pytest.approx([1], abs=1e-5)


async def test_it_measures_once_a_minute(watched: Watched) -> None:
    assert await watched.measure() == 1
    watched.now += MINUTE - 1
    await watched.ask()
    await watched.settle()
    assert watched.count() == 1
    watched.now += 1
    await watched.ask()
    await watched.settle()
    assert watched.count() == 2


class Gate:
    """Holds the canary where it looks for candidates."""

    def __init__(self, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        self.reached, self.opened = asyncio.Event(), asyncio.Event()
        self._nearest = watched.searcher.nearest
        monkeypatch.setattr(watched.searcher, "nearest", self)

    async def __call__(self, *args: object) -> object:
        self.calls += 1
        self.reached.set()
        await self.opened.wait()
        return await self._nearest(*args)  # type: ignore[arg-type]


async def test_one_is_at_work_at_a_time_while_searches_go_on(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(watched, monkeypatch)
    for _ in range(3):
        watched.now += MINUTE
        assert await watched.ask() == 10
        await gate.reached.wait()
    gate.opened.set()
    await watched.settle()
    assert (gate.calls, watched.count()) == (1, 1)


async def test_searches_that_never_pause_are_measured_too_and_as_seldom(watched: Watched) -> None:
    watched.canary._under_way += 1  # one that is always on its way
    assert await watched.measure() == 1
    await watched.ask()  # no further minute later
    await watched.settle()
    assert watched.count() == 1


async def test_it_waits_a_while_for_a_moment_in_which_nobody_waits(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canary_module, "_LOOKS", 10**9)
    gate = Gate(watched, monkeypatch)
    watched.canary._under_way += 1
    await watched.ask()
    await watched.ask()  # takes longer than the measurement's way to the gate
    assert not gate.reached.is_set()
    watched.canary._under_way -= 1
    await gate.reached.wait()
    gate.opened.set()
    await watched.settle()
    assert (gate.calls, watched.count()) == (1, 1)


async def test_a_fault_is_counted_and_harms_no_search(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(canary_module, "_STATEMENT_MS", "a lamp")  # PostgreSQL will not have it
    watched.now += MINUTE
    assert await watched.ask() == 10
    await watched.settle()
    assert (watched.count("failed"), watched.count()) == (1, 0)
    assert "lamp" not in capsys.readouterr().err
    monkeypatch.undo()
    assert await watched.measure() == 1


async def test_a_tenant_that_is_too_large_or_has_nothing_is_counted_as_that(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await watched.measure(by=watched.context.other) is None
    monkeypatch.setattr(canary_module, "_SIZES", ((9, "small"),))
    assert await watched.measure() is None
    assert (watched.count("empty"), watched.count("too_large")) == (1, 1)


async def test_it_ends_with_its_process(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(watched, monkeypatch)
    await watched.ask()
    await gate.reached.wait()
    await watched.canary.stop()
    watched.now += MINUTE
    assert await watched.ask() == 10
    assert watched.canary._task is not None
    assert watched.canary._task.cancelled()
    assert watched.count() == 0
