"""What was ingested is found, by its words and by its meaning, and by nobody who may not see it."""

import re
from typing import get_args
from uuid import uuid4

import pytest

from copilot_common.base.errors import InvalidInput, ProviderError
from copilot_common.embedding import Embedded
from copilot_common.embedding.wordllama_adapter import WordLlamaEmbedder
from copilot_domain.context import AclEntry, terms
from copilot_domain.context.search import answering, index, likely
from copilot_domain.context.types import SearchMode
from integration.context.ground import ContextGround, open_context, person
from support.api import Site

OWNERS = (AclEntry(role="owner"),)
MODES: tuple[SearchMode, ...] = get_args(SearchMode)
TEXTS = {
    "cats": "Cats purr when they are content. A kitten sleeps most of the day.",
    "ships": "The harbour is closed to tankers over 200 metres; the pilot boards at the lighthouse.",
    "tax": "Invoices are due within thirty days. Value added tax is charged at nineteen per cent.",
}


@pytest.mark.parametrize("mode", MODES)
async def test_an_ingested_text_is_found_with_its_offsets(context: ContextGround, mode: SearchMode) -> None:
    items = {name: await context.add(text, name=name, metadata={"n": name}) for name, text in TEXTS.items()}
    hit = (await context.search("When are invoices due?", mode))[0]
    assert (hit.item_id, hit.name, hit.metadata) == (items["tax"].id, "tax", {"n": "tax"})
    assert TEXTS["tax"][hit.start : hit.end] == hit.text == TEXTS["tax"]


async def test_a_text_that_shares_no_word_with_the_query_is_found_by_its_meaning(context: ContextGround) -> None:
    for name, text in TEXTS.items():
        await context.add(text, name=name)
    assert (await context.search("feline animals napping"))[0].name == "cats"
    assert await context.search("feline animals napping", "text") == []


