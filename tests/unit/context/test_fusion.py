"""Two rankings made one."""

import numpy as np
import pytest

from copilot_domain.context.search.fusion import fuse, rank_hybrid

X, Y, NOWHERE = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]), np.zeros(3)


def test_each_ranking_is_stretched_before_they_are_weighed() -> None:
    fused = fuse(np.array([0.9, 0.8, 0.5]), np.array([12.0, 2.0, 7.0]), vector_weight=0.4)
    assert fused == pytest.approx([1.0, 0.4 * 0.75, 0.6 * 0.5])


def test_a_ranking_whose_scores_are_all_equal_prefers_nobody() -> None:
    fused = fuse(np.array([0.5, 0.5]), np.array([3.0, 1.0]), vector_weight=0.5)
    assert fused == pytest.approx([1.0, 0.5])
    assert fuse(np.array([0.5, 0.25]), np.zeros(2), vector_weight=0.5) == pytest.approx([0.5, 0.0])


def test_a_lone_candidate_counts_as_the_best() -> None:
    assert rank_hybrid(X, np.array([X]), np.array([2.0])) == pytest.approx([1.0])


def test_what_the_best_mean_draws_in_what_the_query_did_not_say() -> None:
    """Only the first has the word; the second means the same, the third is as near to the query itself."""
    other = np.array([0.0, 0.0, 1.0])
    vectors = np.array([Y, Y, other, X, NOWHERE])
    scores = rank_hybrid(X, vectors, np.array([9.0, 0.0, 0.0, 0.0, 0.0]))
    assert scores[1] > scores[2]


def test_an_exact_word_that_one_passage_alone_has_stays_first() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(200, 64))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    by_text = np.zeros(200)
    by_text[17] = 8.0
    assert int(np.argmax(rank_hybrid(vectors[3], vectors, by_text))) == 17


def test_a_score_is_from_0_to_1() -> None:
    rng = np.random.default_rng(2)
    scores = rank_hybrid(rng.normal(size=8), rng.normal(size=(50, 8)), rng.random(50))
    assert scores.min() >= 0
    assert scores.max() <= 1
