"""BM25 over segments is BM25 over all texts."""

import math
from collections.abc import Mapping, Sequence
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_domain.context.segments.bm25 import add_up, length_norms, score_term
from copilot_domain.context.segments.types import ChunkTerms, PostingLists, Postings, SpreadPostings, lay_out

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
    starts = [sum(len(texts) for texts in segments[:number]) for number in range(len(segments))]
    parts = {term: [(s, one[term]) for s, one in zip(starts, found, strict=True) if term in one] for term in query}
    scores = add_up(len(norms), [score_term(parts[term], norms) for term in query])
    every = [text for texts in segments for text in texts]
    assert scores.tolist() == pytest.approx(textbook(every, sorted(query)), rel=1e-4, abs=1e-5)


@given(st.lists(st.lists(TEXT, min_size=1, max_size=5), min_size=1, max_size=4), st.sets(st.integers(0, 9), max_size=4))
def test_postings_of_several_segments_together_are_scored_as_those_of_each(
    segments: list[list[dict[int, int]]], query: set[int]
) -> None:
    laid = [lay_out([ChunkTerms(uuid4(), uuid4(), 1, text) for text in texts]) for texts in segments]
    norms = length_norms([layout for layout, _ in laid], 100)
    starts = np.cumsum([0, *(layout.size for layout, _ in laid)])
    for term in query:
        found = [(number, lists.find([term])[term]) for number, (_, lists) in enumerate(laid) if lists.find([term])]
        apart = score_term([(int(starts[number]), postings) for number, postings in found], norms)
        if found:
            spread = SpreadPostings([number for number, _ in found], [encoded(postings) for _, postings in found])
            together = score_term([spread.decode(starts)], norms)
            assert together.places.tolist() == apart.places.tolist()
            assert together.scores.tolist() == apart.scores.tolist()


@pytest.mark.parametrize(("size", "place_bytes"), [(65_536, 2), (65_537, 4), (70_000, 4)])
def test_places_take_no_more_bytes_than_they_need(size: int, place_bytes: int) -> None:
    last = Postings(np.array([65_000], np.uint16), np.array([1], np.uint8))
    scored = score_term([(size - 65_001, last)], np.ones(size, np.float32))
    assert (scored.places.tolist(), scored.places.itemsize) == ([size - 1], place_bytes)


def encoded(postings: Postings) -> bytes:
    terms, starts = np.zeros(1, "<i8"), np.array([0, len(postings.ordinals)], "<u4")
    return PostingLists(terms, starts, postings.ordinals, postings.counts).each_encoded()[0]


def test_without_any_segment_there_are_no_scores() -> None:
    norms = length_norms([], 0)
    assert len(add_up(len(norms), [score_term([], norms)])) == 0
