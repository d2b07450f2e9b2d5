"""What one principal asks at the same time is answered in one transaction, each as it would be alone."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from psycopg import sql

from copilot_common.base.errors import Unavailable
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


async def test_each_principal_finds_what_it_may_see(animals: ContextGround) -> None:
    member = person(animals.acme.tenant_id, "member")
    principals = [animals.acme, member, animals.other]
    request = SearchRequest(query="The heron fishes in the morning.", limit=50)
    alone = [shown(await animals.searcher.search(one, request)) for one in principals]
    asked = [(one, animals.searcher.search(principal, request)) for one, principal in enumerate(principals * 3)]
    found = await asyncio.gather(*(search for _, search in asked))
    assert [shown(result) for result in found] == alone * 3
    assert [len(one) for one in alone] == [18, 12, 1]


async def test_a_question_that_breaks_the_transaction_harms_no_other(
    animals: ContextGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = answering.find_candidates

    async def fragile(reads: Reads, asked: Asked, breadth: int = 1) -> Candidates:
        if asked.request.query == "badger Graz":
            await reads.tx.connection.execute(sql.SQL("SELECT 1 / 0"))
        return await find(reads, asked, breadth)

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

    async def dying(reads: Reads, asked: Asked, breadth: int = 1) -> Candidates:
        if asked.request.query == "badger Graz":
            await reads.tx.connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return await find(reads, asked, breadth)

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
