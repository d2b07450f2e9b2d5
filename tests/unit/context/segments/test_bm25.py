"""BM25 over segments is BM25 over all texts."""

import math
from collections.abc import Mapping, Sequence
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_domain.context.segments.bm25 import TermScores, add_up, length_norms, score_terms
from copilot_domain.context.segments.types import (
    ChunkTerms,
    Layout,
    PlacedPostings,
    PostingLists,
    Postings,
    SpreadPostings,
    lay_out,
    place_postings,
)

Counts = Mapping[int, int]


def textbook(texts: Sequence[Counts], query: Sequence[int]) -> list[float]:
    """Robertson and Zaragoza 2009, with Lucene's idf."""
    average = sum(sum(text.values()) for text in texts) / len(texts)

    def weigh(text: Counts, term: int) -> float:
        found_in = sum(term in other for other in texts)
        idf = math.log(1 + (len(texts) - found_in + 0.5) / (found_in + 0.5))
        times = text.get(term, 0)
        return idf * times * (1.2 + 1) / (times + 1.2 * (1 - 0.75 + 0.75 * sum(text.values()) / average))

    return [sum(weigh(text, term) for term in query) for text in texts]


TEXT = st.dictionaries(st.integers(0, 8), st.integers(1, 9), min_size=1, max_size=6)


@given(st.lists(st.lists(TEXT, min_size=1, max_size=5), min_size=1, max_size=4), st.sets(st.integers(0, 9), max_size=4))
def test_the_scores_are_those_of_the_formula(segments: list[list[dict[int, int]]], query: set[int]) -> None:
    laid = [lay_out([ChunkTerms(uuid4(), uuid4(), 1, text) for text in texts]) for texts in segments]
    found = [lists.find(sorted(query)) for _, lists in laid]
    total = sum(sum(text.values()) for texts in segments for text in texts)
    norms = length_norms([layout for layout, _ in laid], total)
    starts = _starts(laid)
    placed = list(zip(starts[:-1], found, strict=True))
    parts = [[_placed(one[term], start) for start, one in placed if term in one] for term in query]
    scores = add_up(len(norms), score_terms(parts, norms))
    every = [text for texts in segments for text in texts]
    assert scores.tolist() == pytest.approx(textbook(every, sorted(query)), rel=1e-4, abs=1e-5)


@given(st.lists(st.lists(TEXT, min_size=1, max_size=5), min_size=1, max_size=4), st.sets(st.integers(0, 9), max_size=4))
def test_terms_scored_together_have_the_scores_of_each(segments: list[list[dict[int, int]]], query: set[int]) -> None:
    laid = [lay_out([ChunkTerms(uuid4(), uuid4(), 1, text) for text in texts]) for texts in segments]
    norms = length_norms([layout for layout, _ in laid], 100)
    starts = _starts(laid)
    found = {
        term: [(number, lists.find([term])[term]) for number, (_, lists) in enumerate(laid) if lists.find([term])]
        for term in query
    }
    apart = [score_terms([[_placed(one, starts[number]) for number, one in found[term]]], norms)[0] for term in query]
    spread = [
        SpreadPostings([number for number, _ in found[term]], [encoded(one) for _, one in found[term]])
        for term in query
    ]
    together = score_terms([[one] for one in place_postings(spread, np.array(starts, np.uint32))], norms)
    assert [_lists(one) for one in together] == [_lists(one) for one in apart]


def test_the_scores_of_a_term_hold_no_memory_of_those_it_was_scored_with() -> None:
    many, few = (PlacedPostings(np.arange(count, dtype=np.uint32), np.ones(count, np.uint8)) for count in (9_000, 1))
    _, scored = score_terms([[many], [few]], np.ones(10_000, np.float32))
    assert (scored.places.base, scored.scores.base) == (None, None)


@pytest.mark.parametrize(("size", "place_bytes"), [(65_536, 2), (65_537, 4), (70_000, 4)])
def test_places_take_no_more_bytes_than_they_need(size: int, place_bytes: int) -> None:
    last = Postings(np.array([65_000], np.uint16), np.array([1], np.uint8))
    (scored,) = score_terms([[_placed(last, size - 65_001)]], np.ones(size, np.float32))
    assert (scored.places.tolist(), scored.places.itemsize) == ([size - 1], place_bytes)


def _starts(laid: Sequence[tuple[Layout, PostingLists]]) -> list[int]:
    return [int(start) for start in np.cumsum([0, *(layout.size for layout, _ in laid)])]


def _placed(postings: Postings, start: int) -> PlacedPostings:
    return PlacedPostings(postings.ordinals + np.uint32(start), postings.counts)


def _lists(scored: TermScores) -> tuple[list[int], list[float]]:
    return scored.places.tolist(), scored.scores.tolist()


def encoded(postings: Postings) -> bytes:
    terms, starts = np.zeros(1, "<i8"), np.array([0, len(postings.ordinals)], "<u4")
    return PostingLists(terms, starts, postings.ordinals, postings.counts).each_encoded()[0]


def test_without_any_segment_there_are_no_scores() -> None:
    norms = length_norms([], 0)
    assert len(add_up(len(norms), score_terms([[]], norms))) == 0
