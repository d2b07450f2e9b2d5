"""What a term adds to scores is computed once for a list of segments, and anew for another."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from copilot_domain.context import SearchRequest, SearchResult
from copilot_domain.context.search import index, reads
from copilot_domain.context.search.index import OpenIndex
from copilot_domain.context.search.searching import ContextSearch
from copilot_domain.context.segments import store
from copilot_domain.context.segments.bm25 import TermScores
from copilot_domain.context.segments.cache import SegmentCache
from copilot_domain.context.segments.merging import Merger
from copilot_domain.context.segments.types import SpreadPostings
from integration.context.ground import ContextGround

PLACES = ("Lund", "Graz", "Bath", "Cork", "Gent", "Jena", "Metz", "Nice")  # two items each: enough for a merge
HERONS = SearchRequest(query="herons fish", mode="text")


@pytest.fixture
async def birds(context: ContextGround) -> ContextGround:
    for place in PLACES:
        await context.add(f"The herons of {place} fish at night.")
        await context.add(f"Nobody has seen an owl in {place}.")
    await Merger(context.db).merge_all(context.acme)
    return context


class AskedFor:
    """The terms whose postings were read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.terms: list[int] = []
        monkeypatch.setattr(reads, "find_postings", self._find)

    async def _find(self, tx: Any, segments: Any, terms: Sequence[int]) -> Any:
        self.terms += terms
        return await store.find_postings(tx, segments, terms)


def scores(result: SearchResult) -> list[tuple[str, float]]:
    return [(hit.text, hit.score) for hit in result.results]


async def test_the_postings_of_a_word_are_read_once(birds: ContextGround, monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for = AskedFor(monkeypatch)
    first = await birds.searcher.search(birds.acme, HERONS)
    assert len(asked_for.terms) == 2
    second = await birds.searcher.search(birds.acme, HERONS)
    assert len(asked_for.terms) == 2
    assert len(first.results) == len(PLACES)
    assert scores(second) == scores(first)
    await birds.searcher.search(birds.acme, SearchRequest(query="herons hunt", mode="text"))
    assert len(asked_for.terms) == 3


class Scored:
    """How many terms were scored at once, each time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts: list[int] = []
        compute = OpenIndex._compute_scores

        def counted(
            this: OpenIndex, terms: Sequence[int], found: Mapping[int, SpreadPostings]
        ) -> Mapping[int, TermScores]:
            self.counts.append(len(terms))
            return compute(this, terms, found)

        monkeypatch.setattr(OpenIndex, "_compute_scores", counted)


@pytest.mark.parametrize(("at_once", "counts"), [(index._POSTINGS_AT_ONCE, [8]), (1, [1] * 8)])
async def test_words_of_several_questions_have_the_scores_of_each(
    birds: ContextGround, monkeypatch: pytest.MonkeyPatch, at_once: int, counts: list[int]
) -> None:
    """All at once, or where they have many postings each question's by itself, one after the other."""
    words = ("owls herons", "night fish", "Lund owls", "Graz nobody seen")
    questions = [SearchRequest(query=query, mode="text") for query in words]
    alone = [await ContextSearch(birds.db, birds.embedders).search(birds.acme, one) for one in questions]
    monkeypatch.setattr(index, "_POSTINGS_AT_ONCE", at_once)
    searcher, scored = ContextSearch(birds.db, birds.embedders), Scored(monkeypatch)
    together = await asyncio.gather(*(searcher.search(birds.acme, one) for one in questions))
    assert scored.counts == counts
    assert [scores(one) for one in together] == [scores(one) for one in alone]


@pytest.mark.parametrize("count", [1, 16])
async def test_with_other_segments_words_are_as_rare_as_they_are_then(birds: ContextGround, count: int) -> None:
    """With another one, or with one that a merge has made of all."""
    before = await birds.searcher.search(birds.acme, HERONS)
    for number in range(count):
        await birds.add(f"Number {number} of the owls that look at herons.")
    await Merger(birds.db).merge_all(birds.acme)
    after = await birds.searcher.search(birds.acme, HERONS)
    anew = await ContextSearch(birds.db, birds.embedders).search(birds.acme, HERONS)
    assert scores(after) == scores(anew)
    assert {score for _, score in scores(after)}.isdisjoint(score for _, score in scores(before))


async def test_where_nothing_can_be_kept_the_same_is_found(birds: ContextGround) -> None:
    forgetful = ContextSearch(birds.db, birds.embedders, SegmentCache(max_bytes=0, max_scores_bytes=0))
    found = [scores(await forgetful.search(birds.acme, HERONS)) for _ in range(2)]
    assert found == [scores(await birds.searcher.search(birds.acme, HERONS))] * 2
