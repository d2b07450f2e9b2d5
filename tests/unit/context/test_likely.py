"""Which chunks may be among the best, by the scores of all."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from copilot_domain.context.search.likely import Scores, highest, likely_places, promising_places
from copilot_domain.context.segments.codes import UNKNOWN
from copilot_domain.context.segments.types import Numbers

RNG = np.random.default_rng(11)


def some_nearness(count: int) -> Numbers:
    return RNG.integers(-9_000, 9_000, count).astype(np.int32)


def real(*values: float) -> Numbers:
    return np.array(values, np.float32)


@given(
    values=st.lists(st.integers(0, 5), max_size=600),
    count=st.integers(1, 12),
    chosen=st.none() | st.sets(st.integers(0, 599)),
)
def test_the_highest_are_found_among_any_ties(values: list[int], count: int, chosen: set[int] | None) -> None:
    scores = np.array(values, np.float32)
    allowed = None if chosen is None else np.array(sorted(one for one in chosen if one < len(values)), np.int64)
    places = highest(scores, count, above=0, allowed=allowed)
    among = scores if allowed is None else scores[allowed]
    assert sorted(scores[places].tolist(), reverse=True) == sorted(among[among > 0].tolist(), reverse=True)[:count]
    assert len(set(places.tolist())) == len(places)
    assert allowed is None or set(places.tolist()) <= set(allowed.tolist())


def test_what_has_no_score_is_not_among_the_highest() -> None:
    assert highest(np.full(1_000, UNKNOWN, np.int32), 5, above=UNKNOWN).tolist() == []
    assert highest(real(), 5, above=0).tolist() == []


def test_the_best_by_words_and_by_meaning_are_likely_each_once_and_rise() -> None:
    words, meaning = np.zeros(5_000, np.float32), some_nearness(5_000)
    words[[7, 4_000]] = 3, 2
    places, is_whole = likely_places(Scores(words, meaning), limit=10)
    assert places.tolist() == sorted({7, 4_000, *np.argsort(-meaning)[:64].tolist()})
    assert not is_whole


def test_where_all_that_can_be_found_is_likely_it_says_so() -> None:
    words, meaning = np.zeros(5_000, np.float32), some_nearness(5_000)
    words[:30] = 1
    few = np.arange(40)
    for found, expected in (
        (likely_places(Scores(words), limit=10), np.arange(30)),
        (likely_places(Scores(words, meaning), 10, allowed=few), few),
    ):
        places, is_whole = found
        assert places.tolist() == expected.tolist()
        assert is_whole
    assert not likely_places(Scores(words, meaning), 11, allowed=np.arange(66))[1]


def test_more_are_likely_for_a_larger_limit_or_breadth() -> None:
    meaning = some_nearness(5_000)
    scores = Scores(np.zeros(5_000, np.float32), meaning)
    sizes = [len(likely_places(scores, limit, breadth)[0]) for limit, breadth in ((1, 1), (50, 1), (10, 16), (50, 16))]
    assert sizes == [64, 300, 960, 2_000]


def test_of_many_likely_ones_those_are_promising_that_both_put_high() -> None:
    words, meaning = RNG.random(500).astype(np.float32), some_nearness(500)
    words[[3, 90]], meaning[[3, 90]] = 2, 10_000
    likely = np.arange(200)
    places = promising_places(Scores(words, meaning), likely, limit=10)
    assert len(places) == 64
    assert {3, 90} <= set(places.tolist())
    assert places.tolist() == sorted(places.tolist())


def test_all_likely_ones_are_promising_where_nearness_is_not_known_of_all() -> None:
    meaning = some_nearness(500)
    meaning[17] = UNKNOWN
    likely = np.arange(200)
    assert promising_places(Scores(np.ones(500, np.float32), meaning), likely, limit=10) is likely
    assert promising_places(Scores(np.ones(500, np.float32)), likely, limit=10) is likely
