"""What a tenant's principals ask at the same time is answered in one transaction, each as it would be alone."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from psycopg import sql

from copilot_common.base.errors import Unavailable
from copilot_common.base.ids import TenantId
from copilot_common.tenancy import Principal, Transaction
from copilot_domain.context import AclEntry, SearchFilter, SearchRequest, SearchResult
from copilot_domain.context.search import answering, reads, searching
from copilot_domain.context.search.answering import Asked
from copilot_domain.context.search.candidates import Candidates
from copilot_domain.context.search.index import OpenIndex, open_index
from copilot_domain.context.search.reads import Reads
from copilot_domain.context.segments import store
from copilot_domain.context.segments.merging import Merger
from integration.context.ground import ContextGround, person
from support.clients import eventually

TEXTS = [
    f"The {animal} of {place} {does} in the {time}."
    for animal, does in (("heron", "fishes"), ("badger", "digs"), ("owl", "hunts"))
    for place in ("Lund", "Graz", "Bath")
    for time in ("morning", "evening")
]
REQUESTS = [
    SearchRequest(query="Which heron fishes in the morning?"),
    SearchRequest(query="hunting birds", mode="vector", limit=3),
    SearchRequest(query="badger Graz", mode="text"),
    SearchRequest(query="animals of Bath", filter=SearchFilter(metadata={"half": 1}), limit=50),
    SearchRequest(query="the and of", mode="text"),
    SearchRequest(query="owl", max_tokens=20),
    SearchRequest(query="evening", limit=1),
    SearchRequest(query="Which heron fishes in the morning?", mode="vector"),
]


class Transactions:
    """How many were begun."""

    def __init__(self, context: ContextGround, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._begin = context.db.transaction
        monkeypatch.setattr(context.db, "transaction", self._counted)

    @asynccontextmanager
    async def _counted(self, principal: Principal, **options: Any) -> AsyncIterator[Transaction]:
        self.count += 1
        async with self._begin(principal, **options) as tx:
            yield tx


@pytest.fixture
async def animals(context: ContextGround) -> ContextGround:
    for number, text in enumerate(TEXTS):
        acl = (AclEntry(role="owner"),) if number % 3 == 0 else ()
        await context.add(text, name=text[:12], metadata={"half": number % 2}, acl=acl)
    await context.add("The heron of another tenant fishes in the morning.", by=context.other)
    return context


def shown(result: SearchResult) -> list[tuple[str, int]]:
    return [(hit.text, round(hit.score * 1e4)) for hit in result.results]


async def test_each_is_answered_as_it_would_be_alone_and_all_in_one_transaction(
    animals: ContextGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    searcher, acme = animals.searcher, animals.acme
    alone = [shown(await searcher.search(acme, request)) for request in REQUESTS]
    transactions = Transactions(animals, monkeypatch)
    together = await asyncio.gather(*(searcher.search(acme, request) for request in REQUESTS))
    assert [shown(result) for result in together] == alone
    assert [len(one) for one in alone if not one] == [0]  # words that say nothing
    assert transactions.count <= 2  # those that did not need to be embedded may be a group of their own


async def test_a_fault_costs_nobody_else_an_answer(animals: ContextGround, monkeypatch: pytest.MonkeyPatch) -> None:
    find = answering.find_candidates

    async def faulty(reads: Reads, asked: Asked, *more: Any) -> Candidates:
        if asked.request.query == "owl 6":
            raise ZeroDivisionError
        return await find(reads, asked, *more)

    monkeypatch.setattr(answering, "find_candidates", faulty)
    transactions = Transactions(animals, monkeypatch)
    requests = [SearchRequest(query=f"owl {number}", mode="text") for number in range(8)]
    asked = (animals.searcher.search(animals.acme, request) for request in requests)
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [SearchResult] * 6 + [ZeroDivisionError, SearchResult]
    assert transactions.count == 2  # all, and the one alone


async def test_those_of_a_tenant_are_answered_together_each_with_his_own_rights(
    animals: ContextGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = animals.acme.tenant_id
    ann, bob, visitor = person(tenant, "member"), person(tenant, "member"), person(tenant, "viewer")
    for who, text in ((ann, "Ann's heron fishes in the morning."), (bob, "Bob's heron fishes in the morning.")):
        await animals.add(text, acl=(AclEntry(user_id=who.acting_user),))
    await animals.add("The members' heron fishes in the morning.", acl=(AclEntry(role="member"),))
    principals = [animals.acme, ann, bob, visitor]
    requests = [
        SearchRequest(query="The heron fishes in the morning.", limit=50, mode="text"),
        SearchRequest(query="heron", limit=50, mode="text", filter=SearchFilter(type="text")),
    ]
    pairs = [(principal, request) for request in requests for principal in principals]
    alone = [shown(await animals.searcher.search(*pair)) for pair in pairs]
    transactions = Transactions(animals, monkeypatch)
    together = await asyncio.gather(*(animals.searcher.search(*pair) for pair in pairs))
    assert [shown(result) for result in together] == alone
    assert transactions.count == 1
    seen = [{text.split()[0] for text, _ in found} - {"The"} for found in alone]
    assert seen == [{"Ann's", "Bob's"}, {"Ann's"}, {"Bob's"}, set()] * 2
    assert [len(found) for found in alone[:4]] == [15, 10, 10, 8]


async def test_tenants_are_not_answered_together(animals: ContextGround, monkeypatch: pytest.MonkeyPatch) -> None:
    request = SearchRequest(query="The heron fishes in the morning.", limit=50, mode="text")
    tenants: list[TenantId] = []
    begin = animals.db.transaction

    def noted(principal: Principal, **options: Any) -> AbstractAsyncContextManager[Transaction]:
        tenants.append(principal.tenant_id)
        return begin(principal, **options)

    monkeypatch.setattr(animals.db, "transaction", noted)
    principals = [animals.acme, animals.other] * 3
    found = await asyncio.gather(*(animals.searcher.search(principal, request) for principal in principals))
    assert [len(result.results) for result in found] == [12, 1] * 3
    assert sorted(tenants) == sorted({animals.acme.tenant_id, animals.other.tenant_id})


async def test_what_nobody_asks_for_himself_is_asked_with_nobodys_rights(
    animals: ContextGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement that took the transaction's principal for the asker would show what all may see, and no more."""
    seen: list[Principal] = []
    find = animals.searcher._opened

    @asynccontextmanager
    async def opened(several: Sequence[Asked]) -> AsyncIterator[Reads]:
        async with find(several) as reads:
            seen.append(reads.tx.principal)
            yield reads

    monkeypatch.setattr(animals.searcher, "_opened", opened)
    assert await animals.search("heron")
    assert {(one.user_id in {None, animals.acme.user_id}, one.role) for one in seen} == {(False, None)}


