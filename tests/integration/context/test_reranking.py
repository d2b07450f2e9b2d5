"""A search that asks for it is put in order by the reranker, and goes on without one that fails."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import get_args

import msgspec
import pytest

from copilot_common.base.errors import InvalidInput
from copilot_common.embedding.wordllama_adapter import WordLlamaEmbedder
from copilot_common.platform.settings import Settings
from copilot_common.reranking import Reranker, RerankerSpec, build_reranker
from copilot_domain.context import AclEntry, SearchRequest
from copilot_domain.context.reembedding.embedders import Embedders
from copilot_domain.context.search import reranking
from copilot_domain.context.search.searching import ContextSearch
from copilot_domain.context.types import SearchMode
from integration.context.ground import ContextGround, person
from support.clients import eventually
from support.simulator import SimulatorHandle, scripted

QUERY = "when are the invoices"
# To BM25 the best is who says `invoices` most often; to the simulator who has the most words of the query.
BEST = "When they come in the invoices are told to all who buy from us in the harbour, or by letter, or in the shop."
OFTEN = "Invoices, invoices, invoices."
ONCE = "Old invoices: kept."

Connect = Callable[..., tuple[ContextSearch, str]]


@pytest.fixture
async def connect(context: ContextGround, simulator: SimulatorHandle) -> AsyncIterator[Connect]:
    """Makes searchers with a reranker, and with each the key under which its requests are recorded."""
    made: list[Reranker] = []

    def make(script: str = "") -> tuple[ContextSearch, str]:
        model, key = scripted(script)
        variables = {"RERANK_MODEL": model, "RERANK_BASE_URL": f"{simulator.url}/v1", "TIMEOUT_MS": "500"}
        required = {"DATABASE_URL": "", "REDIS_URL": "", "JWT_SECRET": "", "ENCRYPTION_KEY": ""}
        reranker = build_reranker(msgspec.convert(required | variables, Settings, strict=False))
        assert reranker is not None
        made.append(reranker)
        return ContextSearch(context.db, Embedders(WordLlamaEmbedder()), reranker=reranker), key

    yield make
    for reranker in made:
        await reranker.aclose()


def wanted(*, mode: SearchMode = "text", rerank: bool = True, limit: int = 10) -> SearchRequest:
    return SearchRequest(query=QUERY, mode=mode, rerank=rerank, limit=limit)


async def add_all(context: ContextGround) -> None:
    for name, text in {"often": OFTEN, "best": BEST, "once": ONCE}.items():
        await context.add(text, name=name)


async def test_the_order_and_the_scores_are_the_rerankers(context: ContextGround, connect: Connect) -> None:
    await add_all(context)
    searcher, _ = connect()
    for mode in get_args(SearchMode):
        found = await searcher.search(context.acme, wanted(mode=mode))
        assert found.results[0].name == "best"
        assert [hit.score for hit in found.results] == pytest.approx([1, 0.25, 0.25])
        assert not found.degraded


async def test_equals_stay_in_the_order_they_had(context: ContextGround, connect: Connect) -> None:
    await add_all(context)
    searcher, _ = connect()
    before = [hit.name for hit in (await searcher.search(context.acme, wanted(rerank=False))).results]
    after = [hit.name for hit in (await searcher.search(context.acme, wanted())).results]
    assert after == ["best", *(name for name in before if name != "best")]
    assert before.index("often") == 0


async def test_a_search_that_does_not_ask_sends_nothing(
    context: ContextGround, connect: Connect, simulator: SimulatorHandle
) -> None:
    await add_all(context)
    searcher, key = connect()
    await searcher.search(context.acme, wanted(rerank=False))
    assert await simulator.requests(key) == []


async def test_only_what_the_principal_may_see_is_sent(
    context: ContextGround, connect: Connect, simulator: SimulatorHandle
) -> None:
    """And of it the headings and the text, as they were embedded."""
    await context.add("Secret invoices.", acl=(AclEntry(role="admin"),))
    await context.add(f"# Payment\n\n{ONCE}", type="document")
    await context.add("Invoices of others.", by=context.other)
    searcher, key = connect()
    found = await searcher.search(person(context.acme.tenant_id, "member"), wanted())
    (request,) = await simulator.requests(key)
    (sent,) = request["body"]["documents"]
    assert sent.startswith("Payment\n")
    assert ONCE in sent
    assert len(found.results) == 1


@pytest.mark.parametrize("script", ["fault=status,status=500,retry_after=9", "fault=stall", "fault=short", "fault=cut"])
async def test_a_failing_or_slow_reranker_leaves_the_order_and_says_so(
    context: ContextGround, connect: Connect, script: str
) -> None:
    await add_all(context)
    searcher, _ = connect(script)
    plain = await searcher.search(context.acme, wanted(rerank=False))
    found = await searcher.search(context.acme, wanted())
    assert found.results == plain.results
    assert (plain.degraded, found.degraded) == (False, True)


async def test_what_says_the_same_is_sent_once_and_leaves_room_for_others(
    context: ContextGround, connect: Connect, simulator: SimulatorHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reranking, "_RERANKED", 1)
    for _ in range(9):
        await context.add(OFTEN)
    others = [f"Invoices of {place} are kept in the {room}." for place, room in (("Lund", "attic"), ("Graz", "cellar"))]
    for text in others:
        await context.add(text)
    searcher, key = connect()
    found = await searcher.search(context.acme, wanted(limit=3))
    (request,) = await simulator.requests(key)
    assert sorted(request["body"]["documents"]) == sorted([OFTEN, *others])
    assert sorted(hit.text for hit in found.results) == sorted([OFTEN, *others])


async def test_nothing_found_is_not_sent(context: ContextGround, connect: Connect, simulator: SimulatorHandle) -> None:
    searcher, key = connect()
    found = await searcher.search(context.acme, wanted())
    assert (found.results, found.degraded) == ([], False)
    assert await simulator.requests(key) == []


class WatchfulReranker:
    """Says what it was given, and goes on when PostgreSQL has no transaction open any more: one is being ended when it
    is asked, and must not wait for it."""

    spec = RerankerSpec(name="watchful", max_documents=100, max_tokens=100)

    def __init__(self, context: ContextGround) -> None:
        self._context = context
        self.counts: list[int] = []

    async def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        self.counts.append(len(texts))
        await eventually(self._is_none_open, what="no transaction is open")
        return [float(number) for number in range(len(texts))]

    async def _is_none_open(self) -> bool:
        query = (
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND state = 'idle in transaction' AND application_name = 'tests'"
        )
        return self._context.site.rows(query) == [(0,)]

    async def aclose(self) -> None: ...


async def test_no_transaction_is_open_while_the_reranker_is_waited_for(context: ContextGround) -> None:
    await add_all(context)
    reranker = WatchfulReranker(context)
    searcher = ContextSearch(context.db, Embedders(WordLlamaEmbedder()), reranker=reranker)
    assert not (await searcher.search(context.acme, wanted())).degraded
    assert len(reranker.counts) == 1


async def test_the_worst_of_those_that_are_sent_can_become_the_first(
    context: ContextGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("copilot_domain.context.search.reranking._RERANKED", 5)
    for number in range(7):
        text = " ".join(f"word{number}x{place}" for place in range(1 + number))
        await context.add(f"Invoices of {text}", name=str(number))
    reranker = WatchfulReranker(context)
    searcher = ContextSearch(context.db, Embedders(WordLlamaEmbedder()), reranker=reranker)
    plain = await searcher.search(context.acme, wanted(rerank=False))
    found = await searcher.search(context.acme, wanted(limit=2))
    assert [hit.name for hit in found.results] == [hit.name for hit in plain.results[4:2:-1]]
    await searcher.search(context.acme, wanted(limit=3))
    assert reranker.counts == [5, 6]


async def test_without_a_reranker_here_the_field_is_refused(context: ContextGround) -> None:
    with pytest.raises(InvalidInput) as refused:
        await context.searcher.search(context.acme, wanted())
    assert refused.value.fields == {"rerank": "is not configured here"}
