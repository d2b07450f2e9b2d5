"""Two rankings made one."""

from uuid import UUID

import pytest

from copilot_domain.context.search.fusion import best, fuse

A, B, C, D = (UUID(int=number) for number in range(1, 5))


def test_each_ranking_is_stretched_before_they_are_weighed() -> None:
    fused = fuse({A: 0.9, B: 0.8, C: 0.5}, {A: 12.0, D: 7.0, C: 2.0}, vector_weight=0.4)
    assert fused == pytest.approx({A: 1.0, B: 0.4 * 0.75, C: 0.0, D: 0.6 * 0.5})


def test_what_both_find_is_before_what_one_finds() -> None:
    fused = fuse({A: 0.9, B: 0.9, C: 0.1}, {A: 5.0, D: 5.0, C: 1.0})
    assert best(fused, 1)[0][0] == A


@pytest.mark.parametrize(("vectors", "text"), [({A: 0.5}, {}), ({}, {A: 3.0}), ({A: 0.5}, {A: 3.0})])
def test_a_lone_hit_counts_as_the_best(vectors: dict[UUID, float], text: dict[UUID, float]) -> None:
    fused = fuse(vectors, text, vector_weight=0.5)
    assert fused[A] == (0.5 if not vectors or not text else 1.0)


def test_nothing_found_is_nothing() -> None:
    assert fuse({}, {}) == {}


def test_equals_are_in_the_same_order_each_time() -> None:
    assert [chunk for chunk, _ in best({C: 1.0, A: 1.0, B: 2.0, D: 0.5}, 3)] == [B, A, C]