async def test_who_is_ready_does_not_wait_for_a_slow_one(
    animals: ContextGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, may_go_on = answering.find_candidates, asyncio.Event()

    async def slow(reads: Reads, asked: Asked, *more: Any) -> Candidates:
        if asked.request.query == "badger Graz":
            await may_go_on.wait()
        return await find(reads, asked, *more)

    monkeypatch.setattr(answering, "find_candidates", slow)
    transactions = Transactions(animals, monkeypatch)
    requests = (SearchRequest(query=query, mode="text") for query in ("badger Graz", "owl", "heron"))
    held, *others = [asyncio.create_task(animals.searcher.search(animals.acme, request)) for request in requests]
    async with asyncio.timeout(30):
        assert all(result.results for result in await asyncio.gather(*others))
    assert not held.done()
    may_go_on.set()
    assert (await held).results
    assert transactions.count == 1


async def test_a_question_that_breaks_the_transaction_harms_no_other(
    animals: ContextGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = answering.find_candidates

    async def fragile(reads: Reads, asked: Asked, *more: Any) -> Candidates:
        if asked.request.query == "badger Graz":
            await reads.tx.connection.execute(sql.SQL("SELECT 1 / 0"))
        return await find(reads, asked, *more)

    alone = [shown(await animals.searcher.search(animals.acme, request)) for request in REQUESTS]
    monkeypatch.setattr(answering, "find_candidates", fragile)
    asked = (animals.searcher.search(animals.acme, request) for request in REQUESTS)
    for request, one, found in zip(REQUESTS, alone, await asyncio.gather(*asked, return_exceptions=True), strict=True):
        if request.query == "badger Graz":
            assert isinstance(found, Exception)
        else:
            assert isinstance(found, SearchResult)
            assert shown(found) == one


async def test_a_connection_that_dies_is_told_to_all_as_what_may_be_tried_again(
    animals: ContextGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = answering.find_candidates

    async def dying(reads: Reads, asked: Asked, *more: Any) -> Candidates:
        if asked.request.query == "badger Graz":
            await reads.tx.connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return await find(reads, asked, *more)

    monkeypatch.setattr(answering, "find_candidates", dying)
    asked = (animals.searcher.search(animals.acme, SearchRequest(query=query)) for query in ("badger Graz", "owl"))
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 2
    monkeypatch.setattr(answering, "find_candidates", find)
    assert (await animals.searcher.search(animals.acme, SearchRequest(query="owl"))).results


async def test_what_a_group_has_read_goes_with_it(animals: ContextGround, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, by counting references: the garbage collector looks rarely, and scores of all chunks are large."""
    indexes: list[weakref.ref[OpenIndex]] = []

    async def watched(*args: Any, **options: Any) -> OpenIndex:
        opened = await open_index(*args, **options)
        indexes.append(weakref.ref(opened))
        return opened

    monkeypatch.setattr(searching, "open_index", watched)
    gc.disable()
    try:
        await asyncio.gather(*(animals.searcher.search(animals.acme, request) for request in REQUESTS))
        await eventually(lambda: asyncio.sleep(0, all(index() is None for index in indexes)))
    finally:
        gc.enable()
    assert indexes


async def test_nearness_is_computed_while_postgresql_looks_for_the_words(
    animals: ContextGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    await Merger(animals.db).merge_all(animals.acme)
    happened: list[str] = []
    find, compute = store.find_postings, OpenIndex._vector_scores

    async def found(*args: Any) -> Any:
        happened.append("words are asked for")
        postings = await find(*args)
        happened.append("words are found")
        return postings

    def computed(*args: Any) -> Any:
        happened.append("nearness is computed")
        return compute(*args)

    monkeypatch.setattr(reads, "find_postings", found)
    monkeypatch.setattr(OpenIndex, "_vector_scores", computed)
    assert await animals.search("heron")
    assert happened == ["words are asked for", "nearness is computed", "words are found"]