@pytest.mark.parametrize("mode", MODES)
async def test_as_many_are_found_as_there_are_though_all_the_likeliest_say_the_same(
    context: ContextGround, mode: SearchMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_BY_WORDS", "_BY_MEANING", "_LIMIT_SHARE"):
        monkeypatch.setattr(likely, name, 1)
    for _ in range(6):
        await context.add("Invoices are due within thirty days.")
    others = {(await context.add(f"{text} But see the invoices.")).id for text in TEXTS.values()}
    hits = await context.search("When are invoices due?", mode, limit=4)
    assert len({hit.text for hit in hits}) == 4
    assert others < {hit.item_id for hit in hits}


@pytest.mark.parametrize("mode", MODES)
async def test_as_many_are_found_as_there_are_though_thousands_say_the_same(
    context: ContextGround, mode: SearchMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than are looked at together."""
    for name in ("_BY_WORDS", "_BY_MEANING", "_LIMIT_SHARE", "_CHECKED", "_CHECKED_SHARE"):
        monkeypatch.setattr(likely, name, 1)
    monkeypatch.setattr(answering, "_BREADTHS", (1, 2))
    same = "Invoices are due within thirty days."
    hidden = [await context.add(same, acl=OWNERS) for _ in range(3)]
    shown = [await context.add(same, metadata={"is": "shown"}) for _ in range(12)]
    others = {(await context.add(f"{text} But see the invoices.")).id for text in TEXTS.values()}
    bob = person(context.acme.tenant_id, "member")
    hits = await context.search("When are invoices due?", mode, limit=4, by=bob)
    assert hits[0].text == same
    assert hits[0].item_id in {item.id for item in shown}
    assert {hit.item_id for hit in hits[1:]} == others
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert not {item.id for item in hidden} & {hit.item_id for hit in hits}


@pytest.mark.parametrize("mode", MODES)
async def test_another_tenant_finds_nothing(context: ContextGround, mode: SearchMode) -> None:
    await context.add(TEXTS["tax"])
    assert await context.search("invoices", mode, by=context.other) == []


@pytest.mark.parametrize("mode", MODES)
async def test_an_item_is_found_only_by_those_its_access_list_names(context: ContextGround, mode: SearchMode) -> None:
    tenant = context.acme.tenant_id
    friend, admin, viewer = (person(tenant, role) for role in ("member", "admin", "viewer"))
    await context.add(TEXTS["tax"], acl=(AclEntry(user_id=friend.acting_user), AclEntry(role="admin")))
    may = {"creator": context.acme, "friend": friend, "admin": admin, "owner": person(tenant, "owner")}
    for who, principal in may.items():
        assert len(await context.search("invoices", mode, by=principal)) == 1, who
    for principal in (viewer, person(tenant, "member")):
        assert await context.search("invoices", mode, by=principal) == []


@pytest.mark.parametrize("mode", MODES)
async def test_filters_leave_only_what_they_name(context: ContextGround, mode: SearchMode) -> None:
    code = await context.add("invoices in code", type="code", metadata={"team": {"name": "a", "size": 3}})
    text = await context.add("invoices in text", metadata={"team": {"name": "b"}})
    for chosen, expected in (
        ({"type": "code"}, {code.id}),
        ({"item_ids": (text.id,)}, {text.id}),
        ({"item_ids": (uuid4(),)}, set()),
        ({"item_ids": ()}, set()),
        ({"metadata": {"team": {"name": "a"}}}, {code.id}),
        ({"metadata": {"team": {}}}, {code.id, text.id}),
        ({"metadata": {"team": "a"}}, set()),
        ({"type": "code", "item_ids": (text.id,)}, set()),
    ):
        hits = await context.search("invoices", mode, **chosen)
        assert {hit.item_id for hit in hits} == expected, chosen


async def test_a_search_shows_no_more_than_its_limit_and_its_tokens(context: ContextGround) -> None:
    for number in range(6):
        await context.add(f"invoices number {number} " + "and more " * 20)
    assert len(await context.search("invoices", limit=4)) == 4
    tokens = context.site.rows("SELECT max(token_count) FROM context_chunks")[0][0]
    assert len(await context.search("invoices", max_tokens=3 * tokens)) == 3
    assert await context.search("invoices", max_tokens=1) == []


async def test_words_meet_across_their_endings_identifiers_across_their_parts(context: ContextGround) -> None:
    await context.add("def getUserName(self): return self.user_record", type="code")
    for query in ("getusername", "user names", "records", "user_record", "getting"):
        assert len(await context.search(query, "text")) == 1, query
    assert await context.search("the and of", "text") == []


async def test_a_query_that_cannot_be_is_refused(context: ContextGround) -> None:
    for fields in (
        {"query": " "},
        {"query": "x", "limit": 51},
        {"query": "x", "limit": 0},
        {"query": "x", "max_tokens": 0},
    ):
        with pytest.raises(InvalidInput):
            await context.search(**fields)


class BrokenEmbedder(WordLlamaEmbedder):
    async def embed(self, texts: object, *, purpose: object = None) -> Embedded:
        raise ProviderError("away", provider="test", retryable=True)


async def test_with_the_embedder_away_a_hybrid_search_goes_by_words_and_says_so(
    site: Site, context: ContextGround
) -> None:
    from copilot_domain.context import SearchRequest

    await context.add(TEXTS["tax"])
    async with open_context(site, BrokenEmbedder()) as broken:
        result = await broken.searcher.search(broken.acme, SearchRequest(query="invoices"))
        assert (len(result.results), result.degraded) == (1, True)
        with pytest.raises(ProviderError):
            await broken.search("invoices", "vector")


async def test_words_are_found_in_the_forms_of_their_language(context: ContextGround) -> None:
    german = "Die Rechnungen sind innerhalb von dreißig Tagen zu bezahlen, und der Hafen ist für Tanker geschlossen."
    item = await context.add(german)
    await context.add("The invoices are due within thirty days, and the harbour is closed to tankers of that size.")
    for query in ("Rechnung", "bezahle", "an welchem Tage"):
        assert [hit.item_id for hit in await context.search(query, "text")] == [item.id], query
    assert (await context.search("invoice", "text"))[0].text.startswith("The invoices")


async def test_an_identifier_is_found_as_it_is_written(context: ContextGround) -> None:
    item = await context.add("When ERR-4021 is shown, call copilot.audit.flush() on 10.0.0.7.")
    for number in range(20):
        await context.add(f"When ERR-{number} is shown, call 4021 times on host 10.{number}.0.1, or audit the flush.")
    for query in ("ERR-4021", "err-4021", "copilot.audit.flush", "10.0.0.7"):
        for mode in ("text", "hybrid"):
            assert (await context.search(query, mode))[0].item_id == item.id, (query, mode)


async def test_code_is_found_by_its_signs(context: ContextGround) -> None:
    texts = {
        "std::vector": "Call reserve on a std::vector before you fill it, where the size is known.",
        "C++": "The parser is written in C++ and takes a file.",
        "C#": "The parser is written in C# and takes a file.",
        ".NET": "The client for .NET opens one connection and keeps it.",
        "operator==": "Give the class an operator== so that it can be compared.",
        "node->next": "Then node->next leads to what follows it in the list.",
        "--dry-run": "With --dry-run the importer says what it would do.",
        "@property": "A getter is marked by @property above it.",
        "$HOME": "The key is looked for in $HOME first.",
        "X-Request-Id": "Each answer has X-Request-Id among its headers.",
    }
    for name, text in texts.items():
        words = " ".join(re.findall(r"\w+", name))
        await context.add(f"{text.replace(name, words)} So {words}.", name="only its words, but twice")
        await context.add(text, name=name)
    for query in texts:
        for mode in ("text", "hybrid"):
            assert (await context.search(query, mode))[0].name == query, (query, mode)


async def test_what_was_indexed_without_an_identifier_is_found_by_its_words_until_it_is_reindexed(
    context: ContextGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(terms, "_TOKEN", terms._JOINED)
        old = await context.add("Call reserve on a std::vector before you fill it.")
    other = await context.add("A vector has a direction, which std, the vector of the mosquito, has not.")
    assert [hit.item_id for hit in await context.search("std::vector", "text")] == [other.id, old.id]
    await context.reindexed(old)
    assert [hit.item_id for hit in await context.search("std::vector", "text")] == [old.id, other.id]


async def test_neighbours_are_shown_as_one_passage_and_the_same_text_once(context: ContextGround) -> None:
    paragraphs = [
        f"Paragraph {number} of the walrus report. "
        + " ".join(f"Bay{number * 100 + bay} has ice." for bay in range(20))
        for number in range(3)
    ]
    text = "\n\n".join(paragraphs)
    item = await context.add(text)
    await context.add(text, name="a copy")
    hits = await context.search("walrus report", "text")
    assert len(hits) == 1
    assert text[hits[0].start : hits[0].end] == hits[0].text
    assert (hits[0].start, hits[0].end) == (0, len(text))
    assert item.id in {hit.item_id for hit in hits} or hits[0].name == "a copy"


async def test_as_many_are_found_as_there_are_though_most_may_not_be_seen(context: ContextGround) -> None:
    bob = person(context.acme.tenant_id, "member")
    for number in range(12):
        await context.add(f"Walrus number {number} lives in bay {number}.", acl=() if number % 4 == 0 else OWNERS)
    seen = [f"Walrus number {number} lives in bay {number}." for number in (0, 4, 8)]
    for mode in MODES:
        hits = await context.search("walrus", mode, by=bob, limit=3)
        assert sorted(hit.text for hit in hits) == seen


@pytest.mark.parametrize("gap", ["\n\n", " " * 90 + "\n", "\n" * 150, " " * 5_000])
async def test_a_passage_of_neighbours_is_the_text_between_its_offsets(context: ContextGround, gap: str) -> None:
    """Also where much white space lies between them."""
    paragraphs = [" ".join(f"Walrus{number * 100 + word} sleeps." for word in range(60)) for number in range(3)]
    text = gap.join(paragraphs)
    await context.add(text)
    hits = await context.search("walrus1 walrus101 walrus201 sleeps", "text")
    assert hits
    for hit in hits:
        assert text[hit.start : hit.end] == hit.text


@pytest.mark.parametrize("mode", MODES)
async def test_a_large_index_is_ranked_in_a_thread(
    context: ContextGround, mode: SearchMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_INLINE_CHUNKS", 0)
    for name, text in TEXTS.items():
        await context.add(text, name=name, metadata={"n": name})
    assert (await context.search("When are invoices due?", mode, metadata={"n": "tax"}))[0].name == "tax"
